import { assert } from '../../base/assert.js';
import { writeUint32 } from '../../base/bytes.js';
import { writeVarint } from '../../codec/varint.js';
import { ENTRY_REVISION_BYTES, MAX_ENTRY_HEADER_BYTES, RESTART_BYTES } from './format.js';
import type { Revision } from '../row-key.js';

/** Lays entries out as FORMAT.md "Data block" says. Reused for every block of a table. */
export class BlockBuilder {
  readonly #restartInterval: number;
  #bytes: Uint8Array;
  #size = 0;
  #restarts = new Uint32Array(64);
  #restartCount = 0;
  #entryCount = 0;
  /** The row key before, to share a prefix with. */
  #lastKey = new Uint8Array(256);
  #lastKeyLength = 0;

  constructor(restartInterval: number, expectedBytes: number) {
    assert(restartInterval >= 1, `restart interval ${restartInterval}`);
    this.#restartInterval = restartInterval;
    this.#bytes = new Uint8Array(expectedBytes * 2);
  }

  get entryCount(): number {
    return this.#entryCount;
  }

  /** Size if the block ended here. */
  get sizeBytes(): number {
    return this.#size + (this.#restartCount + 1) * RESTART_BYTES;
  }

  add(
    key: Uint8Array,
    keyStart: number,
    keyLength: number,
    revision: Revision,
    value: Uint8Array,
    valueStart: number,
    valueLength: number,
  ): void {
    this.#reserve(MAX_ENTRY_HEADER_BYTES + keyLength + valueLength);
    let shared = 0;
    if (this.#entryCount % this.#restartInterval === 0) {
      this.#addRestart();
    } else {
      const last = this.#lastKey;
      const most = keyLength < this.#lastKeyLength ? keyLength : this.#lastKeyLength;
      while (shared < most && last[shared] === key[keyStart + shared]) shared++;
    }
    const bytes = this.#bytes;
    let at = writeVarint(bytes, this.#size, shared);
    at = writeVarint(bytes, at, keyLength - shared);
    at = writeVarint(bytes, at, valueLength);
    writeRevision(bytes, at, revision);
    at += ENTRY_REVISION_BYTES;
    for (let i = shared; i < keyLength; i++) bytes[at++] = key[keyStart + i]!;
    copyBytes(bytes, at, value, valueStart, valueLength);
    this.#size = at + valueLength;
    this.#entryCount++;
    this.#rememberKey(key, keyStart, keyLength, shared);
  }

  /** The block's bytes: a view that the next `reset` or `add` invalidates. */
  finish(): Uint8Array {
    assert(this.#entryCount > 0, 'an empty block');
    this.#reserve((this.#restartCount + 1) * RESTART_BYTES);
    let at = this.#size;
    for (let i = 0; i < this.#restartCount; i++, at += RESTART_BYTES) writeUint32(this.#bytes, at, this.#restarts[i]!);
    writeUint32(this.#bytes, at, this.#restartCount);
    return this.#bytes.subarray(0, at + RESTART_BYTES);
  }

  reset(): void {
    this.#size = 0;
    this.#restartCount = 0;
    this.#entryCount = 0;
    this.#lastKeyLength = 0;
  }

  #addRestart(): void {
    if (this.#restartCount === this.#restarts.length) {
      const grown = new Uint32Array(this.#restarts.length * 2);
      grown.set(this.#restarts);
      this.#restarts = grown;
    }
    this.#restarts[this.#restartCount++] = this.#size;
  }

  #rememberKey(key: Uint8Array, keyStart: number, keyLength: number, shared: number): void {
    if (keyLength > this.#lastKey.length) {
      const grown = new Uint8Array(keyLength * 2);
      grown.set(this.#lastKey);
      this.#lastKey = grown;
    }
    const last = this.#lastKey;
    for (let i = shared; i < keyLength; i++) last[i] = key[keyStart + i]!;
    this.#lastKeyLength = keyLength;
  }

  #reserve(bytes: number): void {
    const needed = this.#size + bytes;
    if (needed <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(needed, this.#bytes.length * 2));
    grown.set(this.#bytes.subarray(0, this.#size));
    this.#bytes = grown;
  }
}

/** Below this a loop beats `set` with the subarray it needs. */
const LOOP_COPY_BYTES = 64;

function copyBytes(target: Uint8Array, at: number, source: Uint8Array, start: number, length: number): void {
  if (length > LOOP_COPY_BYTES) {
    target.set(source.subarray(start, start + length), at);
    return;
  }
  for (let i = 0; i < length; i++) target[at + i] = source[start + i]!;
}

function writeRevision(target: Uint8Array, at: number, revision: Revision): void {
  const low = revision >>> 0;
  const high = Math.floor(revision / 0x1_0000_0000);
  target[at] = low;
  target[at + 1] = low >>> 8;
  target[at + 2] = low >>> 16;
  target[at + 3] = low >>> 24;
  target[at + 4] = high;
  target[at + 5] = high >>> 8;
  target[at + 6] = high >>> 16;
}
