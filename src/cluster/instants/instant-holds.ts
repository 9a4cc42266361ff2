import { CairnError } from '../../base/errors.js';
import { mutated } from '../../base/mutations.js';
import { type InstantAnswer, type InstantRequest, NO_INSTANT_ANSWER } from '../../codec/instant-protocol.js';
import type { Revision } from '../../lsm/row-key.js';
import type { Clock, Timer } from '../../ports/clock.js';
import type { Group } from '../../replica/group.js';
import { REVISIONS_PER_MS } from '../../replica/revision-clock.js';
import type { GroupHost } from '../group-host.js';
import { AHEAD } from '../host/cluster-clocks.js';
import { HOLD_ENDED } from './instant-round.js';

/** Longer than any scanner asks for. */
const MAX_HOLD_MS = 1000;
/** A scan at an instant so far behind this node's clock is moved to that: more than the clocks of honest leaders differ. */
const BEHIND = 2 * AHEAD;
/** Of all scanners; each has one or two. */
const MAX_HOLDS = 1024;

export type HoldingHost = Pick<
  GroupHost,
  | 'groups'
  | 'now'
  | 'readToken'
  | 'latestTrusted'
  | 'rely'
  | 'notServing'
  | 'holdCommit'
  | 'whenLifted'
  | 'whenReached'
  | 'linearize'
>;

interface Hold {
  readonly id: number;
  /** Above it nothing commits. */
  revision: Revision;
  readonly groups: readonly Group[];
  /** In which this node leads them. */
  readonly terms: readonly number[];
  readonly sinceMs: number;
  /** This node's clock can't fall below the revision any more. */
  bound: Promise<void> | null;
  timer: Timer | null;
  /** Who waits until everything below the revision is committed. */
  onEnd: (why: CairnError) => void;
}

/**
 * What the leaders on this node do for nodes that read several partitions at one instant T (DESIGN.md section 9, Raft rule 22):
 *
 * - raise: from now on nothing above T commits, new writes are above T, and reads are judged no later than T. T is the scanner's, or
 *   later when something in a log, or a read, is: so a hold never keeps back what was written before it, and each write waits only for
 *   the holds that it met. The answer comes when everything at or below T is committed; at once when T had to be moved, because the
 *   scanner then has to lift the others too.
 * - confirm: comes when all leaders hold and have committed what lies below. At that moment the cluster's committed state is exactly
 *   what is at or below T; a ReadIndex round shows that each was still the leader then. It is answered when no read of the group can be
 *   judged below T any more: expiry has no entry that a hold would keep back.
 *
 * Who waits here waits for holds below its own instant only, and its own are all at or above that: so nobody waits in a circle.
 */
export class InstantHolds {
  readonly #host: HoldingHost;
  readonly #clock: Clock;
  readonly #holds = new Map<number, Hold>();
  /** By partition: its holds, and the term of each. */
  readonly #byPartition: (Map<Hold, number> | undefined)[] = [];
  /** By partition: no hold begins below it any more, because a read at it was answered, or is about to be. */
  readonly #shown: Float64Array;
  /** Those of an earlier life of the node mean nothing any more: its own begin above them. */
  #lastId: number;
  /** How long the holds lasted that have ended, in all. */
  heldMs = 0;

  constructor(host: HoldingHost, clock: Clock) {
    this.#host = host;
    this.#clock = clock;
    this.#shown = new Float64Array(host.groups.length);
    this.#lastId = host.readToken;
  }

  get count(): number {
    return this.#holds.size;
  }

  /** Rejects with `not_leader` or `not_ready` and nothing done, or with `unavailable`. */
  async handle(request: InstantRequest): Promise<InstantAnswer> {
    switch (request.step) {
      case 'raise':
        return this.#raise(request);
      case 'lift':
        return this.#lift(this.#held(request.hold), request.revision);
      case 'confirm':
        return this.#confirm(this.#held(request.hold));
      case 'release': {
        const hold = this.#holds.get(request.hold);
        if (hold !== undefined) this.#end(hold, ended());
        return NO_INSTANT_ANSWER;
      }
      case 'reach':
        return this.#reach(this.#led(request.partitions), request.revision);
      case 'now':
        this.#led(request.partitions);
        return { ...NO_INSTANT_ANSWER, revision: this.#host.now() };
    }
  }

  async #raise({ revision, partitions, holdMs }: InstantRequest): Promise<InstantAnswer> {
    const groups = this.#led(partitions);
    this.#checkTrusted(revision);
    if (this.#holds.size >= MAX_HOLDS) {
      throw new CairnError('overloaded', `${this.#holds.size} scans hold commits back already; retry`);
    }
    // A node that led nothing since its start may be far behind, and so would the expiry be that its scans show.
    let least = revision < this.#host.now() - BEHIND ? this.#host.now() : revision;
    if (!mutated('cluster-instant-below-writes')) {
      for (const { raft, partition } of groups) least = Math.max(least, raft.latestInstant, this.#shown[partition]!);
    }
    const hold: Hold = {
      id: ++this.#lastId,
      revision: least,
      groups,
      terms: groups.map(({ raft }) => raft.term),
      sinceMs: this.#clock.monotonicMs(),
      bound: null,
      timer: null,
      onEnd: () => undefined,
    };
    this.#holds.set(hold.id, hold);
    hold.timer = this.#clock.setTimer(Math.min(holdMs, MAX_HOLD_MS), () => {
      if (mutated('cluster-instant-hold-broken')) this.#letGo(hold);
      else this.#end(hold, ended());
    });
    this.#place(hold);
    const answer = { ...NO_INSTANT_ANSWER, hold: hold.id, revision: least };
    if (least > revision) return answer;
    await this.#settled(hold);
    return { ...answer, settled: true };
  }

  async #lift(hold: Hold, revision: Revision): Promise<InstantAnswer> {
    if (revision > hold.revision) {
      this.#checkTrusted(revision);
      hold.revision = revision;
      this.#place(hold);
    }
    await this.#settled(hold);
    return { ...NO_INSTANT_ANSWER, settled: true };
  }

  async #confirm(hold: Hold): Promise<InstantAnswer> {
    const { groups, revision, bound } = hold;
    // What is committed is what lies at or below the instant.
    const indexes = groups.map(({ raft }) => raft.commitIndex);
    const rounds = mutated('cluster-instant-without-round')
      ? []
      : groups.map((group) => this.#pass(group, revision, bound));
    this.#end(hold, ended());
    await Promise.all([bound, ...rounds]);
    return { ...NO_INSTANT_ANSWER, indexes };
  }

  /**
   * Passes a round that starts now, and more until a read was judged at `revision` or later: then all later ones are. A lower hold of
   * another scan may be in the way, which ends soon; who joins that scan before its end would be shown what has expired by `revision`
   * already. A later leader was elected by clocks that the first round has bound. `bound`: as `GroupHost.rely` answered for `revision`.
   */
  async #pass(group: Group, revision: Revision, bound: Promise<void> | null): Promise<void> {
    const { partition, raft } = group;
    const { term } = raft;
    if (revision > this.#shown[partition]!) this.#shown[partition] = revision;
    let [clock] = await Promise.all([this.#host.linearize(group), bound]);
    while (clock < revision && raft.term === term && !mutated('cluster-instant-expiry-back')) {
      await this.#host.whenLifted(group, revision);
      clock = await this.#host.linearize(group);
    }
  }

  /** From now on nothing at or below `revision` is appended; what was is decided when this resolves, and no later leader can add to it. */
  async #reach(groups: readonly Group[], revision: Revision): Promise<InstantAnswer> {
    this.#checkTrusted(revision);
    const bound = this.#host.rely(revision);
    const indexes = groups.map(({ raft }) => raft.indexToCommit(revision));
    const applied = groups.map((group, i) => this.#host.whenReached(group, indexes[i]!));
    await Promise.all([...applied, ...groups.map((group) => this.#pass(group, revision, bound))]);
    return { ...NO_INSTANT_ANSWER, indexes };
  }

  /** Throws unless this node leads all of them and may speak for them. */
  #led(partitions: readonly number[]): readonly Group[] {
    const { groups } = this.#host;
    if (partitions.length === 0) throw new CairnError('protocol_error', 'expected partitions to read, found none');
    return partitions.map((partition) => {
      const group = groups[partition];
      if (group === undefined) {
        throw new CairnError('protocol_error', `expected a partition below ${groups.length}, found ${partition}`);
      }
      if (!group.isServing) throw this.#host.notServing(group);
      return group;
    });
  }

  /** Whatever a node asks for here becomes the time of the partitions: one that is wrong must not drag the cluster (Raft rule 20). */
  #checkTrusted(revision: Revision): void {
    const latest = this.#host.latestTrusted;
    if (revision <= latest) return;
    const found = `${Math.ceil((revision - latest) / REVISIONS_PER_MS / 1000)} s beyond`;
    throw new CairnError(
      'unavailable',
      `expected an instant near the clocks of the cluster to read at, found one ${found}`,
    );
  }

  #held(id: number): Hold {
    const hold = this.#holds.get(id);
    if (hold === undefined) throw ended();
    if (isUnbroken(hold) || mutated('cluster-instant-hold-broken')) return hold;
    const error = new CairnError('unavailable', 'a partition has another leader than when the scan began');
    this.#end(hold, error);
    throw error;
  }

  /** Makes the hold's groups hold at its revision, or below it where another one is lower. */
  #place(hold: Hold): void {
    hold.bound = this.#host.rely(hold.revision);
    hold.bound?.catch(() => undefined);
    hold.groups.forEach((group, i) => {
      const holds = (this.#byPartition[group.partition] ??= new Map());
      holds.set(hold, hold.terms[i]!);
      this.#enforce(group, holds);
    });
  }

  #end(hold: Hold, why: CairnError): void {
    if (!this.#holds.delete(hold.id)) return;
    hold.timer?.cancel();
    this.heldMs += this.#clock.monotonicMs() - hold.sinceMs;
    this.#letGo(hold);
    hold.onEnd(why);
  }

  #letGo(hold: Hold): void {
    for (const group of hold.groups) {
      const holds = this.#byPartition[group.partition]!;
      holds.delete(hold);
      this.#enforce(group, holds);
    }
  }

  #enforce(group: Group, holds: ReadonlyMap<Hold, number>): void {
    let lowest = Infinity;
    for (const [{ revision }, term] of holds) if (term === group.raft.term) lowest = Math.min(lowest, revision);
    this.#host.holdCommit(group, lowest);
  }

  /** Resolves when everything at or below the revision is committed (and applied) here while the hold is unbroken. */
  async #settled(hold: Hold): Promise<void> {
    if (mutated('cluster-instant-unsettled')) return;
    const applying: Promise<void>[] = [];
    for (const group of hold.groups) {
      const applied = this.#host.whenReached(group, group.raft.indexToCommit(hold.revision));
      if (applied !== null) applying.push(applied);
    }
    if (applying.length === 0) return;
    const broken = new Promise<never>((_resolve, reject) => {
      hold.onEnd = reject;
    });
    await Promise.race([Promise.all(applying), broken]).catch((error: unknown) => {
      this.#end(hold, ended());
      throw error;
    });
    hold.onEnd = () => undefined;
    this.#held(hold.id);
  }
}

function isUnbroken({ groups, terms }: Hold): boolean {
  return groups.every(({ raft }, i) => raft.role === 'leader' && raft.term === terms[i]);
}

function ended(): CairnError {
  return new CairnError(HOLD_ENDED, 'the hold for a scan has ended before all leaders had confirmed it');
}
