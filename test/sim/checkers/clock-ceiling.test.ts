import assert from 'node:assert/strict';
import { test } from 'node:test';
import { revisionAtMs } from '../../../src/replica/revision-clock.js';
import { ClockCeiling } from './clock-ceiling.js';

const START_MS = Date.UTC(2026, 0, 1);
const DAY_MS = 86_400_000;

class World {
  nowMs = 0;
  readonly offsetsMs: number[];
  readonly ceiling: ClockCeiling;

  constructor(...offsetsMs: number[]) {
    this.offsetsMs = offsetsMs;
    this.ceiling = new ClockCeiling({
      wallMs: () => this.offsetsMs.map((offset) => START_MS + this.nowMs + offset),
      nowMs: () => this.nowMs,
      fastestRate: 1,
    });
    this.ceiling.look();
  }

  check(aheadMs: number): void {
    this.ceiling.check(revisionAtMs(START_MS + this.nowMs + aheadMs), 'revision');
  }
}

test('a revision may be half a second ahead of the median clock, whatever a minority shows', () => {
  const world = new World(0, 0, DAY_MS);
  world.check(500);
  assert.throws(() => world.check(600), /Raft rule 20: .* 90 ms ahead/);
  world.nowMs += 10_000;
  world.check(500);
  assert.throws(() => world.check(DAY_MS));
});

test('what most clocks once showed is not too far ahead, also after they were set back', () => {
  const world = new World(0, 0, 0);
  world.offsetsMs[0] = world.offsetsMs[1] = 5000;
  world.ceiling.look();
  world.offsetsMs[0] = world.offsetsMs[1] = -DAY_MS;
  world.nowMs += 1000;
  world.check(5500);
  assert.throws(() => world.check(5600));
});

test('a restart may go on at the durable bound', () => {
  const world = new World(0, 0, 0, 0, DAY_MS);
  world.ceiling.crashed(3000);
  world.check(3500);
  assert.throws(() => world.check(3600));
});
