import type { Clock } from '../../ports/clock.js';
import { NO_MEMBER } from '../../raft/entry.js';
import type { MemberProgress } from '../../raft/raft.js';
import type { Group } from '../../replica/group.js';
import type { TurnSchedule } from './turn-schedule.js';

/** A node that was offered a group and did not take it is left alone for so long: 30 s. */
const TICKS_PER_REFUSAL = 600;
const HAND_OVER_CHECK_MS = 20;

/** Hands groups over: to spread them over the nodes, or because this node leaves or can't write. */
export class Leadership {
  readonly #groups: readonly Group[];
  readonly #clock: Clock;
  readonly #turns: TurnSchedule;
  /** The last hand-over for the sake of balance, and the nodes that did not take one, with the tick until which they are left alone. */
  #offered: { readonly group: Group; readonly nodeId: string; readonly term: number } | null = null;
  readonly #unwilling = new Map<string, number>();
  /** This node is about to end: it gives its groups away and takes none. */
  isLeaving = false;

  constructor(groups: readonly Group[], clock: Clock, turns: TurnSchedule) {
    this.#groups = groups;
    this.#clock = clock;
    this.#turns = turns;
  }

  /**
   * Spreads leadership: partition p prefers the node at p modulo their number. One group at a time is handed over, to a voter that has
   * all of its log, so that nobody notices. `tick`: the number of Raft's intervals so far.
   */
  balance(tick: number): void {
    const offered = this.#offered;
    this.#offered = null;
    if (offered !== null && offered.group.raft.role === 'leader' && offered.group.raft.term === offered.term) {
      this.#unwilling.set(offered.nodeId, tick + TICKS_PER_REFUSAL);
    }
    for (const group of this.#groups) {
      const { raft } = group;
      if (!group.isServing || raft.configuration.joint || raft.transferee !== NO_MEMBER) continue;
      const { voters } = raft.configuration;
      const preferred = voters[group.partition % voters.length]!;
      const heir = raft.progress.find(({ id }) => id === preferred);
      if (heir === undefined || !isHeir(heir) || heir.match < raft.commitIndex) continue;
      if ((this.#unwilling.get(heir.nodeId) ?? 0) > tick) continue;
      raft.transferLeadership(preferred);
      this.#offered = { group, nodeId: heir.nodeId, term: raft.term };
      this.#turns.schedule(group);
      return;
    }
  }

  /** Starts to hand over every group that somebody else can lead; how many these are. */
  offerAll(): number {
    let led = 0;
    for (const group of this.#groups) {
      const { raft } = group;
      if (raft.role !== 'leader') continue;
      const { configuration } = raft;
      const heirs = raft.progress.filter((member) => isHeir(member) && configuration.isVoter(member.id));
      if (heirs.length === 0) continue;
      led++;
      const heir = heirs.reduce((best, other) => (other.match > best.match ? other : best));
      raft.transferLeadership(heir.id);
      this.#turns.schedule(group);
    }
    return led;
  }

  /** Hands every group that this node leads to the member that is closest behind, and waits for that, at most so long. */
  async handOver(timeoutMs: number): Promise<void> {
    this.isLeaving = true;
    const until = this.#clock.monotonicMs() + timeoutMs;
    for (;;) {
      const led = this.offerAll();
      if (led === 0 || this.#clock.monotonicMs() >= until) return;
      await new Promise<void>((resolve) => void this.#clock.setTimer(HAND_OVER_CHECK_MS, resolve));
    }
  }
}

/** Would lead soon if it was asked to. A member that repairs its log would not. */
function isHeir({ caughtUp, repairing }: MemberProgress): boolean {
  return caughtUp && !repairing;
}
