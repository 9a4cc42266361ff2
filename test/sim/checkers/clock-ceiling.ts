import { REVISIONS_PER_MS, revisionAtMs, revisionToMs } from '../../../src/replica/revision-clock.js';
import { InvariantViolation } from './invariant-violation.js';

/** How far ahead of the voters' median clock a leader may be (DESIGN.md section 4). */
const AHEAD_MS = 500;
/** Whole milliseconds, and residues of partitions. */
const ROUNDING_MS = 10;

export interface ClockCeilingOptions {
  /** What the clocks of all nodes show now. */
  readonly wallMs: () => readonly number[];
  readonly nowMs: () => number;
  /** How fast a clock may run at most. */
  readonly fastestRate: number;
}

/**
 * No revision and no instant of a read is further ahead than the clocks of a minority can make them (Raft rule 20). Each node's
 * clock counts with the highest that it showed so far, gone on since: what a node has heard of another one's may be old. A restart may go
 * on at the durable bound, up to 3 s ahead.
 */
export class ClockCeiling {
  readonly #options: ClockCeilingOptions;
  readonly #peaksMs: number[] = [];
  #lookedMs = 0;
  #allowedMs = AHEAD_MS + ROUNDING_MS;

  constructor(options: ClockCeilingOptions) {
    this.#options = options;
  }

  /** Whenever a clock was moved. */
  look(): void {
    const { wallMs, nowMs, fastestRate } = this.#options;
    const sinceMs = (nowMs() - this.#lookedMs) * fastestRate;
    this.#lookedMs = nowMs();
    for (const [node, shownMs] of wallMs().entries()) {
      this.#peaksMs[node] = Math.max((this.#peaksMs[node] ?? 0) + sinceMs, shownMs);
    }
  }

  /** A process ended without a word; its next life begins at its durable bound. */
  crashed(leadMs: number): void {
    this.#allowedMs += leadMs;
  }

  check(instant: number, what: string): void {
    this.look();
    const sorted = [...this.#peaksMs].sort((a, b) => a - b);
    const highestMs = sorted[sorted.length >> 1]! + this.#allowedMs;
    if (instant <= revisionAtMs(highestMs) + REVISIONS_PER_MS) return;
    const ahead = Math.round(revisionToMs(instant) - highestMs);
    throw new InvariantViolation('Raft rule 20', `${what} ${instant} is ${ahead} ms ahead of what most clocks allow`);
  }
}
