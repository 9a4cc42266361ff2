import { assert } from '../base/assert.js';
import { mutated } from '../base/mutations.js';
import { Candidate } from './candidate.js';
import type { ConfigChange, Configuration } from './configuration.js';
import { Core, type Transitions } from './core.js';
import { NO_MEMBER, type Entry, type MemberId } from './entry.js';
import { Follower } from './follower.js';
import { Leader } from './leader.js';
import type { ConfigurationAt } from './membership.js';
import type { Message } from './message.js';
import {
  DEFAULT_RAFT_OPTIONS,
  type HardState,
  type RaftEnvironment,
  type RaftOptions,
  type RaftStart,
} from './options.js';
import type {
  ConfigProposal,
  ConfigRefusal,
  ProposalRefusal,
  Ready,
  RoleName,
  SoftState,
  TransferRefusal,
} from './ready.js';
import type { ProgressState } from './progress.js';
import { answerVote } from './voting.js';

/** What a leader knows of another member. */
export interface MemberProgress {
  readonly id: MemberId;
  readonly nodeId: string;
  readonly state: ProgressState;
  readonly match: number;
  readonly caughtUp: boolean;
  /** Has said of late that its disk lost entries: it neither votes nor stands. */
  readonly repairing: boolean;
  /** Its wall clock in its last answer of this term; 0: none yet. */
  readonly clock: number;
}

const NOTHING: readonly never[] = [];

/**
 * One replica of one Raft group: a value machine without I/O, promises, clock or randomness of its own. README.md says how a host
 * drives it. This is the dispatcher: terms, and who is in office; what an office does is in `leader.ts`, `follower.ts` and
 * `candidate.ts`.
 */
export class Raft implements Transitions {
  readonly #core: Core;
  #role: Follower | Candidate | Leader;
  #shown: SoftState;
  #electionsStood = 0;
  #electionsWon = 0;

  constructor(start: RaftStart, environment: RaftEnvironment, options: Partial<RaftOptions> = {}) {
    this.#core = new Core(start, environment, { ...DEFAULT_RAFT_OPTIONS, ...options });
    this.#core.resetElectionTimer();
    this.#role = new Follower(this.#core, this);
    this.#shown = { role: 'follower', leader: NO_MEMBER, term: this.#core.term };
  }

  // --- inputs

  /** Takes a message from the transport. Those for another group or member, and those that a member sent to itself, are dropped. */
  step(message: Message): void {
    const core = this.#core;
    if (message.group !== core.group || message.to !== core.id || message.from === core.id) return;
    core.changed = true;
    if (message.term > core.term) {
      if (!this.#meetLaterTerm(message)) return;
    } else if (message.term < core.term && !(mutated('raft-old-term-accepted') && message.type !== 'vote')) {
      this.#answerEarlierTerm(message);
      return;
    }
    if (message.type === 'vote') {
      answerVote(core, message);
      return;
    }
    if (isFromLeader(message)) this.#meetLeader(message.from);
    this.#role.step(message);
  }

  /** A fixed interval of time has passed. After a pause of the process: read the sockets first, then tick once (Raft rule 17). */
  tick(): void {
    this.#role.tick();
  }

  /**
   * Appends a command on a leader. `revision` is above that of the log's last entry. The entry's data must not change and stays
   * referenced until it is released. Nothing is sent before `ready()`.
   */
  propose(revision: number, data: Uint8Array): Entry | ProposalRefusal {
    return this.#role.name === 'leader' ? this.#role.propose(revision, data) : 'not_leader';
  }

  /** `expectedIndex`: the `configurationIndex` that the caller has seen. */
  proposeConfig(change: ConfigChange, expectedIndex: number): ConfigProposal | ConfigRefusal {
    return this.#role.name === 'leader' ? this.#role.proposeConfig(change, expectedIndex) : 'not_leader';
  }

  /**
   * Asks for a linearizable read. False: no leader is known; else `token` comes back once, in `reads` or in `refusedReads`. It
   * must never be used twice in the life of the data directory.
   */
  readIndex(token: number): boolean {
    this.#core.changed = true;
    return this.#role.readIndex(token);
  }

  /**
   * Nothing above `revision` commits on this leader, until it is called again or the term ends; Infinity lifts it. Reads are judged at
   * no later instant. False unless an entry of its term is committed. `revision` is at least `latestInstant`, or what was held before.
   */
  holdCommit(revision: number): boolean {
    const core = this.#core;
    if (this.#role.name !== 'leader' || !core.committedInTerm) return false;
    const { commit } = core;
    this.#role.holdCommit(revision);
    if (core.commit > commit) core.changed = true;
    return true;
  }

  transferLeadership(to: MemberId): TransferRefusal | null {
    this.#core.changed = true;
    return this.#role.name === 'leader' ? this.#role.transfer(to) : 'not_leader';
  }

  /** Everything up to and with `persist.sequence` is durable. */
  persisted(sequence: number): void {
    const core = this.#core;
    core.changed = true;
    core.durability.completed(sequence);
    core.durability.release(core.outbox);
    this.#role.persisted();
  }

  /** The state machine holds everything up to `index`. */
  applied(index: number): void {
    const core = this.#core;
    assert(index <= core.committedHandedOut, `entry ${index} was handed out to be applied`);
    if (index <= core.applied) return;
    core.applied = index;
    core.membership.forgetBelow(index);
    core.log.releaseToBudget(index, core.options.maxBytesInMemory);
  }

  /** The host takes the buffers of applied entries up to `index` back. Messages of earlier Readys must be encoded by now. */
  releasePayloadsTo(index: number): void {
    this.#core.log.releaseTo(Math.min(index, this.#core.applied));
  }

  /** The log up to `index` (applied) is not on disk any more. */
  compact(index: number): void {
    const { applied, log } = this.#core;
    assert(index <= applied, `only applied entries are compacted: ${index}, applied ${applied}`);
    if (index > log.baseIndex) log.compactTo(index);
  }

  /** Answers a load request; `null`: the entries are compacted by now. */
  entriesLoaded(follower: MemberId, from: number, entries: readonly Entry[] | null): void {
    this.#core.changed = true;
    if (this.#role.name === 'leader') this.#role.replicator.loaded(follower, from, entries);
  }

  /** Messages to this member were lost, or its connection is down. */
  reportUnreachable(id: MemberId): void {
    this.#core.changed = true;
    if (this.#role.name === 'leader') this.#role.replicator.unreachable(id);
  }

  /**
   * The stream of a snapshot asked for in `snapshotsTo` has ended, well or not. If the member shows no progress within an election
   * timeout, or longer the more often that has happened, another one is asked for. Not `wasBegun`: others were under way.
   */
  reportSnapshot(id: MemberId, wasBegun = true): void {
    this.#core.changed = true;
    if (this.#role.name === 'leader') this.#role.replicator.snapshotReported(id, wasBegun);
  }

  // --- output

  /** Whether `ready()` may have something. */
  get hasReady(): boolean {
    return this.#core.changed;
  }

  /** What to do next; each thing is said once. */
  ready(): Ready {
    const core = this.#core;
    core.changed = false;
    this.#role.flush();
    const ready = {
      messages: core.outbox.length > 0 ? core.outbox : NOTHING,
      persist: core.takePersist(),
      committed: core.takeCommitted(),
      reads: core.reads.length > 0 ? core.reads : NOTHING,
      refusedReads: core.refusedReads.length > 0 ? core.refusedReads : NOTHING,
      loads: core.loads.length > 0 ? core.loads : NOTHING,
      snapshotsTo: core.snapshotsTo.length > 0 ? core.snapshotsTo : NOTHING,
      snapshotVerdicts: core.snapshotVerdicts.length > 0 ? core.snapshotVerdicts : NOTHING,
      softState: this.#takeSoftState(),
    };
    if (core.outbox.length > 0) core.outbox = [];
    if (core.reads.length > 0) core.reads = [];
    if (core.refusedReads.length > 0) core.refusedReads = [];
    if (core.loads.length > 0) core.loads = [];
    if (core.snapshotsTo.length > 0) core.snapshotsTo = [];
    if (core.snapshotVerdicts.length > 0) core.snapshotVerdicts = [];
    return ready;
  }

  #takeSoftState(): SoftState | null {
    const { leader, term } = this.#core;
    const role = this.#role.name;
    const shown = this.#shown;
    if (shown.role === role && shown.leader === leader && shown.term === term) return null;
    this.#shown = { role, leader, term };
    return this.#shown;
  }

  // --- views

  get id(): MemberId {
    return this.#core.id;
  }

  get role(): RoleName {
    return this.#role.name;
  }

  get term(): number {
    return this.#core.term;
  }

  get leader(): MemberId {
    return this.#core.leader;
  }

  /** Elections proper, not pre-votes, in which this member stood since it was made. */
  get electionsStood(): number {
    return this.#electionsStood;
  }

  get electionsWon(): number {
    return this.#electionsWon;
  }

  get hardState(): HardState {
    return { term: this.#core.term, vote: this.#core.vote, commit: this.#core.commit };
  }

  get commitIndex(): number {
    return this.#core.commit;
  }

  get appliedIndex(): number {
    return this.#core.applied;
  }

  get durableIndex(): number {
    return this.#core.durability.lastIndex;
  }

  get lastIndex(): number {
    return this.#core.log.lastIndex;
  }

  get lastRevision(): number {
    return this.#core.log.lastRevision;
  }

  /** The last compacted index. */
  get baseIndex(): number {
    return this.#core.log.baseIndex;
  }

  /** The first index whose entry is in memory; the next index when none is. Those between the base and it are on disk only. */
  get memoryFirst(): number {
    return this.#core.log.memoryFirst;
  }

  get bytesInMemory(): number {
    return this.#core.log.bytesInMemory;
  }

  /** -1 outside of the log. */
  termAt(index: number): number {
    return this.#core.log.term(index);
  }

  /** An entry above the applied index, or one that was not released yet. */
  entry(index: number): Entry {
    return this.#core.log.entry(index);
  }

  get configuration(): Configuration {
    return this.#core.configuration;
  }

  /** The index of the entry that the configuration in force comes from. */
  get configurationIndex(): number {
    return this.#core.membership.currentIndex;
  }

  /** For the metadata of a snapshot at `index`, which is the applied index or above. */
  configurationAt(index: number): ConfigurationAt | undefined {
    return this.#core.membership.at(index);
  }

  /**
   * Whether this leader has committed an entry of its own term. Only then is its state, once applied, ahead of everything that
   * earlier leaders have answered.
   */
  get committedInTerm(): boolean {
    return this.#role.name === 'leader' && this.#core.committedInTerm;
  }

  /** In a group with one voter: the index that a linearizable read waits for, without a round; else -1. Allocates nothing. */
  get soleVoterReadIndex(): number {
    const { configuration, id, commit } = this.#core;
    return configuration.soleVoter === id && this.committedInTerm ? commit : -1;
  }

  /** On a leader: no revision at or below it may be given any more; 0 otherwise. */
  get electionClock(): number {
    return this.#role.name === 'leader' ? this.#role.electionClock : 0;
  }

  /** On a leader: no entry of the log is of a later instant, and no read of this group was given one; 0 otherwise. */
  get latestInstant(): number {
    return this.#role.name === 'leader' ? this.#role.latestInstant : 0;
  }

  /** On a leader: everything at or below `revision` in its log lies at or below this index. */
  indexToCommit(revision: number): number {
    return this.#role.name === 'leader' ? this.#role.lastIndexUpTo(revision) : this.#core.log.lastIndex;
  }

  /** The highest instant that a quorum is known to have confirmed. */
  get confirmedClock(): number {
    return this.#core.confirmedClock;
  }

  /** Whom leadership is being handed to. */
  get transferee(): MemberId {
    return this.#role.name === 'leader' ? this.#role.transferee : NO_MEMBER;
  }

  /** May not vote yet: see RaftStart. */
  get repairing(): boolean {
    return this.#core.repair !== null;
  }

  /** As in RaftStart; 0: may vote. */
  get repairIndex(): number {
    return this.#core.repair?.index ?? 0;
  }

  /** On a leader: every other member; else empty. */
  get progress(): readonly MemberProgress[] {
    const role = this.#role;
    if (role.name !== 'leader') return NOTHING;
    return Array.from(role.replicator.members.values(), ({ id, nodeId, state, match, clock }) => ({
      id,
      nodeId,
      state,
      match,
      clock,
      caughtUp: role.isCaughtUp(id),
      repairing: role.isRepairing(id),
    }));
  }

  // --- terms and offices

  becomeFollower(term: number, leader: MemberId): void {
    const core = this.#core;
    core.changed = true;
    const sameOffice = this.#role.name === 'follower' && term === core.term;
    if (!sameOffice) {
      this.#role.leave();
      // A candidate or leader that gives up is patient anew. A follower's patience is not renewed by a mere later term.
      if (this.#role.name !== 'follower') core.resetElectionTimer();
      if (term > core.term) core.enterTerm(term, NO_MEMBER);
      this.#role = new Follower(core, this);
    }
    core.leader = leader;
  }

  becomeCandidate(wantsPreVote: boolean, transfer: boolean): void {
    const core = this.#core;
    core.changed = true;
    this.#role.leave();
    const pre = wantsPreVote && core.configuration.soleVoter !== core.id;
    if (!pre) {
      this.#electionsStood++;
      core.enterTerm(core.term + 1, core.id);
    }
    this.#role = new Candidate(core, this, pre, transfer);
  }

  becomeLeader(electionClock: number): void {
    this.#core.changed = true;
    this.#electionsWon++;
    this.#role.leave();
    this.#role = new Leader(this.#core, this, electionClock);
  }

  /** False: the message is not heard at all. */
  #meetLaterTerm(message: Message): boolean {
    const core = this.#core;
    if (message.type === 'vote') {
      // Whoever hears from a leader does not help to replace it, unless the leader wants it.
      if (core.hearsLeader && !message.transfer && !mutated('raft-lease-ignored')) return false;
      // A pre-vote asks about a term that nobody is in.
      if (!message.pre) this.becomeFollower(message.term, NO_MEMBER);
      return true;
    }
    if (message.type === 'vote_reply' && message.pre && message.granted) return true;
    const leads = isFromLeader(message);
    // Members that were removed can't raise terms.
    if (!leads && !core.configuration.has(message.from)) return false;
    this.becomeFollower(message.term, leads ? message.from : NO_MEMBER);
    return true;
  }

  #answerEarlierTerm(message: Message): void {
    const core = this.#core;
    const { from } = message;
    switch (message.type) {
      case 'append':
      case 'heartbeat':
        // Without this a member whose term ran ahead would never be led again: the leader's messages don't reach it, and it may not win.
        core.send({ type: 'term_notice', group: core.group, from: core.id, to: from, term: core.term });
        break;
      case 'vote':
        answerVote(core, message);
        break;
      case 'snapshot':
        if (this.#role.name === 'follower') this.#role.onSnapshot(message.snapshot);
        else core.snapshotVerdicts.push({ snapshot: message.snapshot, verdict: 'stale' });
        break;
      default:
        // Answers to what this member asked in an earlier term.
        break;
    }
  }

  /** A term has one leader, so whoever sends as one is it. */
  #meetLeader(from: MemberId): void {
    const core = this.#core;
    assert(this.#role.name !== 'leader', `member ${from} sends as leader of term ${core.term}, which this one leads`);
    if (this.#role.name !== 'follower') this.becomeFollower(core.term, from);
    assert(core.leader === NO_MEMBER || core.leader === from, `term ${core.term} has one leader`);
    core.leader = from;
    core.electionElapsed = 0;
  }
}

function isFromLeader({ type }: Message): boolean {
  return type === 'append' || type === 'heartbeat' || type === 'commit' || type === 'snapshot';
}
