import { arenaWords, indexSlots, maxRows, WORD_BYTES } from '../../lsm/memtable/layout.js';
import { Memtable } from '../../lsm/memtable/memtable.js';
import { REPLICA_ID_BYTES } from '../../lsm/row-key.js';

/** Headers of row and version, and the padding of key and record. */
const ENTRY_OVERHEAD_BYTES = 40;
/** A leaf and the inner nodes that one insert may split, up to a height of 10 (memtable/row-tree.ts). */
const SPLIT_BYTES = (128 + 12 * 192) * WORD_BYTES;
/** Each leaf holds more rows than this, or was made by one of the inserts. */
const LEAST_ROWS_IN_LEAF = 16;

/**
 * Whether `count` inserts with `bytes` of keys and records are sure to fit. It counts one split for each leaf that is there or comes,
 * so it may say no a little early; it never says yes wrongly, because an entry must not be cut by a rotation (Raft
 * rule 13).
 */
export function hasRoom(memtable: Memtable, bytes: number, count: number): boolean {
  const { arena, rowCount } = memtable;
  const rows = maxRows(indexSlots(arenaWords(memtable.buffer)));
  return rowCount + count <= rows && neededBytes(bytes, count, rowCount) <= arena.freeWords * WORD_BYTES;
}

/** The size of an empty arena for these inserts; with one index slot for 64 bytes there are enough of those too. */
export function sizeFor(bytes: number, count: number): number {
  return Memtable.minSizeBytes(0, neededBytes(bytes, count, 0));
}

function neededBytes(bytes: number, count: number, rowCount: number): number {
  const splits = Math.min(count, Math.ceil((rowCount + count) / LEAST_ROWS_IN_LEAF)) + 1;
  return bytes + count * (REPLICA_ID_BYTES + ENTRY_OVERHEAD_BYTES) + splits * SPLIT_BYTES;
}
