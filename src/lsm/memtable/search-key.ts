import { assert } from '../../base/assert.js';
import { MAX_ROW_KEY_BYTES } from '../row-key.js';
import { ROW_HEADER_WORDS } from './layout.js';

assert(
  new Uint8Array(Int32Array.of(1).buffer)[0] === 1,
  'the memtable compares keys by words: expected a little-endian CPU',
);

/** One byte more than the longest row key: a longer key is ordered against every row by these bytes alone. */
const MAX_SEARCH_BYTES = MAX_ROW_KEY_BYTES + 1;

/** The first 4 bytes in memory order as a signed integer whose order is their byte order. */
function headOf(word: number): number {
  return ((word << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | (word >>> 24)) ^ 0x8000_0000;
}

/** 4 bytes from `offset` bytes after the start of two adjacent words. */
function joined(first: number, second: number, offset: number): number {
  const shift = (offset & 3) << 3;
  return shift === 0 ? first : (first >>> shift) | (second << (32 - shift));
}

/** Order of two different words by the first byte in memory that differs. */
function wordOrder(a: number, b: number): number {
  const difference = a ^ b;
  const shift = (31 - Math.clz32(difference & -difference)) & ~7;
  return ((a >>> shift) & 0xff) - ((b >>> shift) & 0xff);
}

function firstDifferingByte(a: number, b: number): number {
  const difference = a ^ b;
  return (31 - Math.clz32(difference & -difference)) >>> 3;
}

/** 4 bytes of the row's key from byte `offset`, zero padded, in an integer with the same order. */
export function rowHead(words: Int32Array, row: number, offset: number): number {
  const keyWords = (words[row + 1]! + 3) >>> 2;
  const at = offset >>> 2;
  const key = row + ROW_HEADER_WORDS;
  return headOf(joined(at < keyWords ? words[key + at]! : 0, at + 1 < keyWords ? words[key + at + 1]! : 0, offset));
}

/** Bytes that the keys of two rows have in common at their start. */
export function commonRowPrefix(words: Int32Array, a: number, b: number): number {
  const aLength = words[a + 1]!;
  const bLength = words[b + 1]!;
  const shared = aLength < bLength ? aLength : bLength;
  for (let at = 0; at < shared; at += 4) {
    const index = ROW_HEADER_WORDS + (at >>> 2);
    const left = words[a + index]!;
    const right = words[b + index]!;
    if (left !== right) return Math.min(shared, at + firstDifferingByte(left, right));
  }
  return shared;
}

/**
 * The key that an operation looks for, zero padded into words: it is compared with and copied to the arena a word at
 * a time, wherever the caller's bytes lie. One per memtable; used within one call.
 */
export class SearchKey {
  length = 0;
  readonly words: Int32Array = new Int32Array((MAX_SEARCH_BYTES >>> 2) + 3);

  load(replicaId: number, key: Uint8Array, start: number, length: number): void {
    this.words[0] = (replicaId << 24) | ((replicaId & 0xff00) << 8) | ((replicaId >>> 8) & 0xff00) | (replicaId >>> 24);
    this.#pack(1, key, start, length);
    this.length = length + 4;
  }

  loadRowKey(rowKey: Uint8Array): void {
    const length = rowKey.length < MAX_SEARCH_BYTES ? rowKey.length : MAX_SEARCH_BYTES;
    this.#pack(0, rowKey, 0, length);
    this.length = length;
  }

  loadRow(words: Int32Array, row: number): void {
    const length = words[row + 1]!;
    const keyWords = (length + 3) >>> 2;
    const target = this.words;
    for (let i = 0; i < keyWords; i++) target[i] = words[row + ROW_HEADER_WORDS + i]!;
    target[keyWords] = 0;
    target[keyWords + 1] = 0;
    this.length = length;
  }

  /** Packs the bytes and leaves at least one zero word behind them, which `head` may read. */
  #pack(first: number, source: Uint8Array, start: number, length: number): void {
    const target = this.words;
    let at = start;
    let word = first;
    for (const end = start + (length & ~3); at < end; at += 4) {
      target[word++] = source[at]! | (source[at + 1]! << 8) | (source[at + 2]! << 16) | (source[at + 3]! << 24);
    }
    let tail = 0;
    const rest = length & 3;
    if (rest > 0) tail = source[at]!;
    if (rest > 1) tail |= source[at + 1]! << 8;
    if (rest > 2) tail |= source[at + 2]! << 16;
    target[word] = tail;
    target[word + 1] = 0;
  }

  /** Same as rowHead, of this key. `offset` is at most the key's length. */
  head(offset: number): number {
    const at = offset >>> 2;
    return headOf(joined(this.words[at]!, this.words[at + 1]!, offset));
  }

  /** Negative, 0 or positive as this key is before, equal to or after the row's; the first `skip` bytes are equal. */
  compare(words: Int32Array, row: number, skip: number): number {
    const own = this.words;
    const rowLength = words[row + 1]!;
    const length = this.length;
    const end = ((rowLength < length ? rowLength : length) + 3) >>> 2;
    const key = row + ROW_HEADER_WORDS;
    for (let i = skip >>> 2; i < end; i++) {
      const left = own[i]!;
      const right = words[key + i]!;
      // Zero padding sorts the shorter key first, as it must; where it ties, the length decides below.
      if (left !== right) return wordOrder(left, right);
    }
    return length - rowLength;
  }

  equals(words: Int32Array, row: number): boolean {
    const length = this.length;
    if (words[row + 1] !== length) return false;
    const own = this.words;
    const end = (length + 3) >>> 2;
    const key = row + ROW_HEADER_WORDS;
    for (let i = 0; i < end; i++) if (own[i] !== words[key + i]) return false;
    return true;
  }

  /** Bytes that this key and the row's have in common at their start. */
  commonPrefix(words: Int32Array, row: number): number {
    const rowLength = words[row + 1]!;
    const shared = rowLength < this.length ? rowLength : this.length;
    for (let at = 0; at < shared; at += 4) {
      const left = this.words[at >>> 2]!;
      const right = words[row + ROW_HEADER_WORDS + (at >>> 2)]!;
      if (left !== right) return Math.min(shared, at + firstDifferingByte(left, right));
    }
    return shared;
  }

  /** Writes the key as a row's, to words that hold anything. */
  writeRow(words: Int32Array, row: number): void {
    const own = this.words;
    const end = (this.length + 3) >>> 2;
    words[row + 1] = this.length;
    const key = row + ROW_HEADER_WORDS;
    for (let i = 0; i < end; i++) words[key + i] = own[i]!;
  }
}
