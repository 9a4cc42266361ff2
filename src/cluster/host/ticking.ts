import type { Log } from '../../engine/log/log.js';
import type { Clock, Timer } from '../../ports/clock.js';
import type { Group } from '../../replica/group.js';
import type { Leadership } from './leadership.js';
import type { TurnSchedule } from './turn-schedule.js';

/** One group's leadership is moved in so many ticks at most: 64 groups settle within 15 s. */
const TICKS_PER_BALANCE = 5;

export interface TickingOptions {
  readonly groups: readonly Group[];
  readonly clock: Clock;
  readonly log: Log;
  readonly turns: TurnSchedule;
  readonly leadership: Leadership;
  /** Raft's interval of time. */
  readonly tickMs: number;
  /** Nobody waits for the heartbeats of an only voter. */
  readonly readsAlone: (group: Group) => boolean;
  /** Leadership stays where it is when nothing is taken any more. */
  readonly isClosed: () => boolean;
  readonly takesPart: () => boolean;
}

/** Raft's time: ticks for all cores, and now and then a look at who leads. */
export class Ticking {
  readonly #options: TickingOptions;
  #ticks = 0;
  #lastMs: number;
  #timer: Timer;

  constructor(options: TickingOptions) {
    this.#options = options;
    this.#lastMs = options.clock.monotonicMs();
    this.#timer = this.#next();
  }

  close(): void {
    this.#timer.cancel();
  }

  #next(): Timer {
    const { clock, tickMs } = this.#options;
    return clock.setTimer(tickMs, () => {
      const now = clock.monotonicMs();
      const late = now - this.#lastMs > 2 * tickMs;
      this.#lastMs = now;
      // After a pause what peers have sent meanwhile is read before time is looked at (Raft rule 17).
      if (late) clock.defer(() => this.#tick());
      else this.#tick();
      this.#timer = this.#next();
    });
  }

  #tick(): void {
    const { groups, log, turns, leadership, readsAlone, isClosed, takesPart } = this.#options;
    if (!takesPart()) return;
    if (++this.#ticks % TICKS_PER_BALANCE === 0 && !isClosed()) {
      // Raft rule 14: who can't write makes room for those who can.
      if (log.admission === 'disk_full') leadership.offerAll();
      else if (!leadership.isLeaving) leadership.balance(this.#ticks);
    }
    for (const group of groups) {
      if (readsAlone(group)) continue;
      group.raft.tick();
      if (group.raft.hasReady) turns.schedule(group);
    }
  }
}
