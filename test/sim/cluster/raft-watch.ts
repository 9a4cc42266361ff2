import { xxHash32 } from '../../../src/base/hash.js';
import type { GroupHost } from '../../../src/cluster/group-host.js';
import type { Log } from '../../../src/engine/log/log.js';
import type { Raft } from '../../../src/raft/raft.js';
import type { Ready } from '../../../src/raft/ready.js';
import { OperationReader } from '../../../src/replica/command.js';
import type { Group } from '../../../src/replica/group.js';
import type { LogEntry } from '../checkers/log-mirror.js';
import type { ClockCeiling } from '../checkers/clock-ceiling.js';
import { InvariantViolation } from '../checkers/invariant-violation.js';
import { RaftInvariants } from '../checkers/raft-invariants.js';
import type { Reached } from './reached.js';

/** What changes a core. A proposal is not among them: its bytes are written after it, before the core's next call. */
const CALLS = [
  'step',
  'tick',
  'persisted',
  'ready',
  'transferLeadership',
  'holdCommit',
  'entriesLoaded',
  'compact',
] as const;

export type News = 'elected' | 'log replaced';
/** Called in the middle of what it is about. */
type OnNews = (news: News, nodeId: string) => void;

/** What was seen of one core last. */
interface Seen {
  readonly group: number;
  readonly name: string;
  readonly raft: Raft;
  term: number;
  leaderTerm: number;
  /** Leaders give no revision at or below what was read before they were elected. */
  lowestRevision: number;
  /** 0: whole. */
  repairIndex: number;
  readonly startTerm: number;
  commit: number;
  /** Terms of the log behind `base`. */
  base: number;
  readonly terms: number[];
}

/**
 * Looks at the Raft cores of running nodes after each call that they get and tells `RaftInvariants` what has changed. Production
 * code knows nothing of it: methods of the objects are covered by ones that look.
 */
export class RaftWatch {
  readonly #invariants = new RaftInvariants();
  /** By group and term: the latest instant that a confirmed read was told. */
  readonly #readClocks = new Map<number, Map<number, number>>();
  /** The newest life of each member, running or not. */
  readonly #cores = new Map<number, Map<string, Raft>>();
  readonly #reached: Reached;
  readonly #fail: (error: unknown) => void;
  readonly #operations = new OperationReader();

  readonly #onNews: OnNews;
  readonly #ceiling: ClockCeiling;

  constructor(reached: Reached, ceiling: ClockCeiling, fail: (error: unknown) => void, onNews: OnNews) {
    this.#reached = reached;
    this.#ceiling = ceiling;
    this.#fail = fail;
    this.#onNews = onNews;
  }

  /** A node has read its disk; nothing has reached it yet. */
  started(host: GroupHost, log: Log): void {
    for (const group of host.groups) this.#check(() => this.#startedGroup(group));
    this.#coverLog(host, log);
  }

  /** A start believes a commit index in the log of all that stands before it: so that must be what is committed. */
  #coverLog({ groups }: GroupHost, log: Log): void {
    const written = new Map<number, Map<number, number>>();
    for (const { replicaId, raft } of groups) {
      const terms = new Map<number, number>();
      for (let index = raft.baseIndex + 1; index <= raft.lastIndex; index++) terms.set(index, raft.termAt(index));
      written.set(replicaId, terms);
    }
    const reserveEntry = log.reserveEntry.bind(log);
    log.reserveEntry = (group, replicaId, term, index, ...rest) => {
      const at = reserveEntry(group, replicaId, term, index, ...rest);
      if (at < 0) return at;
      let terms = written.get(replicaId);
      if (terms === undefined) written.set(replicaId, (terms = new Map()));
      terms.set(index, term);
      return at;
    };
    const checked = new Map<number, number>();
    const appendHardState = log.appendHardState.bind(log);
    log.appendHardState = (group, replicaId, term, vote, commit) => {
      const from = checked.get(replicaId) ?? 0;
      this.#check(() => this.#invariants.commitWritten(group, from, commit, written.get(replicaId) ?? new Map()));
      checked.set(replicaId, Math.max(from, commit));
      return appendHardState(group, replicaId, term, vote, commit);
    };
  }

  /** A violation ends the run; it must not look like an error of the code that is watched. */
  #check(look: () => void): void {
    try {
      look();
    } catch (error) {
      this.#fail(error);
    }
  }

  #startedGroup(group: Group): void {
    const { raft } = group;
    const name = String(raft.id);
    const { term, vote, commit } = raft.hardState;
    // Of entries that are on disk only there is nothing to compare.
    const base = raft.memoryFirst - 1;
    const entries: LogEntry[] = [];
    for (let index = base + 1; index <= raft.lastIndex; index++) entries.push(entryAt(raft, index));
    this.#invariants.recovered(group.groupId, name, {
      term,
      votedFor: vote === 0 ? null : String(vote),
      repairing: raft.repairing,
      appliedIndex: raft.appliedIndex,
      snapshot: { index: base, term: raft.termAt(base) },
      entries,
    });
    if (entries.length > 0) this.#reached.count('logs recovered');
    if (raft.repairing) this.#reached.count('groups damaged');
    if (raft.lastIndex > commit) this.#reached.count('uncommitted tails recovered');
    this.#coresOf(group.groupId).set(name, raft);
    const terms = entries.map((entry) => entry.term);
    const seen: Seen = {
      group: group.groupId,
      name,
      raft,
      term,
      leaderTerm: 0,
      lowestRevision: 0,
      repairIndex: raft.repairIndex,
      startTerm: term,
      commit: raft.appliedIndex,
      base,
      terms,
    };
    this.#look(seen);
    this.#cover(group, seen);
  }

  #cover(group: Group, seen: Seen): void {
    const raft = seen.raft as unknown as Record<string, (...parameters: never[]) => unknown>;
    for (const name of CALLS) {
      const call = raft[name]!.bind(raft);
      raft[name] = (...parameters) => {
        const result = call(...parameters);
        this.#check(() => {
          if (name === 'compact') this.#compacted(seen);
          this.#look(seen);
          this.#lookAtRepair(seen);
          if (name === 'ready') this.#heardOf(seen, result as Ready);
        });
        return result;
      };
    }
    const applied = group.applied.bind(group);
    group.applied = (index, term, revision) => {
      this.#check(() => this.#applied(seen, index, term, revision));
      applied(index, term, revision);
    };
  }

  #look(seen: Seen): void {
    const { raft, group, name } = seen;
    const invariants = this.#invariants;
    const { term } = raft;
    if (seen.leaderTerm !== 0 && (raft.role !== 'leader' || seen.leaderTerm !== term)) {
      invariants.steppedDown(group, name);
      seen.leaderTerm = 0;
      this.#reached.count('leaders stepped down');
    }
    if (term !== seen.term) invariants.term(group, name, term);
    seen.term = term;
    if (raft.role !== 'leader') seen.lowestRevision = Infinity;
    else if (seen.leaderTerm === 0) seen.lowestRevision = this.#readBefore(group, term);
    this.#lookAtLog(seen);
    if (raft.role === 'leader' && seen.leaderTerm === 0) {
      seen.leaderTerm = term;
      invariants.becameLeader(group, name, term);
      this.#reached.count('elections');
      this.#tell('elected', raft);
    }
    if (raft.role === 'leader' && raft.durableIndex > 0) invariants.acknowledged(group, name, raft.durableIndex);
    if (raft.commitIndex !== seen.commit) {
      invariants.committed(group, name, raft.commitIndex);
      if (raft.role === 'leader') this.#isOnQuorum(seen, raft.commitIndex);
      seen.commit = raft.commitIndex;
    }
  }

  #lookAtRepair(seen: Seen): void {
    const { raft, repairIndex, startTerm } = seen;
    if (repairIndex === 0 || raft.repairing) return;
    seen.repairIndex = 0;
    this.#reached.count('groups repaired');
    const { durableIndex } = raft;
    const isAnswer = durableIndex < repairIndex && raft.termAt(durableIndex) <= startTerm;
    if (isAnswer) this.#reached.count('repairs ended by an answer');
  }

  #compacted(seen: Seen): void {
    const { raft, group, name, base, terms } = seen;
    if (raft.baseIndex <= base) return;
    this.#invariants.compacted(group, name, raft.baseIndex);
    terms.splice(0, raft.baseIndex - base);
    seen.base = raft.baseIndex;
    this.#reached.count('logs compacted');
  }

  #lookAtLog(seen: Seen): void {
    const { raft, group, name, terms } = seen;
    const { lastIndex, baseIndex } = raft;
    if (baseIndex > seen.base) {
      const term = raft.termAt(baseIndex);
      this.#invariants.snapshotInstalled(group, name, baseIndex, term);
      this.#reached.count('logs replaced by a snapshot');
      this.#tell('log replaced', raft);
      if (terms[baseIndex - seen.base - 1] === term) terms.splice(0, baseIndex - seen.base);
      else terms.length = 0;
      seen.base = baseIndex;
    }
    const { base } = seen;
    if (lastIndex === base + terms.length && (terms.length === 0 || terms.at(-1) === raft.termAt(lastIndex))) return;
    let same = Math.min(lastIndex, base + terms.length);
    // Logs that share an entry are equal up to it, which the invariants check.
    while (same > base && terms[same - base - 1] !== raft.termAt(same)) same--;
    if (same < base + terms.length) {
      this.#invariants.truncated(group, name, same + 1);
      this.#reached.count('logs truncated');
      this.#tell('log replaced', raft);
      terms.length = same - base;
    }
    for (let index = same + 1; index <= lastIndex; index++) {
      this.#invariants.appended(group, name, entryAt(raft, index));
      const { revision } = raft.entry(index);
      if (raft.role === 'leader') this.#ceiling.check(revision, `group ${group}, ${name} appends: revision`);
      if (raft.role === 'leader' && revision <= seen.lowestRevision) {
        const what = `revision ${revision} at ${index}, a read of an earlier term relied on ${seen.lowestRevision}`;
        throw new InvariantViolation('Raft rule 20', `group ${group}, ${name} appends: ${what}`);
      }
      terms.push(raft.termAt(index));
    }
  }

  #tell(news: News, raft: Raft): void {
    const nodeId = raft.configuration.member(raft.id)?.nodeId;
    if (nodeId !== undefined) this.#onNews(news, nodeId);
  }

  /** A leader that is elected late, in a term that is over by then, commits nothing, so reads of later terms don't bind it (seed 19). */
  #readBefore(group: number, term: number): number {
    let latest = 0;
    for (const [readTerm, clock] of this.#readClocks.get(group) ?? []) {
      if (readTerm < term && clock > latest) latest = clock;
    }
    return latest;
  }

  #heardOf({ group, name, raft }: Seen, { messages, reads }: Ready): void {
    let clocks = this.#readClocks.get(group);
    if (clocks === undefined) this.#readClocks.set(group, (clocks = new Map()));
    for (const { clock } of reads) {
      this.#ceiling.check(clock, `group ${group}, ${name} reads: instant`);
      clocks.set(raft.term, Math.max(clock, clocks.get(raft.term) ?? 0));
    }
    for (const message of messages) {
      if (message.type === 'vote' && !message.pre) this.#invariants.voted(group, name, message.term, name);
      else if (message.type === 'vote_reply' && message.granted && !message.pre)
        this.#invariants.voted(group, name, message.term, String(message.to));
      else if ((message.type === 'append_reply' || message.type === 'heartbeat_reply') && message.index > 0)
        this.#invariants.acknowledged(group, name, message.index);
    }
  }

  #applied({ group, name, raft }: Seen, index: number, term: number, revision: number): void {
    const { data, kind } = raft.entry(index);
    const keys: string[] = [];
    if (kind === 'normal') {
      const operations = this.#operations.open(data, 0, data.length);
      while (operations.next()) {
        const { keyStart, keyLength } = operations;
        keys.push(Buffer.from(data.buffer, data.byteOffset + keyStart, keyLength).toString('latin1'));
      }
    }
    this.#invariants.applied(group, name, { index, term, revision, hash: hashOf(data), keys });
  }

  /** What a leader commits is on the disks of a majority, as far as they have told their cores. */
  #isOnQuorum({ group, name, raft }: Seen, index: number): void {
    const { members } = raft.configuration;
    const voters = members.filter(({ id }) => raft.configuration.isVoter(id));
    const term = raft.termAt(index);
    const durable = voters.filter(({ id }) => {
      const core = this.#coresOf(group).get(String(id));
      // What it has acknowledged and lost counts: it does not help to elect a leader without that.
      if (core?.repairing === true) return true;
      if (core === undefined || core.durableIndex < index) return false;
      return index <= core.baseIndex || core.termAt(index) === term;
    });
    if (durable.length * 2 > voters.length) return;
    const where = `group ${group}, ${name} commits ${index}`;
    throw new InvariantViolation('Raft rule 1', `${where}: it is durable on ${durable.length} of ${voters.length}`);
  }

  #coresOf(group: number): Map<string, Raft> {
    let cores = this.#cores.get(group);
    if (cores === undefined) this.#cores.set(group, (cores = new Map()));
    return cores;
  }
}

function entryAt(raft: Raft, index: number): LogEntry {
  return { index, term: raft.termAt(index), hash: hashOf(raft.entry(index).data) };
}

function hashOf(data: Uint8Array): number {
  return xxHash32(data, 0, data.length);
}
