import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CorruptionError } from '../../src/base/errors.js';
import { xxHash32 } from '../../src/base/hash.js';
import { BLOCKED } from '../../src/engine/engine.js';
import { LATEST } from '../../src/lsm/row-key.js';
import { bytesOf, DIRECTORY, newDisk, openHarness, putRecord, readAt, write, type Harness } from './engine-harness.js';
import { InlineBlockReader } from './inline-block-reader.js';

const KEYS = Array.from({ length: 100 }, (_, i) => `key${String(i).padStart(3, '0')}`);

/** A cache that takes no block, so that the reader's thread searches; no filters, so that every table is asked. */
async function openTiny(): Promise<Harness & { reader: InlineBlockReader; replicaId: number }> {
  const disk = newDisk();
  const reader = new InlineBlockReader(disk.blocking);
  const table = { blockSizeBytes: 64, bloomBitsPerRow: 0 };
  const options = { blockReaderThread: reader, table, blockCacheSizeBytes: 200, automaticCompaction: false };
  const harness = await openHarness(disk, options);
  return Object.assign(harness, { reader, replicaId: await harness.engine.createReplica(1) });
}

async function flushed(harness: Harness): Promise<void> {
  await harness.engine.flush();
  await harness.engine.settled();
}

test('a record is found in the reader, without its block coming to this thread', async () => {
  const harness = await openTiny();
  const { engine, disk, reader, replicaId } = harness;
  for (const key of KEYS) write(engine, replicaId, bytesOf(key), 5, putRecord(key.repeat(3)));
  await flushed(harness);
  const before = disk.operationCount('read');
  for (const key of KEYS) {
    const found = await readAt(engine, replicaId, bytesOf(key), LATEST);
    assert.deepEqual(found, { record: putRecord(key.repeat(3)), revision: 5 });
  }
  assert.ok(reader.answered >= KEYS.length, `the reader answered ${reader.answered} requests`);
  assert.equal(engine.stats().blockCacheBlocks, 0);
  assert.equal(disk.operationCount('read') - before, reader.answered);
  await engine.close();
});

test('what a newer table does not have is sought in the older ones, and absence is told', async () => {
  const harness = await openTiny();
  const { engine, replicaId } = harness;
  for (let third = 0; third < 3; third++) {
    KEYS.forEach((key, i) => {
      if (i % 3 === third) write(engine, replicaId, bytesOf(key), 5 + third, putRecord(key));
    });
    await flushed(harness);
  }
  assert.equal(engine.stats().levels[0]!.files, 3);
  for (const [i, key] of KEYS.entries()) {
    const found = await readAt(engine, replicaId, bytesOf(key), LATEST);
    assert.deepEqual(found, { record: putRecord(key), revision: 5 + (i % 3) });
    assert.equal(await readAt(engine, replicaId, bytesOf(`${key}!`), LATEST), null);
  }
  await engine.close();
});

test('LSM rule 7: each version of a row that spans blocks is found', async () => {
  const harness = await openTiny();
  const { engine, replicaId } = harness;
  engine.pinRevision(0);
  write(engine, replicaId, bytesOf('before'), 3, putRecord('x'));
  for (let revision = 10; revision < 60; revision++) {
    write(engine, replicaId, bytesOf('key'), revision, putRecord(`version ${revision} of this row`));
  }
  write(engine, replicaId, bytesOf('key later'), 60, putRecord('x'));
  await flushed(harness);
  for (let revision = 10; revision < 60; revision++) {
    const found = await readAt(engine, replicaId, bytesOf('key'), revision);
    assert.deepEqual(found, { record: putRecord(`version ${revision} of this row`), revision });
  }
  assert.equal(await readAt(engine, replicaId, bytesOf('key'), 9), null);
  await engine.close();
});

test('LSM rules 11 and 13: damage and EIO that the reader meets are errors of the read', async () => {
  const harness = await openTiny();
  const { engine, disk, replicaId } = harness;
  for (const key of KEYS) write(engine, replicaId, bytesOf(key), 5, putRecord(key));
  await flushed(harness);
  const key = bytesOf(KEYS[0]!);
  disk.inject({ operation: 'read', code: 'EIO', path: /sst$/, times: 1 });
  assert.notEqual(await readAt(engine, replicaId, key, LATEST), null);
  disk.inject({ operation: 'read', code: 'EIO', path: /sst$/, times: 3 });
  await assert.rejects(readAt(engine, replicaId, key, LATEST), { code: 'EIO' });
  disk.flipBit(
    disk.paths().find((path) => path.startsWith(`${DIRECTORY}/tables`))!,
    20,
    3,
  );
  await assert.rejects(readAt(engine, replicaId, key, LATEST), CorruptionError);
  assert.notEqual(await readAt(engine, replicaId, bytesOf(KEYS[90]!), LATEST), null);
  await engine.close();
});

test('a search that the reader takes with it into its death is done here', async () => {
  const harness = await openTiny();
  const { engine, reader, replicaId } = harness;
  for (const key of KEYS) write(engine, replicaId, bytesOf(key), 5, putRecord(key));
  await flushed(harness);
  reader.answers = false;
  const reads = KEYS.slice(0, 20).map((key) => readAt(engine, replicaId, bytesOf(key), LATEST));
  reader.die();
  for (const [i, read] of reads.entries()) assert.deepEqual((await read)?.record, putRecord(KEYS[i]!));
  await engine.close();
});

test('a read that waits when the engine is closed is refused, and nothing else fails', async () => {
  const harness = await openTiny();
  const { engine, reader, replicaId } = harness;
  for (const key of KEYS) write(engine, replicaId, bytesOf(key), 5, putRecord(key));
  await flushed(harness);
  reader.answers = false;
  const key = bytesOf(KEYS[0]!);
  const read = assert.rejects(engine.read(replicaId, key, xxHash32(key, 0, key.length), LATEST));
  await engine.close();
  await read;
});

test('a read after a blocked look-up sees what was written in between, and what other reads did does not confuse it', async () => {
  const harness = await openTiny();
  const { engine, replicaId } = harness;
  for (const key of KEYS) write(engine, replicaId, bytesOf(key), 5, putRecord(key));
  await flushed(harness);
  const [first, second] = [bytesOf(KEYS[10]!), bytesOf(KEYS[80]!)];
  const hash = (key: Uint8Array): number => xxHash32(key, 0, key.length);
  const lookup = (key: Uint8Array): number => engine.lookup(replicaId, key, 0, key.length, hash(key), LATEST);
  const read = (key: Uint8Array): ReturnType<typeof engine.read> => engine.read(replicaId, key, hash(key), LATEST);
  // Others' reads are under way in the same table while the look-up's state is kept.
  const others = KEYS.map((key) => read(bytesOf(key)));
  assert.equal(lookup(first), BLOCKED);
  await Promise.all(others);
  assert.deepEqual((await read(first))?.record, putRecord(KEYS[10]!));
  assert.equal(lookup(first), BLOCKED);
  assert.deepEqual((await read(second))?.record, putRecord(KEYS[80]!));
  assert.equal(lookup(first), BLOCKED);
  assert.equal(await engine.read(replicaId, first, hash(first), 4), null);
  assert.equal(lookup(first), BLOCKED);
  write(engine, replicaId, first, 9, putRecord('newer'));
  assert.deepEqual(await read(first), { record: putRecord('newer'), revision: 9 });
  assert.equal(lookup(second), BLOCKED);
  write(engine, replicaId, second, 9, putRecord('newer'));
  await flushed(harness);
  await engine.compact();
  assert.deepEqual(await read(second), { record: putRecord('newer'), revision: 9 });
  await engine.close();
});
