import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Prng } from '../../../src/base/prng.js';
import type { LoggedEntry } from '../../../src/engine/log/entry-reader.js';
import { append, World, type Life } from './harness.js';

const MANY = 1 << 20;

/** Entries of term 1 of two replicas, in turn, in many segments. */
async function filled(world: World, count: number): Promise<Life> {
  const life = world.start();
  for (let index = 1; index <= count; index++) {
    for (const replicaId of [1, 2]) {
      while (!append(life.log, replicaId, index, 100 + (index % 7))) await settled(world, life);
    }
    if (index % 3 === 0) life.log.release(await world.durably(life));
  }
  life.log.release(await world.durably(life));
  return life;
}

/** Durable, and spares are made. */
async function settled(world: World, life: Life): Promise<void> {
  life.log.release(await world.durably(life));
  await world.settle();
}

function read(world: World, { log }: Life, from: number, to: number, maxBytes = MANY, replicaId = 1, term = 1) {
  return world.scheduler.run(log.readEntries({ replicaId, from, to, maxBytes, termAt: () => term }));
}

function shown(entries: readonly LoggedEntry[] | null): string {
  return entries === null ? 'gone' : `${entries[0]!.index}..${entries.at(-1)!.index}`;
}

function isWhole(entries: readonly LoggedEntry[], from: number): boolean {
  return entries.every(({ index, term, revision, kind, data }, i) => {
    const expected = Buffer.alloc(100 + (index % 7), index & 0xff);
    return index === from + i && term === 1 && revision === 1000 + index && kind === 1 && expected.equals(data);
  });
}

test('entries are read back from all segments as they were appended, of the replica that was asked for', async () => {
  const world = new World(1);
  const life = await filled(world, 200);
  assert.ok(life.log.segmentCount > 5);
  const entries = await read(world, life, 3, 190);
  assert.equal(shown(entries), '3..190');
  assert.ok(isWhole(entries!, 3));
  await world.close(life);
});

test('as many entries come as fit into the size that was asked for, and at least one', async () => {
  const world = new World(2);
  const life = await filled(world, 50);
  assert.equal(shown(await read(world, life, 10, 40, 1)), '10..10');
  assert.equal(shown(await read(world, life, 10, 40, 1000)), '10..15');
  await world.close(life);
});

test('a reader that goes on where it stopped gets every entry, whatever the sizes and whoever reads beside it', async () => {
  const world = new World(3);
  const life = await filled(world, 120);
  await fc.assert(
    fc.asyncProperty(
      fc.array(
        fc.record({ replicaId: fc.constantFrom(1, 2), from: fc.integer({ min: 1, max: 120 }), maxBytes: fc.nat(3000) }),
        {
          minLength: 1,
          maxLength: 4,
        },
      ),
      async (readers) => {
        const all = readers.map(async ({ replicaId, from, maxBytes }) => {
          for (let next = from; next <= 120;) {
            const found = await life.log.readEntries({ replicaId, from: next, to: 120, maxBytes, termAt: () => 1 });
            assert.ok(found !== null && isWhole(found, next));
            next += found.length;
          }
        });
        await world.scheduler.run(Promise.all(all));
      },
    ),
    { numRuns: Number(process.env['CAIRN_TEST_SEEDS'] ?? 20) },
  );
  await world.close(life);
});

test('an entry that was replaced is not taken for the one in its place', async () => {
  const world = new World(4);
  const life = world.start();
  const write = (term: number, index: number): void => {
    const at = life.log.reserveEntry(1, 1, term, index, term * 1000 + index, 1, 1);
    life.log.bytes[at] = term;
  };
  for (let index = 1; index <= 6; index++) write(1, index);
  await world.durably(life);
  for (let index = 4; index <= 8; index++) write(2, index);
  await world.durably(life);
  const termAt = (index: number): number => (index < 4 ? 1 : 2);
  const found = await world.scheduler.run(
    life.log.readEntries({ replicaId: 1, from: 2, to: 8, maxBytes: MANY, termAt }),
  );
  assert.deepEqual(
    found!.map(({ index, data }) => `${index}@${data[0]}`),
    ['2@1', '3@1', '4@2', '5@2', '6@2', '7@2', '8@2'],
  );
  await world.close(life);
});

test('entries of an earlier life are read back, also those that its last start copied', async () => {
  const world = new World(5);
  await filled(world, 60);
  world.crash();
  const second = world.start();
  append(second.log, 1, 61, 105);
  await world.durably(second);
  world.crash();
  const third = world.start();
  const entries = await read(world, third, 1, 60);
  assert.equal(shown(entries), '1..60');
  assert.ok(isWhole(entries!, 1));
  await world.close(third);
});

test('what the log has given back, never had or holds of another term only is gone', async () => {
  const world = new World(6);
  const life = await filled(world, 100);
  assert.equal(shown(await read(world, life, 10, 20, MANY, 3)), 'gone');
  assert.equal(shown(await read(world, life, 101, 110)), 'gone');
  assert.equal(shown(await read(world, life, 10, 20, MANY, 1, 2)), 'gone');
  assert.ok((await world.scheduler.run(life.log.releaseBefore(() => 60))) > 1);
  await world.settle();
  assert.equal(shown(await read(world, life, 10, 20)), 'gone');
  assert.equal(shown(await read(world, life, 61, 100)), '61..100');
  await world.close(life);
});

test('LSM rule 11: a damaged record ends a read before it, and nothing of it is handed out', async () => {
  const world = new World(7);
  const life = await filled(world, 100);
  const [, second] = world.disk.paths().filter((name) => name.endsWith('.log'));
  world.disk.flipBit(second!, 600, 2);
  const before = await read(world, life, 1, 100);
  assert.ok(before !== null && before.length < 100 && isWhole(before, 1));
  assert.equal(shown(await read(world, life, before.length + 1, 100)), 'gone');
  await world.close(life);
});

test('an error of the disk makes entries gone, once', async () => {
  const world = new World(8);
  const life = await filled(world, 20);
  world.disk.inject({ operation: 'read', code: 'EIO', path: /\/log\// });
  assert.equal(shown(await read(world, life, 1, 20)), 'gone');
  assert.equal(shown(await read(world, life, 1, 20)), '1..20');
  await world.close(life);
});

test('LSM rule 2: segments that are given back and written over while they are read give whole entries or none', async () => {
  let gone = 0;
  let whole = 0;
  for (let seed = 1; seed <= 40; seed++) {
    const world = new World(seed);
    const prng = new Prng(seed);
    const life = await filled(world, 100);
    const readings = Array.from({ length: 30 }, async (_, i) => {
      await world.scheduler.sleep(i * prng.between(1, 12));
      const found = await life.log.readEntries({
        replicaId: 1,
        from: 1 + i * 3,
        to: 100,
        maxBytes: 600,
        termAt: () => 1,
      });
      if (found === null) gone++;
      else whole++;
      assert.ok(found === null || isWhole(found, 1 + i * 3));
    });
    const writing = (async () => {
      for (let index = 101; index <= 300; index++) {
        while (!append(life.log, 2, index, 900)) await world.scheduler.sleep(5);
        const sequence = life.log.seal();
        await life.log.whenDurable(sequence);
        life.log.release(sequence);
        await life.log.releaseBefore((_group, replicaId) => (replicaId === 1 ? 3 * (index - 100) : index));
      }
    })();
    await world.scheduler.run(Promise.all([...readings, writing]));
    assert.deepEqual(life.failures, []);
    await world.close(life);
  }
  assert.ok(gone > 100 && whole > 100, `${gone} gone, ${whole} whole`);
});

test('a log that closes answers who reads', async () => {
  const world = new World(9);
  const life = await filled(world, 100);
  const first = life.log.readEntries({ replicaId: 1, from: 1, to: 100, maxBytes: MANY, termAt: () => 1 });
  const second = life.log.readEntries({ replicaId: 2, from: 1, to: 100, maxBytes: MANY, termAt: () => 1 });
  await world.close(life);
  const answers = await world.scheduler.run(Promise.all([first, second]));
  for (const answer of answers) assert.ok(answer === null || isWhole(answer, 1));
});
