import { assert } from '../../base/assert.js';

/**
 * One SharedArrayBuffer, addressed in words of 4 bytes (a handle or link is a word number, so an arena may pass 2 GiB
 * without a byte offset ever going through a 32-bit operation):
 *
 *   header | hash index | entries, growing up -> ... <- tree nodes, growing down
 *
 * Nodes stay together at the top because a descent then touches few pages. Only header and hash index must be zero
 * before use; everything else is written before it is read.
 *
 *   row      newest version, key length in bytes, row key (zero padded to a word)
 *   version  revision low, revision high | HAS_OLDER, record length in bytes,
 *            and when HAS_OLDER: next older version, jump, depth;  then the record (padded to a word)
 *
 * A row's first version lies right behind the row, so its oldest version needs no link. Later ones are newer, and
 * carry a jump link (Myers, "An applicative random access stack", 1983) so that a version among n is found in O(log n).
 */
export const WORD_BYTES = 4;
export const HEADER_WORDS = 32;
/** 'CMT1' */
export const MAGIC = 0x31544d43;

export const AT_STATE = 0;
export const AT_MAGIC = 1;
export const AT_ENTRY_TAIL = 2;
export const AT_NODE_HEAD = 3;
export const AT_ROWS = 4;
export const AT_VERSIONS = 5;
export const AT_ROOT = 6;
export const AT_HEIGHT = 7;
export const AT_FIRST_LEAF = 8;
export const AT_LAST_LEAF = 9;
export const AT_MIN_REVISION = 10;
export const AT_MAX_REVISION = 12;

/** States: zeroed and owned by nobody; owned by its writer; frozen, read by anyone. */
export const STATE_ZEROED = 0;
export const STATE_ACTIVE = 1;
export const STATE_FROZEN = 2;

export const ROW_HEADER_WORDS = 2;
export const FIRST_VERSION_WORDS = 3;
export const LATER_VERSION_WORDS = 6;
export const HAS_OLDER = 0x8000_0000 | 0;

/** The smallest arena: room for the tree's first nodes and a few small entries. */
export const MIN_ARENA_BYTES = 16 * 1024;
/** Node 20 limits a typed array to 4 GiB; links need 30 bits then, which leaves 2 for an index slot's tag. */
export const MAX_ARENA_BYTES = 4 * 1024 ** 3;

/**
 * One index slot for 64 bytes of arena: with 16-byte keys and 10-byte values, about 75 bytes a row, the arena and the
 * index (7/8 full at most) run out together; larger values leave the index emptier, and it costs 6% of the arena.
 */
const ARENA_BYTES_PER_SLOT = 64;

export function arenaWords(buffer: SharedArrayBuffer): number {
  const bytes = buffer.byteLength;
  assert(
    bytes >= MIN_ARENA_BYTES && bytes <= MAX_ARENA_BYTES,
    `memtable arena: expected ${MIN_ARENA_BYTES} to ${MAX_ARENA_BYTES} bytes, found ${bytes}`,
  );
  return Math.floor(bytes / WORD_BYTES);
}

export function indexSlots(words: number): number {
  return Math.floor((words * WORD_BYTES) / ARENA_BYTES_PER_SLOT);
}

export function maxRows(slots: number): number {
  return slots - Math.ceil(slots / 8);
}

export function entriesStart(words: number): number {
  return HEADER_WORDS + indexSlots(words);
}

/** Words that hold `bytes` bytes. */
export function wordsFor(bytes: number): number {
  return Math.ceil(bytes / WORD_BYTES);
}
