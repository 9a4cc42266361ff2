import type { Revision } from './row-key.js';

/**
 * A position in an ordered run of versions: a memtable, a table, a level, or a merge of several. Order is
 * (row key ascending, revision descending).
 *
 * Moving may need a block that is not in memory. Then the call returns false, the position is unchanged, and the caller
 * awaits `load()` and repeats the same call. Cursors over memory and cursors in workers (which read files
 * synchronously) always return true. A visible cursor with a step budget also returns false, having gone on, when the budget is
 * used up; then `load()` refills it and resolves at once, and whoever awaits it decides whether others come first. After a call that returned true, `valid` says whether there is an entry, and the
 * views below describe it until the next call on the cursor.
 */
export interface Cursor {
  readonly valid: boolean;
  /** First entry at or after (rowKey, revision): pass LATEST to start at the row's newest version. */
  seek(rowKey: Uint8Array, revision: Revision): boolean;
  /** Last entry before (rowKey, revision) in the order. */
  seekBefore(rowKey: Uint8Array, revision: Revision): boolean;
  seekToFirst(): boolean;
  seekToLast(): boolean;
  /** To the following entry; the cursor must be valid. */
  next(): boolean;
  /** To the entry before; the cursor must be valid. */
  previous(): boolean;
  /** Fetches what the last call missed. Rejects with CorruptionError or DiskError; the cursor is then dead. */
  load(): Promise<void>;
  /** Releases pinned files and blocks. */
  close(): void;

  /** The row key is `key[keyStart .. keyStart + keyLength)`. */
  readonly key: Uint8Array;
  readonly keyStart: number;
  readonly keyLength: number;
  readonly revision: Revision;
  /** The record (see record.ts) is `value[valueStart .. valueStart + valueLength)`. */
  readonly value: Uint8Array;
  readonly valueStart: number;
  readonly valueLength: number;
}
