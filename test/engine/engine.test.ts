import assert from 'node:assert/strict';
import { test } from 'node:test';
import { xxHash32 } from '../../src/base/hash.js';
import { ABSENT, BLOCKED, FOUND } from '../../src/engine/engine.js';
import { TOMBSTONE_RECORD } from '../../src/lsm/record.js';
import { LATEST } from '../../src/lsm/row-key.js';
import { bytesOf, openHarness, putRecord, readAt, write } from './engine-harness.js';

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
