import { assert } from '../base/assert.js';
import { equalRanges } from '../base/bytes.js';
import type { CairnError } from '../base/errors.js';
import { Fifo } from '../base/fifo.js';
import { xxHash32 } from '../base/hash.js';
import type { Revision } from '../lsm/row-key.js';
import { ENTRY_WRITE, OperationReader, type EntryKind } from './command.js';

/** Called once, after the entry was applied, or with an error that says that its outcome is unknown. */
export type EntryDone = (error: CairnError | null, revision: Revision) => void;

/** An entry that was appended to the log and is not applied yet. */
export interface PendingEntry {
  readonly group: Group;
  readonly kind: EntryKind;
  readonly term: number;
  readonly index: number;
  readonly revision: Revision;
  /** Where its payload stands in the log's ring. */
  readonly payloadStart: number;
  readonly payloadLength: number;
  /** How many rows it writes. */
  readonly operationCount: number;
  /** xxHash32 of the only key, or MANY_KEYS. */
  readonly keyHash: number;
  readonly appendedAtMs: number;
  /** The log record that carries it, known when the loop turn's record is sealed. */
  sequence: number;
  done: EntryDone | null;
  /** Its rows, once a condition has looked for unapplied writes. */
  rows: UnappliedRow[] | null;
}

/** A row of an unapplied entry, in the log's ring. */
interface UnappliedRow {
  readonly entry: PendingEntry;
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

/** The member id of a group's only voter. */
export const SOLE_VOTER = 1;

/** What the manifest and the log say of a group when the node starts. */
export interface GroupStart {
  readonly groupId: number;
  readonly partition: number;
  readonly replicaId: number;
  readonly term: number;
  readonly appliedIndex: number;
  readonly appliedTerm: number;
  readonly revision: Revision;
}

/**
 * One replica of one group: where its log and its state stand, and its unapplied writes (the overlay that conditions are
 * evaluated over, DESIGN.md section 4). The only voter so far: an entry is committed when this node's disk has it.
 */
export class Group {
  readonly groupId: number;
  readonly partition: number;
  readonly replicaId: number;
  term: number;
  lastIndex: number;
  appliedIndex: number;
  appliedTerm: number;
  /** Of the last appended entry. */
  lastRevision: Revision;
  /** Of the last applied entry. */
  appliedRevision: Revision;
  readonly #unapplied = new Fifo<PendingEntry>();
  /**
   * The newest unapplied row by its key's hash. Filled when a condition looks, so that plain writes pay nothing; without it 10,000
   * deletes over an unapplied batch of as many held the loop for 2.7 s.
   */
  readonly #newestRows = new Map<number, UnappliedRow>();
  /** The last entry whose rows are in there. */
  #rowsIndex = 0;
  readonly #operations = new OperationReader();
  /** Where `findUnapplied` found the record. */
  foundStart = 0;
  foundLength = 0;

  constructor(start: GroupStart) {
    this.groupId = start.groupId;
    this.partition = start.partition;
    this.replicaId = start.replicaId;
    this.term = start.term;
    this.lastIndex = start.appliedIndex;
    this.appliedIndex = start.appliedIndex;
    this.appliedTerm = start.appliedTerm;
    this.lastRevision = start.revision;
    this.appliedRevision = start.revision;
  }

  appended(entry: PendingEntry): void {
    assert(entry.index === this.lastIndex + 1, 'entries are appended in index order');
    assert(entry.revision > this.lastRevision, 'revisions of a group ascend');
    this.lastIndex = entry.index;
    this.lastRevision = entry.revision;
    this.#unapplied.push(entry);
  }

  applied(entry: PendingEntry): void {
    assert(this.#unapplied.shift() === entry, 'entries are applied in the order of the log');
    this.appliedIndex = entry.index;
    this.appliedTerm = entry.term;
    this.appliedRevision = entry.revision;
    if (entry.rows === null) return;
    for (const row of entry.rows) {
      // What is older was applied before.
      row.older = null;
      if (this.#newestRows.get(row.hash) === row) this.#newestRows.delete(row.hash);
    }
  }

  /** Recovery read the entry from the log and applied it. */
  replayed(index: number, term: number, revision: Revision): void {
    this.lastIndex = index;
    this.appliedIndex = index;
    this.appliedTerm = term;
    this.lastRevision = revision;
    this.appliedRevision = revision;
  }

  /**
   * The newest unapplied write of the key, or null. The record is then
   * `ring[foundStart .. foundStart + foundLength)`.
   */
  findUnapplied(
    ring: Uint8Array,
    key: Uint8Array,
    keyStart: number,
    keyLength: number,
    keyHash: number,
  ): PendingEntry | null {
    this.#takeRows(ring);
    for (let row = this.#newestRows.get(keyHash) ?? null; row !== null; row = row.older) {
      if (row.keyLength !== keyLength || !equalRanges(ring, row.keyStart, key, keyStart, keyLength)) continue;
      // Applied since: then so are the older ones.
      if (row.entry.index <= this.appliedIndex) return null;
      this.foundStart = row.recordStart;
      this.foundLength = row.recordLength;
      return row.entry;
    }
    return null;
  }

  /** Takes the rows of the entries that were appended since the last look. */
  #takeRows(ring: Uint8Array): void {
    const first = Math.max(this.#rowsIndex, this.appliedIndex) + 1;
    for (let index = first; index <= this.lastIndex; index++) {
      const entry = this.#unapplied.at(index - this.appliedIndex - 1)!;
      if (entry.kind !== ENTRY_WRITE) continue;
      entry.rows = [];
      const operations = this.#operations.open(ring, entry.payloadStart, entry.payloadLength);
      while (operations.next()) {
        const { keyStart, keyLength, recordStart, recordLength } = operations;
        const hash = entry.keyHash === MANY_KEYS ? xxHash32(ring, keyStart, keyLength) : entry.keyHash;
        const older = this.#newestRows.get(hash) ?? null;
        const row = { entry, hash, keyStart, keyLength, recordStart, recordLength, older };
        entry.rows.push(row);
        this.#newestRows.set(hash, row);
      }
    }
    this.#rowsIndex = this.lastIndex;
  }
}
