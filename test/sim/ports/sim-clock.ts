import { assert } from '../../../src/base/assert.js';
import type { Clock, Timer } from '../../../src/ports/clock.js';
import type { EventSource } from './scheduler.js';

export interface SimClockOptions {
  /** What the wall clock shows when the world begins. */
  readonly wallMs?: number;
  /** How fast this clock runs: 1.01 gains 10 ms a second. Both clocks and the timers follow it. */
  readonly rate?: number;
}

/** 2026-01-01: after the epoch of revisions. */
const DEFAULT_WALL_MS = Date.UTC(2026, 0, 1);

/** Of a timer. What is left of a time-out by rounding is so short that time would not go on. */
const FINEST_MS = 0.001;

/** One node's clock over the world's time. */
export class SimClock implements Clock {
  readonly #scheduler: EventSource;
  #rate: number;
  /** It showed the first at the second of the world's time. */
  #anchorMs = 0;
  #anchorWorldMs = 0;
  #wallOffsetMs: number;
  #stopped = false;

  constructor(scheduler: EventSource, options: SimClockOptions = {}) {
    this.#scheduler = scheduler;
    this.#rate = options.rate ?? 1;
    this.#wallOffsetMs = options.wallMs ?? DEFAULT_WALL_MS;
    assert(this.#rate > 0, `a clock's rate is above 0, found ${this.#rate}`);
  }

  wallMs(): number {
    return Math.floor(this.monotonicMs() + this.#wallOffsetMs);
  }

  monotonicMs(): number {
    return this.#anchorMs + (this.#scheduler.nowMs - this.#anchorWorldMs) * this.#rate;
  }

  setTimer(delayMs: number, callback: () => void): Timer {
    const delayOfWorldMs = delayMs <= 0 ? 0 : Math.max(FINEST_MS, delayMs / this.#rate);
    return this.#scheduler.schedule(delayOfWorldMs, () => {
      if (!this.#stopped) callback();
    });
  }

  defer(callback: () => void): void {
    this.#scheduler.defer(() => {
      if (!this.#stopped) callback();
    });
  }

  /** Moves the wall clock by this much, in either direction; timers don't notice. */
  jumpWall(differenceMs: number): void {
    this.#wallOffsetMs += differenceMs;
  }

  /** Runs faster or slower from now on. Timers that are set keep their time. */
  drift(rate: number): void {
    assert(rate > 0, `a clock's rate is above 0, found ${rate}`);
    this.#anchorMs = this.monotonicMs();
    this.#anchorWorldMs = this.#scheduler.nowMs;
    this.#rate = rate;
  }

  /** The node is dead: none of its timers fires any more. */
  stop(): void {
    this.#stopped = true;
  }
}
