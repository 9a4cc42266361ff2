import type { CairnError } from '../base/errors.js';
import type { Logger } from '../base/logger.js';
import { mutated } from '../base/mutations.js';
import type { Engine } from '../engine/engine.js';
import type { Log } from '../engine/log/log.js';
import type { ReplicaRange } from '../engine/log/segment.js';
import type { Revision } from '../lsm/row-key.js';
import type { Clock } from '../ports/clock.js';
import type { AppendMessage, Message } from '../raft/message.js';
import type { EntryDone, Group } from '../replica/group.js';
import type { RevisionClock } from '../replica/revision-clock.js';
import { CommitHolds } from './host/commit-holds.js';
import type { ClusterClocks } from './host/cluster-clocks.js';
import { Deadlines } from './host/deadlines.js';
import { Leadership } from './host/leadership.js';
import { NO_TRANSPORT, type RaftTransport } from './host/raft-transport.js';
import { Ticking } from './host/ticking.js';
import { TurnLoop } from './host/turn-loop.js';
import { Writes } from './host/writes.js';
import type { BulkSource, SnapshotStreams } from './snapshot-streams.js';
import { settling, type Done } from './waiters.js';

/** More than this read from peers and not yet in the log: appends are dropped, as a slow network would. */
const MAX_BACKLOG_BYTES = 64 << 20;
const NOBODY: readonly string[] = [];

export interface GroupHostOptions {
  readonly groups: readonly Group[];
  readonly engine: Engine;
  readonly log: Log;
  readonly clock: Clock;
  readonly revisionClock: RevisionClock;
  readonly clusterClocks: ClusterClocks;
  readonly transport: RaftTransport;
  readonly logger: Logger;
  readonly onFatal: (error: Error) => void;
  readonly requestTimeoutMs: number;
  /** Raft's interval of time. */
  readonly tickMs: number;
  /** The token of the first ReadIndex round: this one and those above it were not used in an earlier life of the data directory. */
  readonly firstReadToken: number;
  /** As `GroupHost.missingMembers`; nobody unless told. */
  readonly missingMembers?: () => readonly string[];
}

/**
 * Drives the Raft cores of all groups of the node. A loop turn's inputs are stepped into the cores; at its end, each core that has
 * something is asked once: messages leave at once, what must be durable goes into one log record for all groups, and when
 * the log reports it the cores say what is committed, which is applied in order and answered. What happens to each part of a core's
 * answer is in `host/`.
 */
export class GroupHost {
  readonly groups: readonly Group[];
  readonly #byId = new Map<number, Group>();
  readonly #engine: Engine;
  readonly #log: Log;
  readonly #revisionClock: RevisionClock;
  readonly #clusterClocks: ClusterClocks;
  readonly #loop: TurnLoop;
  readonly #writes: Writes;
  readonly #holds: CommitHolds;
  readonly #leadership: Leadership;
  readonly #deadlines: Deadlines;
  readonly #ticking: Ticking;
  readonly #missingMembers: () => readonly string[];
  #stopped = false;

  constructor(options: GroupHostOptions) {
    const { groups, engine, log, clock } = options;
    this.groups = groups;
    for (const group of groups) this.#byId.set(group.groupId, group);
    this.#engine = engine;
    this.#log = log;
    this.#revisionClock = options.revisionClock;
    this.#clusterClocks = options.clusterClocks;
    // The engine's end gives imports of snapshots up; the manifest still has the old replica.
    const onFatal = (error: Error): void => {
      if (!this.#stopped) options.onFatal(error);
    };
    const loop = new TurnLoop({ ...options, onFatal });
    this.#loop = loop;
    this.#writes = new Writes({ engine, log, clock, loop, isAlone: options.transport === NO_TRANSPORT });
    this.#holds = new CommitHolds(clock, loop.turns);
    this.#leadership = new Leadership(groups, clock, loop.turns);
    this.#deadlines = new Deadlines(groups, clock, loop, options.requestTimeoutMs);
    this.#missingMembers = options.missingMembers ?? (() => NOBODY);
    this.#ticking = new Ticking({
      groups,
      clock,
      log,
      turns: loop.turns,
      leadership: this.#leadership,
      tickMs: options.tickMs,
      readsAlone: (group) => this.readsAlone(group),
      isClosed: () => this.#writes.isClosed,
      takesPart: () => this.missingMembers.length === 0,
    });
  }

  /**
   * Members that have not bound this data directory yet. Until all have, this node neither votes nor acknowledges (Raft rule 11): its
   * cores get no messages and no ticks.
   */
  get missingMembers(): readonly string[] {
    return this.#missingMembers();
  }

  get snapshots(): SnapshotStreams {
    return this.#loop.snapshots;
  }

  /** How many entries were read back from the log for followers that were behind. */
  get loadedEntries(): number {
    return this.#loop.loads.loaded;
  }

  // --- Inputs.

  /** Everything up to `sequence` is on this node's disk. */
  durable(sequence: number): void {
    this.#loop.writing.durable(sequence);
  }

  /** The log has given back what it held of these replicas, up to an index each: what is not in memory can't be had any more. */
  logReleased(ranges: Iterable<ReplicaRange>): void {
    for (const { group: groupId, replicaId, maxIndex } of ranges) {
      const group = this.#byId.get(groupId);
      if (group?.replicaId === replicaId) group.raft.compact(Math.min(maxIndex, group.raft.memoryFirst - 1));
    }
  }

  /** The log may have room again for what found none before. */
  admissionChanged(): void {
    this.#loop.turns.requestSeal();
  }

  /** Raft messages from a peer, all that its socket had (Raft rule 17). */
  receive(nodeId: string, messages: readonly Message[]): void {
    if (this.#stopped || this.missingMembers.length > 0) return;
    for (const message of messages) {
      const group = this.#byId.get(message.group);
      if (group === undefined) continue;
      // Members speak from their own nodes (Raft rule 18).
      if ((group.raft.configuration.member(message.from)?.nodeId ?? nodeId) !== nodeId) continue;
      if (message.type === 'append' && this.#isBehind) continue;
      if (message.type === 'timeout_now' && !this.#mayLead) continue;
      this.#loop.nodes.heard(group, message.from, nodeId);
      this.#clusterClocks.heard(nodeId, message);
      group.raft.step(message.type === 'append' ? ownEntries(message) : message);
      this.#loop.turns.schedule(group);
    }
  }

  /** More of what leaders send can't be taken; they send it again. */
  get #isBehind(): boolean {
    return this.#loop.writing.backlogBytes > MAX_BACKLOG_BYTES || this.#engine.pressure === 'stop';
  }

  /** Not a node that leaves, or that could not write. */
  get #mayLead(): boolean {
    return !this.#leadership.isLeaving && this.#log.admission !== 'disk_full';
  }

  /** A snapshot that another node streams. */
  receiveBulk(nodeId: string, header: Uint8Array, source: BulkSource): void {
    if (this.#stopped) source.refuse(`node ${nodeId}: this one shuts down`);
    else if (this.missingMembers.length > 0) source.refuse(`node ${nodeId}: this one has not met all members yet`);
    else this.snapshots.receive((groupId) => this.#byId.get(groupId), header, source);
  }

  /** A peer's connection is gone: nothing is sent to it in advance until it answers again. */
  peerDown(nodeId: string): void {
    for (const group of this.groups) {
      for (const member of group.raft.configuration.members) {
        if (member.nodeId !== nodeId) continue;
        group.raft.reportUnreachable(member.id);
        this.#loop.turns.schedule(group);
      }
    }
  }

  // --- Writes.

  /** Pending writes of this node's own. */
  get unappliedEntries(): number {
    return this.groups.reduce((sum, group) => sum + group.pendingCount, 0);
  }

  /** Why no write can be taken now, or null. Checked before every append, so that nothing accepted can fail for space. */
  admission(): CairnError | null {
    return this.#writes.admission();
  }

  /** As `admission`, for a write to this group. */
  admissionTo(group: Group): CairnError | null {
    return this.admission() ?? (group.isServing ? null : this.notServing(group));
  }

  /** Nothing was appended: another node may be asked, or this one again. */
  notServing(group: Group): CairnError {
    return this.#loop.nodes.notServing(group);
  }

  /** Why the last `append` returned -1. */
  refusal(): CairnError {
    return this.#writes.refusal();
  }

  /** Where `append` wants the payload. */
  get payloads(): Uint8Array {
    return this.#writes.payloads;
  }

  /**
   * Appends one write to a group that this replica leads: takes its place in the group's log, now. Returns the offset in
   * `payloads` where the caller writes `payloadLength` bytes before it does anything else, or -1 when the entry can't be
   * taken. `done` is called after the entry was applied, never before this returns.
   */
  append(group: Group, revision: Revision, payloadLength: number, keyHash: number, done: EntryDone | null): number {
    return this.#writes.append(group, revision, payloadLength, keyHash, done);
  }

  /** The revision that the group's next entry takes if it is appended in this same step. */
  nextRevision(group: Group): Revision {
    return this.#revisionClock.next(group.lastRevision, group.partition, this.groups.length);
  }

  /** For an entry that a core appends by itself. */
  nextRevisionAbove(partition: number, above: Revision): Revision {
    const revision = this.#revisionClock.next(above, partition, this.groups.length);
    this.#loop.bounds.gave(revision);
    return revision;
  }

  // --- Reads.

  /** The round that a core's ReadIndex request belongs to. */
  get readToken(): number {
    return this.#loop.reads.token;
  }

  /** This instant for a read. */
  now(): Revision {
    return this.#loop.bounds.now();
  }

  /** As `ClusterClocks.latestTrusted`. */
  get latestTrusted(): Revision {
    return this.#clusterClocks.latestTrusted(this.now());
  }

  /**
   * Whether what this replica has applied is the latest state by itself: the only voter answers a write when it is applied, and
   * nobody else can.
   */
  readsAlone(group: Group): boolean {
    return group.raft.soleVoterReadIndex >= 0 && group.isServing;
  }

  /**
   * Passes a ReadIndex round. Resolves, when this replica has applied all that was answered before the call, to an instant at which
   * expiry may be judged. Rejects with `unavailable` without a leader, or when that takes too long.
   */
  linearize(group: Group): Promise<Revision> {
    if (this.readsAlone(group) || mutated('cluster-read-without-round')) return Promise.resolve(this.now());
    return this.#loop.reads.linearize(group);
  }

  /** Resolves when this replica has applied everything up to `index`; null when it has. Rejects when that takes too long. */
  whenReached(group: Group, index: number): Promise<void> | null {
    return group.appliedIndex >= index ? null : this.#loop.applying.reached(group, index);
  }

  /** As `Raft.holdCommit`: nothing above `revision` commits here, or, with Infinity, nothing is held back any more. */
  holdCommit(group: Group, revision: Revision): void {
    this.#holds.hold(group, revision);
  }

  /** As `CommitHolds.whenLifted`. */
  whenLifted(group: Group, instant: Revision): Promise<void> | null {
    return this.#holds.whenLifted(group, instant);
  }

  /** Resolves when everything appended so far is applied; rejects when that takes too long. */
  async barrier(): Promise<void> {
    const waiting: Promise<void>[] = [];
    for (const group of this.groups) if (group.pendingCount > 0) waiting.push(this.whenApplied(group));
    if (waiting.length > 0) await Promise.all(waiting);
  }

  /** Calls back when the group's unapplied writes of now are applied; at once when there are none. */
  afterUnapplied(group: Group, done: Done): void {
    this.#loop.applying.afterUnapplied(group, done);
  }

  /** As `afterUnapplied`. */
  whenApplied(group: Group): Promise<void> {
    return this.#loop.applying.whenApplied(group);
  }

  /** As `ClockBounds.rely`. */
  rely(instant: Revision): Promise<void> | null {
    return this.#loop.bounds.rely(instant);
  }

  // --- Leadership.

  /** The node that leads the group, as far as this one knows. */
  leaderOf(group: Group): string | null {
    return this.#loop.nodes.leaderOf(group);
  }

  /**
   * A group whose only voter is here needs nobody else: it is led at once. Resolves when all such groups serve. Rejects when there
   * is no space for their first entries.
   */
  async startAlone(): Promise<void> {
    const started: Promise<void>[] = [];
    for (const group of this.groups) {
      if (group.raft.configuration.soleVoter !== group.raft.id) continue;
      while (group.raft.role === 'follower') group.raft.tick();
      this.#loop.turns.schedule(group);
      started.push(
        new Promise((resolve, reject) => {
          this.#loop.applying.whenReached(group, group.raft.lastIndex + 1, Infinity, settling(resolve, reject));
        }),
      );
    }
    if (started.length === 0) return;
    this.#loop.endTurn();
    if (this.#loop.writing.hasBacklog) throw this.#writes.logRefusal();
    await Promise.all(started);
  }

  /** Hands every group that this node leads to the member that is closest behind, and waits for that, at most so long. */
  handOver(timeoutMs: number): Promise<void> {
    return this.#leadership.handOver(timeoutMs);
  }

  /**
   * Takes no more entries; resolves when the accepted ones are applied and answered, or were answered as unknown because a full disk
   * keeps the log from writing them. Closing the log then says so.
   */
  async close(): Promise<void> {
    this.#writes.close();
    await this.barrier().catch(() => undefined);
    this.#stopped = true;
    this.#ticking.close();
    this.#deadlines.close();
  }
}

/** What is received is a view of a chunk that holds much else, and entries are kept for long. */
function ownEntries(message: AppendMessage): AppendMessage {
  if (message.entries.length === 0) return message;
  return { ...message, entries: message.entries.map((entry) => ({ ...entry, data: entry.data.slice() })) };
}
