import { compareRanges } from '../../base/bytes.js';
import type { Revision } from '../row-key.js';
import type { Block } from './block.js';
import { EntryHeader } from './entry-header.js';

/**
 * Where a point read lands in a block: the first entry at or after (row key, revision). Keys are never rebuilt: an entry
 * that shares less with its predecessor than the target does is beyond the target, one that shares more is still before it.
 */
export class BlockSearch {
  readonly entry = new EntryHeader();
  /** After `seek` found an entry: whether it belongs to the sought row. */
  sameRow = false;

  /** False when every entry of the block is before the target. */
  seek(block: Block, key: Uint8Array, keyStart: number, keyLength: number, revision: Revision): boolean {
    const bytes = block.bytes;
    const entry = this.entry;
    let at = block.restart(lastRestartBefore(block, entry, key, keyStart, keyLength, revision));
    /** How many leading bytes of the target the key of the entry before equals; that key is below the target's. */
    let matched = 0;
    /** True once an entry's row key was equal to the target's: a row's versions stand next to each other. */
    let inRow = false;
    while (at < block.entriesEnd) {
      entry.read(block, at);
      const shared = entry.shared;
      if (inRow) {
        if (shared !== keyLength || entry.unshared !== 0) {
          // A restart within the row repeats the key.
          if (shared !== 0 || !equalsKey(bytes, entry.keyAt, entry.unshared, key, keyStart, keyLength)) {
            this.sameRow = false;
            return true;
          }
        }
        if (entry.revision <= revision) {
          this.sameRow = true;
          return true;
        }
      } else if (shared < matched && shared !== 0) {
        this.sameRow = false;
        return true;
      } else if (shared <= matched) {
        // At a restart (shared 0) the whole key is compared.
        const most = shared + entry.unshared < keyLength ? shared + entry.unshared : keyLength;
        let i = shared;
        let difference = 0;
        for (let from = entry.keyAt; i < most; i++, from++) {
          difference = bytes[from]! - key[keyStart + i]!;
          if (difference !== 0) break;
        }
        if (difference === 0) difference = shared + entry.unshared - keyLength;
        if (difference > 0) {
          this.sameRow = false;
          return true;
        }
        matched = i;
        if (difference === 0) {
          if (entry.revision <= revision) {
            this.sameRow = true;
            return true;
          }
          inRow = true;
        }
      }
      at = entry.end;
    }
    return false;
  }
}

/** The last run whose first entry is before (key, revision); run 0 when none is. */
export function lastRestartBefore(
  block: Block,
  entry: EntryHeader,
  key: Uint8Array,
  keyStart: number,
  keyLength: number,
  revision: Revision,
): number {
  let low = 0;
  let high = block.restartCount - 1;
  while (low < high) {
    const middle = (low + high + 1) >>> 1;
    entry.read(block, block.restart(middle));
    const difference = compareRanges(block.bytes, entry.keyAt, entry.unshared, key, keyStart, keyLength);
    if (difference < 0 || (difference === 0 && entry.revision > revision)) low = middle;
    else high = middle - 1;
  }
  return low;
}

function equalsKey(
  bytes: Uint8Array,
  start: number,
  length: number,
  key: Uint8Array,
  keyStart: number,
  keyLength: number,
): boolean {
  return length === keyLength && compareRanges(bytes, start, length, key, keyStart, keyLength) === 0;
}
