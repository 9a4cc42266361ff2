import { performance } from 'node:perf_hooks';
import { NodeClock } from './node-clock.js';
import type { Timer } from '../ports/clock.js';

/** The system's clock with timers that keep the process alive: a client that waits to connect again must not vanish. */
export class HoldingClock extends NodeClock {
  override setTimer(delayMs: number, callback: () => void): Timer {
    const dueMs = performance.now() + delayMs;
    const wait = (remainingMs: number): NodeJS.Timeout =>
      setTimeout(() => {
        // As in NodeClock: setTimeout may be early by a fraction of a millisecond.
        const leftMs = dueMs - performance.now();
        if (leftMs > 0) handle = wait(leftMs);
        else callback();
      }, Math.ceil(remainingMs));
    let handle = wait(delayMs);
    return { cancel: () => clearTimeout(handle) };
  }
}
