import { assert } from '../../base/assert.js';
import { compareRanges } from '../../base/bytes.js';
import { CorruptionError } from '../../base/errors.js';
import type { Revision } from '../row-key.js';
import type { Block } from './block.js';
import { lastRestartBefore } from './block-search.js';
import { EntryHeader } from './entry-header.js';

const EMPTY = new Uint8Array(0);

/**
 * A position in one decoded block. Going forward rebuilds each key in place from the one before. Going backward decodes a
 * whole run (the entries between two restarts) once and then walks it.
 */
export class BlockCursor {
  valid = false;
  key: Uint8Array = EMPTY;
  keyStart = 0;
  keyLength = 0;
  revision: Revision = 0;
  value: Uint8Array = EMPTY;
  valueStart = 0;
  valueLength = 0;

  #block: Block | undefined;
  readonly #entry = new EntryHeader();
  /** The current entry is `[#offset, #end)` of the block. */
  #offset = 0;
  #end = 0;
  #keyBuffer = new Uint8Array(64);
  /** The decoded run that the position lies in, while going backward; its index is -1 while going forward. */
  #run = -1;
  #runPosition = 0;
  #runCount = 0;
  #runOffsets = new Uint32Array(16);
  #runKeyEnds = new Uint32Array(16);
  #runKeys = new Uint8Array(1024);

  get block(): Block | undefined {
    return this.#block;
  }

  /** Turns to `block`, without a position. */
  reset(block: Block | undefined): void {
    this.#block = block;
    this.#run = -1;
    this.valid = false;
    if (block !== undefined) this.value = block.bytes;
  }

  get isFirst(): boolean {
    return this.valid && this.#offset === 0;
  }

  get isLast(): boolean {
    return this.valid && this.#end === this.#held.entriesEnd;
  }

  seekToFirst(): void {
    this.#startRun(0);
    this.next();
  }

  seekToLast(): void {
    this.#decodeRun(this.#held.restartCount - 1);
    this.#moveInRun(this.#runCount - 1);
  }

  /** To the first entry at or after (key, revision); not valid when there is none. */
  seek(key: Uint8Array, keyStart: number, keyLength: number, revision: Revision): void {
    const run = lastRestartBefore(this.#held, this.#entry, key, keyStart, keyLength, revision);
    this.#startRun(run);
    while (this.next()) {
      if (this.compareTo(key, keyStart, keyLength, revision) >= 0) return;
    }
    this.valid = false;
  }

  /** To the last entry before (key, revision); not valid when there is none. */
  seekBefore(key: Uint8Array, keyStart: number, keyLength: number, revision: Revision): void {
    this.#decodeRun(lastRestartBefore(this.#held, this.#entry, key, keyStart, keyLength, revision));
    for (let i = this.#runCount - 1; i >= 0; i--) {
      this.#moveInRun(i);
      if (this.compareTo(key, keyStart, keyLength, revision) < 0) return;
    }
    this.valid = false;
  }

  /** False, and nothing changed, at the block's last entry. */
  next(): boolean {
    const block = this.#held;
    if (this.#end >= block.entriesEnd) return false;
    const entry = this.#entry;
    entry.read(block, this.#end);
    const keyLength = entry.shared + entry.unshared;
    if (entry.shared > this.keyLength) throw sharedTooLong(block, entry, this.keyLength);
    if (this.#run >= 0 || keyLength > this.#keyBuffer.length) this.#takeKey(keyLength);
    const bytes = block.bytes;
    const target = this.#keyBuffer;
    let from = entry.keyAt;
    for (let i = entry.shared; i < keyLength; i++) target[i] = bytes[from++]!;
    this.keyLength = keyLength;
    this.revision = entry.revision;
    this.valueStart = from;
    this.valueLength = entry.valueLength;
    this.#offset = this.#end;
    this.#end = entry.end;
    this.valid = true;
    return true;
  }

  /** False, and nothing changed, at the block's first entry. */
  previous(): boolean {
    if (this.#run < 0) this.#decodeRunAroundPosition();
    if (this.#runPosition > 0) {
      this.#moveInRun(this.#runPosition - 1);
      return true;
    }
    if (this.#run === 0) return false;
    this.#decodeRun(this.#run - 1);
    this.#moveInRun(this.#runCount - 1);
    return true;
  }

  /** Below 0 when the current entry is before (key, revision). */
  compareTo(key: Uint8Array, keyStart: number, keyLength: number, revision: Revision): number {
    const rows = compareRanges(this.key, this.keyStart, this.keyLength, key, keyStart, keyLength);
    return rows !== 0 ? rows : revision - this.revision;
  }

  get #held(): Block {
    assert(this.#block !== undefined, 'a block cursor without a block');
    return this.#block;
  }

  /** So that `next` gives the first entry of `run`. */
  #startRun(run: number): void {
    this.#run = -1;
    this.#end = this.#held.restart(run);
    this.key = this.#keyBuffer;
    this.keyStart = 0;
    this.keyLength = 0;
  }

  /** Moves the current key into the buffer that `next` extends, which must hold `bytes`. */
  #takeKey(bytes: number): void {
    if (bytes > this.#keyBuffer.length) {
      const grown = new Uint8Array(bytes * 2);
      grown.set(this.#keyBuffer);
      this.#keyBuffer = grown;
    }
    if (this.#run >= 0) {
      if (this.keyLength > this.#keyBuffer.length) this.#keyBuffer = new Uint8Array(this.keyLength * 2);
      for (let i = 0; i < this.keyLength; i++) this.#keyBuffer[i] = this.key[this.keyStart + i]!;
      this.#run = -1;
    }
    this.key = this.#keyBuffer;
    this.keyStart = 0;
  }

  #moveInRun(position: number): void {
    const entry = this.#entry;
    entry.read(this.#held, this.#runOffsets[position]!);
    this.#runPosition = position;
    this.key = this.#runKeys;
    this.keyStart = position === 0 ? 0 : this.#runKeyEnds[position - 1]!;
    this.keyLength = this.#runKeyEnds[position]! - this.keyStart;
    this.revision = entry.revision;
    this.valueStart = entry.keyAt + entry.unshared;
    this.valueLength = entry.valueLength;
    this.#offset = this.#runOffsets[position]!;
    this.#end = entry.end;
    this.valid = true;
  }

  #decodeRunAroundPosition(): void {
    const block = this.#held;
    const offset = this.#offset;
    let low = 0;
    let high = block.restartCount - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (block.restart(middle) <= offset) low = middle;
      else high = middle - 1;
    }
    this.#decodeRun(low);
    let position = 0;
    while (position + 1 < this.#runCount && this.#runOffsets[position + 1]! <= offset) position++;
    this.#moveInRun(position);
  }

  #decodeRun(run: number): void {
    const block = this.#held;
    const bytes = block.bytes;
    const entry = this.#entry;
    const limit = run + 1 < block.restartCount ? block.restart(run + 1) : block.entriesEnd;
    let count = 0;
    let keyStart = 0;
    let keyEnd = 0;
    for (let at = block.restart(run); at < limit; at = entry.end) {
      entry.read(block, at);
      if (entry.shared > keyEnd - keyStart) throw sharedTooLong(block, entry, keyEnd - keyStart);
      const keyLength = entry.shared + entry.unshared;
      this.#reserveRun(count + 1, keyEnd + keyLength);
      const keys = this.#runKeys;
      for (let i = 0; i < entry.shared; i++) keys[keyEnd + i] = keys[keyStart + i]!;
      for (let i = 0; i < entry.unshared; i++) keys[keyEnd + entry.shared + i] = bytes[entry.keyAt + i]!;
      keyStart = keyEnd;
      keyEnd += keyLength;
      this.#runOffsets[count] = at;
      this.#runKeyEnds[count] = keyEnd;
      count++;
    }
    if (count === 0) throw new CorruptionError(block.where, `a run that ends by ${limit}`, 'an empty one');
    this.#run = run;
    this.#runCount = count;
  }

  #reserveRun(count: number, keyBytes: number): void {
    if (count > this.#runOffsets.length) {
      const offsets = new Uint32Array(count * 2);
      offsets.set(this.#runOffsets);
      this.#runOffsets = offsets;
      const ends = new Uint32Array(count * 2);
      ends.set(this.#runKeyEnds);
      this.#runKeyEnds = ends;
    }
    if (keyBytes > this.#runKeys.length) {
      const keys = new Uint8Array(keyBytes * 2);
      keys.set(this.#runKeys);
      this.#runKeys = keys;
    }
  }
}

function sharedTooLong(block: Block, entry: EntryHeader, keyLength: number): CorruptionError {
  return new CorruptionError(block.where, `at most ${keyLength} shared key bytes`, `${entry.shared}`);
}
