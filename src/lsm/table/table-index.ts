import { assert } from '../../base/assert.js';
import { compareRanges } from '../../base/bytes.js';
import { CorruptionError } from '../../base/errors.js';
import { VarintReader, writeVarint, MAX_VARINT_BYTES } from '../../codec/varint.js';
import { LATEST, MAX_ROW_KEY_BYTES, type Revision } from '../row-key.js';
import { BLOCK_TRAILER_BYTES, type BlockHandle } from './format.js';

/**
 * One separator per data block: at or before every entry of the block and behind every entry of the block before. It is the
 * shortest prefix of the block's first row key that does so, with LATEST as its revision; where a row spans blocks, it is the
 * first entry itself. Blocks lie one behind the other from offset 0, so only their sizes are stored.
 */
export class TableIndexBuilder {
  #bytes = new Uint8Array(4096);
  #size = 0;
  #count = 0;
  #key = new Uint8Array(0);

  get sizeBytes(): number {
    return this.#size;
  }

  get count(): number {
    return this.#count;
  }

  /** `separator` is a row key prefix; the block takes `storedBytes` of the file. */
  add(separator: Uint8Array, revision: Revision, storedBytes: number): void {
    let shared = 0;
    const most = Math.min(separator.length, this.#key.length);
    while (shared < most && separator[shared] === this.#key[shared]) shared++;
    this.#reserve(4 * MAX_VARINT_BYTES + separator.length);
    let at = writeVarint(this.#bytes, this.#size, shared);
    at = writeVarint(this.#bytes, at, separator.length - shared);
    this.#bytes.set(separator.subarray(shared), at);
    at = writeVarint(this.#bytes, at + separator.length - shared, LATEST - revision);
    this.#size = writeVarint(this.#bytes, at, storedBytes);
    this.#count++;
    this.#key = separator.slice();
  }

  finish(): Uint8Array {
    return this.#bytes.subarray(0, this.#size);
  }

  #reserve(bytes: number): void {
    if (this.#size + bytes <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(this.#size + bytes, this.#bytes.length * 2));
    grown.set(this.#bytes.subarray(0, this.#size));
    this.#bytes = grown;
  }
}

/** The index in memory: flat arrays. */
export class TableIndex {
  readonly count: number;
  /** End of the last data block. */
  readonly dataBytes: number;
  readonly #keys: Uint8Array;
  readonly #keyEnds: Uint32Array;
  readonly #revisions: Float64Array;
  /** Where each block begins, and where the last one ends: 8 bytes a block, an object for each took 40. */
  readonly #offsets: Float64Array;

  constructor(encoded: Uint8Array, count: number, where: string) {
    const reader = new VarintReader(encoded, 0, encoded.length, where);
    const keyEnds = new Uint32Array(count);
    const revisions = new Float64Array(count);
    const offsets = new Float64Array(count + 1);
    const key = new Uint8Array(MAX_ROW_KEY_BYTES);
    let keyLength = 0;
    let keys = new Uint8Array(Math.max(64, encoded.length));
    let keysEnd = 0;
    let offset = 0;
    for (let i = 0; i < count; i++) {
      const shared = reader.varint();
      const unshared = reader.varint();
      if (shared > keyLength || shared + unshared > MAX_ROW_KEY_BYTES) {
        throw new CorruptionError(
          where,
          'separators that fit each other',
          `${shared} + ${unshared} after ${keyLength}`,
        );
      }
      const from = reader.skip(unshared);
      key.set(encoded.subarray(from, from + unshared), shared);
      keyLength = shared + unshared;
      const age = reader.varint();
      const sizeBytes = reader.varint();
      if (sizeBytes <= BLOCK_TRAILER_BYTES) {
        throw new CorruptionError(where, `blocks above ${BLOCK_TRAILER_BYTES} bytes`, `${sizeBytes}`);
      }
      if (keysEnd + keyLength > keys.length) {
        const grown = new Uint8Array((keysEnd + keyLength) * 2);
        grown.set(keys);
        keys = grown;
      }
      keys.set(key.subarray(0, keyLength), keysEnd);
      keysEnd += keyLength;
      keyEnds[i] = keysEnd;
      revisions[i] = LATEST - age;
      offset += sizeBytes;
      offsets[i + 1] = offset;
    }
    if (count === 0 || reader.at !== encoded.length) {
      throw new CorruptionError(where, `${count} separators`, `${encoded.length - reader.at} bytes left`);
    }
    this.count = count;
    this.dataBytes = offset;
    this.#keys = keys.slice(0, keysEnd);
    this.#keyEnds = keyEnds;
    this.#revisions = revisions;
    this.#offsets = offsets;
  }

  /** Bytes of memory, about. */
  get memoryBytes(): number {
    return this.#keys.length + this.count * 20;
  }

  handle(block: number): BlockHandle {
    assert(block >= 0 && block < this.count, `block ${block} of ${this.count}`);
    const offset = this.#offsets[block]!;
    return { offset, sizeBytes: this.#offsets[block + 1]! - offset };
  }

  /** The number of the block at this offset. */
  blockAt(offset: number): number {
    const offsets = this.#offsets;
    let low = 0;
    let high = this.count - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (offsets[middle]! <= offset) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** The last block whose separator is at or before the target, or -1: only it can hold the target. */
  find(key: Uint8Array, keyStart: number, keyLength: number, revision: Revision): number {
    const keys = this.#keys;
    const keyEnds = this.#keyEnds;
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const start = middle === 0 ? 0 : keyEnds[middle - 1]!;
      const difference = compareRanges(keys, start, keyEnds[middle]! - start, key, keyStart, keyLength);
      if (difference < 0 || (difference === 0 && this.#revisions[middle]! >= revision)) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  /** Whether `block` starts with exactly this row key: only then may a row go on from the block before. */
  startsWithRow(block: number, key: Uint8Array, keyStart: number, keyLength: number): boolean {
    const start = block === 0 ? 0 : this.#keyEnds[block - 1]!;
    return compareRanges(this.#keys, start, this.#keyEnds[block]! - start, key, keyStart, keyLength) === 0;
  }
}
