import { assert } from '../base/assert.js';
import { Fifo } from '../base/fifo.js';
import { mutated } from '../base/mutations.js';
import type { Core, Role, Transitions } from './core.js';
import { NO_MEMBER } from './entry.js';
import type { AppendMessage, HeartbeatMessage, Message, ReadReply, SnapshotMeta } from './message.js';
import type { ReadState } from './ready.js';
import type { Repair } from './repair.js';
import { UNKNOWN_TERM } from './term-runs.js';

/** Takes a leader's log, for one term. Learners and members that were removed are followers too. */
export class Follower implements Role {
  readonly name = 'follower';
  readonly #core: Core;
  readonly #transitions: Transitions;
  /**
   * Up to here this log is known to equal that of the term's leader. Begins at the commit index, below which all leaders are
   * alike (leader completeness).
   */
  #matched: number;
  /** What the leader was last told to be durable here. */
  #acknowledged: number;
  #answerDue = false;
  #repairTicks = 0;
  /** Reads that the leader was asked for, and how many ticks ago. */
  readonly #reads = new Map<number, number>();
  /** Answered reads whose instant is not durably this member's own past yet. */
  readonly #unboundReads = new Fifo<{ readonly durableAt: number; readonly read: ReadState }>();

  constructor(core: Core, transitions: Transitions) {
    this.#core = core;
    this.#transitions = transitions;
    this.#matched = core.commit;
    this.#acknowledged = core.commit;
  }

  step(message: Message): void {
    switch (message.type) {
      case 'append':
        this.#onAppend(message);
        break;
      case 'heartbeat':
        this.#onHeartbeat(message);
        break;
      case 'commit':
        this.#learnCommit(message.commit);
        break;
      case 'snapshot':
        this.onSnapshot(message.snapshot);
        break;
      case 'timeout_now':
        if (message.from === this.#core.leader) this.#standNow();
        break;
      case 'read_reply':
        this.#onReadReply(message);
        break;
      case 'repair_reply':
        this.#core.repair?.answered(message);
        break;
      default:
        // Answers to what this member asked in another role.
        break;
    }
  }

  #onAppend(message: AppendMessage): void {
    const { log, commit, durability } = this.#core;
    const { prevIndex, prevTerm, entries } = message;
    if (prevIndex > commit && log.term(prevIndex) !== prevTerm) {
      this.#reject(message);
      return;
    }
    const known = log.term(prevIndex);
    assert(
      known === UNKNOWN_TERM || known === prevTerm,
      `committed entry ${prevIndex} is the same in every leader's log`,
    );
    for (const entry of entries) if (entry.index > commit) this.#take(entry);
    const last = prevIndex + entries.length;
    if (mutated('raft-truncate-on-short-append') && last < log.lastIndex) this.#core.truncateFrom(last + 1);
    if (last > this.#matched) this.#matched = last;
    this.#learnCommit(message.commit);
    // What is not durable yet is acknowledged when it is.
    if (last <= durability.lastIndex) this.#answerDue = true;
  }

  /** Raft rule 3: what is there stays, unless its term says that another leader wrote it. */
  #take(entry: AppendMessage['entries'][number]): void {
    const { log } = this.#core;
    const term = log.term(entry.index);
    if (term === entry.term) return;
    if (term !== UNKNOWN_TERM) {
      assert(entry.index > this.#matched, `entry ${entry.index} was the leader's own and would be replaced`);
      this.#core.truncateFrom(entry.index);
    }
    this.#core.append(entry);
  }

  /** Raft rule 4. */
  #learnCommit(leaderCommit: number): void {
    const limit = mutated('raft-commit-unmatched') ? this.#core.log.lastIndex : this.#matched;
    this.#core.commitTo(Math.min(leaderCommit, limit));
  }

  /** Skips whole terms: no entry of a later term than the leader's entry there can match (thesis, 5.3). */
  #reject({ prevIndex, prevTerm, from }: AppendMessage): void {
    const { log, group, id, term, repair, environment } = this.#core;
    const hintIndex = log.highestAtOrBelow(Math.min(prevIndex, log.lastIndex), prevTerm);
    this.#core.send({
      type: 'append_reject',
      group,
      from: id,
      to: from,
      term,
      rejectedIndex: prevIndex,
      hintIndex,
      hintTerm: log.term(hintIndex),
      lost: repair !== null,
      clock: environment.wallClock(),
    });
  }

  #onHeartbeat(message: HeartbeatMessage): void {
    const core = this.#core;
    this.#learnCommit(message.commit);
    if (message.confirmedClock > core.confirmedClock) core.confirmedClock = message.confirmedClock;
    const { group, id, term, environment } = core;
    const bind = message.token > 0;
    if (bind) environment.raiseClock(message.clock);
    const reply = {
      type: 'heartbeat_reply',
      group,
      from: id,
      to: message.from,
      term,
      token: message.token,
      index: this.#durableMatch,
      clock: environment.wallClock(),
    } as const;
    if (!bind || message.clock <= environment.durableClock()) {
      core.send(reply);
      return;
    }
    // A reader will rely on this instant; no later life of this node may vote with a clock below it.
    core.requestClockBound(message.clock);
    core.sendWhenDurable(reply);
  }

  /**
   * The data of a snapshot is here. It may come from an earlier leader: what it holds is committed, and so part of every later
   * leader's log.
   */
  onSnapshot(snapshot: SnapshotMeta): void {
    const core = this.#core;
    const { index, term } = snapshot;
    const back = mutated('raft-snapshot-goes-back') && index > 0;
    if (index <= core.commit && !back) {
      core.snapshotVerdicts.push({ snapshot, verdict: 'stale' });
      if (core.commit <= core.durability.lastIndex) this.#answerDue = true;
      return;
    }
    const has = core.log.term(index) === term && !mutated('raft-snapshot-drops-suffix') && !back;
    if (has) core.commitTo(index);
    else core.install(snapshot);
    core.snapshotVerdicts.push({ snapshot, verdict: has ? 'log_has_it' : 'install' });
    this.#matched = has ? Math.max(this.#matched, index) : index;
    // A snapshot that is being installed is acknowledged when it is durable.
    if (index <= core.durability.lastIndex) this.#answerDue = true;
  }

  /** Up to here this disk holds the leader's log. */
  get #durableMatch(): number {
    if (mutated('raft-ack-before-durable')) return this.#matched;
    return Math.min(this.#matched, this.#core.durability.lastIndex);
  }

  persisted(): void {
    this.#endRepair();
    this.#takeBoundReads();
  }

  /** Also when nothing was written: what is here may be all that the leader has. */
  #endRepair(): void {
    const core = this.#core;
    if (core.repair === null) return;
    const index = this.#durableMatch;
    if (core.repair.endsAt(index, core.log.term(index), core.term)) core.repair = null;
  }

  #askForRepair(repair: Repair): void {
    const { group, id, leader, term, environment } = this.#core;
    const token = repair.question(term, () => environment.readToken());
    if (token === 0) return;
    this.#core.changed = true;
    this.#core.send({ type: 'repair', group, from: id, to: leader, term, token });
  }

  flush(): void {
    this.#endRepair();
    const { leader, group, id, term, environment } = this.#core;
    if (leader === NO_MEMBER) return;
    const index = this.#durableMatch;
    if (index <= this.#acknowledged && !this.#answerDue) return;
    this.#answerDue = false;
    this.#acknowledged = index;
    const clock = environment.wallClock();
    this.#core.send({ type: 'append_reply', group, from: id, to: leader, term, index, clock });
  }

  #standNow(): void {
    const core = this.#core;
    if (core.mayVote && core.membership.mayStand(core.id, core.commit)) this.#transitions.becomeCandidate(false, true);
  }

  tick(): void {
    const core = this.#core;
    if (++core.electionElapsed >= core.electionTimeout) {
      core.leader = NO_MEMBER;
      core.changed = true;
      this.#refuseReads();
      if (core.mayVote && core.membership.mayStand(core.id, core.commit)) {
        this.#transitions.becomeCandidate(true, false);
      } else core.resetElectionTimer();
      return;
    }
    for (const [token, age] of this.#reads) this.#waitForRead(token, age + 1);
    // Question or answer may be lost.
    if (core.repair !== null && core.leader !== NO_MEMBER && ++this.#repairTicks % core.options.heartbeatTicks === 0) {
      this.#askForRepair(core.repair);
    }
  }

  readIndex(token: number): boolean {
    if (this.#core.leader === NO_MEMBER) return false;
    assert(!this.#reads.has(token), `read token ${token} is used once`);
    this.#reads.set(token, 0);
    this.#askForRead(token);
    return true;
  }

  #waitForRead(token: number, age: number): void {
    const { electionTicks, heartbeatTicks } = this.#core.options;
    this.#core.changed = true;
    if (age >= electionTicks) {
      this.#reads.delete(token);
      this.#core.refusedReads.push(token);
      return;
    }
    this.#reads.set(token, age);
    // The question or the answer may be lost; asked twice, the second answer is ignored.
    if (age % heartbeatTicks === 0) this.#askForRead(token);
  }

  #askForRead(token: number): void {
    const { group, id, leader, term } = this.#core;
    this.#core.send({ type: 'read', group, from: id, to: leader, term, token });
  }

  /** The answer may have passed no round: then it counts when this member too can't fall below its instant any more. */
  #onReadReply({ token, refused, index, clock }: ReadReply): void {
    const core = this.#core;
    if (!this.#reads.delete(token)) return;
    if (refused) {
      core.refusedReads.push(token);
      return;
    }
    core.environment.raiseClock(clock);
    if (clock <= core.environment.durableClock() || mutated('raft-read-asker-unbound')) {
      core.reads.push({ token, index, clock });
      return;
    }
    core.requestClockBound(clock);
    this.#unboundReads.push({ durableAt: core.savePoint(), read: { token, index, clock } });
  }

  #takeBoundReads(): void {
    const { durability, reads } = this.#core;
    let head = this.#unboundReads.peek();
    while (head !== undefined && head.durableAt <= durability.completedSequence) {
      reads.push(head.read);
      this.#unboundReads.shift();
      head = this.#unboundReads.peek();
    }
  }

  #refuseReads(): void {
    this.#core.refusedReads.push(...this.#reads.keys());
    this.#reads.clear();
    for (let unbound = this.#unboundReads.shift(); unbound !== undefined; unbound = this.#unboundReads.shift()) {
      this.#core.refusedReads.push(unbound.read.token);
    }
  }

  leave(): void {
    this.#refuseReads();
  }
}
