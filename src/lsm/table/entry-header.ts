import { CorruptionError } from '../../base/errors.js';
import type { Revision } from '../row-key.js';
import { ENTRY_REVISION_BYTES } from './format.js';
import type { Block } from './block.js';

/** The parsed header of the entry at some offset of a block. One is reused by its owner: no object per entry. */
export class EntryHeader {
  shared = 0;
  unshared = 0;
  valueLength = 0;
  revision: Revision = 0;
  /** Where the unshared part of the key starts; the value follows it. */
  keyAt = 0;
  /** Offset of the next entry. */
  end = 0;

  /** Reads the header at `offset`; throws when the entry reaches past the block's entries. */
  read(block: Block, offset: number): void {
    const bytes = block.bytes;
    let at = offset;
    let shared = bytes[at++]!;
    if (shared >= 0x80) {
      shared = longVarint(bytes, at - 1);
      at += extraBytes(bytes, at);
    }
    let unshared = bytes[at++]!;
    if (unshared >= 0x80) {
      unshared = longVarint(bytes, at - 1);
      at += extraBytes(bytes, at);
    }
    let valueLength = bytes[at++]!;
    if (valueLength >= 0x80) {
      valueLength = longVarint(bytes, at - 1);
      at += extraBytes(bytes, at);
    }
    this.shared = shared;
    this.unshared = unshared;
    this.valueLength = valueLength;
    const low = (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0;
    const high = bytes[at + 4]! | (bytes[at + 5]! << 8) | (bytes[at + 6]! << 16);
    this.revision = high * 0x1_0000_0000 + low;
    this.keyAt = at + ENTRY_REVISION_BYTES;
    const end = this.keyAt + unshared + valueLength;
    this.end = end;
    // Also false for NaN, which reading behind the bytes gives.
    if (!(end <= block.entriesEnd)) throw overrun(block, offset);
  }
}

function overrun(block: Block, offset: number): CorruptionError {
  return new CorruptionError(
    block.where,
    `an entry at ${offset} that ends by ${block.entriesEnd}`,
    'one that does not',
  );
}

/** A varint of 2 to 5 bytes. Behind the bytes it gives NaN. */
function longVarint(bytes: Uint8Array, at: number): number {
  let value = 0;
  let scale = 1;
  for (let i = 0; i < 5; i++) {
    const byte = bytes[at + i];
    if (byte === undefined) return NaN;
    value += (byte & 0x7f) * scale;
    if (byte < 0x80) return value;
    scale *= 0x80;
  }
  return NaN;
}

/** How many bytes of the varint lie at and behind `at`, its second byte. */
function extraBytes(bytes: Uint8Array, at: number): number {
  let extra = 1;
  while (extra < 5 && bytes[at + extra - 1]! >= 0x80) extra++;
  return extra;
}
