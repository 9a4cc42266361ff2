import { assert } from '../base/assert.js';
import { mutated } from '../base/mutations.js';
import { encodeConfiguration } from './configuration-codec.js';
import { changedConfiguration, leftConfiguration, type ConfigChange, type Configuration } from './configuration.js';
import type { Core, Role, Transitions } from './core.js';
import { entryBytes, MEMBERS_PER_TERM, NO_DATA, NO_MEMBER, type Entry, type MemberId } from './entry.js';
import type { Message } from './message.js';
import type { Progress } from './progress.js';
import { isQuorum, quorumValue } from './quorum.js';
import { ReadRounds, type WaitingRead } from './read-rounds.js';
import type { ConfigProposal, ConfigRefusal, ProposalRefusal, TransferRefusal } from './ready.js';
import { Replicator } from './replicator.js';

/** Orders a group's entries, for one term. */
export class Leader implements Role {
  readonly name = 'leader';
  /** The highest clock of the quorum that elected it, itself included. */
  readonly electionClock: number;
  readonly replicator: Replicator;
  readonly #core: Core;
  readonly #transitions: Transitions;
  readonly #reads = new ReadRounds();
  #heartbeatDue = false;
  #ticksSinceHeartbeat = 0;
  #ticksSinceQuorum = 0;
  #uncommittedBytes = 0;
  /** Members that this term has added. */
  #membersAdded = 0;
  #transferee: MemberId = NO_MEMBER;
  #transferTicks = 0;
  #transfereeTold = false;
  /** Nothing above this revision commits; Infinity: nothing is held. */
  #heldAbove = Infinity;
  /** The latest instant that a read of this term was given. */
  #readClock = 0;
  /** Kept, so that counting allocates nothing. */
  readonly #matchOf = (id: MemberId): number => {
    if (id !== this.#core.id) return this.replicator.members.get(id)?.match ?? 0;
    if (mutated('raft-leader-counts-unsynced')) return this.#core.log.lastIndex;
    return this.#core.durability.lastIndex;
  };
  readonly #roundOf = (id: MemberId): number =>
    id === this.#core.id ? Infinity : (this.replicator.members.get(id)?.readToken ?? 0);

  constructor(core: Core, transitions: Transitions, electionClock: number) {
    this.#core = core;
    this.#transitions = transitions;
    this.electionClock = electionClock;
    this.replicator = new Replicator(core);
    core.leader = core.id;
    core.electionElapsed = 0;
    for (let index = core.commit + 1; index <= core.log.lastIndex; index++) {
      this.#uncommittedBytes += entryBytes(core.log.entry(index));
    }
    // What earlier leaders left commits only together with an entry of this term (Raft rule 2).
    this.#appendOwn('noop', NO_DATA);
  }

  get transferee(): MemberId {
    return this.#transferee;
  }

  step(message: Message): void {
    const progress = this.replicator.members.get(message.from);
    if (progress === undefined) return;
    progress.silentTicks = 0;
    switch (message.type) {
      case 'append_reply':
        heard(progress, message.clock);
        this.#acknowledged(progress, message.index);
        break;
      case 'append_reject':
        heard(progress, message.clock);
        this.replicator.rejected(progress, message);
        break;
      case 'heartbeat_reply':
        heard(progress, message.clock);
        this.#acknowledged(progress, message.index);
        this.replicator.heartbeatAnswered(progress, message.index);
        if (mutated('raft-read-any-ack')) progress.readToken = this.#reads.newest;
        if (message.token > progress.readToken) progress.readToken = message.token;
        if (this.#reads.waiting) this.#serveReads();
        break;
      case 'read':
        progress.active = true;
        this.#addRead(message.from, message.token);
        break;
      case 'repair':
        progress.active = true;
        this.#onRepair(progress, message.token);
        break;
      default:
        // Votes that came late.
        break;
    }
  }

  // --- commit

  #acknowledged(progress: Progress, index: number): void {
    if (this.replicator.acknowledged(progress, index)) this.#maybeCommit();
    if (progress.id === this.#transferee) this.#tellTransferee(false);
  }

  persisted(): void {
    this.#maybeCommit();
    if (!this.#reads.isEmpty) this.#serveReads();
  }

  #maybeCommit(): void {
    const core = this.#core;
    let index = quorumValue(core.configuration, this.#matchOf);
    if (index <= core.commit) return;
    // Raft rule 2, figure 8 of the paper: an old entry on a majority may still be replaced.
    if (core.log.term(index) !== core.term && !mutated('raft-commit-old-term')) return;
    if (this.#heldAbove < Infinity) {
      index = Math.min(index, this.lastIndexUpTo(this.#heldAbove));
      if (index <= core.commit) return;
    }
    for (let i = core.commit + 1; i <= index; i++) this.#uncommittedBytes -= entryBytes(core.log.entry(i));
    core.commitTo(index);
    this.#reads.committedInTerm(index);
    if (this.#reads.waiting) this.#serveReads();
    this.#finishChange();
  }

  /** See `Raft.holdCommit`. An entry of this term is committed, so all that can be held are entries of this term. */
  holdCommit(revision: number): void {
    this.#heldAbove = mutated('raft-hold-ignored') ? Infinity : revision;
    this.#maybeCommit();
  }

  /**
   * The last entry at or below `revision`; the commit index when that is ahead of it. Revisions ascend, and while a hold lasts this is asked
   * with every acknowledgement.
   */
  lastIndexUpTo(revision: number): number {
    const { log, commit } = this.#core;
    let low = commit;
    let high = log.lastIndex;
    while (low < high) {
      const middle = low + Math.ceil((high - low) / 2);
      if (log.entry(middle).revision <= revision) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** See `Raft.latestInstant`. */
  get latestInstant(): number {
    return Math.max(this.#core.log.lastRevision, this.electionClock, this.#readClock);
  }

  /** A committed joint configuration is left, by whoever leads; a leader that is no voter any more goes. */
  #finishChange(): void {
    const { membership, configuration, commit, id, committedInTerm } = this.#core;
    if (membership.currentIndex > commit || !committedInTerm) return;
    if (configuration.joint) {
      const inherited = this.#core.log.term(membership.currentIndex) !== this.#core.term;
      if (inherited && mutated('raft-leave-skipped')) return;
      // Those who leave are told that it is certain; afterwards they are members no more.
      this.replicator.flush();
      this.#appendConfiguration(leftConfiguration(configuration));
    } else if (!configuration.isVoter(id)) {
      this.#handOver();
    }
  }

  #handOver(): void {
    const core = this.#core;
    this.flush();
    const { voters } = core.configuration;
    const heir = voters.find((id) => this.#matchOf(id) === core.log.lastIndex && !this.isRepairing(id));
    if (heir !== undefined) this.#sendTimeoutNow(heir);
    this.#transitions.becomeFollower(core.term, NO_MEMBER);
  }

  // --- proposals

  /** Appends a command, or says why not. */
  propose(revision: number, data: Uint8Array): Entry | ProposalRefusal {
    if (this.#transferee !== NO_MEMBER) return 'transferring';
    if (this.#uncommittedBytes > 0 && this.#uncommittedBytes + data.length > this.#core.options.maxUncommittedBytes) {
      return 'overloaded';
    }
    const entry = this.#core.appendOwn('normal', revision, data);
    this.#uncommittedBytes += entryBytes(entry);
    return entry;
  }

  #appendOwn(kind: 'noop' | 'config', data: Uint8Array): Entry {
    const core = this.#core;
    const revision = core.environment.nextRevision(Math.max(core.log.lastRevision, this.electionClock));
    const entry = core.appendOwn(kind, revision, data);
    this.#uncommittedBytes += entryBytes(entry);
    return entry;
  }

  #appendConfiguration(configuration: Configuration): Entry {
    const entry = this.#appendOwn('config', encodeConfiguration(configuration));
    this.replicator.configurationChanged();
    if (!configuration.voters.includes(this.#transferee)) this.#transferee = NO_MEMBER;
    return entry;
  }

  /** Starts a change of the configuration that came from the entry at `expectedIndex` (Raft rules 10, 11 and 23). */
  proposeConfig(change: ConfigChange, expectedIndex: number): ConfigProposal | ConfigRefusal {
    const { membership, configuration, commit, term, committedInTerm } = this.#core;
    if (this.#transferee !== NO_MEMBER) return 'transferring';
    if (!committedInTerm && !mutated('raft-change-before-own-commit')) return 'not_ready';
    const unsettled = membership.currentIndex > commit || configuration.joint;
    if (unsettled && !mutated('raft-change-in-flight')) return 'change_in_flight';
    if (membership.currentIndex !== expectedIndex) return 'stale_configuration';
    const firstId = term * MEMBERS_PER_TERM + this.#membersAdded + 1;
    const count = change.addLearners?.length ?? 0;
    if (this.#membersAdded + count >= MEMBERS_PER_TERM) return 'invalid_change';
    const joined = configuration.joint && mutated('raft-change-in-flight');
    const next = changedConfiguration(joined ? leftConfiguration(configuration) : configuration, change, firstId);
    if (next === null) return 'invalid_change';
    if (!(change.promote ?? []).every((id) => this.isCaughtUp(id))) return 'not_caught_up';
    this.#membersAdded += count;
    return { entry: this.#appendConfiguration(next), added: Array.from({ length: count }, (_, i) => firstId + i) };
  }

  isCaughtUp(id: MemberId): boolean {
    const progress = this.replicator.members.get(id);
    return progress?.state === 'replicate' && progress.match + this.#core.options.promotionLag >= this.#core.commit;
  }

  /** Has said of late that its disk lost entries: it would not stand. */
  isRepairing(id: MemberId): boolean {
    return (this.replicator.members.get(id)?.repairTicks ?? 0) > 0;
  }

  // --- reads

  readIndex(token: number): boolean {
    this.#addRead(this.#core.id, token);
    return true;
  }

  #addRead(from: MemberId, token: number): void {
    const { environment, commit, committedInTerm } = this.#core;
    const index = committedInTerm || mutated('raft-read-before-own-commit') ? commit : -1;
    // A read that judged expiry later than what is held would have seen a key end that the scan at the held instant still shows.
    const clock = Math.max(Math.min(environment.clock(), this.#heldAbove), this.#readClock, this.electionClock);
    if (clock > this.#readClock) this.#readClock = clock;
    environment.raiseClock(clock);
    let durableAt = 0;
    if (clock > environment.durableClock()) {
      this.#core.requestClockBound(clock);
      durableAt = this.#core.savePoint();
    }
    if (index >= 0 && this.#isQuorumWith(from)) {
      this.#reads.addConfirmed({ round: 0, from, token, clock, durableAt, index });
    } else {
      this.#reads.add({ round: environment.readToken(), from, token, clock, durableAt, index });
    }
    this.#serveReads();
  }

  /**
   * Whether a member's question says as much as a round: it was asked in this term, by a voter that had not moved on, and with it this
   * leader, which has not either, is a quorum. So nobody led a later term when the read began. Of three voters one is enough.
   */
  #isQuorumWith(from: MemberId): boolean {
    const { id, configuration } = this.#core;
    if (from === id) return false;
    return mutated('raft-read-any-asker') || isQuorum(configuration, (voter) => voter === id || voter === from);
  }

  #serveReads(): void {
    const core = this.#core;
    const confirmed = mutated('raft-read-without-round') ? Infinity : quorumValue(core.configuration, this.#roundOf);
    const completed = core.durability.completedSequence;
    for (;;) {
      const read = this.#reads.take(confirmed, completed);
      if (read === undefined) return;
      // Without a round nobody but the asker is bound, and that only when it has the answer.
      if (read.round > 0 && read.clock > core.confirmedClock) core.confirmedClock = read.clock;
      this.#answerRead(read, false);
    }
  }

  #answerRead({ from, token, index, clock }: WaitingRead, refused: boolean): void {
    const { id, group, term } = this.#core;
    if (from !== id) {
      this.#core.send({
        type: 'read_reply',
        group,
        from: id,
        to: from,
        term,
        token,
        refused,
        index: Math.max(index, 0),
        clock,
      });
    } else if (refused) this.#core.refusedReads.push(token);
    else this.#core.reads.push({ token, index, clock });
  }

  // --- transfer

  /** Takes no proposals until `to` has the whole log and is told to stand, or until an election timeout has passed. */
  transfer(to: MemberId): TransferRefusal | null {
    if (this.#transferee !== NO_MEMBER) return 'transferring';
    if (to === this.#core.id || !this.#core.configuration.voters.includes(to)) return 'not_a_voter';
    if (this.isRepairing(to)) return 'repairing';
    this.#transferee = to;
    this.#transferTicks = 0;
    this.#transfereeTold = false;
    this.#tellTransferee(true);
    return null;
  }

  #tellTransferee(again: boolean): void {
    const progress = this.replicator.members.get(this.#transferee);
    // Its last acknowledgement is the moment; later ones add nothing, ticks make up for a lost message.
    if (progress === undefined || progress.match < this.#core.log.lastIndex) return;
    if (again || !this.#transfereeTold) this.#sendTimeoutNow(this.#transferee);
    this.#transfereeTold = true;
  }

  /** It may have acknowledged whatever this log holds now, nothing else of this term: see `Repair`. Until it is whole it can't lead. */
  #onRepair(progress: Progress, token: number): void {
    const { id, group, term, log, options } = this.#core;
    progress.repairTicks = options.electionTicks;
    if (this.#transferee === progress.id) this.#transferee = NO_MEMBER;
    this.#core.send({
      type: 'repair_reply',
      group,
      from: id,
      to: progress.id,
      term,
      token,
      lastIndex: log.lastIndex,
    });
  }

  #sendTimeoutNow(to: MemberId): void {
    const { group, id, term } = this.#core;
    this.#core.send({ type: 'timeout_now', group, from: id, to, term });
  }

  // --- time

  tick(): void {
    const { options } = this.#core;
    if (++this.#ticksSinceHeartbeat >= options.heartbeatTicks) {
      this.#ticksSinceHeartbeat = 0;
      this.#heartbeatDue = true;
      this.#core.changed = true;
    }
    this.replicator.tick();
    if (this.#transferee !== NO_MEMBER) this.#transferTick();
    if (++this.#ticksSinceQuorum >= options.electionTicks) this.#checkQuorum();
  }

  #transferTick(): void {
    if (++this.#transferTicks >= this.#core.options.electionTicks && !mutated('raft-transfer-never-ends')) {
      this.#transferee = NO_MEMBER;
    } else if (this.#heartbeatDue) this.#tellTransferee(true);
  }

  /** Raft rule 9: a leader that a quorum does not answer makes room, and its callers are told. */
  #checkQuorum(): void {
    const core = this.#core;
    this.#ticksSinceQuorum = 0;
    const { members } = this.replicator;
    const held = isQuorum(core.configuration, (id) => id === core.id || members.get(id)?.active === true);
    for (const progress of members.values()) progress.active = false;
    if (!held && !mutated('raft-check-quorum-skipped')) this.#transitions.becomeFollower(core.term, NO_MEMBER);
  }

  flush(): void {
    if (this.#heartbeatDue) this.#sendHeartbeats(false);
    else if (this.#reads.newest > this.#reads.sent && this.#reads.waiting) this.#sendHeartbeats(true);
    this.#heartbeatDue = false;
    this.replicator.flush();
  }

  #sendHeartbeats(votersOnly: boolean): void {
    const { group, id, term, commit, configuration, environment, confirmedClock } = this.#core;
    const token = this.#reads.waiting ? this.#reads.newest : 0;
    if (token > 0) this.#reads.sent = token;
    const clock = token > 0 ? environment.clock() : 0;
    for (const to of this.replicator.members.keys()) {
      if (votersOnly && !configuration.isVoter(to)) continue;
      this.#core.send({ type: 'heartbeat', group, from: id, to, term, commit, token, clock, confirmedClock });
    }
  }

  leave(): void {
    for (let read = this.#reads.takeAny(); read !== undefined; read = this.#reads.takeAny()) {
      this.#answerRead(read, true);
    }
    assert(this.#core.leader === this.#core.id, 'a leader knows itself');
  }
}

function heard(progress: Progress, clock: number): void {
  progress.active = true;
  progress.clock = clock;
}
