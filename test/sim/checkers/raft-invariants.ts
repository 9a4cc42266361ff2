import { CommittedEntries } from './committed-entries.js';
import { InvariantViolation } from './invariant-violation.js';
import { LogMirror, type LogEntry } from './log-mirror.js';
import { RevisionOrder } from './revision-order.js';

/** An entry that a replica applied. */
export interface AppliedEntry {
  readonly index: number;
  readonly term: number;
  /** Of everything that the entry changes. */
  readonly hash: number;
  readonly revision: number;
  /** The keys that it writes. */
  readonly keys: readonly string[];
}

/** What a replica reads from its disk when its process starts. */
export interface RecoveredReplica {
  readonly term: number;
  readonly votedFor: string | null;
  /** It knows that its disk lost entries: it may be behind what it acknowledged, and does not vote. */
  readonly repairing: boolean;
  readonly appliedIndex: number;
  readonly snapshot: { readonly index: number; readonly term: number };
  /** Behind the snapshot, without a gap. */
  readonly entries: readonly LogEntry[];
}

/** What is known of one member of one group. Members are told apart by incarnation: a wiped disk is another member. */
class Member {
  readonly votes = new Map<number, string>();
  term = 0;
  /** That term is on its disk: it voted in it or acknowledged an entry of it. */
  promisedTerm = 0;
  /** All that it ever told others is durable: the index it acknowledged as matched, lowered by truncations. */
  acknowledgedIndex = 0;
  commitIndex = 0;
  appliedIndex = 0;
  leaderTerm = 0;
  log = new LogMirror();
}

class Group {
  readonly members = new Map<string, Member>();
  readonly leaders = new Map<number, string>();
  /** The last entry of each leader's log when it was elected, by term. */
  readonly elections = new Map<number, { readonly member: string; readonly log: LogMirror }>();
  readonly committed = new CommittedEntries();
  readonly applied = new Map<number, AppliedEntry>();
  readonly chain = new Map<string, LogEntry & { readonly previousTerm: number; readonly member: string }>();
}

/**
 * Watches the Raft groups of a cluster: fed with what its members do, in the order in which they do it, it throws an
 * `InvariantViolation` at the first event that breaks a safety property. Section and figure numbers are those of Ongaro's
 * dissertation, figure 3.2.
 */
export class RaftInvariants {
  readonly #groups = new Map<number, Group>();
  readonly #revisions = new RevisionOrder();

  /** The member's process starts and has read its disk. The first start finds nothing. */
  recovered(group: number, name: string, found: RecoveredReplica): void {
    const member = this.#member(group, name);
    const fail = failer(group, name, 'after its restart');
    if (found.term < member.promisedTerm) {
      fail('Raft rule 1', `term ${found.term}, it spoke in term ${member.promisedTerm} before`);
    }
    const vote = member.votes.get(found.term);
    if (vote !== undefined && vote !== found.votedFor) {
      fail('Raft rule 1', `voted for ${found.votedFor ?? 'nobody'} in term ${found.term}, before for ${vote}`);
    }
    const lastIndex = found.snapshot.index + found.entries.length;
    if (found.repairing) member.acknowledgedIndex = 0;
    if (lastIndex < member.acknowledgedIndex) {
      fail('Raft rule 1', `its log ends at ${lastIndex}, it had acknowledged ${member.acknowledgedIndex}`);
    }
    const log = new LogMirror(found.snapshot);
    for (const entry of found.entries) {
      log.append(entry);
      if (entry.index <= member.acknowledgedIndex && member.log.termAt(entry.index) !== undefined) {
        const before = member.log.termAt(entry.index);
        if (before !== entry.term) fail('Raft rule 1', `term ${entry.term} at ${entry.index}, before ${before}`);
      }
      this.#link(group, name, log, entry);
    }
    if (found.appliedIndex > lastIndex)
      fail('Raft rule 13', `applied ${found.appliedIndex}, its log ends at ${lastIndex}`);
    const { committed } = this.#group(group);
    if (found.appliedIndex > committed.lastIndex) {
      fail('apply committed', `applied ${found.appliedIndex}, committed is ${committed.lastIndex}`);
    }
    for (const { index, term } of found.entries) {
      if (index > found.appliedIndex) break;
      const expected = committed.termAt(index);
      if (expected !== term) fail('state machine safety', `applied term ${term} at ${index}, committed is ${expected}`);
    }
    member.log = log;
    member.term = found.term;
    // Commit and role are not kept; what was applied is, and is committed.
    member.commitIndex = found.appliedIndex;
    member.appliedIndex = found.appliedIndex;
    member.leaderTerm = 0;
  }

  /** The member's current term, whenever it changes. */
  term(group: number, name: string, term: number): void {
    const member = this.#member(group, name);
    if (term < member.term) failer(group, name, '')('Raft rule 18', `term ${term} after ${member.term}`);
    member.term = term;
  }

  /**
   * The member answers a vote request with yes, or asks others for theirs: fed when the message leaves, for then the vote
   * is on its disk. Pre-votes are none.
   */
  voted(group: number, name: string, term: number, candidate: string): void {
    const member = this.#member(group, name);
    const before = member.votes.get(term);
    if (before !== undefined && before !== candidate) {
      failer(group, name, '')('one vote a term', `votes for ${candidate} in term ${term}, before for ${before}`);
    }
    member.votes.set(term, candidate);
    member.promisedTerm = Math.max(member.promisedTerm, term);
    if (term > member.term) this.term(group, name, term);
  }

  becameLeader(group: number, name: string, term: number): void {
    const state = this.#group(group);
    const member = this.#member(group, name);
    const fail = failer(group, name, `elected in term ${term}`);
    const other = state.leaders.get(term);
    if (other !== undefined && other !== name) fail('election safety', `${other} was elected in that term too`);
    state.leaders.set(term, name);
    this.term(group, name, term);
    member.leaderTerm = term;
    const log = member.log.copy();
    state.elections.set(term, { member: name, log });
    const missing = state.committed.missingIn(log, term);
    if (missing !== null) fail('leader completeness', `its log lacks ${missing}`);
  }

  /** The member is leader no more. */
  steppedDown(group: number, name: string): void {
    this.#member(group, name).leaderTerm = 0;
  }

  /** An entry is put at the end of the member's log. */
  appended(group: number, name: string, entry: LogEntry): void {
    const { log } = this.#member(group, name);
    if (entry.index !== log.lastIndex + 1) {
      failer(group, name, '')('log', `appends at ${entry.index}, its log ends at ${log.lastIndex}`);
    }
    log.append(entry);
    this.#link(group, name, log, entry);
  }

  /** The member drops the entries from this index on. */
  truncated(group: number, name: string, fromIndex: number): void {
    const member = this.#member(group, name);
    const fail = failer(group, name, `truncates from ${fromIndex}`);
    if (member.leaderTerm !== 0) fail('leader append-only', `it leads term ${member.leaderTerm}`);
    if (fromIndex <= member.commitIndex) fail('Raft rule 3', `it had committed ${member.commitIndex}`);
    member.log.truncate(fromIndex);
    member.acknowledgedIndex = Math.min(member.acknowledgedIndex, fromIndex - 1);
  }

  /** The member drops the entries up to this index, whose state it has. */
  compacted(group: number, name: string, index: number): void {
    const member = this.#member(group, name);
    if (index > member.appliedIndex) {
      failer(group, name, '')('Raft rule 12', `drops its log up to ${index}, applied only ${member.appliedIndex}`);
    }
    member.log.compact(index);
  }

  /** The member tells another that its log matches up to this index, or counts itself as leader: it has synced that far. */
  acknowledged(group: number, name: string, index: number): void {
    const member = this.#member(group, name);
    if (index > member.log.lastIndex) {
      failer(group, name, '')('Raft rule 1', `acknowledges ${index}, its log ends at ${member.log.lastIndex}`);
    }
    member.acknowledgedIndex = Math.max(member.acknowledgedIndex, index);
    // An entry's term is on the disk with it; a later term that the answer was given in need not be.
    member.promisedTerm = Math.max(member.promisedTerm, member.log.termAt(index) ?? 0);
  }

  /** The member knows this index as committed. */
  committed(group: number, name: string, index: number): void {
    const state = this.#group(group);
    const member = this.#member(group, name);
    const fail = failer(group, name, `commits ${index}`);
    if (index < member.commitIndex) fail('commit monotonic', `it had committed ${member.commitIndex}`);
    if (index > member.log.lastIndex) fail('Raft rule 4', `its log ends at ${member.log.lastIndex}`);
    const conflict = state.committed.add(member.log, member.commitIndex, index, member.term, name);
    if (conflict !== null) fail('state machine safety', conflict);
    member.commitIndex = index;
    for (const [term, election] of state.elections) {
      if (term <= member.term) continue;
      const missing = state.committed.missingIn(election.log, term);
      if (missing !== null)
        fail('leader completeness', `${election.member}, elected in term ${term}, lacks ${missing}`);
    }
  }

  applied(group: number, name: string, entry: AppliedEntry): void {
    const state = this.#group(group);
    const member = this.#member(group, name);
    const fail = failer(group, name, `applies ${entry.index}`);
    if (entry.index !== member.appliedIndex + 1) fail('apply in order', `it had applied ${member.appliedIndex}`);
    if (entry.index > member.commitIndex) fail('apply committed', `it has committed ${member.commitIndex}`);
    member.appliedIndex = entry.index;
    const other = state.applied.get(entry.index);
    if (other !== undefined) {
      if (other.hash !== entry.hash || other.term !== entry.term || other.revision !== entry.revision) {
        fail('state machine safety', `${describeApplied(entry)}, another member ${describeApplied(other)}`);
      }
      return;
    }
    state.applied.set(entry.index, entry);
    const broken = this.#revisions.give(group, entry);
    if (broken !== null) fail('Raft rule 20', broken);
  }

  /** The member replaces its state, and its log unless that matches, by a snapshot; not on its disk yet. */
  snapshotInstalled(group: number, name: string, index: number, term: number): void {
    const state = this.#group(group);
    const member = this.#member(group, name);
    const fail = failer(group, name, `installs a snapshot of ${index}`);
    if (index <= member.appliedIndex) fail('Raft rule 12', `it has applied ${member.appliedIndex}`);
    const expected = state.committed.termAt(index);
    if (expected === undefined) fail('Raft rule 12', 'nobody has committed that far');
    if (expected !== term) fail('Raft rule 12', `of term ${term}, committed is term ${expected}`);
    if (member.log.termAt(index) === term) member.log.compact(index);
    else member.log = new LogMirror({ index, term });
    member.appliedIndex = index;
    member.commitIndex = Math.max(member.commitIndex, index);
  }

  /**
   * A member's log on disk gets this commit index behind entries of these terms, by index. Those that it has not are in tables, or
   * come later.
   */
  commitWritten(group: number, from: number, commit: number, terms: ReadonlyMap<number, number>): void {
    const { committed } = this.#group(group);
    for (let index = from + 1; index <= commit; index++) {
      const term = terms.get(index);
      if (term === undefined || term === committed.termAt(index)) continue;
      const what = `${index} of term ${term} stands in a log as committed, committed is term ${committed.termAt(index)}`;
      throw new InvariantViolation('state machine safety', `group ${group}: ${what}`);
    }
  }

  /** The highest index that any member of the group committed. */
  committedIndex(group: number): number {
    return this.#group(group).committed.lastIndex;
  }

  /** Log matching (section 3.5): one index and term is one entry, behind one other entry. */
  #link(group: number, name: string, log: LogMirror, entry: LogEntry): void {
    const previousTerm = log.termAt(entry.index - 1) ?? 0;
    const { chain } = this.#group(group);
    const place = `${entry.index} ${entry.term}`;
    const known = chain.get(place);
    if (known === undefined) {
      chain.set(place, { ...entry, previousTerm, member: name });
      return;
    }
    const fail = failer(group, name, `entry ${entry.index} of term ${entry.term}`);
    if (known.hash !== entry.hash) fail('log matching', `differs from the one of ${known.member}`);
    if (known.previousTerm !== previousTerm) {
      fail('log matching', `follows term ${previousTerm}, at ${known.member} it follows term ${known.previousTerm}`);
    }
  }

  #group(id: number): Group {
    let group = this.#groups.get(id);
    if (group === undefined) this.#groups.set(id, (group = new Group()));
    return group;
  }

  #member(group: number, name: string): Member {
    const { members } = this.#group(group);
    let member = members.get(name);
    if (member === undefined) members.set(name, (member = new Member()));
    return member;
  }
}

function failer(group: number, name: string, doing: string): (rule: string, what: string) => never {
  return (rule, what) => {
    throw new InvariantViolation(rule, `group ${group}, ${name}${doing === '' ? '' : ` ${doing}`}: ${what}`);
  };
}

function describeApplied({ term, hash, revision }: AppliedEntry): string {
  return `term ${term}, revision ${revision}, hash ${hash}`;
}
