import assert from 'node:assert/strict';
import { test } from 'node:test';
import { xxHash32 } from '../../src/base/hash.js';
import { ABSENT, BLOCKED, FOUND } from '../../src/engine/engine.js';
import { TOMBSTONE_RECORD } from '../../src/lsm/record.js';
import { LATEST } from '../../src/lsm/row-key.js';
import { bytesOf, newDisk, openHarness, putRecord, readAt, write } from './engine-harness.js';

function lookup(
  engine: { lookup: (...args: [number, Uint8Array, number, number, number, number]) => number },
  replicaId: number,
  key: Uint8Array,
  at: number,
): number {
  return engine.lookup(replicaId, key, 0, key.length, xxHash32(key, 0, key.length), at);
}

test('a version is found in the memtable, after a flush, after a compaction and after a restart', async () => {
  const { engine, disk } = await openHarness();
  const replicaId = await engine.createReplica(7);
  const key = bytesOf('key');
  write(engine, replicaId, key, 10, putRecord('ten'));
  assert.equal(lookup(engine, replicaId, key, LATEST), FOUND);
  assert.equal(engine.hit.revision, 10);
  await engine.flush();
  assert.equal(lookup(engine, replicaId, key, LATEST), BLOCKED);
  assert.deepEqual(await readAt(engine, replicaId, key, LATEST), { record: putRecord('ten'), revision: 10 });
  assert.equal(lookup(engine, replicaId, key, LATEST), FOUND, 'the block is in the cache now');
  assert.equal(lookup(engine, replicaId, key, 9), ABSENT);
  await engine.compact();
  assert.deepEqual(await readAt(engine, replicaId, key, LATEST), { record: putRecord('ten'), revision: 10 });
  await engine.close();
  const again = await openHarness(disk);
  assert.deepEqual(await readAt(again.engine, replicaId, key, LATEST), { record: putRecord('ten'), revision: 10 });
  assert.equal(again.engine.recovered.groups.get(7)?.replicaId, replicaId);
  await again.engine.close();
});

test('a tombstone hides what is below it and is gone after a full compaction', async () => {
  const harness = await openHarness();
  const { engine } = harness;
  const replicaId = await engine.createReplica(1);
  const key = bytesOf('key');
  write(engine, replicaId, key, 10, putRecord('ten'));
  await engine.flush();
  write(engine, replicaId, key, 20, TOMBSTONE_RECORD);
  await engine.flush();
  assert.equal(await readAt(engine, replicaId, key, LATEST), null);
  assert.deepEqual(await readAt(engine, replicaId, key, 15), { record: putRecord('ten'), revision: 10 });
  harness.now = 30;
  await engine.compact();
  assert.equal(await readAt(engine, replicaId, key, LATEST), null);
  assert.deepEqual(
    engine.stats().levels.map((level) => level.files),
    [0, 0, 0, 0, 0, 0, 0],
  );
  await engine.close();
});

test('garbage in a range that nobody writes any more goes, one table at a time, and clean tables are not written again', async () => {
  const harness = await openHarness(newDisk());
  const { engine } = harness;
  const replicaId = await engine.createReplica(1);
  const keys = Array.from({ length: 200 }, (_, i) => bytesOf(`key:${i + 100}`));
  // Versions that the history window keeps, then it passes.
  const pin = engine.pinRevision(0);
  for (const [i, key] of keys.entries()) write(engine, replicaId, key, 10 + i, putRecord('x'.repeat(300)));
  await engine.flush();
  for (const [i, key] of keys.entries()) write(engine, replicaId, key, 1000 + i, TOMBSTONE_RECORD);
  await engine.compact();
  const entries = (): number => engine.stats().levels.reduce((sum, { bytes }) => sum + bytes, 0);
  const before = entries();
  assert.ok(before > 0);
  engine.collectGarbage();
  await engine.settled();
  assert.equal(entries(), before, 'a pin keeps what it sees');
  pin.release();
  harness.now = 5000;
  for (let round = 0; round < 20 && entries() > 0; round++) {
    const { compactions } = engine.stats();
    engine.collectGarbage();
    await engine.settled();
    assert.equal(engine.stats().compactions, compactions + 1, 'one step a call');
  }
  assert.equal(entries(), 0);
  write(engine, replicaId, keys[0]!, 6000, putRecord('clean'));
  await engine.compact();
  const { compactions } = engine.stats();
  harness.now = 1e12;
  engine.collectGarbage();
  await engine.settled();
  assert.equal(engine.stats().compactions, compactions);
  await engine.close();
});
