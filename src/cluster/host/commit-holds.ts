import type { Revision } from '../../lsm/row-key.js';
import type { Clock } from '../../ports/clock.js';
import type { Group } from '../../replica/group.js';
import { settling, Waiters } from '../waiters.js';
import type { TurnSchedule } from './turn-schedule.js';

interface Held {
  above: Revision;
  /** For an instant at or below what is held. */
  readonly waiters: Waiters;
}

/** Above which revision each group's leader here holds commits back, so that a scan finds an instant (Raft rule 22). */
export class CommitHolds {
  readonly #clock: Clock;
  readonly #turns: TurnSchedule;
  /** Only groups that hold something. */
  readonly #held = new Map<Group, Held>();

  constructor(clock: Clock, turns: TurnSchedule) {
    this.#clock = clock;
    this.#turns = turns;
  }

  /** Infinity: nothing is held any more. Without effect on a replica that does not lead (any more). */
  hold(group: Group, above: Revision): void {
    const held = this.#held.get(group);
    if (held === undefined) {
      if (above < Infinity) this.#held.set(group, { above, waiters: new Waiters() });
    } else if (above < Infinity) held.above = above;
    else this.#held.delete(group);
    group.raft.holdCommit(above);
    if (group.raft.hasReady) this.#turns.schedule(group);
    held?.waiters.settleUpTo(above, null);
  }

  /** Resolves when nothing at or below `instant` is held back, which is soon: holds end by themselves. Null when nothing is now. */
  whenLifted(group: Group, instant: Revision): Promise<void> | null {
    const held = this.#held.get(group);
    if (held === undefined || held.above >= instant) return null;
    return new Promise((resolve, reject) => {
      held.waiters.add(instant, this.#clock.monotonicMs(), settling(resolve, reject));
    });
  }
}
