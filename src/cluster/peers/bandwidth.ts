import type { Clock } from '../../ports/clock.js';

/** Time by which senders may run ahead of the rate. */
const BURST_MS = 20;

/** A rate that all bulk streams of a node share, first come, first served. */
export class Bandwidth {
  readonly #clock: Clock;
  readonly #bytesPerMs: number;
  /** When everything that was let through would be sent at exactly the rate. */
  #doneMs = 0;

  constructor(clock: Clock, bytesPerSecond: number) {
    this.#clock = clock;
    this.#bytesPerMs = bytesPerSecond / 1000;
  }

  /** Milliseconds to wait before these bytes may go; they count as sent then. */
  take(bytes: number): number {
    const nowMs = this.#clock.monotonicMs();
    const startMs = Math.max(nowMs, this.#doneMs);
    this.#doneMs = startMs + bytes / this.#bytesPerMs;
    return Math.max(0, startMs - nowMs - BURST_MS);
  }
}
