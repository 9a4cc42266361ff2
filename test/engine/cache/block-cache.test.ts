import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { BlockCache } from '../../../src/engine/cache/block-cache.js';
import { RecentMisses } from '../../../src/engine/cache/recent-misses.js';
import { ReadLimiter } from '../../../src/engine/cache/read-limiter.js';
import { Block } from '../../../src/lsm/table/block.js';

/** The smallest thing that counts as a block, of a given size. */
function blockOf(sizeBytes: number): Block {
  const bytes = new Uint8Array(sizeBytes);
  bytes[sizeBytes - 4] = 1;
  return new Block(bytes, 'test');
}

const step = fc.oneof(
  fc.record({
    kind: fc.constant('add' as const),
    file: fc.nat(4),
    offset: fc.nat(9),
    size: fc.integer({ min: 20, max: 900 }),
  }),
  fc.record({ kind: fc.constant('get' as const), file: fc.nat(4), offset: fc.nat(9) }),
  fc.record({ kind: fc.constant('drop' as const), file: fc.nat(4) }),
);

test('the cache never holds more bytes than it may, and never gives a block that was not added there', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const cache = new BlockCache(3000);
      const added = new Map<string, Block>();
      for (const action of steps) {
        if (action.kind === 'drop') {
          cache.dropFile(action.file);
          for (const name of [...added.keys()]) if (name.startsWith(`${action.file}:`)) added.delete(name);
          continue;
        }
        const name = `${action.file}:${action.offset}`;
        if (action.kind === 'add') {
          const block = added.get(name) ?? blockOf(action.size);
          added.set(name, block);
          cache.add(action.file, action.offset, block);
          assert.ok(cache.bytes <= 3000);
        } else {
          const found = cache.get(action.file, action.offset);
          assert.ok(found === undefined || found === added.get(name), name);
        }
      }
      for (const file of [0, 1, 2, 3, 4]) cache.dropFile(file);
      assert.equal(cache.bytes, 0);
      assert.equal(cache.count, 0);
    }),
  );
});

test('a block that was used since the hand passed outlives one that was not', () => {
  const cache = new BlockCache(4 * (1000 + 256));
  for (let offset = 0; offset < 4; offset++) cache.add(1, offset, blockOf(1000));
  for (let round = 0; round < 20; round++) {
    assert.notEqual(cache.get(1, 0), undefined, `round ${round}`);
    cache.add(2, round, blockOf(1000));
  }
});

test('a block larger than the cache is not kept, and a cache of 0 bytes keeps nothing', () => {
  const cache = new BlockCache(0);
  cache.add(1, 0, blockOf(20));
  assert.equal(cache.get(1, 0), undefined);
  assert.equal(cache.count, 0);
});

test('at most so many reads are under way, the others wait in order', async () => {
  const limiter = new ReadLimiter(2);
  const started: number[] = [];
  const finish: (() => void)[] = [];
  const tasks = [0, 1, 2, 3].map((i) =>
    limiter.run(
      () =>
        new Promise<void>((resolve, reject) => {
          started.push(i);
          finish[i] = i === 1 ? () => reject(new Error('failed')) : resolve;
        }),
    ),
  );
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
  await turn();
  assert.deepEqual(started, [0, 1]);
  finish[1]!();
  await assert.rejects(tasks[1]!);
  await turn();
  assert.deepEqual(started, [0, 1, 2]);
  finish[0]!();
  finish[2]!();
  await turn();
  assert.deepEqual(started, [0, 1, 2, 3]);
  finish[3]!();
  await Promise.all([tasks[0], tasks[2], tasks[3]]);
});

test('while there is room every block is wanted, then those that are missed again', () => {
  const cache = new BlockCache(3000);
  const handle = (offset: number): { offset: number; sizeBytes: number } => ({ offset, sizeBytes: 500 });
  assert.equal(cache.wants(1, handle(0)), true);
  for (let i = 0; i < 4; i++) cache.add(1, i * 500, blockOf(500));
  assert.equal(cache.wants(1, handle(90_000)), false);
  assert.equal(cache.wants(2, handle(90_000)), false, 'the same place of another file is another block');
  assert.equal(cache.wants(1, handle(90_000)), true);
});

test('a miss long ago is forgotten', () => {
  const misses = new RecentMisses(64);
  assert.equal(misses.add(1, 0), false);
  for (let i = 1; i <= 2000; i++) misses.add(1, i * 4096);
  assert.equal(misses.add(1, 0), false);
  assert.equal(misses.add(1, 0), true);
  assert.equal(misses.add(1, 2 ** 33), false, 'offsets above 4 GiB count whole');
});
