import { assert } from '../base/assert.js';
import { mutated } from '../base/mutations.js';
import type { Configuration } from './configuration.js';
import { Durability } from './durability.js';
import { NO_MEMBER, type Entry, type EntryKind, type MemberId } from './entry.js';
import { Membership } from './membership.js';
import type { Message, SnapshotMeta } from './message.js';
import type { RaftEnvironment, RaftOptions, RaftStart } from './options.js';
import { RaftLog } from './raft-log.js';
import { Repair } from './repair.js';
import type { LoadRequest, ReadState, Ready, RoleName } from './ready.js';

/** One of leader, follower and candidate; a new object for each time in office, so nothing is left over from the last one. */
export interface Role {
  readonly name: RoleName;
  /** A message of this term. */
  step(message: Message): void;
  tick(): void;
  /** Before messages are collected: what a whole loop turn has to say in one message. */
  flush(): void;
  /** More of the log or the hard state is durable. */
  persisted(): void;
  readIndex(token: number): boolean;
  leave(): void;
}

/** How roles follow each other; the dispatcher implements it. */
export interface Transitions {
  /** `leader`: NO_MEMBER when unknown. */
  becomeFollower(term: number, leader: MemberId): void;
  becomeCandidate(pre: boolean, transfer: boolean): void;
  becomeLeader(electionClock: number): void;
}

/** What all roles share: term and vote, log, configurations, what is durable, and what goes to the host. */
export class Core {
  readonly group: number;
  readonly id: MemberId;
  readonly environment: RaftEnvironment;
  readonly options: RaftOptions;
  readonly log: RaftLog;
  readonly membership: Membership;
  readonly durability: Durability;
  term: number;
  vote: MemberId;
  commit: number;
  leader: MemberId = NO_MEMBER;
  /** Ticks since the leader was heard or an election began; a follower's patience ends at `electionTimeout`. */
  electionElapsed = 0;
  electionTimeout: number;
  /** Applied by the host; and handed to it. */
  applied: number;
  committedHandedOut: number;
  /** What this member has lost; null: nothing, it may vote. */
  repair: Repair | null;
  /** The highest clock that a quorum confirmed to a leader, as far as this member has heard. */
  confirmedClock = 0;
  /** Something may have to be collected. */
  changed = true;
  #hardStateChanged = false;
  #truncatedFrom = 0;
  #clockBound = 0;
  #installing: SnapshotMeta | null = null;

  // What the next Ready takes along.
  outbox: Message[] = [];
  reads: ReadState[] = [];
  refusedReads: number[] = [];
  loads: LoadRequest[] = [];
  snapshotsTo: MemberId[] = [];
  snapshotVerdicts: Ready['snapshotVerdicts'][number][] = [];

  constructor(start: RaftStart, environment: RaftEnvironment, options: RaftOptions) {
    this.group = start.group;
    this.id = start.id;
    this.environment = environment;
    this.options = options;
    this.log = new RaftLog(start.log);
    this.membership = new Membership(start.configuration);
    for (const entry of start.log.entries) if (entry.kind === 'config') this.membership.append(entry);
    this.durability = new Durability(this.log.lastIndex);
    this.term = start.hardState.term;
    this.vote = start.hardState.vote;
    this.applied = start.appliedIndex;
    this.committedHandedOut = start.appliedIndex;
    this.repair = start.repairIndex > 0 ? new Repair(start.repairIndex, start.hardState.term) : null;
    // The hard state's commit index is a hint that may outlive the tail of a damaged log.
    this.commit = Math.max(start.appliedIndex, Math.min(start.hardState.commit, this.log.lastIndex));
    this.electionTimeout = options.electionTicks;
    assert(this.log.lastTerm <= this.term, 'no entry is of a later term than the hard state');
    assert(start.appliedIndex >= this.log.baseIndex, 'what was compacted was applied');
    assert(start.appliedIndex <= this.log.lastIndex, 'what was applied is in the log or below its base');
    assert(this.log.memoryFirst <= start.appliedIndex + 1, 'entries that are not applied are in memory');
  }

  get configuration(): Configuration {
    return this.membership.current;
  }

  /** An entry of the leader's own term is committed: then all earlier ones are. */
  get committedInTerm(): boolean {
    return this.log.term(this.commit) === this.term;
  }

  get mayVote(): boolean {
    return this.repair === null || mutated('raft-repair-votes');
  }

  /** Heard from a leader within the minimum election timeout: whoever wants to replace it is not answered (Raft rule 9). */
  get hearsLeader(): boolean {
    return this.leader !== NO_MEMBER && this.electionElapsed < this.options.electionTicks;
  }

  resetElectionTimer(): void {
    const { electionTicks } = this.options;
    this.electionElapsed = 0;
    this.electionTimeout = electionTicks + this.environment.random(electionTicks);
  }

  enterTerm(term: number, vote: MemberId): void {
    assert(term > this.term, `terms ascend: ${term} after ${this.term}`);
    this.term = term;
    this.voteFor(vote);
  }

  voteFor(vote: MemberId): void {
    this.vote = vote;
    this.#hardStateChanged = true;
  }

  // --- messages

  send(message: Message): void {
    this.outbox.push(message);
  }

  /** Sends when everything that this replica knows now is durable. */
  sendWhenDurable(message: Message): void {
    const sequence = this.savePoint();
    const early = mutated('raft-vote-before-durable') && message.type === 'vote_reply';
    if (sequence <= this.durability.completedSequence || early) this.outbox.push(message);
    else this.durability.hold(sequence, message);
  }

  /** The number of the write with which everything known now is durable. */
  savePoint(): number {
    return this.durability.sequence + (this.#unsaved ? 1 : 0);
  }

  /** Asks the host to make its clock's durable bound reach `instant`. */
  requestClockBound(instant: number): void {
    if (instant > this.#clockBound) this.#clockBound = instant;
  }

  get #unsaved(): boolean {
    return (
      this.#hardStateChanged ||
      this.#installing !== null ||
      this.#clockBound > 0 ||
      this.log.lastIndex > this.durability.handedOutIndex
    );
  }

  // --- log

  /** A leader's own entry. */
  appendOwn(kind: EntryKind, revision: number, data: Uint8Array): Entry {
    const entry = { term: this.term, index: this.log.lastIndex + 1, kind, revision, data };
    this.append(entry);
    return entry;
  }

  append(entry: Entry): void {
    this.log.append(entry);
    if (entry.kind === 'config') this.membership.append(entry);
    this.changed = true;
  }

  /** A follower's log differs from its leader's from `index` on. */
  truncateFrom(index: number): void {
    assert(index > this.commit, `entry ${index} is committed (commit index ${this.commit}) and would be replaced`);
    this.log.truncateFrom(index);
    this.membership.truncateFrom(index);
    if (index <= this.durability.handedOutIndex) {
      this.#truncatedFrom = this.#truncatedFrom === 0 ? index : Math.min(this.#truncatedFrom, index);
    }
    this.durability.replacedFrom(index);
  }

  /** False when it was known already. */
  commitTo(index: number): boolean {
    if (index <= this.commit) return false;
    assert(index <= this.log.lastIndex, `commit index ${index} lies in the log, which ends at ${this.log.lastIndex}`);
    this.commit = index;
    return true;
  }

  /** A snapshot takes the place of the whole log. */
  install(snapshot: SnapshotMeta): void {
    assert(
      snapshot.index > this.commit || mutated('raft-snapshot-goes-back'),
      'a snapshot is ahead of the commit index',
    );
    this.log.reset(snapshot.index, snapshot.term, snapshot.revision);
    this.membership.reset({ index: snapshot.configIndex, configuration: snapshot.configuration });
    this.durability.replacedAll();
    this.durability.handedOutIndex = snapshot.index;
    this.#truncatedFrom = 0;
    this.commit = snapshot.index;
    this.committedHandedOut = snapshot.index;
    this.#installing = snapshot;
  }

  // --- ready

  takePersist(): Ready['persist'] {
    if (!this.#unsaved) return null;
    const from = this.durability.handedOutIndex + 1;
    const to = this.log.lastIndex;
    const vote = mutated('raft-vote-forgotten') ? NO_MEMBER : this.vote;
    const withState = this.#hardStateChanged || this.#installing !== null;
    const request = {
      sequence: this.durability.handOut(to),
      snapshot: this.#installing,
      hardState: withState ? { term: this.term, vote, commit: this.commit } : null,
      truncateFrom: this.#truncatedFrom,
      entries: to >= from ? { from, to } : null,
      clockBound: this.#clockBound,
    };
    assert(request.truncateFrom === 0 || request.entries !== null, 'entries are only replaced by others');
    this.#hardStateChanged = false;
    this.#installing = null;
    this.#truncatedFrom = 0;
    this.#clockBound = 0;
    return request;
  }

  takeCommitted(): Ready['committed'] {
    const durable = mutated('raft-apply-undurable') ? this.log.lastIndex : this.durability.lastIndex;
    const to = Math.min(this.commit, durable);
    if (to <= this.committedHandedOut) return null;
    const from = this.committedHandedOut + 1;
    this.committedHandedOut = to;
    return { from, to };
  }
}
