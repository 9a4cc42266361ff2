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
