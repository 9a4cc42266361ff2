import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { AssertionFailure } from '../../../src/base/assert.js';
import { xxHash32 } from '../../../src/base/hash.js';
import { Memtable } from '../../../src/lsm/memtable/memtable.js';
import { LATEST, MAX_USER_KEY_BYTES } from '../../../src/lsm/row-key.js';
import type { AttachedContents } from './attach-worker.js';
import { Oracle, currentVersion, readBackward, readForward } from './oracle.js';

const MIB = 1024 ** 2;
const REPLICA = 7;

function insert(memtable: Memtable, key: Uint8Array, revision: number, record: Uint8Array): boolean {
  const hash = xxHash32(key, 0, key.length);
  return memtable.insert(REPLICA, key, 0, key.length, hash, revision, record, 0, record.length);
}

function read(memtable: Memtable, key: Uint8Array, at: number): { revision: number; record: Uint8Array } | undefined {
  const handle = memtable.find(REPLICA, key, 0, key.length, xxHash32(key, 0, key.length), at);
  if (handle === 0) return undefined;
  const start = memtable.recordStart(handle);
  return {
    revision: memtable.revisionAt(handle),
    record: memtable.bytes.slice(start, start + memtable.recordLength(handle)),
  };
}

/** A memtable and an oracle with the same rows and versions. */
function filled(count: number): { memtable: Memtable; oracle: Oracle; keys: Uint8Array[] } {
  const memtable = Memtable.create(MIB);
  const oracle = new Oracle();
  const keys: Uint8Array[] = [];
  for (let i = 0; i < count; i++) {
    const key = Buffer.from(`key-${(i * 7919) % 400}`);
    const record = Uint8Array.of(0, i, i >>> 8);
    keys.push(key);
    assert.ok(insert(memtable, key, 2 ** 40 + i, record));
    oracle.insert(REPLICA, key, 2 ** 40 + i, record);
  }
  return { memtable, oracle, keys };
}

test('memtable: a worker reads a frozen memtable in place, and zeroes it for its next life', async () => {
  const { memtable, oracle, keys } = filled(1000);
  memtable.freeze();
  const { buffer, usedBytes } = memtable;
  const worker = new Worker(new URL('./attach-worker.js', import.meta.url), { workerData: { buffer, keys } });
  const [contents] = (await once(worker, 'message')) as [AttachedContents];
  await once(worker, 'exit');
  assert.deepEqual(contents.forward, oracle.versions);
  assert.deepEqual(contents.backward, oracle.versions.toReversed());
  assert.ok(contents.found.every(Boolean));
  assert.deepEqual(contents.counts, [400, 1000, 2 ** 40, 2 ** 40 + 999, usedBytes]);
  memtable.reset();
  assert.equal(memtable.rowCount, 0);
  assert.deepEqual(readForward(memtable.cursor()), []);
  assert.ok(keys.every((key) => read(memtable, key, LATEST) === undefined));
});

test('LSM rule 16: a memtable that its writer may still change is neither attached nor zeroed', () => {
  const { memtable } = filled(10);
  assert.throws(() => Memtable.attach(memtable.buffer), AssertionFailure);
  assert.throws(() => Memtable.zero(memtable.buffer), AssertionFailure);
  assert.throws(() => Memtable.createIn(memtable.buffer), AssertionFailure);
  memtable.freeze();
  assert.throws(() => Memtable.createIn(memtable.buffer), AssertionFailure);
  assert.equal(Memtable.attach(memtable.buffer).versionCount, 10);
});

test('LSM rule 16: a frozen memtable takes no inserts', () => {
  const { memtable, oracle } = filled(10);
  memtable.freeze();
  assert.throws(() => insert(memtable, Uint8Array.of(1), 2 ** 41, Uint8Array.of(0)), AssertionFailure);
  assert.throws(() => Memtable.attach(memtable.buffer).freeze(), AssertionFailure);
  assert.deepEqual(readForward(memtable.cursor()), oracle.versions);
});

test('memtable: a zeroed buffer starts a new memtable without a trace of the old one', () => {
  const { memtable, oracle, keys } = filled(1000);
  memtable.freeze();
  Memtable.zero(memtable.buffer);
  const next = Memtable.createIn(memtable.buffer);
  assert.deepEqual(readForward(next.cursor()), []);
  assert.ok(keys.every((key) => read(next, key, LATEST) === undefined));
  assert.ok(insert(next, keys[0]!, 1, Uint8Array.of(9)));
  assert.deepEqual(
    readBackward(next.cursor()).map((version) => version.revision),
    [1],
  );
  assert.equal(oracle.versions.length, 1000);
});

test('memtable: a buffer whose zeroing was cut off is zeroed by the reset', () => {
  const { memtable, keys } = filled(100);
  memtable.freeze();
  new Int32Array(memtable.buffer).fill(0, 1, 500);
  memtable.reset();
  assert.ok(keys.every((key) => read(memtable, key, LATEST) === undefined));
});

test('memtable: a cursor from before a reset is refused', () => {
  const { memtable } = filled(10);
  const cursor = memtable.cursor();
  cursor.seekToFirst();
  memtable.reset();
  assert.throws(() => cursor.next(), AssertionFailure);
});

test('memtable: prefaulting a buffer that is in use changes nothing', () => {
  const { memtable, oracle } = filled(300);
  Memtable.prefault(memtable.buffer);
  assert.deepEqual(readForward(memtable.cursor()), oracle.versions);
});

test('memtable: a replayed version is ignored, whether it is the newest or an older one', () => {
  const { memtable, oracle } = filled(1000);
  const { usedBytes } = memtable;
  for (const { rowKey, revision } of oracle.versions) {
    assert.ok(insert(memtable, rowKey.subarray(4), revision, Uint8Array.of(0xff, 0xff)));
  }
  assert.equal(memtable.usedBytes, usedBytes);
  assert.equal(memtable.versionCount, 1000);
  assert.deepEqual(readForward(memtable.cursor()), oracle.versions);
});

test('memtable: a revision below the newest of its row that is not a replay breaks an invariant', () => {
  const memtable = Memtable.create(MIB);
  const key = Uint8Array.of(1);
  insert(memtable, key, 5, Uint8Array.of(0));
  insert(memtable, key, 9, Uint8Array.of(0));
  assert.throws(() => insert(memtable, key, 7, Uint8Array.of(0)), /expected above 9, found 7/);
  assert.throws(() => insert(memtable, key, 4, Uint8Array.of(0)), AssertionFailure);
});

test('LSM rule 14: keys of every length are ordinary, longer and empty ones are refused', () => {
  const memtable = Memtable.create(32 * MIB);
  for (let length = 1; length <= MAX_USER_KEY_BYTES; length++) {
    assert.ok(insert(memtable, new Uint8Array(length), length, Uint8Array.of(length)));
    assert.ok(insert(memtable, new Uint8Array(length).fill(0xff), length, Uint8Array.of(length)));
  }
  for (let length = 1; length <= MAX_USER_KEY_BYTES; length++) {
    assert.equal(read(memtable, new Uint8Array(length), LATEST)?.revision, length);
    assert.equal(read(memtable, new Uint8Array(length).fill(0xff), LATEST)?.revision, length);
  }
  assert.throws(() => insert(memtable, new Uint8Array(0), 1, Uint8Array.of(0)), AssertionFailure);
  assert.throws(() => insert(memtable, new Uint8Array(4097), 1, Uint8Array.of(0)), AssertionFailure);
  assert.equal(read(memtable, new Uint8Array(4097), LATEST), undefined);
  const lengths = readForward(memtable.cursor()).map((version) => version.rowKey.length - 4);
  const ascending = Array.from({ length: MAX_USER_KEY_BYTES }, (_, i) => i + 1);
  assert.deepEqual(lengths, [...ascending, ...ascending]);
});

test('memtable: revisions up to 2^53 - 1 are kept and found exactly', () => {
  const memtable = Memtable.create(MIB);
  const key = Uint8Array.of(1);
  const revisions = [0, 1, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 52 + 1, LATEST - 1, LATEST];
  for (const revision of revisions) assert.ok(insert(memtable, key, revision, Uint8Array.of(0)));
  for (const [i, revision] of revisions.entries()) {
    assert.equal(read(memtable, key, revision)?.revision, revision);
    if (revision > 0) assert.equal(read(memtable, key, revision - 1)?.revision, Math.max(revisions[i - 1]!, 0));
  }
  assert.deepEqual([memtable.minRevision, memtable.maxRevision], [0, LATEST]);
  for (const revision of [-1, 0.5, 2 ** 53, Number.NaN]) {
    assert.throws(() => insert(memtable, key, revision, Uint8Array.of(0)), AssertionFailure);
  }
});

test('memtable: one hot row with many versions is read at any revision and in both directions', () => {
  const memtable = Memtable.create(16 * MIB);
  const key = Buffer.from('counter');
  const count = 100_000;
  for (let i = 1; i <= count; i++) assert.ok(insert(memtable, key, i * 2, Uint8Array.of(0)));
  for (let i = 1; i <= count; i += 7) assert.equal(read(memtable, key, i * 2 + 1)?.revision, i * 2);
  assert.equal(read(memtable, key, 1), undefined);
  let expected = 2;
  const cursor = memtable.cursor();
  for (cursor.seekToLast(); cursor.valid; cursor.previous()) {
    if (cursor.revision !== expected) assert.fail(`expected revision ${expected}, found ${cursor.revision}`);
    expected += 2;
  }
  assert.equal(expected, count * 2 + 2);
});

test('memtable: an insert that does not fit changes nothing, and smaller ones still fit', () => {
  const memtable = Memtable.create(64 * 1024);
  const oracle = new Oracle();
  const full = { rows: 0, versions: 0 };
  for (let i = 1; full.rows + full.versions < 600; i++) {
    const key = Buffer.from(i % 2 === 0 ? `key-${i}` : `key-${(i * 2) % 50}`);
    const record = new Uint8Array((i * 37) % 300).fill(i);
    const before = [memtable.usedBytes, memtable.rowCount, memtable.versionCount, memtable.maxRevision];
    const held = oracle.newest(REPLICA, key) >= 0;
    if (insert(memtable, key, i, record)) oracle.insert(REPLICA, key, i, record);
    else {
      full[held ? 'versions' : 'rows']++;
      assert.deepEqual([memtable.usedBytes, memtable.rowCount, memtable.versionCount, memtable.maxRevision], before);
      assert.equal(read(memtable, key, LATEST)?.revision ?? -1, oracle.newest(REPLICA, key));
    }
  }
  assert.ok(full.rows > 0 && full.versions > 0, JSON.stringify(full));
  assert.deepEqual(readForward(memtable.cursor()), oracle.versions);
  assert.ok(memtable.usedBytes > 50 * 1024);
});

test('memtable: a full hash index refuses new rows and still takes new versions', () => {
  const memtable = Memtable.create(64 * 1024);
  const empty = new Uint8Array(0);
  let rows = 0;
  while (insert(memtable, Uint8Array.of(rows, rows >>> 8), 1, empty)) rows++;
  assert.equal(rows, 896);
  assert.ok(memtable.arena.freeWords * 4 > 8192);
  assert.ok(insert(memtable, Uint8Array.of(5, 0), 2, empty));
  assert.equal(read(memtable, Uint8Array.of(rows, rows >>> 8), LATEST), undefined);
});

test('memtable: 100 MiB hold 600,000 rows of 16-byte keys and 100-byte values', () => {
  const memtable = Memtable.create(100 * MIB);
  const key = new Uint8Array(16);
  const record = new Uint8Array(101);
  for (let i = 0; i < 600_000; i++) {
    new DataView(key.buffer).setUint32(4, Math.imul(i, 0x9e3779b1));
    if (!insert(memtable, key, i, record)) assert.fail(`full after ${i} rows`);
  }
  assert.equal(memtable.rowCount, 600_000);
});

test('memtable: minSizeBytes is enough for one entry of the largest size', () => {
  for (const [keyLength, recordLength] of [
    [1, 0],
    [4096, 0],
    [4096, 20_000],
    [16, 16 * MIB + 265],
  ] as const) {
    const memtable = Memtable.create(Memtable.minSizeBytes(keyLength, recordLength));
    const record = new Uint8Array(recordLength).fill(0xab);
    assert.ok(insert(memtable, new Uint8Array(keyLength).fill(1), 1, record));
    assert.deepEqual(read(memtable, new Uint8Array(keyLength).fill(1), 1), { revision: 1, record });
  }
});

test('LSM rule 15: entries and nodes beyond 2 GiB of an arena are read and written where they are', (context) => {
  let memtable: Memtable;
  try {
    // Only the pages that are touched take memory.
    memtable = Memtable.create(3 * 1024 ** 3);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    context.skip('no address space for 3 GiB');
    return;
  }
  const oracle = new Oracle();
  for (let i = 0; i < 300; i++) {
    if (i === 150) memtable.arena.entryTail = (2 ** 31 + 2 ** 29) / 4 - 77;
    const key = Buffer.from(`key-${(i * 7919) % 211}`);
    const record = new Uint8Array(i * 3).fill(i);
    assert.ok(insert(memtable, key, i, record));
    oracle.insert(REPLICA, key, i, record);
    assert.deepEqual(read(memtable, key, LATEST), { revision: i, record });
  }
  const cursor = memtable.cursor();
  cursor.seekToLast();
  assert.deepEqual(currentVersion(cursor), oracle.versions.at(-1));
  assert.deepEqual(readForward(memtable.cursor()), oracle.versions);
  assert.deepEqual(readBackward(memtable.cursor()), oracle.versions.toReversed());
});

test('memtable: sizes that no arena can have are refused', () => {
  assert.throws(() => Memtable.create(1024), /expected 16384 to 4294967296 bytes, found 1024/);
});
