import { assert } from '../base/assert.js';
import { CairnError } from '../base/errors.js';
import { Fifo } from '../base/fifo.js';
import { mutated } from '../base/mutations.js';
import type { Logger } from '../base/logger.js';
import type { Engine } from '../engine/engine.js';
import type { Log } from '../engine/log/log.js';
import type { ReplicaImporter } from '../engine/snapshot/replica-importer.js';
import type { Revision } from '../lsm/row-key.js';
import type { Clock, Timer } from '../ports/clock.js';
import { encodeConfiguration } from '../raft/configuration-codec.js';
import { NO_MEMBER, type Entry, type MemberId } from '../raft/entry.js';
import type { AppendMessage, Message, SnapshotMessage, SnapshotMeta } from '../raft/message.js';
import type { PersistRequest, ProposalRefusal, Ready } from '../raft/ready.js';
import { applyWrite } from '../replica/apply.js';
import { entryKindOf } from '../replica/command.js';
import type { EntryDone, Group } from '../replica/group.js';
import { PayloadSlabs } from '../replica/payload-slabs.js';
import type { RevisionClock } from '../replica/revision-clock.js';
import { SnapshotStreams, type BulkSink, type BulkSource } from './snapshot-streams.js';
import { settling, Waiters, type Done } from './waiters.js';

/** A slice of applying ends after this, so that the sockets are read in between. */
const APPLY_SLICE_MS = 4;
const ENTRIES_PER_CLOCK_READ = 32;
/** When the engine asks for slower writes, a loop turn's record waits this long: closed-loop writers slow down with it. */
const SLOW_SEAL_DELAY_MS = 5;
const DEADLINE_CHECK_MS = 500;
/** One group's leadership is moved in so many ticks at most: 64 groups settle within 15 s. */
const TICKS_PER_BALANCE = 5;
/** A node that was offered a group and did not take it is left alone for so long: 30 s. */
const TICKS_PER_REFUSAL = 600;
/** A commit index in the log saves the next start from keeping entries in memory until a leader tells it. */
const ENTRIES_PER_COMMIT_HINT = 256;
/** More than this read from peers and not yet in the log: appends are dropped, as a slow network would. */
const MAX_BACKLOG_BYTES = 64 << 20;

/** How Raft messages reach other nodes. Messages may be lost; their entries are encoded before `flush` returns. */
export interface RaftTransport {
  send(nodeId: string, message: Message): void;
  flush(): void;
  /** A stream of bytes beside the messages, for snapshots. Rejects when there is none. */
  openBulk(nodeId: string, header: Uint8Array): Promise<BulkSink>;
}

/** The transport of a node that is alone. */
export const NO_TRANSPORT: RaftTransport = {
  send: () => {},
  flush: () => {},
  openBulk: (nodeId) => Promise.reject(new CairnError('unavailable', `no connection to node ${nodeId}`)),
};

export interface GroupHostOptions {
  readonly groups: readonly Group[];
  readonly engine: Engine;
  readonly log: Log;
  readonly clock: Clock;
  readonly revisionClock: RevisionClock;
  readonly transport: RaftTransport;
  readonly logger: Logger;
  readonly onFatal: (error: Error) => void;
  readonly requestTimeoutMs: number;
  /** Raft's interval of time. */
  readonly tickMs: number;
  /** The token of the first ReadIndex round: above all of this data directory's earlier lives. */
  readonly firstReadToken: number;
}

/** What a group must have on disk, written to the log in part or not at all yet. */
interface Writing {
  readonly group: Group;
  readonly request: PersistRequest;
  /** Kept, because the group's log may be cut before they are written. */
  readonly entries: readonly Entry[];
  /** The core's commit index when it handed this out: with these entries the log holds all that is committed up to there. */
  readonly commit: number;
  written: number;
  /** Set when it goes to the log: while that has no room, a snapshot may take the replica's place. */
  replicaId: number;
  /** The log record with which all of it is durable. */
  logSequence: number;
}

interface GroupState {
  readonly reads: Map<number, Waiters>;
  /** What waits for an index to be applied. */
  readonly applies: Waiters;
  /** The last commit index in the log. */
  commitHint: number;
  /** Received and shown to the core, which has not said yet whether it wants it. */
  imported: { readonly message: SnapshotMessage; readonly importer: ReplicaImporter } | null;
  /** What the core wants on disk behind a snapshot that is being installed. */
  readonly held: Writing[];
  /** Which node a member that sent something is on; the configuration may not tell yet, or any more. */
  readonly nodes: Map<MemberId, string>;
}

/**
 * Drives the Raft cores of all groups of the node. A loop turn's inputs are stepped into the cores; at its end, each core that has
 * something is asked once: messages leave at once, what must be durable goes into one log record for all groups, and when
 * the log reports it the cores say what is committed, which is applied in order and answered.
 */
export class GroupHost {
  readonly groups: readonly Group[];
  readonly #byId = new Map<number, Group>();
  readonly #states = new Map<Group, GroupState>();
  readonly #engine: Engine;
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #revisionClock: RevisionClock;
  readonly #transport: RaftTransport;
  readonly #requestTimeoutMs: number;
  readonly #slabs: PayloadSlabs;
  readonly #onFatal: (error: Error) => void;
  readonly snapshots: SnapshotStreams;

  /** Groups whose cores may have something to say. */
  #scheduled: Group[] = [];
  #endOfTurn: 'none' | 'scheduled' = 'none';
  #sealNeeded = false;
  #turnStartedMs = 0;
  #readToken: number;
  /** Handed out by cores and not wholly in the log, which has no room. */
  readonly #backlog = new Fifo<Writing>();
  #backlogBytes = 0;
  /** Proposed here since the cores were last asked for what goes to the log. */
  #proposed = 0;
  #proposedBytes = 0;
  /** Why the last `append` was not taken by the core; null when it was, or the log had no room. */
  #proposalRefusal: ProposalRefusal | null = null;
  #ticks = 0;
  /** In the log, in records that are not durable yet. */
  readonly #writing = new Fifo<Writing>();
  /** From here on those that no record was sealed for. */
  #unsealed = 0;
  readonly #bounds = new Fifo<{ sequence: number; bound: Revision }>();
  readonly #relying = new Waiters();
  #highestRevision: Revision = 0;
  #sealedSequence = 0;
  #durableSequence = 0;
  /** Committed entries that are not applied yet, in the order in which they committed. */
  readonly #committed = new Fifo<{ readonly group: Group; next: number; readonly to: number }>();
  #draining = false;
  readonly #timers: (Timer | null)[] = [null, null];
  #lastTickMs = 0;
  #closed = false;
  #stopped = false;
  #isLeaving = false;
  /** The last hand-over for the sake of balance, and the nodes that did not take one, with the tick until which they are left alone. */
  #offered: { readonly group: Group; readonly nodeId: string; readonly term: number } | null = null;
  readonly #unwilling = new Map<string, number>();
  readonly #turn = (): void => this.#endTurn();
  readonly #drain = (): void => {
    this.#draining = false;
    this.#applyCommitted();
  };

  constructor(options: GroupHostOptions) {
    this.groups = options.groups;
    this.#engine = options.engine;
    this.#log = options.log;
    this.#clock = options.clock;
    this.#revisionClock = options.revisionClock;
    this.#transport = options.transport;
    this.#requestTimeoutMs = options.requestTimeoutMs;
    this.#slabs = new PayloadSlabs(options.transport === NO_TRANSPORT);
    this.#readToken = options.firstReadToken;
    this.#onFatal = options.onFatal;
    this.snapshots = new SnapshotStreams({
      engine: options.engine,
      logger: options.logger,
      openBulk: (nodeId, header) => this.#transport.openBulk(nodeId, header),
      onReceived: (group, message, importer) => this.#snapshotReceived(group, message, importer),
      onSent: (group, member) => {
        group.raft.reportSnapshot(member);
        this.#schedule(group);
      },
    });
    for (const group of options.groups) {
      this.#byId.set(group.groupId, group);
      this.#states.set(group, {
        reads: new Map(),
        applies: new Waiters(),
        commitHint: 0,
        imported: null,
        held: [],
        nodes: new Map(),
      });
    }
    this.#lastTickMs = this.#clock.monotonicMs();
    this.#watchDeadlines();
    this.#tickLater(options.tickMs);
  }

  // --- Inputs.

  /** Where `append` wants the payload. */
  get payloads(): Uint8Array {
    return this.#slabs.bytes;
  }

  /** The round that a core's ReadIndex request belongs to. */
  get readToken(): number {
    return this.#readToken;
  }

  /** Everything up to `sequence` is on this node's disk. */
  durable(sequence: number): void {
    this.#durableSequence = sequence;
    // Only here: a turn that finds no room again is no reason for another one. The simulator's seed 119 span with a full disk.
    if (this.#backlog.length > 0) this.admissionChanged();
    this.#takeDurable();
  }

  /** The log may have room again for what found none before. */
  admissionChanged(): void {
    this.#sealNeeded = true;
    this.#scheduleTurn();
  }

  /** Raft messages from a peer, all that its socket had (Raft rule 17). */
  receive(nodeId: string, messages: readonly Message[]): void {
    if (this.#stopped) return;
    for (const message of messages) {
      const group = this.#byId.get(message.group);
      if (group === undefined) continue;
      // Members speak from their own nodes (Raft rule 18).
      if ((group.raft.configuration.member(message.from)?.nodeId ?? nodeId) !== nodeId) continue;
      if (message.type === 'append' && this.#isBehind) continue;
      // Asked to lead: not by a node that leaves, or that could not write.
      if (message.type === 'timeout_now' && (this.#isLeaving || this.#log.admission === 'disk_full')) continue;
      this.#states.get(group)!.nodes.set(message.from, nodeId);
      group.raft.step(message.type === 'append' ? ownEntries(message) : message);
      this.#schedule(group);
    }
  }

  /** A snapshot that another node streams. */
  receiveBulk(nodeId: string, header: Uint8Array, source: BulkSource): void {
    if (this.#stopped) source.refuse(`node ${nodeId}: this one shuts down`);
    else this.snapshots.receive((groupId) => this.#byId.get(groupId), header, source);
  }

  /** A peer's connection is gone: nothing is sent to it in advance until it answers again. */
  peerDown(nodeId: string): void {
    for (const group of this.groups) {
      for (const member of group.raft.configuration.members) {
        if (member.nodeId !== nodeId) continue;
        group.raft.reportUnreachable(member.id);
        this.#schedule(group);
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
    if (this.#closed) return new CairnError('shutting_down', 'this node is shutting down');
    if (this.#log.admission === 'disk_full') return diskFull('the log');
    if (this.#backlog.length > 0) return this.#logRefusal();
    if (this.#engine.pressure === 'stop') {
      const reason = this.#engine.pressureReason;
      if (reason === 'disk_full') return diskFull('tables');
      return new CairnError('overloaded', `writes wait for the storage engine (${reason}); retry`);
    }
    return null;
  }

  /** As `admission`, for a write to this group. */
  admissionTo(group: Group): CairnError | null {
    return this.admission() ?? (group.isServing ? null : this.notServing(group));
  }

  /** Nothing was appended: another node may be asked, or this one again. */
  notServing(group: Group): CairnError {
    const leader = this.leaderOf(group);
    const { partition, raft } = group;
    if (raft.role === 'leader') {
      return new CairnError('not_ready', `partition ${partition}: this leader is new and not ready yet; retry`);
    }
    return leader === null
      ? new CairnError('not_leader', `partition ${partition} has no leader now; retry`, { extra: { partition } })
      : new CairnError('not_leader', `partition ${partition} is led by node "${leader}"`, {
          extra: { partition, leader },
        });
  }

  /** Why the last `append` returned -1. */
  refusal(): CairnError {
    if (this.#proposalRefusal === 'overloaded') {
      return new CairnError('overloaded', 'more writes wait for a quorum than one partition may have; retry');
    }
    if (this.#proposalRefusal !== null) {
      return new CairnError('not_ready', 'the leadership of the partition is being handed over; retry');
    }
    return this.#logRefusal();
  }

  #logRefusal(): CairnError {
    if (this.#log.refusal === 'disk_full') return diskFull('the log');
    return new CairnError('overloaded', 'more writes wait for the disk than the log can hold; retry');
  }

  /**
   * Appends one write to a group that this replica leads: takes its place in the group's log, now. Returns the offset in
   * `payloads` where the caller writes `payloadLength` bytes before it does anything else, or -1 when the entry can't be
   * taken. `done` is called after the entry was applied, never before this returns.
   */
  append(group: Group, revision: Revision, payloadLength: number, keyHash: number, done: EntryDone | null): number {
    this.#proposalRefusal = null;
    if (!this.#log.wouldTake(this.#proposed + 1, this.#proposedBytes + payloadLength, payloadLength)) return -1;
    const at = this.#slabs.take(payloadLength);
    const { bytes } = this.#slabs;
    const entry: Entry | ProposalRefusal = group.raft.propose(
      revision,
      new Uint8Array(bytes.buffer, bytes.byteOffset + at, payloadLength),
    );
    if (typeof entry === 'string') {
      this.#proposalRefusal = entry;
      return -1;
    }
    this.#proposed++;
    this.#proposedBytes += payloadLength;
    this.#schedule(group);
    if (mutated('cluster-answer-before-commit')) this.#clock.defer(() => done?.(null, revision));
    group.appended({ group, entry, keyHash, appendedAtMs: this.#turnStartedMs, done, rows: null });
    this.#gave(revision);
    return at;
  }

  /** The revision that the group's next entry takes if it is appended in this same step. */
  nextRevision(group: Group): Revision {
    return this.#revisionClock.next(group.lastRevision, group.partition, this.groups.length);
  }

  /** For an entry that a core appends by itself. */
  nextRevisionAbove(partition: number, above: Revision): Revision {
    const revision = this.#revisionClock.next(above, partition, this.groups.length);
    this.#gave(revision);
    return revision;
  }

  // --- Reads.

  /** This instant for a read. A full log can't take a higher bound, so time stands at the durable one, and reads go on. */
  now(): Revision {
    const now = this.#revisionClock.now();
    const bound = this.#revisionClock.durableBound;
    return now > bound && this.#log.admission === 'disk_full' ? bound : now;
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
    const { reads } = this.#states.get(group)!;
    const token = this.#readToken;
    return new Promise((resolve, reject) => {
      let waiters = reads.get(token);
      if (waiters === undefined) {
        if (!group.raft.readIndex(token)) return reject(this.notServing(group));
        reads.set(token, (waiters = new Waiters()));
        this.#schedule(group);
      }
      waiters.add(0, this.#clock.monotonicMs(), (error, clock) => {
        if (error === null) resolve(clock);
        else reject(error);
      });
    });
  }

  /** Resolves when everything appended so far is applied; rejects when that takes too long. */
  async barrier(): Promise<void> {
    const waiting: Promise<void>[] = [];
    for (const group of this.groups) {
      if (group.pendingCount === 0) continue;
      waiting.push(this.whenApplied(group));
    }
    if (waiting.length > 0) await Promise.all(waiting);
  }

  /** Calls back when the group's unapplied writes of now are applied; at once when there are none. */
  afterUnapplied(group: Group, done: Done): void {
    if (group.pendingCount === 0) done(null, 0);
    else this.#afterApplied(group, group.raft.lastIndex, this.#clock.monotonicMs(), done);
  }

  /** As `afterUnapplied`. */
  whenApplied(group: Group): Promise<void> {
    return new Promise((resolve, reject) => this.afterUnapplied(group, settling(resolve, reject)));
  }

  /**
   * Resolves when no later life of the node can give a revision at or below `instant`, which the caller is about to rely on; and
   * binds this life. Null when nothing has to be waited for. Rejects when that takes too long.
   */
  rely(instant: Revision): Promise<void> | null {
    this.#revisionClock.raise(instant);
    if (instant <= this.#revisionClock.durableBound) return null;
    if (instant > this.#highestRevision) this.#highestRevision = instant;
    return new Promise((resolve, reject) => {
      this.#relying.add(instant, this.#clock.monotonicMs(), settling(resolve, reject));
      this.#sealNeeded = true;
      this.#scheduleTurn();
    });
  }

  // --- Leadership.

  /** The node that leads the group, as far as this one knows. */
  leaderOf(group: Group): string | null {
    const { leader } = group.raft;
    return leader === NO_MEMBER ? null : this.#nodeOf(group, leader);
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
      this.#schedule(group);
      started.push(
        new Promise((resolve, reject) => {
          this.#afterApplied(group, group.raft.lastIndex + 1, Infinity, settling(resolve, reject));
        }),
      );
    }
    if (started.length === 0) return;
    this.#endTurn();
    if (this.#backlog.length > 0) throw this.#logRefusal();
    await Promise.all(started);
  }

  /** Hands every group that this node leads to the member that is closest behind, and waits for that, at most so long. */
  async handOver(timeoutMs: number): Promise<void> {
    this.#isLeaving = true;
    const until = this.#clock.monotonicMs() + timeoutMs;
    for (;;) {
      const led = this.#offerLeadership();
      if (led === 0 || this.#clock.monotonicMs() >= until) return;
      await new Promise<void>((resolve) => void this.#clock.setTimer(20, resolve));
    }
  }

  /** Starts to hand over every group that somebody else can lead; how many these are. */
  #offerLeadership(): number {
    let led = 0;
    for (const group of this.groups) {
      const { raft } = group;
      if (raft.role !== 'leader') continue;
      const heirs = raft.progress.filter(({ id, caughtUp }) => caughtUp && raft.configuration.isVoter(id));
      if (heirs.length === 0) continue;
      led++;
      const heir = heirs.reduce((best, other) => (other.match > best.match ? other : best));
      raft.transferLeadership(heir.id);
      this.#schedule(group);
    }
    return led;
  }

  /** More of what leaders send can't be taken; they send it again. */
  get #isBehind(): boolean {
    return this.#backlogBytes > MAX_BACKLOG_BYTES || this.#engine.pressure === 'stop';
  }

  /**
   * Takes no more entries; resolves when the accepted ones are applied and answered, or were answered as unknown because a full disk
   * keeps the log from writing them. Closing the log then says so.
   */
  async close(): Promise<void> {
    this.#closed = true;
    await this.barrier().catch(() => undefined);
    this.#stopped = true;
    for (const timer of this.#timers) timer?.cancel();
  }

  // --- A turn.

  #gave(revision: Revision): void {
    if (revision > this.#highestRevision) this.#highestRevision = revision;
    this.#revisionClock.give(revision);
  }

  #schedule(group: Group): void {
    if (!group.isScheduled) {
      group.isScheduled = true;
      this.#scheduled.push(group);
    }
    this.#scheduleTurn();
  }

  #scheduleTurn(): void {
    if (this.#endOfTurn !== 'none') return;
    this.#endOfTurn = 'scheduled';
    this.#turnStartedMs = this.#clock.monotonicMs();
    if (this.#engine.pressure === 'slow') this.#clock.setTimer(SLOW_SEAL_DELAY_MS, this.#turn);
    else this.#clock.defer(this.#turn);
  }

  #endTurn(): void {
    this.#endOfTurn = 'none';
    this.#collect();
    this.#writeBacklog();
    this.#seal();
    this.#transport.flush();
    this.#applyCommitted();
  }

  /** Asks each core that may have something once. */
  #collect(): void {
    const groups = this.#scheduled;
    if (groups.length === 0) return;
    this.#scheduled = [];
    for (const group of groups) {
      group.isScheduled = false;
      this.#take(group, group.raft.ready());
    }
    this.#readToken++;
    this.#proposed = 0;
    this.#proposedBytes = 0;
  }

  #take(group: Group, ready: Ready): void {
    for (const message of ready.messages) {
      const nodeId = this.#nodeOf(group, message.to);
      if (nodeId !== null) this.#transport.send(nodeId, message);
    }
    if (ready.persist !== null) this.#persist(group, ready.persist);
    if (ready.committed !== null) {
      const { from, to } = ready.committed;
      this.#committed.push({ group, next: from, to });
    }
    for (const read of ready.reads) {
      const state = this.#states.get(group)!;
      const waiters = state.reads.get(read.token);
      if (waiters === undefined) continue;
      state.reads.delete(read.token);
      const index = mutated('cluster-read-before-applied') ? 0 : read.index;
      this.#afterApplied(group, index, waiters.oldestMs, (error) => waiters.settleAll(error, read.clock));
    }
    for (const token of ready.refusedReads) {
      const { reads } = this.#states.get(group)!;
      const waiters = reads.get(token);
      reads.delete(token);
      waiters?.settleAll(this.notServing(group), 0);
    }
    for (const { follower, from } of ready.loads) {
      group.raft.entriesLoaded(follower, from, null);
      this.#schedule(group);
    }
    for (const member of ready.snapshotsTo) {
      const nodeId = this.#nodeOf(group, member);
      if (nodeId !== null) this.snapshots.send(group, member, nodeId);
    }
    for (const { verdict } of ready.snapshotVerdicts) {
      const state = this.#states.get(group)!;
      if (verdict === 'install') continue;
      void state.imported?.importer.abort();
      state.imported = null;
    }
  }

  #nodeOf(group: Group, member: MemberId): string | null {
    const known = group.raft.configuration.member(member)?.nodeId;
    return known ?? this.#states.get(group)!.nodes.get(member) ?? null;
  }

  // --- To the log.

  #persist(group: Group, request: PersistRequest): void {
    const entries: Entry[] = [];
    if (request.entries !== null) {
      for (let index = request.entries.from; index <= request.entries.to; index++)
        entries.push(group.raft.entry(index));
    }
    if (request.clockBound > this.#highestRevision) this.#highestRevision = request.clockBound;
    const commit = group.raft.commitIndex;
    const writing: Writing = { group, request, entries, commit, written: 0, replicaId: 0, logSequence: -1 };
    if (request.snapshot !== null) {
      // Then through the log too, although the manifest's edit has the hard state: what was handed out before may not be durable
      // yet, and writes are reported in order. Found by the simulator (seed 74).
      this.#states.get(group)!.held.push(writing);
      this.#install(group, request.snapshot, request);
      return;
    }
    if (group.isInstalling && !mutated('cluster-install-overtaken')) {
      this.#states.get(group)!.held.push(writing);
      return;
    }
    this.#toLog(writing);
  }

  #toLog(writing: Writing): void {
    const { entries } = writing;
    writing.replicaId = writing.group.replicaId;
    if (this.#backlog.length === 0 && this.#write(writing)) return;
    this.#backlog.push(writing);
    this.#sealNeeded = true;
    for (const { data } of entries) this.#backlogBytes += data.length;
  }

  #writeBacklog(): void {
    for (let head = this.#backlog.peek(); head !== undefined && this.#write(head); head = this.#backlog.peek()) {
      this.#backlog.shift();
      for (const { data } of head.entries) this.#backlogBytes -= data.length;
    }
  }

  /** False when the log has no room for all of it; it goes on where it stopped. */
  #write(writing: Writing): boolean {
    const { group, request, entries, replicaId } = writing;
    const log = this.#log;
    const { groupId } = group;
    // Before the entries: none in the log is of a later term than the hard state.
    const { hardState } = request;
    if (hardState !== null && writing.written === 0 && !mutated('cluster-hard-state-unwritten')) {
      const { term, vote } = hardState;
      // A start applies what a commit index covers as soon as it reads it, and in the place of the entries that follow here the log may
      // hold replaced ones. Found by the simulator (seed 225).
      const inLog = mutated('cluster-commit-before-entries') ? Infinity : (entries[0]?.index ?? Infinity) - 1;
      const commit = Math.min(hardState.commit, inLog);
      if (!log.appendHardState(groupId, replicaId, term, vote, commit)) return false;
    }
    for (; writing.written < entries.length; writing.written++) {
      const { term, index, kind, revision, data } = entries[writing.written]!;
      // Without what Raft itself appends a group can't serve, not even reads.
      const urgent = kind !== 'normal';
      const at = log.reserveEntry(groupId, replicaId, term, index, revision, entryKindOf(kind), data.length, urgent);
      if (at < 0) return false;
      copyInto(log.bytes, at, data);
    }
    this.#hintCommit(writing);
    this.#writing.push(writing);
    this.#unsealed++;
    this.#sealNeeded = true;
    this.#scheduleTurn();
    return true;
  }

  /** Rides along with what is written anyway. The only voter's log needs none: all of it is committed. */
  #hintCommit({ group, replicaId, commit: known }: Writing): void {
    const { raft } = group;
    // The commit index of a snapshot that is being installed says nothing of the log that it replaces.
    if (raft.configuration.soleVoter === raft.id || group.isInstalling) return;
    const state = this.#states.get(group)!;
    const { term, vote } = raft.hardState;
    const commit = mutated('cluster-commit-hint-ahead') ? raft.lastIndex : known;
    if (commit < state.commitHint + ENTRIES_PER_COMMIT_HINT) return;
    if (this.#log.appendHardState(group.groupId, replicaId, term, vote, commit)) state.commitHint = commit;
  }

  #seal(): void {
    const bound = this.#revisionClock.boundToAppend(this.#highestRevision);
    if (bound === 0 && !this.#sealNeeded) return;
    this.#sealNeeded = false;
    if (bound > 0 && !mutated('cluster-clock-bound-unwritten')) this.#log.appendClockBound(bound);
    this.#sealedSequence = this.#log.seal();
    if (bound > 0) this.#bounds.push({ sequence: this.#sealedSequence, bound });
    for (let i = this.#writing.length - this.#unsealed; i < this.#writing.length; i++) {
      this.#writing.at(i)!.logSequence = this.#sealedSequence;
    }
    this.#unsealed = 0;
    // The log seals by itself too, for example when it gives segments back: then what was written in this turn may be
    // durable already, and nobody calls again. Found by a simulated run in which one write was never answered.
    if (this.#sealedSequence <= this.#durableSequence || mutated('cluster-persisted-before-durable'))
      this.#takeDurable();
  }

  // --- From the log.

  #takeDurable(): void {
    let bound = this.#bounds.peek();
    while (bound !== undefined && bound.sequence <= this.#durableSequence) {
      this.#revisionClock.boundIsDurable(bound.bound);
      this.#bounds.shift();
      bound = this.#bounds.peek();
    }
    this.#relying.settleUpTo(this.#revisionClock.durableBound, null);
    let head = this.#writing.peek();
    const durable = mutated('cluster-persisted-before-durable') ? Infinity : this.#durableSequence;
    while (head !== undefined && head.logSequence !== -1 && head.logSequence <= durable) {
      this.#writing.shift();
      head.group.raft.persisted(head.request.sequence);
      this.#schedule(head.group);
      head = this.#writing.peek();
    }
    this.#log.release(this.#durableSequence);
    if (mutated('cluster-full-log-spins') && this.#backlog.length > 0) this.admissionChanged();
    // At once: what is committed now was waiting for the disk, and acknowledgements may leave.
    this.#collect();
    this.#transport.flush();
    this.#applyCommitted();
  }

  // --- Snapshots.

  #snapshotReceived(group: Group, message: SnapshotMessage, importer: ReplicaImporter): void {
    const state = this.#states.get(group)!;
    if (group.isInstalling || state.imported !== null) {
      throw new CairnError('unavailable', `partition ${group.partition} is installing another snapshot`);
    }
    state.imported = { message, importer };
    group.raft.step(message);
    this.#schedule(group);
    // In this very step: the core may have put the snapshot in the place of entries that are waiting to be applied.
    this.#collect();
  }

  /** The core has put the snapshot in the place of its log: now the data takes the place of the replica, by one manifest edit. */
  #install(group: Group, meta: SnapshotMeta, request: PersistRequest): void {
    const state = this.#states.get(group)!;
    assert(state.imported !== null, 'a snapshot is installed after it was received');
    const { importer } = state.imported;
    state.imported = null;
    group.isInstalling = true;
    // Committed before, and covered by the snapshot.
    this.#committed.removeWhere((range) => range.group === group);
    const { term, vote } = request.hardState ?? group.raft.hardState;
    const lowest = Math.max(meta.revision, meta.floor);
    this.#revisionClock.raise(lowest);
    const installed = {
      groupId: group.groupId,
      replicaId: importer.replicaId,
      appliedIndex: meta.index,
      appliedTerm: meta.term,
      revision: meta.revision,
      term,
      vote,
      memberId: group.raft.id,
      configIndex: meta.configIndex,
      configuration: encodeConfiguration(meta.configuration),
    };
    const onInstalled = (): void => {
      group.installed(importer.replicaId, meta.index, meta.term, meta.revision);
      group.isInstalling = false;
      group.raft.applied(meta.index);
    };
    importer.finish(installed, { floor: meta.floor, clockBound: lowest, onInstalled }).then(
      () => {
        for (const held of state.held.splice(0)) this.#toLog(held);
        state.applies.settleUpTo(meta.index, null);
        this.#schedule(group);
      },
      (error: unknown) => {
        // The engine's end gives imports up; the manifest still has the old replica.
        if (!this.#stopped) this.#onFatal(error instanceof Error ? error : new Error(String(error)));
      },
    );
  }

  // --- Apply.

  #applyCommitted(): void {
    if (this.#draining) return;
    const startedMs = this.#clock.monotonicMs();
    let count = 0;
    for (let range = this.#committed.peek(); range !== undefined; range = this.#committed.peek()) {
      const { group, to } = range;
      while (range.next <= to) {
        if (++count % ENTRIES_PER_CLOCK_READ === 0 && this.#clock.monotonicMs() - startedMs > APPLY_SLICE_MS) {
          group.raft.applied(range.next - 1);
          this.#draining = true;
          this.#clock.defer(this.#drain);
          return;
        }
        this.#applyEntry(group, group.raft.entry(range.next++));
      }
      this.#committed.shift();
      group.raft.applied(to);
      this.#states.get(group)!.applies.settleUpTo(to, null);
    }
  }

  #applyEntry(group: Group, entry: Entry): void {
    const { index, term, revision, data } = entry;
    if (entry.kind === 'normal') {
      applyWrite(this.#engine, group.replicaId, revision, data, 0, data.length, group.keyHashOf(entry));
    }
    group.applied(index, term, revision);
  }

  #afterApplied(group: Group, index: number, sinceMs: number, done: Done): void {
    if (group.appliedIndex >= index) done(null, 0);
    else this.#states.get(group)!.applies.add(index, sinceMs, done);
  }

  // --- Time.

  #tickLater(tickMs: number): void {
    this.#timers[0] = this.#clock.setTimer(tickMs, () => {
      const now = this.#clock.monotonicMs();
      const late = now - this.#lastTickMs > 2 * tickMs;
      this.#lastTickMs = now;
      // After a pause what peers have sent meanwhile is read before time is looked at (Raft rule 17).
      if (late) this.#clock.defer(() => this.#tick());
      else this.#tick();
      this.#tickLater(tickMs);
    });
  }

  /**
   * Spreads leadership: partition p prefers the node at p modulo their number. One group at a time is handed over, to a voter that has
   * all of its log, so that nobody notices.
   */
  #balance(): void {
    const offered = this.#offered;
    this.#offered = null;
    if (offered !== null && offered.group.raft.role === 'leader' && offered.group.raft.term === offered.term) {
      this.#unwilling.set(offered.nodeId, this.#ticks + TICKS_PER_REFUSAL);
    }
    for (const group of this.groups) {
      const { raft } = group;
      if (!group.isServing || raft.configuration.joint || raft.transferee !== NO_MEMBER) continue;
      const { voters } = raft.configuration;
      const preferred = voters[group.partition % voters.length]!;
      const heir = raft.progress.find(({ id }) => id === preferred);
      if (heir?.caughtUp !== true || heir.match < raft.commitIndex) continue;
      if ((this.#unwilling.get(heir.nodeId) ?? 0) > this.#ticks) continue;
      raft.transferLeadership(preferred);
      this.#offered = { group, nodeId: heir.nodeId, term: raft.term };
      this.#schedule(group);
      return;
    }
  }

  #tick(): void {
    if (++this.#ticks % TICKS_PER_BALANCE === 0 && !this.#closed) {
      // Raft rule 14: who can't write makes room for those who can.
      if (this.#log.admission === 'disk_full') this.#offerLeadership();
      else if (!this.#isLeaving) this.#balance();
    }
    for (const group of this.groups) {
      // Nobody waits for the heartbeats of an only voter.
      if (this.readsAlone(group)) continue;
      group.raft.tick();
      if (group.raft.hasReady) this.#schedule(group);
    }
  }

  /** Answers what waits too long. The entries stay in the log: their outcome is unknown to the caller. */
  #watchDeadlines(): void {
    this.#timers[1] = this.#clock.setTimer(DEADLINE_CHECK_MS, () => {
      const latestMs = this.#clock.monotonicMs() - this.#requestTimeoutMs;
      const message = `the log did not become durable within ${this.#requestTimeoutMs} ms; retry`;
      this.#relying.failBefore(latestMs, () => new CairnError('unavailable', message));
      for (const group of this.groups) {
        this.#failLateWrites(group, latestMs);
        const { applies, reads } = this.#states.get(group)!;
        const late = (): CairnError => new CairnError('unavailable', this.#lateText(group));
        applies.failBefore(latestMs, late);
        for (const [token, waiters] of reads) {
          waiters.failBefore(latestMs, late);
          if (waiters.count === 0) reads.delete(token);
        }
      }
      this.#watchDeadlines();
    });
  }

  #lateText(group: Group): string {
    return `partition ${group.partition} got no answer from a quorum within ${this.#requestTimeoutMs} ms; retry`;
  }

  #failLateWrites(group: Group, latestMs: number): void {
    for (let i = 0; i < group.pendingCount; i++) {
      const pending = group.pendingAt(i);
      if (pending.appendedAtMs > latestMs) break;
      const { done } = pending;
      pending.done = null;
      const message = `not durable on a quorum after ${this.#requestTimeoutMs} ms; the outcome is unknown`;
      done?.(new CairnError('deadline_exceeded', message, { extra: { outcome: 'unknown' } }), 0);
    }
  }
}

/** What is received is a view of a chunk that holds much else, and entries are kept for long. */
function ownEntries(message: AppendMessage): AppendMessage {
  if (message.entries.length === 0) return message;
  return { ...message, entries: message.entries.map((entry) => ({ ...entry, data: entry.data.slice() })) };
}

/** Entries are short: a loop costs less than the call of `set`. */
function copyInto(target: Uint8Array, at: number, data: Uint8Array): void {
  if (data.length > 64) target.set(data, at);
  else for (let i = 0; i < data.length; i++) target[at + i] = data[i]!;
}

function diskFull(what: string): CairnError {
  return new CairnError('disk_full', `no space left for ${what}; reads go on, writes resume when there is space`);
}
