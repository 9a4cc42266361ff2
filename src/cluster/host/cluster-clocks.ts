import { mutated } from '../../base/mutations.js';
import type { Revision } from '../../lsm/row-key.js';
import type { Clock } from '../../ports/clock.js';
import type { MemberId } from '../../raft/entry.js';
import type { Message } from '../../raft/message.js';
import { quorumValue } from '../../raft/quorum.js';
import type { Raft } from '../../raft/raft.js';
import { REVISIONS_PER_MS, type RevisionClock } from '../../replica/revision-clock.js';

/** So far ahead of the median of the voters' clocks may this node's idea of now be (DESIGN.md section 4). */
export const AHEAD = 500 * REVISIONS_PER_MS;
/**
 * So far ahead of them and of this node's own idea may an instant be that another node asks for. Honest nodes differ by less: by twice
 * that half second, and by 3 s for each crash, which leaves a durable bound ahead of time.
 */
const TRUSTED = 60_000 * REVISIONS_PER_MS;
/** The median moves with this node's monotonic clock; it is looked at anew this often, for clocks that jump or drift. */
const RENEW_MS = 20;

/** Of a group. */
interface Voting {
  readonly raft: Pick<Raft, 'configuration' | 'id'>;
}

/**
 * What other nodes' wall clocks show, as they say in their answers to this node's leaders, and so how far ahead this node's own may
 * pull time. Each is kept as its distance to this node's monotonic clock, so none has to be heard again to go on, and a jump of this
 * node's own wall clock changes nothing about the others. A node that has not heard from a quorum since its start does not follow its
 * wall clock at all: its time goes on from what was promised. A leader has heard before its first entry is committed.
 */
export class ClusterClocks {
  readonly #groups: readonly Voting[];
  readonly #clock: Clock;
  readonly #own: Pick<RevisionClock, 'wall'>;
  /** By node: its wall clock less this node's monotonic one, in revisions. */
  readonly #distances = new Map<string, number>();
  #median = -Infinity;
  #renewedMs = -Infinity;

  constructor(groups: readonly Voting[], clock: Clock, own: Pick<RevisionClock, 'wall'>) {
    this.#groups = groups;
    this.#clock = clock;
    this.#own = own;
  }

  heard(nodeId: string, message: Message): void {
    const { type } = message;
    if (type !== 'append_reply' && type !== 'heartbeat_reply' && type !== 'append_reject') return;
    const distance = message.clock - this.#clock.monotonicMs() * REVISIONS_PER_MS;
    if (!this.#distances.has(nodeId)) this.#renewedMs = -Infinity;
    this.#distances.set(nodeId, distance);
  }

  /** Time must not follow the wall clock beyond this. */
  capAt(monotonicMs: number): Revision {
    if (monotonicMs - this.#renewedMs >= RENEW_MS) {
      this.#renewedMs = monotonicMs;
      this.#median = this.#newMedian(monotonicMs);
    }
    if (mutated('cluster-clock-uncapped')) return Infinity;
    return Math.floor(this.#median + monotonicMs * REVISIONS_PER_MS) + AHEAD;
  }

  /** Another node may make this one, which shows `now`, rely on no later instant. */
  latestTrusted(now: Revision): Revision {
    const cap = this.capAt(this.#clock.monotonicMs());
    if (!Number.isFinite(cap)) return now + TRUSTED;
    // Where time was dragged further already, nodes that follow it go on to understand each other.
    return Math.max(cap + TRUSTED, now + 2 * AHEAD);
  }

  /** Of the group whose voters are furthest ahead. Clocks that are not known count as far behind. */
  #newMedian(monotonicMs: number): number {
    const own = this.#own.wall - monotonicMs * REVISIONS_PER_MS;
    let highest = -Infinity;
    for (const { raft } of this.#groups) {
      const { configuration, id: self } = raft;
      // Alone there is no other clock to go by.
      if (configuration.soleVoter === self) return Infinity;
      const distanceOf = (id: MemberId): number => {
        const nodeId = id === self ? null : configuration.member(id)?.nodeId;
        return nodeId === null ? own : (this.#distances.get(nodeId ?? '') ?? -Infinity);
      };
      highest = Math.max(highest, quorumValue(configuration, distanceOf));
    }
    return highest;
  }
}
