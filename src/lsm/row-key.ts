import { compareRanges } from '../base/bytes.js';

/**
 * The engine's names for data.
 *
 * - row key: 4 bytes replicaId big endian, then the user's key (1 to 4,096 bytes of any value).
 * - internal key (tables only): row key, then 8 bytes: the bitwise complement of the revision, big endian. So versions of one
 *   row are ordered newest first. Internal keys are compared as (row key, trailer), never as one run of bytes, because
 *   one row key may be a prefix of another.
 * - revision: an integer in [0, 2^53).
 */
export type Revision = number;

export const REPLICA_ID_BYTES = 4;
export const REVISION_TRAILER_BYTES = 8;
export const MAX_USER_KEY_BYTES = 4096;
export const MAX_ROW_KEY_BYTES = REPLICA_ID_BYTES + MAX_USER_KEY_BYTES;
export const MAX_INTERNAL_KEY_BYTES = MAX_ROW_KEY_BYTES + REVISION_TRAILER_BYTES;
/** A target of a read: no version is newer. */
export const LATEST: Revision = Number.MAX_SAFE_INTEGER;

export function writeReplicaId(target: Uint8Array, offset: number, replicaId: number): void {
  target[offset] = replicaId >>> 24;
  target[offset + 1] = replicaId >>> 16;
  target[offset + 2] = replicaId >>> 8;
  target[offset + 3] = replicaId;
}

export function readReplicaId(source: Uint8Array, offset: number): number {
  return (
    ((source[offset]! << 24) | (source[offset + 1]! << 16) | (source[offset + 2]! << 8) | source[offset + 3]!) >>> 0
  );
}

/** A new row key for `userKey` in `replicaId`. */
export function makeRowKey(replicaId: number, userKey: Uint8Array): Uint8Array {
  const rowKey = new Uint8Array(REPLICA_ID_BYTES + userKey.length);
  writeReplicaId(rowKey, 0, replicaId);
  rowKey.set(userKey, REPLICA_ID_BYTES);
  return rowKey;
}

/** The first row key behind all rows of a replica. */
export function replicaEnd(replicaId: number): Uint8Array {
  const end = new Uint8Array(REPLICA_ID_BYTES);
  writeReplicaId(end, 0, replicaId + 1);
  return end;
}

/** Writes the 8-byte trailer that orders versions newest first. */
export function writeRevisionTrailer(target: Uint8Array, offset: number, revision: Revision): void {
  const high = ~Math.floor(revision / 0x1_0000_0000);
  const low = ~(revision >>> 0);
  target[offset] = high >>> 24;
  target[offset + 1] = high >>> 16;
  target[offset + 2] = high >>> 8;
  target[offset + 3] = high;
  target[offset + 4] = low >>> 24;
  target[offset + 5] = low >>> 16;
  target[offset + 6] = low >>> 8;
  target[offset + 7] = low;
}

export function readRevisionTrailer(source: Uint8Array, offset: number): Revision {
  const high = ~readReplicaId(source, offset) >>> 0;
  const low = ~readReplicaId(source, offset + 4) >>> 0;
  return high * 0x1_0000_0000 + low;
}

/** Compares two internal keys: row key in byte order, then newest revision first. */
export function compareInternalKeys(
  a: Uint8Array,
  aStart: number,
  aLength: number,
  b: Uint8Array,
  bStart: number,
  bLength: number,
): number {
  const aRow = aLength - REVISION_TRAILER_BYTES;
  const bRow = bLength - REVISION_TRAILER_BYTES;
  const rows = compareRanges(a, aStart, aRow, b, bStart, bRow);
  if (rows !== 0) return rows;
  return compareRanges(a, aStart + aRow, REVISION_TRAILER_BYTES, b, bStart + bRow, REVISION_TRAILER_BYTES);
}
