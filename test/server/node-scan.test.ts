import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Group } from '../../src/replica/group.js';
import { NodeScan } from '../../src/server/node-scan.js';
import { bytesOf, HastyClock, newDisk, openHarness, putRecord, write } from '../engine/engine-harness.js';

const KEYS = Array.from({ length: 60 }, (_, i) => `key${String(i).padStart(3, '0')}`);

for (const reverse of [false, true]) {
  const order = reverse ? 'backward' : 'forward';
  test(`promise 6: a scan whose reader is slow keeps neither memtables nor tables, and goes on as if it had (${order})`, async () => {
    const { engine, disk } = await openHarness(newDisk(), { automaticCompaction: false });
    const replicaIds = await engine.createReplicas([1, 2]);
    const fill = (revision: number): void => {
      for (const [i, key] of KEYS.entries()) {
        write(engine, replicaIds[i % 2]!, bytesOf(key), revision, putRecord(`"${revision}"`));
      }
    };
    const tables = (): number => disk.paths().filter((path) => path.endsWith('.sst')).length;
    fill(10);
    await engine.flush();
    const pin = engine.pinRevision(10);
    const groups = replicaIds.map((replicaId, partition) => {
      return new Group({ groupId: 1, partition, replicaId, term: 1, appliedIndex: 0, appliedTerm: 0, revision: 0 });
    });
    const scan = new NodeScan({
      engine,
      clock: new HastyClock(),
      groups,
      scan: { startKey: new Uint8Array(0), endKey: null, reverse, keysOnly: false, at: 10 },
      revision: 10,
      onClose: () => pin.release(),
    });
    const found: string[] = [];
    for (let page = 0; !scan.done; page++) {
      for (const { key, revision } of await scan.next(7, 1 << 20))
        found.push(`${Buffer.from(key).toString()}@${revision}`);
      // The reader takes its time: the hasty clock's timers fire at the end of the turn.
      await new Promise((resolve) => setImmediate(resolve));
      fill(20 + page);
      await engine.compact();
      await engine.settled();
      const live = engine.stats().levels.reduce((sum, level) => sum + level.files, 0);
      assert.equal(tables(), live, 'the scan keeps no table that a compaction replaced');
    }
    const expected = KEYS.map((key) => `${key}@10`);
    assert.deepEqual(found, reverse ? expected.reverse() : expected);
    scan.close();
    await engine.close();
  });
}
