import { performance } from 'node:perf_hooks';
import type { Clock, Timer } from '../ports/clock.js';

/** The longest delay that `setTimeout` takes; above it Node fires after 1 ms. */
const LONGEST_DELAY_MS = 2 ** 31 - 1;

export class NodeClock implements Clock {
  wallMs(): number {
    return Date.now();
  }

  monotonicMs(): number {
    return performance.now();
  }

  setTimer(delayMs: number, callback: () => void): Timer {
    return new NodeTimer(delayMs, callback);
  }

  defer(callback: () => void): void {
    setImmediate(callback);
  }
}

class NodeTimer implements Timer {
  readonly #dueMs: number;
  readonly #callback: () => void;
  #handle: NodeJS.Timeout;

  constructor(delayMs: number, callback: () => void) {
    this.#dueMs = performance.now() + delayMs;
    this.#callback = callback;
    this.#handle = this.#start(delayMs);
  }

  cancel(): void {
    clearTimeout(this.#handle);
  }

  #start(delayMs: number): NodeJS.Timeout {
    // Rounded up: setTimeout drops the fraction, and a timer must never be early.
    return setTimeout(this.#fire, Math.min(Math.ceil(delayMs), LONGEST_DELAY_MS)).unref();
  }

  readonly #fire = (): void => {
    // libuv's clock is cached in whole milliseconds and may be up to 1 ms ahead of performance.now.
    const remainingMs = this.#dueMs - performance.now();
    if (remainingMs > 0) this.#handle = this.#start(remainingMs);
    else this.#callback();
  };
}
