import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PowerLoss } from '../../sim/ports/power-loss.js';
import { isMutation } from '../../sim/ports/sim-disk.js';
import { append, indexes, type Life, testSeeds, World } from './harness.js';

const SIZES = { segmentBytes: 128 * 1024, ringBytes: 128 * 1024 };

/** Takes all that is free away, as another program does that fills the disk. */
function fillDisk(world: World): void {
  let used = 0;
  for (const path of world.disk.paths()) {
    const file = world.disk.blocking.open(path, 'read');
    used += file.size();
    file.close();
  }
  world.disk.capacityBytes = used;
}

/** Entries until the log refuses them; returns the index of the last one. */
async function fillLog(world: World, life: Life, last: number): Promise<number> {
  while (append(life.log, 1, last + 1, 900)) {
    last++;
    life.log.release(await world.durably(life));
    await world.settle();
  }
  return last;
}

/** What a start appends before the node serves. */
async function beginTerm(world: World, life: Life, index: number): Promise<void> {
  assert.ok(life.log.appendHardState(1, 1, index, 1, index));
  const at = life.log.reserveEntry(1, 1, 1, index, 1000 + index, 1, 0, true);
  assert.ok(at >= 0, 'the first entry of a term finds room');
  await world.durably(life);
}

/** A log on a disk that is full to the last byte, whose first start took the reserve. */
async function fullDisk(seed: number): Promise<{ world: World; last: number }> {
  const world = new World(seed);
  let life = world.start(SIZES);
  await world.settle();
  fillDisk(world);
  let last = await fillLog(world, life, 0);
  assert.equal(life.log.refusal, 'disk_full');
  world.crash();
  fillDisk(world);
  life = world.start(SIZES);
  await beginTerm(world, life, ++last);
  // A write that nobody was answered for leaves a torn tail, or none.
  life.log.appendHardState(2, 2, 1, 1, 1);
  life.log.seal();
  await world.scheduler.runFor(world.prng.unit());
  life.clock.stop();
  world.crash();
  return { world, last };
}

function upTo(last: number): number[] {
  return Array.from({ length: last }, (_, i) => i + 1);
}

test('Raft rule 14: start after start on a disk that stays full comes up, refuses entries and loses nothing', async () => {
  for (const end of ['close', 'kill', 'crash'] as const) {
    const state = await fullDisk(1);
    const { world } = state;
    let { last } = state;
    for (let round = 0; round < 20; round++) {
      fillDisk(world);
      const life = world.start(SIZES);
      assert.deepEqual(indexes(life.entries), upTo(last), `${end}, round ${round}`);
      await beginTerm(world, life, ++last);
      assert.equal(life.log.admission, 'disk_full');
      assert.equal(append(life.log, 1, last + 1), false);
      assert.equal(life.log.refusal, 'disk_full');
      if (end === 'close') await world.close(life);
      life.clock.stop();
      assert.deepEqual(life.failures, []);
      if (end === 'crash') world.crash();
      else world.kill();
    }
    world.disk.capacityBytes = Infinity;
    const life = world.start(SIZES);
    assert.deepEqual(indexes(life.entries), upTo(last));
    await world.settle();
    assert.ok(append(life.log, 1, last + 1), 'and takes entries when there is space');
    assert.ok(
      world.disk.paths().some((path) => path.endsWith('.reserve')),
      'and makes its reserve again',
    );
  }
});

test('Raft rule 14: a log that went on after a start on a full disk takes entries as soon as there is space', async () => {
  const { world, last } = await fullDisk(2);
  fillDisk(world);
  const life = world.start(SIZES);
  await beginTerm(world, life, last + 1);
  assert.equal(append(life.log, 1, last + 2), false);
  world.disk.capacityBytes = Infinity;
  await world.scheduler.runFor(2000);
  assert.equal(life.log.admission, 'open');
  assert.ok(append(life.log, 1, last + 2));
  await world.durably(life);
  world.crash();
  assert.deepEqual(indexes(world.start(SIZES).entries), upTo(last + 2));
});

test('clock bounds alone leave the next start on a full disk its room', async () => {
  const { world, last } = await fullDisk(3);
  fillDisk(world);
  const life = world.start(SIZES);
  for (let bound = 1; bound <= 1000; bound++) {
    life.log.appendClockBound(1e12 + bound);
    life.log.seal();
    await world.scheduler.runFor(1);
    life.log.release(life.log.durableSequence);
  }
  life.clock.stop();
  world.kill();
  fillDisk(world);
  assert.deepEqual(indexes(world.start(SIZES).entries), upTo(last));
});

test('a first start without space for a whole segment is refused', () => {
  const world = new World(4, { capacityBytes: SIZES.segmentBytes - 1 });
  assert.throws(() => world.start(SIZES), { code: 'ENOSPC' });
});

test('Log rules 1 to 3: a crash at any disk operation of starts on a full disk loses nothing, and the next start comes up', async () => {
  let crashes = 0;
  for (const seed of testSeeds(10)) {
    for (let point = 1; ; point++) {
      const { world, last } = await fullDisk(seed);
      fillDisk(world);
      const { disk } = world;
      const before = disk.mutationCount;
      disk.onOperation = (operation) => {
        if (isMutation(operation) && disk.mutationCount === before + point) disk.powerOff();
      };
      try {
        const life = world.start(SIZES);
        life.clock.stop();
        break;
      } catch (error) {
        if (!(error instanceof PowerLoss)) throw error;
      }
      crashes++;
      if (world.prng.chance(0.7)) world.crash();
      else world.kill();
      // Again while it recovers, or at once.
      if (world.prng.chance(0.5)) {
        const next = world.disk;
        const at = next.mutationCount + world.prng.between(1, 12);
        next.onOperation = (operation) => {
          if (isMutation(operation) && next.mutationCount === at) next.powerOff();
        };
        try {
          world.start(SIZES).clock.stop();
        } catch (error) {
          if (!(error instanceof PowerLoss)) throw error;
          crashes++;
        }
        world.crash();
      }
      const where = `seed ${seed}, point ${point}`;
      const life = world.start(SIZES);
      assert.deepEqual(indexes(life.entries), upTo(last), where);
      await beginTerm(world, life, last + 1);
      life.clock.stop();
      world.crash();
      assert.deepEqual(indexes(world.start(SIZES).entries), upTo(last + 1), where);
    }
  }
  assert.ok(crashes > 50, `only ${crashes} crashes`);
});
