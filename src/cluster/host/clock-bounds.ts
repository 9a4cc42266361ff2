import type { CairnError } from '../../base/errors.js';
import { Fifo } from '../../base/fifo.js';
import { mutated } from '../../base/mutations.js';
import type { Log } from '../../engine/log/log.js';
import type { Revision } from '../../lsm/row-key.js';
import type { Clock } from '../../ports/clock.js';
import type { RevisionClock } from '../../replica/revision-clock.js';
import { settling, Waiters } from '../waiters.js';
import type { TurnSchedule } from './turn-schedule.js';

/** The durable bound of the node's revision clock: what it must reach, its way into the log, and who waits for it. */
export class ClockBounds {
  readonly #revisionClock: RevisionClock;
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #turns: TurnSchedule;
  /** What was given or relied on. */
  #highest: Revision = 0;
  /** In records that are not durable yet. */
  readonly #written = new Fifo<{ readonly sequence: number; readonly bound: Revision }>();
  readonly #relying = new Waiters();

  constructor(revisionClock: RevisionClock, log: Log, clock: Clock, turns: TurnSchedule) {
    this.#revisionClock = revisionClock;
    this.#log = log;
    this.#clock = clock;
    this.#turns = turns;
  }

  /** An entry got this revision. */
  gave(revision: Revision): void {
    this.mustReach(revision);
    this.#revisionClock.give(revision);
  }

  /** With the next record. */
  mustReach(instant: Revision): void {
    if (instant > this.#highest) this.#highest = instant;
  }

  /** This instant for a read. A full log can't take a higher bound, so time stands at the durable one, and reads go on. */
  now(): Revision {
    const now = this.#revisionClock.now();
    const bound = this.#revisionClock.durableBound;
    return now > bound && this.#log.admission === 'disk_full' ? bound : now;
  }

  /**
   * Resolves when no later life of the node can give a revision at or below `instant`, which the caller is about to rely on; and
   * binds this life. Null when nothing has to be waited for. Rejects when that takes too long.
   */
  rely(instant: Revision): Promise<void> | null {
    this.#revisionClock.raise(instant);
    if (instant <= this.#revisionClock.durableBound) return null;
    this.mustReach(instant);
    return new Promise((resolve, reject) => {
      this.#relying.add(instant, this.#clock.monotonicMs(), settling(resolve, reject));
      this.#turns.requestSeal();
    });
  }

  /** What the record that is about to be closed should carry; 0: nothing new. */
  toAppend(): Revision {
    return this.#revisionClock.boundToAppend(this.#highest);
  }

  append(bound: Revision): void {
    if (!mutated('cluster-clock-bound-unwritten')) this.#log.appendClockBound(bound);
  }

  /** It is in the log's record with this sequence. */
  appended(sequence: number, bound: Revision): void {
    this.#written.push({ sequence, bound });
  }

  /** The log is durable up to `sequence`. */
  durable(sequence: number): void {
    let head = this.#written.peek();
    while (head !== undefined && head.sequence <= sequence) {
      this.#revisionClock.boundIsDurable(head.bound);
      this.#written.shift();
      head = this.#written.peek();
    }
    this.#relying.settleUpTo(this.#revisionClock.durableBound, null);
  }

  failBefore(latestMs: number, why: () => CairnError): void {
    this.#relying.failBefore(latestMs, why);
  }
}
