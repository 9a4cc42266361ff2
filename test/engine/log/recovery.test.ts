import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CairnError, CorruptionError } from '../../../src/base/errors.js';
import { writeUint32 } from '../../../src/base/bytes.js';
import {
  checksumSeed,
  finishRecord,
  RECORD_HEADER_BYTES,
  RECORD_MAGIC,
  recordBodyBytes,
  writeRecordHeader,
} from '../../../src/engine/log/format.js';
import { recoverSegments } from '../../../src/engine/log/recovery.js';
import { DiskError } from '../../../src/ports/disk.js';
import type { SimDisk } from '../../sim/ports/sim-disk.js';
import { append, DIRECTORY, indexes, readFile, World, writeFile } from './harness.js';

const SEGMENT_1 = `${DIRECTORY}/000001.log`;
const SEGMENT_2 = `${DIRECTORY}/000002.log`;
const SEGMENT_3 = `${DIRECTORY}/000003.log`;

/** Entries 1 to 20, each written alone, in two to three segments; how the process ended is up to the caller. */
async function smallLog(seed: number, end: 'clean' | 'killed'): Promise<World> {
  const world = new World(seed);
  const life = world.start({ maxSpareCount: 1 });
  for (let index = 1; index <= 20; index++) {
    await world.settle();
    assert.ok(append(life.log, 1, index, 40 + index));
    life.log.release(await world.durably(life));
  }
  await world.settle();
  assert.equal(life.log.segmentCount, 2);
  if (end === 'clean') await world.close(life);
  life.clock.stop();
  world.kill();
  return world;
}

/** Reads the log without changing it; the indexes of its entries, or null when it is refused as corrupt. */
function tryRecover(disk: SimDisk, segments: number[]): number[] | null {
  const found: number[] = [];
  try {
    recoverSegments(disk.blocking, DIRECTORY, segments, null, {
      entry: (_group, _replicaId, _term, index) => found.push(index),
      hardState: () => undefined,
    });
  } catch (error) {
    assert.ok(error instanceof CorruptionError, `a CorruptionError, found ${String(error)}`);
    assert.match(error.message, /\/data\/log\/00000\d\.log/);
    return null;
  }
  return found;
}

function isPrefix(found: number[]): boolean {
  return found.every((index, i) => index === i + 1);
}

test('Log rule 1: after a clean end every flipped bit is harmless or refused, and nothing is lost', async () => {
  const world = await smallLog(1, 'clean');
  let refused = 0;
  for (const [i, path] of [SEGMENT_1, SEGMENT_2].entries()) {
    const size = readFile(world.disk, path).length;
    for (let offset = 0; offset < size; offset++) {
      const bit = (offset * 5 + i) % 8;
      world.disk.flipBit(path, offset, bit);
      const found = tryRecover(world.disk, [1, 2]);
      world.disk.flipBit(path, offset, bit);
      if (found === null) refused++;
      else assert.equal(found.length, 20, `byte ${offset} of ${path}`);
    }
  }
  // Every byte of headers and items: at least 20 x (48 + 40 + 41).
  assert.ok(refused > 2580, `${refused} refused`);
});

test('Log rule 1: after a crash a flipped bit leaves a right prefix, and below a stated durable offset it is refused', async () => {
  const world = await smallLog(2, 'killed');
  const bytes = readFile(world.disk, SEGMENT_2);
  // The last record is the only one that none after it calls durable.
  let lastAt = 512;
  while (recordBodyBytes(bytes, lastAt + 512) > 0) lastAt += 512;
  let shorter = 0;
  for (const path of [SEGMENT_1, SEGMENT_2]) {
    for (let offset = 0; offset < bytes.length; offset++) {
      const bit = (offset * 3) % 8;
      world.disk.flipBit(path, offset, bit);
      const found = tryRecover(world.disk, [1, 2]);
      world.disk.flipBit(path, offset, bit);
      if (found === null) continue;
      assert.ok(isPrefix(found));
      if (found.length === 20) continue;
      assert.equal(found.length, 19);
      assert.ok(path === SEGMENT_2 && offset >= lastAt && offset < lastAt + 512, `byte ${offset} of ${path}`);
      shorter++;
    }
  }
  assert.equal(shorter, RECORD_HEADER_BYTES + 40 + 60);
});

test('Log rule 1: a log cut at any byte gives a right prefix or is refused', async () => {
  const world = await smallLog(3, 'killed');
  for (const path of [SEGMENT_1, SEGMENT_2]) {
    const bytes = readFile(world.disk, path);
    for (let size = bytes.length - 1; size >= 0; size -= size % 512 < 160 ? 1 : 7) {
      writeFile(world.disk, path, bytes.subarray(0, size));
      const found = tryRecover(world.disk, [1, 2]);
      if (found === null) continue;
      assert.ok(isPrefix(found));
      if (path === SEGMENT_1) assert.equal(found.length, 20, `segment 1 cut to ${size} bytes`);
    }
    writeFile(world.disk, path, bytes);
  }
});

test('Log rule 1: a torn tail is cut durably before the first append', async () => {
  const world = new World(4);
  const life = world.start();
  await world.settle();
  append(life.log, 1, 1);
  await world.durably(life);
  append(life.log, 1, 2);
  await world.durably(life);
  life.clock.stop();
  world.kill();
  // Record 2 is damaged, as a torn write leaves it.
  world.disk.flipBit(SEGMENT_1, 1024 + 100, 3);
  const second = world.start();
  assert.deepEqual(indexes(second.entries), [1]);
  assert.ok(second.log.recovered.tornBytes > 0);
  second.clock.stop();
  world.crash();
  // Were the tail still there, the record would come back now.
  if (readFile(world.disk, SEGMENT_1).length > 1124) world.disk.flipBit(SEGMENT_1, 1024 + 100, 3);
  const third = world.start();
  assert.deepEqual(indexes(third.entries), [1]);
});

test('Log rule 1: what a restart served survives a power failure, also after a failed sync', async () => {
  for (let seed = 1; seed <= 12; seed++) {
    const world = new World(seed);
    const life = world.start();
    await world.settle();
    append(life.log, 1, 1);
    await world.durably(life);
    // The bytes reach the page cache, the disk fails, and the kernel takes the pages for clean: no later sync writes them.
    world.disk.onOperation = (operation, path) => {
      if (operation === 'write' && path === SEGMENT_1) throw new DiskError('EIO', 'write', path);
    };
    append(life.log, 1, 2);
    life.log.seal();
    await world.settle();
    assert.equal(life.failures.length, 1);
    assert.equal(life.durable(), 1);
    world.disk.inject({ operation: 'sync', path: /000001\.log/, code: 'EIO' });
    assert.throws(() => world.disk.blocking.open(SEGMENT_1, 'write').sync(), /EIO/);
    life.clock.stop();
    world.kill();
    const second = world.start();
    assert.deepEqual(indexes(second.entries), [1, 2]);
    second.clock.stop();
    world.crash();
    assert.deepEqual(indexes(world.start().entries), [1, 2]);
  }
});

test('Log rule 1: a record that a user forged without the log id says nothing about what was durable', async () => {
  const world = await smallLog(14, 'killed');
  const bytes = readFile(world.disk, SEGMENT_2);
  let end = 512;
  while (recordBodyBytes(bytes, end) > 0) end += 512;
  const at = end + 1024;
  writeRecordHeader(bytes, at, RECORD_MAGIC, 0, 0, 2, at, 2 ** 52);
  finishRecord(bytes, at, at, checksumSeed(new Uint8Array(16)));
  writeFile(world.disk, SEGMENT_2, bytes);
  const life = world.start();
  assert.equal(life.entries.length, 20);
  assert.equal(life.log.clockBound, 0);
});

test('a missing segment in the middle is corruption, also when it is released segments that are missing at the start', async () => {
  const world = await smallLog(6, 'clean');
  const third = world.start();
  third.clock.stop();
  world.kill();
  assert.ok(world.disk.blocking.exists(SEGMENT_3));
  world.disk.blocking.rename(SEGMENT_2, '/data/elsewhere');
  assert.throws(() => world.start(), /000002\.log: expected a log segment between 1 and 3, found no file/);
  world.disk.blocking.remove(SEGMENT_1);
  world.disk.blocking.rename('/data/elsewhere', SEGMENT_2);
  assert.ok(world.start().entries.length > 0);
});

test('a segment of another log is refused, under its own and under another number', async () => {
  const world = await smallLog(7, 'clean');
  const other = await smallLog(8, 'clean');
  const own = readFile(world.disk, SEGMENT_2);
  writeFile(world.disk, SEGMENT_2, readFile(other.disk, SEGMENT_2));
  assert.throws(() => world.start(), /expected a segment of log [0-9a-f]{32}, found one of log [0-9a-f]{32}/);
  writeFile(world.disk, SEGMENT_2, readFile(world.disk, SEGMENT_1));
  assert.throws(() => world.start(), /expected a valid header of log segment 2/);
  writeFile(world.disk, SEGMENT_2, own);
  assert.equal(world.start().entries.length, 20);
});

test('a log that is not the one of the data directory is refused, and so is none', async () => {
  const world = await smallLog(9, 'clean');
  const expectedLogId = new Uint8Array(16).fill(9);
  assert.throws(() => world.start({ expectedLogId }), CorruptionError);
  assert.throws(() => new World(10).start({ expectedLogId }), /expected the segments of the log/);
  const { logId } = world.start().log;
  world.kill();
  assert.equal(world.start({ expectedLogId: logId }).entries.length, 20);
});

test('an unknown format version is refused with a clear error', async () => {
  const world = await smallLog(11, 'clean');
  const bytes = readFile(world.disk, SEGMENT_1);
  writeUint32(bytes, RECORD_HEADER_BYTES, 2);
  finishRecord(bytes, 0, 0, 0);
  writeFile(world.disk, SEGMENT_1, bytes);
  assert.throws(
    () => world.start(),
    (error) => error instanceof CairnError && error.code === 'configuration' && /format 1, found 2/.test(error.message),
  );
});

test('Log rule 2: a record in a payload, or an old one in a recycled segment, is never taken for a record', async () => {
  const world = new World(12);
  const life = world.start();
  await world.settle();
  const log = life.log;
  let index = 0;
  const image = { bytes: new Uint8Array(0) };
  while (log.segmentCount < 3) {
    await world.settle();
    append(log, 1, ++index, 300);
    log.release(await world.durably(life));
    image.bytes = readFile(world.disk, SEGMENT_1).slice(512, 1024);
  }
  await world.scheduler.run(log.releaseBefore(() => index));
  await world.settle();
  assert.equal(log.segmentCount, 1);
  // The next segment is made of a released file that is full of valid records of its old number.
  const released = index;
  while (log.segmentCount < 2) {
    await world.settle();
    const at = log.reserveEntry(1, 1, 1, ++index, 1000 + index, 1, 1000);
    // A whole old record stands where a scan looks for records.
    log.bytes.set(image.bytes, at + (512 - (at % 512)));
    log.release(await world.durably(life));
  }
  const current = world.disk
    .paths()
    .filter((path) => path.endsWith('.log'))
    .at(-1)!;
  assert.ok(readFile(world.disk, current).length === 8192, 'recycled files keep their size');
  life.clock.stop();
  world.crash();
  const found = indexes(world.start().entries);
  assert.equal(found.at(-1), index);
  for (const [i, one] of found.entries()) assert.equal(one, found[0]! + i);
  assert.ok(found[0]! <= released + 1);
});

test('entries come back in the order of the log, also those that replace earlier ones', () => {
  const world = new World(13);
  const life = world.start();
  for (const [term, index] of [
    [1, 1],
    [1, 2],
    [1, 3],
    [2, 2],
    [2, 3],
  ] as const) {
    life.log.reserveEntry(1, 1, term, index, 1, 0, 0);
  }
  return world.close(life).then(() => {
    world.crash();
    const entries = world.start().entries.map(({ term, index }) => [term, index]);
    assert.deepEqual(entries, [
      [1, 1],
      [1, 2],
      [1, 3],
      [2, 2],
      [2, 3],
    ]);
  });
});

test('Raft rule 20: the bound that a clean end leaves holds over restarts, and one that only a crash cut short does not lower any', async () => {
  for (const isClean of [true, false]) {
    const world = new World(30);
    const first = world.start();
    append(first.log, 1, 1);
    first.log.appendClockBound(5000);
    await world.durably(first);
    // The record of this bound may be durable, though no later one says so.
    first.log.appendClockBound(9000);
    await world.durably(first);
    if (isClean) await world.scheduler.run(first.log.close(() => 4000));
    first.clock.stop();
    world.kill();
    for (let life = 0; life < 3; life++) {
      const next = world.start();
      assert.equal(next.log.clockBound, isClean ? 4000 : 9000, `life ${life}`);
      if (life === 0) assert.equal(next.log.recovered.endedCleanly, isClean);
      assert.deepEqual(indexes(next.entries), [1]);
      next.clock.stop();
      world.crash();
    }
    const last = world.start();
    last.log.appendClockBound(9500);
    await world.durably(last);
    last.clock.stop();
    world.crash();
    assert.equal(world.start().log.clockBound, 9500);
  }
});
