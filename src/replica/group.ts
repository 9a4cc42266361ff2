import { assert } from '../base/assert.js';
import { equalRanges } from '../base/bytes.js';
import { CairnError } from '../base/errors.js';
import { Fifo } from '../base/fifo.js';
import { xxHash32 } from '../base/hash.js';
import { mutated } from '../base/mutations.js';
import type { Revision } from '../lsm/row-key.js';
import type { Entry } from '../raft/entry.js';
import type { Raft } from '../raft/raft.js';
import { OperationReader } from './command.js';

/** Called once: after the entry was applied, or with an error that says what is known of its outcome. */
export type EntryDone = (error: CairnError | null, revision: Revision) => void;

/** A write that this replica appended as leader and has not applied yet. */
export interface PendingEntry {
  readonly group: Group;
  readonly entry: Entry;
  /** xxHash32 of the only key, or MANY_KEYS. */
  readonly keyHash: number;
  readonly appendedAtMs: number;
  done: EntryDone | null;
  /** Its rows, once a condition has looked for unapplied writes. */
  rows: UnappliedRow[] | null;
}

/** A row of an unapplied entry. */
interface UnappliedRow {
  readonly pending: PendingEntry;
  readonly hash: number;
  readonly keyStart: number;
  readonly keyLength: number;
  readonly recordStart: number;
  readonly recordLength: number;
  /** The row before it whose key has the same hash; null when that one is applied. */
  older: UnappliedRow | null;
}

/** In `PendingEntry.keyHash`: the entry writes several keys. */
export const MANY_KEYS = -1;

export interface GroupStart {
  readonly partition: number;
  readonly replicaId: number;
  readonly raft: Raft;
  readonly appliedTerm: number;
  /** Of the entry at the applied index. */
  readonly revision: Revision;
}

/**
 * One replica of one group: its Raft core, where its state machine stands, and the writes that this replica appended as leader and has
 * not applied (the overlay that conditions are evaluated over, DESIGN.md section 4).
 */
export class Group {
  readonly groupId: number;
  readonly partition: number;
  /** Which of the engine's replicas holds the data; another one after a snapshot was installed. */
  replicaId: number;
  readonly raft: Raft;
  appliedIndex: number;
  appliedTerm: number;
  appliedRevision: Revision;
  /** Whether the host has it on its list of groups to ask. */
  isScheduled = false;
  /** A snapshot takes the place of what is here; until it has, nothing is applied and nothing is recorded of the group. */
  isInstalling = false;
  readonly #pending = new Fifo<PendingEntry>();
  /**
   * The newest unapplied row by its key's hash. Filled when a condition looks, so that plain writes pay nothing; without it 10,000
   * deletes over an unapplied batch of as many held the loop for 2.7 s.
   */
  readonly #newestRows = new Map<number, UnappliedRow>();
  /** So many of the pending entries have their rows in there. */
  #indexed = 0;
  readonly #operations = new OperationReader();
  /** Where `findUnapplied` found the record: `foundBytes[foundStart .. foundStart + foundLength)`. */
  foundBytes: Uint8Array = new Uint8Array(0);
  foundStart = 0;
  foundLength = 0;

  constructor(groupId: number, start: GroupStart) {
    this.groupId = groupId;
    this.partition = start.partition;
    this.replicaId = start.replicaId;
    this.raft = start.raft;
    this.appliedIndex = start.raft.appliedIndex;
    this.appliedTerm = start.appliedTerm;
    this.appliedRevision = start.revision;
  }

  /**
   * A leader whose first entry is applied: what it has is ahead of everything that earlier leaders have answered, so it may
   * evaluate writes.
   */
  get isServing(): boolean {
    const isAhead = this.appliedTerm === this.raft.term || mutated('replica-serves-before-own-entry');
    return this.raft.role === 'leader' && isAhead;
  }

  /** No revision at or below it may be given to the group's next entry. */
  get lastRevision(): Revision {
    const { lastRevision, electionClock } = this.raft;
    return lastRevision > electionClock ? lastRevision : electionClock;
  }

  get pendingCount(): number {
    return this.#pending.length;
  }

  pendingAt(position: number): PendingEntry {
    return this.#pending.at(position)!;
  }

  appended(pending: PendingEntry): void {
    this.#pending.push(pending);
  }

  /**
   * An entry is applied: answers what was waiting for it. A pending write of another term at or below its index lost its place, and one
   * of an earlier term behind it did too: neither takes effect any more, so they are no state to evaluate over. This includes the first
   * entry of a new term of this leader's own, before which it does not evaluate (the simulator's seed 4 found what was left of an
   * earlier term there).
   */
  applied(index: number, term: number, revision: Revision): void {
    assert(index === this.appliedIndex + 1, `entry ${index} is applied after ${this.appliedIndex}`);
    this.appliedIndex = index;
    this.appliedTerm = term;
    this.appliedRevision = revision;
    for (
      let head = this.#pending.peek();
      head !== undefined && (head.entry.index <= index || isReplaced(head.entry, term));
      head = this.#pending.peek()
    ) {
      this.#shift();
      const isOwn = head.entry.term === term || mutated('replica-replaced-answered');
      if (head.entry.index === index && isOwn) head.done?.(null, revision);
      else head.done?.(replaced(), 0);
    }
  }

  /** A snapshot took the place of all that was here. What was pending and is not behind it has an outcome that only the log tells. */
  installed(replicaId: number, index: number, term: number, revision: Revision): void {
    this.replicaId = replicaId;
    this.appliedIndex = index;
    this.appliedTerm = term;
    this.appliedRevision = revision;
    for (let head = this.#pending.peek(); head !== undefined; head = this.#pending.peek()) {
      this.#shift();
      head.done?.(lost(), 0);
    }
  }

  /** The hash of the only key of the pending write at `index`, if it is this replica's own; else MANY_KEYS. */
  keyHashOf(entry: Entry): number {
    const head = this.#pending.peek();
    return head !== undefined && head.entry === entry ? head.keyHash : MANY_KEYS;
  }

  /** The newest unapplied write of the key, or null. Only a leader that serves may ask. */
  findUnapplied(key: Uint8Array, keyStart: number, keyLength: number, keyHash: number): Entry | null {
    if (mutated('replica-overlay-ignored')) return null;
    this.#takeRows();
    for (let row = this.#newestRows.get(keyHash) ?? null; row !== null; row = row.older) {
      const { entry } = row.pending;
      if (row.keyLength !== keyLength || !equalRanges(entry.data, row.keyStart, key, keyStart, keyLength)) continue;
      // Applied since: then so are the older ones.
      if (entry.index <= this.appliedIndex) return null;
      this.foundBytes = entry.data;
      this.foundStart = row.recordStart;
      this.foundLength = row.recordLength;
      return entry;
    }
    return null;
  }

  #shift(): void {
    const pending = this.#pending.shift()!;
    if (this.#indexed > 0) this.#indexed--;
    if (pending.rows === null) return;
    for (const row of pending.rows) {
      // What is older was applied before.
      row.older = null;
      if (this.#newestRows.get(row.hash) === row) this.#newestRows.delete(row.hash);
    }
  }

  /** Takes the rows of the entries that were appended since the last look. */
  #takeRows(): void {
    for (; this.#indexed < this.#pending.length; this.#indexed++) {
      const pending = this.#pending.at(this.#indexed)!;
      const { data } = pending.entry;
      pending.rows = [];
      const operations = this.#operations.open(data, 0, data.length);
      while (operations.next()) {
        const { keyStart, keyLength, recordStart, recordLength } = operations;
        const hash = pending.keyHash === MANY_KEYS ? xxHash32(data, keyStart, keyLength) : pending.keyHash;
        const older = this.#newestRows.get(hash) ?? null;
        const row = { pending, hash, keyStart, keyLength, recordStart, recordLength, older };
        pending.rows.push(row);
        this.#newestRows.set(hash, row);
      }
    }
  }
}

function lost(): CairnError {
  return new CairnError(
    'deadline_exceeded',
    'the leader changed before the write was committed; the outcome is unknown',
    {
      extra: { outcome: 'unknown' },
    },
  );
}

/** Logs go on from an applied entry of `term` with that term or later ones. */
function isReplaced(entry: Entry, term: number): boolean {
  return entry.term < term && !mutated('replica-overlay-kept');
}

function replaced(): CairnError {
  return new CairnError('unavailable', 'the leader changed and the write did not take place; retry');
}
