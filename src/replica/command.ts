import { readUint32, writeUint32 } from '../base/bytes.js';
import { CorruptionError } from '../base/errors.js';
import { MAX_USER_KEY_BYTES } from '../lsm/row-key.js';
import type { EntryKind } from '../raft/entry.js';

/**
 * What a group's log entries hold. Apply is blind: a write entry lists the rows to store, all at the entry's revision.
 *
 *   write payload = operation*      operation = keyLength u16 LE, recordLength u32 LE, key, record (lsm/record.ts)
 */
export const ENTRY_NO_OP = 0;
export const ENTRY_WRITE = 1;
/** A Raft configuration (raft/configuration-codec.ts). */
export const ENTRY_CONFIG = 2;

const KINDS: readonly EntryKind[] = ['noop', 'normal', 'config'];

/** The kind's number in the log. */
export function entryKindOf(kind: EntryKind): number {
  return KINDS.indexOf(kind);
}

/** Undefined for a number that no version has written. */
export function kindOfEntry(number: number): EntryKind | undefined {
  return KINDS[number];
}

export const OPERATION_HEADER_BYTES = 6;

export function operationBytes(keyLength: number, recordLength: number): number {
  return OPERATION_HEADER_BYTES + keyLength + recordLength;
}

/** Writes the header and the key; returns the offset where the record goes. */
export function writeOperationHead(
  target: Uint8Array,
  offset: number,
  key: Uint8Array,
  keyStart: number,
  keyLength: number,
  recordLength: number,
): number {
  target[offset] = keyLength;
  target[offset + 1] = keyLength >>> 8;
  writeUint32(target, offset + 2, recordLength);
  const at = offset + OPERATION_HEADER_BYTES;
  // Keys are short: a loop costs less than the views that `set` needs.
  if (keyLength <= 64) for (let i = 0; i < keyLength; i++) target[at + i] = key[keyStart + i]!;
  else target.set(key.subarray(keyStart, keyStart + keyLength), at);
  return at + keyLength;
}

/** Walks the operations of one write payload without allocating per operation. */
export class OperationReader {
  bytes: Uint8Array = new Uint8Array(0);
  keyStart = 0;
  keyLength = 0;
  recordStart = 0;
  recordLength = 0;
  #at = 0;
  #end = 0;

  open(bytes: Uint8Array, start: number, length: number): this {
    this.bytes = bytes;
    this.#at = start;
    this.#end = start + length;
    return this;
  }

  /** False at the end. Throws CorruptionError when the payload breaks its format (its checksum was right). */
  next(): boolean {
    if (this.#at === this.#end) return false;
    const at = this.#at;
    if (this.#end - at < OPERATION_HEADER_BYTES) throw malformed(`${this.#end - at} bytes left`);
    this.keyLength = this.bytes[at]! | (this.bytes[at + 1]! << 8);
    this.recordLength = readUint32(this.bytes, at + 2);
    this.keyStart = at + OPERATION_HEADER_BYTES;
    this.recordStart = this.keyStart + this.keyLength;
    this.#at = this.recordStart + this.recordLength;
    if (this.keyLength === 0 || this.keyLength > MAX_USER_KEY_BYTES || this.#at > this.#end) {
      throw malformed(`key of ${this.keyLength} and record of ${this.recordLength} bytes at ${at}`);
    }
    return true;
  }
}

function malformed(found: string): CorruptionError {
  return new CorruptionError('write entry', 'whole operations', found);
}
