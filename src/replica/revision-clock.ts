import { assert } from '../base/assert.js';
import { MAX_PEER_REVISION } from '../codec/peer-protocol.js';
import type { Clock } from '../ports/clock.js';
import type { Revision } from '../lsm/row-key.js';

/** 2025-01-01T00:00:00Z: revisions count milliseconds from here, so that they stay exact until 2094. */
export const REVISION_EPOCH_MS = 1_735_689_600_000;
/** Revisions within one millisecond. */
export const REVISIONS_PER_MS = 4096;
export const MAX_REVISION: Revision = Number.MAX_SAFE_INTEGER - 1;

/** How far ahead of the clock the durable bound is set. A crash may make expiry early by at most this. */
const BOUND_LEAD = 3_000 * REVISIONS_PER_MS;
/** The bound is renewed with the next log record when less than this is left of it. */
const BOUND_RENEWAL = 1_500 * REVISIONS_PER_MS;

/**
 * How fast time goes on while it is ahead of the wall clock, because that was set back or the durable bound of a crashed life lay
 * ahead of it: a little slower, so that the lead ends (3 s of a crash in 48 s). A ttl then lasts by as little longer.
 */
const REVISIONS_PER_MS_AHEAD = (REVISIONS_PER_MS * 15) / 16;

export function revisionAtMs(wallMs: number): Revision {
  return Math.max(0, (wallMs - REVISION_EPOCH_MS) * REVISIONS_PER_MS);
}

export function revisionToMs(revision: Revision): number {
  return Math.floor(revision / REVISIONS_PER_MS) + REVISION_EPOCH_MS;
}

/**
 * The node's hybrid logical clock. It never goes back, also over restarts with the wall clock set back: every instant that
 * it gives out is at or below a bound that is durable (DESIGN.md section 4). Callers that are about to rely on an
 * instant above `durableBound` must wait until a log record with a higher bound is durable; a write needs no extra
 * wait, because the record that carries it carries the bound too.
 */
export class RevisionClock {
  readonly #clock: Clock;
  /** No revision at or below this may be given any more: a read, a scan or an earlier life of the node relied on it. */
  #floor: Revision;
  /** The highest revision given to an entry. Other groups may still give lower ones. */
  #given: Revision = 0;
  #durableBound: Revision;
  /** The highest bound handed to the log, durable or not yet. */
  #requestedBound: Revision;
  /** Time was at the first at the second, and goes on from there where the wall clock shows less. */
  #anchor: Revision;
  #anchorMs: number;
  #isStopped = false;
  readonly #capAt: (monotonicMs: number) => Revision;

  /** `capAt`: where time stops to follow the wall clock, because those of the other nodes show much less; Infinity when alone. */
  constructor(clock: Clock, recoveredBound: Revision, capAt: (monotonicMs: number) => Revision = () => Infinity) {
    this.#clock = clock;
    this.#capAt = capAt;
    this.#floor = recoveredBound;
    this.#durableBound = recoveredBound;
    this.#requestedBound = recoveredBound;
    this.#anchor = recoveredBound;
    this.#anchorMs = clock.monotonicMs();
  }

  get floor(): Revision {
    return this.#floor;
  }

  /** The highest instant that somebody relies on or that was given to an entry. Time itself may be ahead of it. */
  get promised(): Revision {
    return this.#given > this.#floor ? this.#given : this.#floor;
  }

  /** What the wall clock shows, as far as other nodes take it. */
  get wall(): Revision {
    return Math.min(revisionAtMs(this.#clock.wallMs()), MAX_PEER_REVISION);
  }

  get durableBound(): Revision {
    return this.#durableBound;
  }

  /**
   * This instant: at least the wall clock up to its cap, everything relied on before, and every revision given. Writes judge expiry at their
   * revision, so reads that judged it below would bring back what a write has called expired.
   */
  now(): Revision {
    return this.#time(this.promised);
  }

  /**
   * Time stands still from now on, and is returned: a life that ends cleanly leaves it to the next one instead of the bound. No
   * revision may be given any more.
   */
  stop(): Revision {
    const now = this.now();
    this.#isStopped = true;
    this.#durableBound = now;
    return now;
  }

  /** At least `least`, at least the wall clock up to its cap, and never back. */
  #time(least: Revision): Revision {
    const nowMs = this.#clock.monotonicMs();
    const running = this.#isStopped
      ? this.#anchor
      : this.#anchor + Math.floor((nowMs - this.#anchorMs) * REVISIONS_PER_MS_AHEAD);
    const wall = this.#isStopped ? 0 : Math.min(this.wall, this.#capAt(nowMs));
    const shown = wall > least ? wall : least;
    if (shown < running) return running;
    // Only here, so that calls in quick succession don't add up what rounding takes.
    this.#anchor = shown;
    this.#anchorMs = nowMs;
    return shown;
  }

  /** An entry took the revision. */
  give(revision: Revision): void {
    if (revision > this.#given) this.#given = revision;
  }

  /** Binds all later revisions to be above `instant`. */
  raise(instant: Revision): void {
    if (instant > this.#floor) this.#floor = instant;
  }

  /**
   * This instant as far as it is durable, bound for later revisions. What is kept on disk (the history floor) may
   * rely on it: found by a simulated crash with the wall clock set back, which left a floor above all later scans.
   */
  boundNow(): Revision {
    const instant = Math.min(this.now(), this.#durableBound);
    this.raise(instant);
    return instant;
  }

  /**
   * The next revision of a group whose last one was `last`: above it and above the floor, with
   * `revision % partitionCount === partition`.
   */
  next(last: Revision, partition: number, partitionCount: number): Revision {
    const least = Math.max(this.#time(this.#floor + 1), last + 1);
    const revision = least + ((partition - (least % partitionCount) + partitionCount) % partitionCount);
    assert(revision < MAX_REVISION, 'the revision clock is exhausted: is the wall clock in this century?');
    return revision;
  }

  /** The bound that the record which is about to be sealed must carry, given the highest revision in it; 0 for none. */
  boundToAppend(highestRevision: Revision): Revision {
    const needed = Math.max(this.now(), highestRevision);
    if (needed + BOUND_RENEWAL <= this.#requestedBound) return 0;
    // A bound that no later life could read would keep the node from ever starting again.
    this.#requestedBound = Math.min(needed + BOUND_LEAD, MAX_REVISION);
    return this.#requestedBound;
  }

  /** A record that carried `bound` is durable. */
  boundIsDurable(bound: Revision): void {
    if (bound > this.#durableBound) this.#durableBound = bound;
  }
}
