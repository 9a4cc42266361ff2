import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '../../../src/base/prng.js';
import { Scheduler } from './scheduler.js';

/** Some actors that sleep, settle promises and defer; the order in which they speak. */
async function trace(seed: number): Promise<string[]> {
  const prng = new Prng(seed);
  const scheduler = new Scheduler(prng);
  const heard: string[] = [];
  const actor = async (name: string): Promise<void> => {
    for (let step = 0; step < 20; step++) {
      await scheduler.sleep(prng.below(3));
      heard.push(`${name}${step}@${scheduler.nowMs}`);
      if (prng.chance(0.3)) await new Promise<void>((resolve) => scheduler.defer(resolve));
      for (let depth = prng.below(5); depth > 0; depth--) await Promise.resolve();
      heard.push(`${name}${step}`);
    }
  };
  await scheduler.run(Promise.all([actor('a'), actor('b'), actor('c')]));
  return heard;
}

test('one seed gives one order of events, also through promises', async () => {
  for (const seed of [1, 2, 3]) assert.deepEqual(await trace(seed), await trace(seed));
  assert.notDeepEqual(await trace(1), await trace(2));
});

test('events run in the order of time, and time stands at each while it runs', async () => {
  const scheduler = new Scheduler(new Prng(1));
  const times: number[] = [];
  for (const delayMs of [5, 1, 3, 3, 0, 9]) scheduler.schedule(delayMs, () => times.push(scheduler.nowMs));
  await scheduler.runUntil(() => scheduler.isIdle);
  assert.deepEqual(times, [0, 1, 3, 3, 5, 9]);
});

test('events due at the same time run in different orders for different seeds', async () => {
  const orders = new Set<string>();
  for (let seed = 0; seed < 50; seed++) {
    const scheduler = new Scheduler(new Prng(seed));
    let order = '';
    for (const name of 'abc') scheduler.schedule(1, () => (order += name));
    await scheduler.runFor(1);
    orders.add(order);
  }
  assert.equal(orders.size, 6);
});

test('all microtasks of an event run before the next event', async () => {
  const scheduler = new Scheduler(new Prng(1));
  const order: string[] = [];
  scheduler.schedule(1, () => {
    void (async () => {
      for (let depth = 0; depth < 50; depth++) await Promise.resolve();
      order.push('microtask');
    })();
  });
  scheduler.schedule(1.001, () => order.push('event'));
  await scheduler.runFor(2);
  assert.deepEqual(order, ['microtask', 'event']);
});

test('runFor runs what is due and leaves time at its end', async () => {
  const scheduler = new Scheduler(new Prng(1));
  let calls = 0;
  for (const delayMs of [10, 20, 20.5]) scheduler.schedule(delayMs, () => calls++);
  await scheduler.runFor(20);
  assert.equal(calls, 2);
  assert.equal(scheduler.nowMs, 20);
  await scheduler.runFor(1);
  assert.equal(calls, 3);
});

test('a promise that can never settle is reported as stuck', async () => {
  const scheduler = new Scheduler(new Prng(1));
  await assert.rejects(scheduler.run(new Promise(() => {})), /stuck at 0 ms/);
});

test('an error thrown by an event, or reported by fail, ends the run', async () => {
  const scheduler = new Scheduler(new Prng(1));
  scheduler.schedule(1, () => {
    throw new Error('thrown');
  });
  scheduler.schedule(2, () => scheduler.fail(new Error('reported')));
  await assert.rejects(scheduler.runFor(5), /thrown/);
  await assert.rejects(scheduler.runFor(5), /reported/);
});
