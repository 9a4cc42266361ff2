import type { CairnError } from '../../base/errors.js';
import { mutated } from '../../base/mutations.js';
import type { Revision } from '../../lsm/row-key.js';
import type { Clock } from '../../ports/clock.js';
import type { ReadState } from '../../raft/ready.js';
import type { Group } from '../../replica/group.js';
import { Waiters } from '../waiters.js';
import type { Applying } from './applying.js';
import type { MemberNodes } from './member-nodes.js';
import type { TurnSchedule } from './turn-schedule.js';

export interface ReadsOptions {
  readonly groups: readonly Group[];
  readonly clock: Clock;
  readonly turns: TurnSchedule;
  readonly applying: Applying;
  /** Not used in an earlier life of the data directory, as those above it. */
  readonly firstToken: number;
  readonly nodes: MemberNodes;
}

/** Linearizable reads: they pass a ReadIndex round, one for all reads of a group in a loop turn, and wait until its index is applied. */
export class Reads {
  readonly #clock: Clock;
  readonly #turns: TurnSchedule;
  readonly #applying: Applying;
  readonly #nodes: MemberNodes;
  /** Who waits for a round, by its token. */
  readonly #waiting = new Map<Group, Map<number, Waiters>>();
  readonly #firstToken: number;

  constructor({ groups, clock, turns, applying, nodes, firstToken }: ReadsOptions) {
    this.#clock = clock;
    this.#turns = turns;
    this.#applying = applying;
    this.#nodes = nodes;
    this.#firstToken = firstToken;
    for (const group of groups) this.#waiting.set(group, new Map());
  }

  /** The round that a core's ReadIndex request belongs to: another one when the cores have been asked. */
  get token(): number {
    return this.#firstToken + this.#turns.collected;
  }

  /** Rejects with `unavailable` without a leader, or when it takes too long. */
  linearize(group: Group): Promise<Revision> {
    const rounds = this.#waiting.get(group)!;
    const { token } = this;
    return new Promise((resolve, reject) => {
      let waiters = rounds.get(token);
      if (waiters === undefined) {
        if (!group.raft.readIndex(token)) return reject(this.#nodes.notServing(group));
        rounds.set(token, (waiters = new Waiters()));
        this.#turns.schedule(group);
      }
      waiters.add(0, this.#clock.monotonicMs(), (error, clock) => {
        if (error === null) resolve(clock);
        else reject(error);
      });
    });
  }

  confirmed(group: Group, read: ReadState): void {
    const waiters = this.#take(group, read.token);
    if (waiters === undefined) return;
    const index = mutated('cluster-read-before-applied') ? 0 : read.index;
    this.#applying.whenReached(group, index, waiters.oldestMs, (error) => waiters.settleAll(error, read.clock));
  }

  refused(group: Group, token: number): void {
    this.#take(group, token)?.settleAll(this.#nodes.notServing(group), 0);
  }

  failBefore(group: Group, latestMs: number, why: () => CairnError): void {
    const rounds = this.#waiting.get(group)!;
    for (const [token, waiters] of rounds) {
      waiters.failBefore(latestMs, why);
      if (waiters.count === 0) rounds.delete(token);
    }
  }

  #take(group: Group, token: number): Waiters | undefined {
    const rounds = this.#waiting.get(group)!;
    const waiters = rounds.get(token);
    rounds.delete(token);
    return waiters;
  }
}
