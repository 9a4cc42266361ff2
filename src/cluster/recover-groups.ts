import { CorruptionError } from '../base/errors.js';
import { mutated } from '../base/mutations.js';
import type { Engine } from '../engine/engine.js';
import type { LogRecoverySink } from '../engine/log/recovery.js';
import type { Revision } from '../lsm/row-key.js';
import type { GroupState } from '../lsm/version/version-edit.js';
import { decodeConfiguration } from '../raft/configuration-codec.js';
import { initialConfiguration, type Configuration } from '../raft/configuration.js';
import { entryBytes, NO_DATA, type Entry } from '../raft/entry.js';
import type { ConfigurationAt } from '../raft/membership.js';
import type { RaftStart } from '../raft/options.js';
import type { TermRun } from '../raft/raft-log.js';
import { applyWrite } from '../replica/apply.js';
import { kindOfEntry } from '../replica/command.js';
import { MANY_KEYS } from '../replica/group.js';

/** Applied entries stay in memory up to this size for followers that are behind; older ones need a snapshot. */
const KEPT_BYTES = 1 << 20;

/** A group as manifest and log describe it. */
export interface RecoveredGroup {
  readonly partition: number;
  readonly replicaId: number;
  readonly raft: RaftStart;
  readonly appliedTerm: number;
  readonly revision: Revision;
}

/**
 * Takes the log's entries at start. An entry is applied when it is known to be committed: the only voter's log is as far as it
 * reaches, another one up to a commit index in the log. The rest waits in memory for what the group's leader says.
 */
export class GroupRecovery implements LogRecoverySink {
  appliedCount = 0;
  readonly #engine: Engine;
  readonly #byReplica = new Map<number, Recovering>();

  /** `members`: the nodes that every group is born with. */
  constructor(engine: Engine, nodeId: string, members: readonly string[], states: readonly GroupState[]) {
    this.#engine = engine;
    for (const state of states) this.#byReplica.set(state.replicaId, new Recovering(engine, nodeId, members, state));
  }

  entry(
    _group: number,
    replicaId: number,
    term: number,
    index: number,
    revision: Revision,
    kind: number,
    bytes: Uint8Array,
    payloadStart: number,
    payloadLength: number,
  ): void {
    const group = this.#byReplica.get(replicaId);
    // Also records that the start before this one copied stand here twice. What is of an earlier term than the applied entries was replaced,
    // though its index is above theirs: the entries that cut it off are not read here any more.
    if (group === undefined || index <= group.appliedIndex || term < group.appliedTerm) return;
    if (!group.trusts(term, index)) return;
    const entryKind = kindOfEntry(kind);
    const where = `log, group ${group.groupId}, entry ${index}`;
    if (entryKind === undefined) throw new CorruptionError(where, 'a known kind', String(kind));
    if (entryKind === 'normal' && group.isAlone && index === group.lastIndex + 1) {
      // The common case, without a copy.
      applyWrite(this.#engine, replicaId, revision, bytes, payloadStart, payloadLength, MANY_KEYS);
      group.appliedWithoutKeeping(term, index, revision);
    } else {
      const data = payloadLength === 0 ? NO_DATA : bytes.slice(payloadStart, payloadStart + payloadLength);
      group.append({ term, index, kind: entryKind, revision, data });
    }
    this.appliedCount += group.takeApplied();
  }

  hardState(_group: number, replicaId: number, term: number, vote: number, commit: number): void {
    const group = this.#byReplica.get(replicaId);
    if (group === undefined) return;
    group.hardState(term, vote, commit);
    this.appliedCount += group.takeApplied();
  }

  /** Raft rule 15: what a group lost is not as good as never written. */
  damaged(items: number, mayConcern: (group: number) => boolean): void {
    for (const group of this.#byReplica.values()) if (mayConcern(group.groupId)) group.damaged(items);
  }

  result(): RecoveredGroup[] {
    return [...this.#byReplica.values()].map((group, partition) => group.result(partition));
  }
}

class Recovering {
  readonly groupId: number;
  readonly #engine: Engine;
  readonly #nodeId: string;
  readonly #replicaId: number;
  readonly #memberId: number;
  appliedIndex: number;
  appliedTerm: number;
  #revision: Revision;
  #term: number;
  #vote: number;
  #commit: number;
  /** In force at the applied index, and at the end of the log. */
  #applied: ConfigurationAt;
  #newest: Configuration;
  /** The last entry that is not in the log. */
  #base: { index: number; term: number };
  /** The last entry that is not kept, and the terms of those between the base and it, which are in the log only. */
  #released: { index: number; term: number; revision: Revision };
  #runs: TermRun[] = [];
  #entries: Entry[] = [];
  #keptBytes = 0;
  #newlyApplied = 0;
  /** What can't be read at most, since the log was last known to be whole. */
  #lostItems = 0;
  /** Behind the damage, and not known to follow what is here. 0: none. */
  #untrustedIndex = 0;

  constructor(engine: Engine, nodeId: string, members: readonly string[], state: GroupState) {
    this.#engine = engine;
    this.#nodeId = nodeId;
    this.groupId = state.groupId;
    this.#replicaId = state.replicaId;
    this.#memberId = state.memberId;
    this.appliedIndex = state.appliedIndex;
    this.appliedTerm = state.appliedTerm;
    this.#revision = state.revision;
    this.#term = state.term;
    this.#vote = state.vote;
    this.#commit = state.appliedIndex;
    this.#newest =
      state.configuration.length === 0 ? initialConfiguration(members) : decodeConfiguration(state.configuration);
    this.#applied = { index: state.configIndex, configuration: this.#newest };
    this.#base = { index: state.appliedIndex, term: state.appliedTerm };
    this.#released = { ...this.#base, revision: state.revision };
  }

  get lastIndex(): number {
    return this.#released.index + this.#entries.length;
  }

  get isAlone(): boolean {
    const { soleVoter } = this.#newest;
    return soleVoter !== undefined && this.#newest.member(soleVoter)?.nodeId === this.#nodeId;
  }

  /** How many were applied since the last call. */
  takeApplied(): number {
    const count = this.#newlyApplied;
    this.#newlyApplied = 0;
    return count;
  }

  damaged(items: number): void {
    this.#lostItems += items;
  }

  /**
   * Whether an entry follows what was read before it. Behind damage that is so when the entry before it is here for sure: committed, or of
   * the same term, in which one leader wrote both. Then whatever was lost had been replaced. Else the log ends before the damage,
   * as it once did.
   */
  trusts(term: number, index: number): boolean {
    if (this.#lostItems === 0) return true;
    const isBehind = index - 1 <= this.appliedIndex || this.#termAt(index - 1) === term;
    if (this.#untrustedIndex === 0 && isBehind) {
      this.#lostItems = 0;
      return true;
    }
    this.#untrustedIndex = Math.max(this.#untrustedIndex, index);
    return false;
  }

  /** Of an entry that is kept; 0 for another one. */
  #termAt(index: number): number {
    return this.#entries[index - 1 - this.#released.index]?.term ?? 0;
  }

  appliedWithoutKeeping(term: number, index: number, revision: Revision): void {
    this.#entries = [];
    this.#keptBytes = 0;
    // Nobody else needs it.
    this.#base = { index, term };
    this.#runs = [];
    this.#released = { index, term, revision };
    this.#noteApplied(index, term, revision);
  }

  append(entry: Entry): void {
    if (entry.index > this.lastIndex + 1) {
      const where = `log, group ${this.groupId}`;
      throw new CorruptionError(where, `entry ${this.lastIndex + 1}`, `entry ${entry.index}`);
    }
    if (this.lastIndex >= entry.index && mutated('cluster-recovery-keeps-replaced')) return;
    while (this.lastIndex >= entry.index) this.#cutLast();
    this.#entries.push(entry);
    this.#keptBytes += entryBytes(entry);
    if (entry.kind === 'config') this.#newest = decodeConfiguration(entry.data);
    this.#applyCommitted();
  }

  hardState(term: number, vote: number, commit: number): void {
    if (term < this.#term) return;
    this.#term = term;
    this.#vote = vote;
    // Behind damage it may be about entries that replaced those here.
    if (commit > this.#commit && this.#lostItems === 0) this.#commit = commit;
    this.#applyCommitted();
  }

  result(partition: number): RecoveredGroup {
    const lastTerm = this.#entries.at(-1)?.term ?? this.#released.term;
    const own = this.#newest.members.find((member) => member.nodeId === this.#nodeId);
    const { index, term } = this.#base;
    return {
      partition,
      replicaId: this.#replicaId,
      appliedTerm: this.appliedTerm,
      revision: this.#revision,
      raft: {
        group: this.groupId,
        id: this.#memberId === 0 ? (own?.id ?? 0) : this.#memberId,
        hardState: {
          term: Math.max(this.#term, lastTerm),
          vote: lastTerm > this.#term ? 0 : this.#vote,
          commit: this.#lostItems > 0 ? this.appliedIndex : Math.max(this.appliedIndex, this.#commit),
        },
        log: {
          baseIndex: index,
          baseTerm: term,
          runs: this.#runs,
          revision: this.#released.revision,
          entries: this.#entries,
        },
        appliedIndex: this.appliedIndex,
        configuration: this.#applied,
        // Nothing that this replica has acknowledged lies above it: a group's entries follow each other without a gap.
        repairIndex: this.#mayHaveAcknowledged,
      },
    };
  }

  /** With a whole log 0. */
  get #mayHaveAcknowledged(): number {
    if (this.#lostItems === 0 || mutated('cluster-damage-forgotten')) return 0;
    return Math.max(this.lastIndex, this.#untrustedIndex) + this.#lostItems;
  }

  /** A leader replaced what an earlier one had sent. */
  #cutLast(): void {
    const cut = this.#entries.pop()!;
    this.#keptBytes -= entryBytes(cut);
    if (cut.kind !== 'config') return;
    const before = this.#entries.findLast(({ kind }) => kind === 'config');
    this.#newest = before === undefined ? this.#applied.configuration : decodeConfiguration(before.data);
  }

  #applyCommitted(): void {
    const all = this.isAlone || mutated('cluster-recovery-applies-tail');
    while (this.appliedIndex < this.lastIndex && (this.appliedIndex < this.#commit || all)) {
      const entry = this.#entries[this.appliedIndex - this.#released.index]!;
      const { index, term, kind, revision, data } = entry;
      if (kind === 'normal') {
        applyWrite(this.#engine, this.#replicaId, revision, data, 0, data.length, MANY_KEYS);
      } else if (kind === 'config') {
        this.#applied = { index, configuration: decodeConfiguration(data) };
      }
      this.#noteApplied(index, term, revision);
    }
    this.#letGo();
  }

  #noteApplied(index: number, term: number, revision: Revision): void {
    this.appliedIndex = index;
    this.appliedTerm = term;
    this.#revision = revision;
    this.#newlyApplied++;
  }

  /** Keeps the newest of what is applied, for followers that are behind; the rest is read from the log when one needs it. */
  #letGo(): void {
    if (this.#keptBytes <= 2 * KEPT_BYTES) return;
    let drop = 0;
    while (this.#keptBytes > KEPT_BYTES && this.#released.index < this.appliedIndex) {
      const entry = this.#entries[drop++]!;
      this.#keptBytes -= entryBytes(entry);
      const { index, term, revision } = entry;
      if (this.#runs.at(-1)?.term === term) this.#runs.pop();
      this.#runs.push({ lastIndex: index, term });
      this.#released = { index, term, revision };
    }
    if (drop === 0) return;
    this.#entries = this.#entries.slice(drop);
  }
}
