import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CorruptionError } from '../../src/base/errors.js';
import { Prng } from '../../src/base/prng.js';
import {
  makeDirectoryDurablySync,
  parentDirectory,
  readExactly,
  readExactlySync,
  readFileSync,
  readFully,
  readFullySync,
  replaceFileSync,
  writeFully,
  writeFullySync,
  writeNewFile,
  writeNewFileSync,
} from '../../src/engine/file-io.js';
import { PowerLoss } from '../sim/ports/power-loss.js';
import { isMutation, SimDisk } from '../sim/ports/sim-disk.js';

const SEEDS = Number(process.env['CAIRN_TEST_SEEDS'] ?? 50);
const BYTES = Uint8Array.from({ length: 5000 }, (_, i) => i % 251);

function shortDisk(): SimDisk {
  return new SimDisk({ prng: new Prng(1), shortTransferProbability: 0.8 });
}

test('LSM rule 13: short blocking writes and reads are looped', () => {
  const file = shortDisk().blocking.open('/a', 'create');
  writeFullySync(file, BYTES, 100);
  const target = new Uint8Array(BYTES.length);
  readExactlySync(file, target, 100);
  assert.deepEqual(target, BYTES);
});

test('LSM rule 13: short asynchronous writes and reads are looped', async () => {
  const file = await shortDisk().open('/a', 'create');
  await writeFully(file, BYTES, 100);
  const target = new Uint8Array(BYTES.length);
  await readExactly(file, target, 100);
  assert.deepEqual(target, BYTES);
});

test('a full read that hits the end returns the count, an exact one calls it corruption', async () => {
  const disk = shortDisk();
  const file = disk.blocking.open('/a', 'create');
  writeFullySync(file, BYTES, 0);
  const target = new Uint8Array(100);
  assert.equal(readFullySync(file, target, 4990), 10);
  assert.equal(readFullySync(file, target, 9000), 0);
  const expected = (error: unknown): boolean =>
    error instanceof CorruptionError &&
    error.message === '/a: expected 100 bytes at offset 4990, found 10 bytes before the end of the file';
  assert.throws(() => readExactlySync(file, target, 4990), expected);
  const other = await disk.open('/a', 'read');
  assert.equal(await readFully(other, target, 4990), 10);
  await assert.rejects(readExactly(other, target, 4990), expected);
});

test('nothing to read or write is no call at all', () => {
  const disk = shortDisk();
  const file = disk.blocking.open('/a', 'create');
  writeFullySync(file, new Uint8Array(0), 0);
  assert.equal(disk.operationCount('write'), 0);
  readExactlySync(file, new Uint8Array(0), 0);
});

test('LSM rule 3: a new file is durable with its name when the call returns', async () => {
  for (let seed = 0; seed < SEEDS; seed++) {
    const disk = shortDisk();
    makeDirectoryDurablySync(disk.blocking, '/a/b/c');
    writeNewFileSync(disk.blocking, '/a/b/c/blocking', BYTES);
    await writeNewFile(disk, '/a/b/c/async', BYTES);
    const after = disk.crash(new Prng(seed));
    assert.deepEqual(readFileSync(after.blocking, '/a/b/c/blocking'), BYTES);
    assert.deepEqual(readFileSync(after.blocking, '/a/b/c/async'), BYTES);
  }
});

test('LSM rule 3: directories are durable after the call, also when an earlier process was killed while it made them', () => {
  for (let at = 1; at <= 8; at++) {
    for (let seed = 0; seed < SEEDS; seed++) {
      let disk = new SimDisk({ prng: new Prng(seed) });
      let left = at;
      disk.onOperation = (operation) => {
        if (isMutation(operation) && --left === 0) disk.powerOff();
      };
      try {
        makeDirectoryDurablySync(disk.blocking, '/a/b/c');
      } catch (error) {
        assert.ok(error instanceof PowerLoss);
      }
      disk = disk.processExit();
      makeDirectoryDurablySync(disk.blocking, '/a/b/c');
      assert.equal(disk.crash(new Prng(seed)).blocking.exists('/a/b/c'), true);
    }
  }
});

test('a replaced file holds the old content or the new, whichever operation a crash hits', () => {
  const seen = new Set<string>();
  const count = (() => {
    const disk = new SimDisk({ prng: new Prng(1) });
    writeNewFileSync(disk.blocking, '/a', Buffer.from('old'));
    const before = disk.mutationCount;
    replaceFileSync(disk.blocking, '/a', '/a.new', Buffer.from('new'));
    return disk.mutationCount - before;
  })();
  for (let at = 1; at <= count; at++) {
    for (let seed = 0; seed < SEEDS; seed++) {
      const disk = new SimDisk({ prng: new Prng(seed) });
      writeNewFileSync(disk.blocking, '/a', Buffer.from('old'));
      let left = at;
      disk.onOperation = (operation) => {
        if (isMutation(operation) && --left === 0) disk.powerOff();
      };
      assert.throws(() => replaceFileSync(disk.blocking, '/a', '/a.new', Buffer.from('new')), PowerLoss);
      const after = disk.crash(new Prng(seed));
      seen.add(Buffer.from(readFileSync(after.blocking, '/a')).toString());
      // A left-over of the crash does not stop the next attempt.
      replaceFileSync(after.blocking, '/a', '/a.new', Buffer.from('newer'));
    }
  }
  assert.deepEqual(seen, new Set(['old', 'new']));
});

test('parentDirectory cuts the last part', () => {
  const cases = { a: '.', 'a/b': 'a', 'a/b/': 'a', '/a': '/', '/a/': '/', '/a/b': '/a', '/': '/' };
  for (const [path, parent] of Object.entries(cases)) assert.equal(parentDirectory(path), parent, path);
});
