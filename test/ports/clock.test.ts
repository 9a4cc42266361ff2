import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '../../src/base/prng.js';
import { NodeClock } from '../../src/platform/node-clock.js';
import type { Clock } from '../../src/ports/clock.js';
import { Scheduler } from '../sim/ports/scheduler.js';
import { SimClock } from '../sim/ports/sim-clock.js';
import { clockConformance } from './clock-conformance.js';
import { untilReal, type PortWorld } from './port-world.js';

function simWorld(rate: number): PortWorld<Clock> {
  const scheduler = new Scheduler(new Prng(3));
  return {
    port: new SimClock(scheduler, { rate }),
    settle: (promise) => scheduler.run(promise),
    until: async (condition) => assert.ok(await scheduler.runUntil(condition)),
    close: async () => {},
  };
}

clockConformance('the real clock', () => ({
  port: new NodeClock(),
  settle: (promise) => promise,
  until: untilReal,
  close: async () => {},
}));
clockConformance('the simulated clock', () => simWorld(1));
clockConformance('a fast simulated clock', () => simWorld(1.25));

test('a jump of the simulated wall clock moves neither monotonic time nor timers', async () => {
  const scheduler = new Scheduler(new Prng(1));
  const clock = new SimClock(scheduler, { wallMs: 1_000_000 });
  let firedAt = -1;
  clock.setTimer(100, () => {
    firedAt = clock.monotonicMs();
  });
  clock.jumpWall(-5000);
  assert.equal(clock.wallMs(), 995_000);
  await scheduler.runFor(1000);
  assert.equal(firedAt, 100);
  assert.equal(clock.monotonicMs(), 1000);
  assert.equal(clock.wallMs(), 996_000);
});

test('a clock that runs fast gains on the world and its timers come early for the world', async () => {
  const scheduler = new Scheduler(new Prng(1));
  const clock = new SimClock(scheduler, { rate: 2 });
  let firedAt = -1;
  clock.setTimer(100, () => {
    firedAt = scheduler.nowMs;
  });
  await scheduler.runFor(1000);
  assert.equal(firedAt, 50);
  assert.equal(clock.monotonicMs(), 2000);
});

test('a stopped clock calls nobody', async () => {
  const scheduler = new Scheduler(new Prng(1));
  const clock = new SimClock(scheduler);
  let calls = 0;
  clock.setTimer(1, () => calls++);
  clock.defer(() => calls++);
  clock.stop();
  await scheduler.runFor(10);
  assert.equal(calls, 0);
});
