import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Clock } from '../../src/ports/clock.js';
import { inWorld, type PortWorld } from './port-world.js';

/** What every clock must do; `name` says which one is tried. */
export function clockConformance(name: string, make: () => PortWorld<Clock>): void {
  const check = (behaviour: string, body: (clock: Clock, world: PortWorld<Clock>) => Promise<void>): void => {
    void test(`${name}: ${behaviour}`, () =>
      inWorld<Clock, PortWorld<Clock>>(make, (world) => body(world.port, world)));
  };

  check('the wall clock is a whole number of milliseconds of this century', async (clock) => {
    const now = clock.wallMs();
    assert.ok(Number.isSafeInteger(now));
    assert.ok(now > Date.UTC(2025, 0, 1) && now < Date.UTC(2100, 0, 1), `found ${now}`);
  });

  check('monotonic time never goes back', async (clock, world) => {
    let last = clock.monotonicMs();
    for (let turn = 0; turn < 20; turn++) {
      let called = false;
      clock.setTimer(turn % 3, () => {
        called = true;
      });
      await world.until(() => called);
      assert.ok(clock.monotonicMs() >= last);
      last = clock.monotonicMs();
    }
  });

  check('a timer calls back once and never early', async (clock, world) => {
    const start = clock.monotonicMs();
    const calls: number[] = [];
    for (const delayMs of [0, 0.5, 1, 3.7, 12]) {
      clock.setTimer(delayMs, () => {
        calls.push(delayMs);
        const waited = clock.monotonicMs() - start;
        assert.ok(waited >= delayMs, `expected at least ${delayMs} ms, found ${waited}`);
      });
    }
    await world.until(() => calls.length === 5);
    let later = false;
    clock.setTimer(5, () => {
      later = true;
    });
    await world.until(() => later);
    assert.deepEqual(
      calls.toSorted((a, b) => a - b),
      [0, 0.5, 1, 3.7, 12],
    );
  });

  check('timers far apart call back in the order of their delays', async (clock, world) => {
    const calls: number[] = [];
    for (const delayMs of [40, 20, 0]) clock.setTimer(delayMs, () => calls.push(delayMs));
    await world.until(() => calls.length === 3);
    assert.deepEqual(calls, [0, 20, 40]);
  });

  check('a timer is not called within the call that sets it', async (clock, world) => {
    let called = false;
    clock.setTimer(0, () => {
      called = true;
    });
    assert.equal(called, false);
    await world.until(() => called);
  });

  check('a cancelled timer never calls back', async (clock, world) => {
    let called = false;
    let later = false;
    const timer = clock.setTimer(1, () => {
      called = true;
    });
    clock.setTimer(10, () => {
      later = true;
    });
    timer.cancel();
    timer.cancel();
    await world.until(() => later);
    assert.equal(called, false);
  });

  check('cancelling after the call back does nothing', async (clock, world) => {
    let calls = 0;
    const timer = clock.setTimer(0, () => {
      calls++;
      timer.cancel();
    });
    await world.until(() => calls > 0);
    timer.cancel();
    assert.equal(calls, 1);
  });

  check('deferred calls run in order, after the promises that are settled now', async (clock, world) => {
    const order: string[] = [];
    clock.defer(() => order.push('deferred first'));
    clock.defer(() => order.push('deferred second'));
    void Promise.resolve().then(async () => {
      await Promise.resolve();
      order.push('promise');
    });
    order.push('now');
    await world.until(() => order.length === 4);
    assert.deepEqual(order, ['now', 'promise', 'deferred first', 'deferred second']);
  });

  check('what a deferred call defers runs later, not in the same row', async (clock, world) => {
    const order: string[] = [];
    clock.defer(() => {
      order.push('a');
      clock.defer(() => order.push('c'));
    });
    clock.defer(() => order.push('b'));
    await world.until(() => order.length === 3);
    assert.deepEqual(order, ['a', 'b', 'c']);
  });
}
