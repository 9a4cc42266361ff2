import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SharedRounds } from '../../../src/cluster/instants/shared-rounds.js';
import type { Clock } from '../../../src/ports/clock.js';

interface Run {
  readonly partitions: readonly number[];
  readonly onHeld: () => void;
  readonly resolve: (result: string) => void;
  readonly reject: (error: Error) => void;
}

class World {
  readonly runs: Run[] = [];
  readonly #deferred: (() => void)[] = [];
  readonly rounds = new SharedRounds<string>(
    { defer: (callback: () => void) => void this.#deferred.push(callback) } as Clock,
    (partitions, onHeld) =>
      new Promise((resolve, reject) => void this.runs.push({ partitions, onHeld, resolve, reject })),
  );

  endTurn(): void {
    for (const callback of this.#deferred.splice(0)) callback();
  }
}

test('reads of one turn share a round over all that they read', async () => {
  const world = new World();
  const reads = [world.rounds.join([1, 2]), world.rounds.join([2, 3])];
  assert.equal(world.runs.length, 0);
  world.endTurn();
  assert.deepEqual(world.runs[0]!.partitions, [1, 2, 3]);
  world.runs[0]!.resolve('first');
  assert.deepEqual(await Promise.all(reads), ['first', 'first']);
});

test('a read joins the round that gathers its leaders, but not one that all hold for', async () => {
  const world = new World();
  const first = world.rounds.join([1, 2, 3]);
  world.endTurn();
  const early = world.rounds.join([2]);
  const other = world.rounds.join([4]);
  world.endTurn();
  assert.equal(world.runs.length, 1, 'who reads something else waits for the next');
  world.runs[0]!.onHeld();
  assert.deepEqual(world.runs[1]!.partitions, [4]);
  const late = world.rounds.join([2]);
  world.endTurn();
  assert.equal(world.runs.length, 2);
  world.runs[0]!.resolve('first');
  world.runs[1]!.onHeld();
  world.runs[1]!.resolve('second');
  world.runs[2]!.resolve('third');
  assert.deepEqual(await Promise.all([first, early, other, late]), ['first', 'first', 'second', 'third']);
});

test('a round that fails tells all that share it, and makes room for the next', async () => {
  const world = new World();
  const reads = [world.rounds.join([1]), world.rounds.join([1])];
  world.endTurn();
  const next = world.rounds.join([2]);
  world.runs[0]!.reject(new Error('no leader'));
  for (const read of reads) await assert.rejects(read, /no leader/);
  world.runs[1]!.resolve('second');
  assert.equal(await next, 'second');
});
