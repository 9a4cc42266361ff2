import { compareBytes } from '../base/bytes.js';
import { xxHash32 } from '../base/hash.js';

const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const HASH_SPACE = 0x1_0000_0000;

/**
 * The partition of a user key: the hash of its placement key, scaled to the partition count. The placement key is the
 * part between the first `{` and the next `}` when there is one and it is not empty, else the whole key.
 * `keyHash` is xxHash32 of the whole key, which every caller has at hand.
 */
export function partitionOf(
  key: Uint8Array,
  start: number,
  length: number,
  keyHash: number,
  partitionCount: number,
): number {
  const hash = placementHash(key, start, length, keyHash);
  return Math.floor((hash * partitionCount) / HASH_SPACE);
}

function placementHash(key: Uint8Array, start: number, length: number, keyHash: number): number {
  const end = start + length;
  for (let open = start; open < end; open++) {
    if (key[open] !== OPEN_BRACE) continue;
    for (let close = open + 1; close < end; close++) {
      if (key[close] !== CLOSE_BRACE) continue;
      return close === open + 1 ? keyHash : xxHash32(key, open + 1, close - open - 1);
    }
    return keyHash;
  }
  return keyHash;
}

/**
 * The only partition that holds keys in [startKey, endKey), or -1 when several may: all keys of the range begin with the same
 * placement key in braces, as those of a prefix `order:{42}:` do.
 */
export function partitionOfRange(startKey: Uint8Array, endKey: Uint8Array | null, partitionCount: number): number {
  const open = startKey.indexOf(OPEN_BRACE);
  const close = open < 0 ? -1 : startKey.indexOf(CLOSE_BRACE, open + 1);
  if (close <= open + 1 || endKey === null) return -1;
  // The first key that does not begin with what leads up to the brace that closes.
  const behind = startKey.slice(0, close + 1);
  behind[close] = CLOSE_BRACE + 1;
  if (compareBytes(endKey, behind) > 0) return -1;
  return Math.floor((xxHash32(startKey, open + 1, close - open - 1) * partitionCount) / HASH_SPACE);
}
