import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CorruptionError } from '../../src/base/errors.js';
import { BlockReader } from '../../src/engine/block-reader/block-reader.js';
import { SLOT_COUNT } from '../../src/engine/block-reader/shared-slots.js';
import { LATEST } from '../../src/lsm/row-key.js';
import { bytesOf, DIRECTORY, newDisk, openHarness, putRecord, readAt, write, type Harness } from './engine-harness.js';
import { InlineBlockReader } from './inline-block-reader.js';

const KEYS = Array.from({ length: 200 }, (_, i) => `key${String(i).padStart(3, '0')}`);

/** An engine with 200 keys in one table of small blocks. */
async function openWithTable(): Promise<Harness & { reader: InlineBlockReader; replicaId: number }> {
  const disk = newDisk();
  const reader = new InlineBlockReader(disk.blocking);
  const harness = await openHarness(disk, { blockReaderThread: reader, table: { blockSizeBytes: 32 } });
  const replicaId = await harness.engine.createReplica(1);
  for (const key of KEYS) write(harness.engine, replicaId, bytesOf(key), 5, putRecord(key.repeat(5)));
  await harness.engine.flush();
  await harness.engine.settled();
  return Object.assign(harness, { reader, replicaId });
}

test('blocks come through the reader, and many at once', async () => {
  const { engine, disk, reader, replicaId } = await openWithTable();
  const before = disk.operationCount('open');
  const found = await Promise.all(KEYS.map((key) => readAt(engine, replicaId, bytesOf(key), LATEST)));
  found.forEach((version, i) => assert.deepEqual(version?.record, putRecord(KEYS[i]!.repeat(5))));
  assert.ok(reader.answered > 20, `the reader answered ${reader.answered} requests`);
  assert.equal(disk.operationCount('open') - before, 1, 'the reader opens a table once');
  await engine.close();
});

test('with a busy reader, blocks come through the disk', async () => {
  const { engine, reader, replicaId } = await openWithTable();
  reader.answers = false;
  const reads = KEYS.map((key) => readAt(engine, replicaId, bytesOf(key), LATEST));
  const last = await reads.at(-1)!;
  assert.deepEqual(last?.record, putRecord(KEYS.at(-1)!.repeat(5)));
  assert.equal(reader.answered, 0);
  reader.answers = true;
  reader.wake();
  for (const read of reads) assert.notEqual(await read, null);
  await engine.close();
});

test('while every slot is taken by tables to forget, blocks come through the disk', () => {
  const thread = new InlineBlockReader(newDisk().blocking);
  const reader = new BlockReader(thread, DIRECTORY, setImmediate);
  for (let fileNumber = 1; fileNumber <= 2 * SLOT_COUNT; fileNumber++) reader.forget(fileNumber);
  assert.equal(reader.read(1, { offset: 0, sizeBytes: 100 }), null);
});

test('when the reader dies, reads that wait for it and later ones come through the disk', async () => {
  const { engine, reader, replicaId } = await openWithTable();
  reader.answers = false;
  const waiting = readAt(engine, replicaId, bytesOf(KEYS[0]!), LATEST);
  reader.die();
  assert.notEqual(await waiting, null);
  assert.notEqual(await readAt(engine, replicaId, bytesOf(KEYS[150]!), LATEST), null);
  await engine.close();
});

test('LSM rule 11: a block that is damaged is refused also through the reader', async () => {
  const { engine, disk, replicaId } = await openWithTable();
  const table = disk.paths().find((path) => path.startsWith(`${DIRECTORY}/tables`))!;
  disk.flipBit(table, 20, 3);
  await assert.rejects(readAt(engine, replicaId, bytesOf(KEYS[0]!), LATEST), CorruptionError);
  assert.notEqual(await readAt(engine, replicaId, bytesOf(KEYS[150]!), LATEST), null);
  await engine.close();
});

test('LSM rule 13: EIO in the reader is an error of the read when the disk keeps failing, and no error when it does not', async () => {
  const { engine, disk, replicaId } = await openWithTable();
  disk.inject({ operation: 'read', code: 'EIO', path: /sst$/, times: 2 });
  await assert.rejects(readAt(engine, replicaId, bytesOf(KEYS[0]!), LATEST), { code: 'EIO' });
  disk.inject({ operation: 'read', code: 'EIO', path: /sst$/, times: 1 });
  assert.notEqual(await readAt(engine, replicaId, bytesOf(KEYS[0]!), LATEST), null);
  await engine.close();
});

test('the reader closes a table that is removed', async () => {
  const { engine, disk, replicaId } = await openWithTable();
  assert.notEqual(await readAt(engine, replicaId, bytesOf(KEYS[0]!), LATEST), null);
  const before = disk.operationCount('open') - disk.operationCount('close');
  await engine.compact();
  await engine.compact();
  await engine.settled();
  await new Promise((resolve) => setImmediate(resolve));
  const after = disk.operationCount('open') - disk.operationCount('close');
  assert.ok(after <= before, `${after} files are open, ${before} before`);
  await engine.close();
});

test('a scan reads ahead: it waits much less often than there are blocks', async () => {
  for (const direction of ['forward', 'backward'] as const) {
    const { engine, replicaId } = await openWithTable();
    const blocks = engine.stats().levels[0]!.files;
    assert.equal(blocks, 1);
    const scan = engine.scan({ replicaIds: [replicaId], startKey: new Uint8Array(0), endKey: null, at: LATEST });
    const forward = direction === 'forward';
    let waits = 0;
    let count = 0;
    for (let moved = forward ? scan.seekToFirst() : scan.seekToLast(); ;) {
      while (!moved) {
        waits++;
        await scan.load();
        // What was read ahead arrives meanwhile.
        await new Promise((resolve) => setImmediate(resolve));
        moved =
          count === 0 ? (forward ? scan.seekToFirst() : scan.seekToLast()) : forward ? scan.next() : scan.previous();
      }
      if (!scan.valid) break;
      count++;
      moved = forward ? scan.next() : scan.previous();
    }
    assert.equal(count, KEYS.length);
    const { blockCacheBlocks } = engine.stats();
    assert.ok(waits * 4 < blockCacheBlocks, `${direction}: ${waits} waits for ${blockCacheBlocks} blocks`);
    scan.close();
    await engine.close();
  }
});
