import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CorruptionError } from '../../../src/base/errors.js';
import { recoverSegments } from '../../../src/engine/log/recovery.js';
import type { SimDisk } from '../../sim/ports/sim-disk.js';
import { append, DIRECTORY, readFile, World } from './harness.js';

const SEGMENTS = [1, 2];

interface Found {
  readonly entries: number[];
  /** Terms of group 9. */
  readonly terms: number[];
  readonly lost: number[];
  /** Of the groups 1 to 3, those that the damage may concern. */
  readonly concerned: number[][];
}

/** Entries 1 to 20, one a record, of group 1 and 2 in turn, and in two of the records a vote too. */
async function smallLog(isRepairable: boolean): Promise<World> {
  const world = new World(1);
  const life = world.start({ maxSpareCount: 1, isRepairable });
  for (let index = 1; index <= 20; index++) {
    await world.settle();
    if (index === 5 || index === 15) assert.ok(life.log.appendHardState(9, 9, index, 1, 0));
    // A commit index is no vote.
    if (index === 7) assert.ok(life.log.appendHardState(9, 9, 5, 1, 3));
    assert.ok(append(life.log, 2 - (index % 2), index, 40 + index));
    life.log.release(await world.durably(life));
  }
  await world.settle();
  assert.equal(life.log.segmentCount, SEGMENTS.length);
  await world.close(life);
  world.kill();
  return world;
}

function recover(disk: SimDisk, isRepairable: boolean): Found | string {
  const found: Found = { entries: [], terms: [], lost: [], concerned: [] };
  const sink = {
    entry: (_group: number, _replica: number, _term: number, index: number) => found.entries.push(index),
    hardState: (_group: number, _replica: number, term: number) => found.terms.push(term),
    damaged: (items: number, mayConcern: (group: number) => boolean) => {
      found.lost.push(items);
      found.concerned.push([1, 2, 3].filter(mayConcern));
    },
  };
  try {
    recoverSegments(disk.blocking, DIRECTORY, SEGMENTS, null, sink, isRepairable);
  } catch (error) {
    assert.ok(error instanceof CorruptionError, String(error));
    return error.message;
  }
  return found;
}

test('Raft rule 15: every flipped bit is harmless, or what is lost is told, or a vote is lost and the log refused', async () => {
  const world = await smallLog(true);
  let harmless = 0;
  let told = 0;
  let refused = 0;
  for (const segment of SEGMENTS) {
    const path = `${DIRECTORY}/00000${segment}.log`;
    const size = readFile(world.disk, path).length;
    for (let offset = 0; offset < size; offset++) {
      const bit = (offset * 5) % 8;
      world.disk.flipBit(path, offset, bit);
      const found = recover(world.disk, true);
      world.disk.flipBit(path, offset, bit);
      if (typeof found === 'string') {
        refused++;
        continue;
      }
      const { entries, terms, lost } = found;
      assert.deepEqual(new Set(terms), new Set([5, 15]), `byte ${offset}: no vote is forgotten`);
      if (lost.length === 0) {
        assert.equal(entries.length, 20);
        harmless++;
      } else {
        assert.equal(entries.length, 19);
        assert.ok(lost.length === 1 && lost[0]! >= 1);
        told++;
      }
    }
  }
  assert.ok(harmless > 1000 && told > 2000 && refused > 200, `${harmless} harmless, ${told} told, ${refused} refused`);
});

test('several damaged records are told one by one, each with the most that it can have held', async () => {
  const world = await smallLog(true);
  const path = `${DIRECTORY}/000001.log`;
  for (const record of [2, 6]) world.disk.flipBit(path, 512 * record + 60, 1);
  const found = recover(world.disk, true) as Found;
  assert.deepEqual(found.lost, [12, 12]);
  assert.deepEqual(found.entries.slice(0, 5), [1, 3, 4, 5, 7]);
});

test('of one damaged record it is known which groups had entries in it, of more in a row it is not', async () => {
  const world = await smallLog(true);
  const path = `${DIRECTORY}/000001.log`;
  for (const record of [2, 7]) world.disk.flipBit(path, 512 * record + 60, 1);
  assert.deepEqual((recover(world.disk, true) as Found).concerned, [[2], [1]]);
  world.disk.flipBit(path, 512 * 3 + 60, 1);
  assert.deepEqual((recover(world.disk, true) as Found).concerned, [[1, 2, 3], [1]]);
});

test('a log that no other node can repair is refused, and so is one from before votes were counted', async () => {
  for (const isRepairable of [true, false]) {
    const world = await smallLog(isRepairable);
    world.disk.flipBit(`${DIRECTORY}/000001.log`, 512 * 3 + 100, 1);
    if (isRepairable) assert.equal(typeof recover(world.disk, true), 'object');
    assert.match(recover(world.disk, !isRepairable) as string, /offset 1536: expected a valid record/);
  }
});

test('a lost vote is refused with words that say so', async () => {
  const world = await smallLog(true);
  world.disk.flipBit(`${DIRECTORY}/000001.log`, 512 * 5 + 100, 1);
  assert.match(recover(world.disk, true) as string, /expected 0 changes of a term or vote, found 1 .* a vote is lost/);
});

test('a node goes on behind damage, and its next start reads the same again', async () => {
  const world = await smallLog(true);
  world.disk.flipBit(`${DIRECTORY}/000001.log`, 512 * 3 + 100, 1);
  for (let round = 0; round < 3; round++) {
    const life = world.start({ isRepairable: true });
    assert.deepEqual(
      life.entries.map(({ index }) => index),
      [...Array.from({ length: 20 + round }, (_, i) => i + 1)].filter((index) => index !== 3),
    );
    assert.ok(append(life.log, 1, 21 + round));
    assert.ok(life.log.appendHardState(9, 9, 100 + round, 1, 0));
    await world.durably(life);
    world.crash();
  }
});
