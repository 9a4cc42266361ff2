import { readUint53, writeUint53 } from '../base/bytes.js';
import { assert } from '../base/assert.js';
import { CorruptionError } from '../base/errors.js';
import type { Revision } from './row-key.js';

/**
 * A record: what one version of a key holds, the same bytes in a log entry, a memtable and a table.
 *
 *   flags         u8    bit 0: tombstone; bit 1: expiry follows; bit 2: content type follows; bits 3-7: 0
 *   expiresAt     u64   little endian, in revision units; only with bit 1
 *   contentType   u8 length, then that many bytes of ASCII; only with bit 2; without it the payload is JSON text
 *   payload       the rest
 *
 * A reader refuses unknown flag bits, so later versions can add fields without a silent misreading.
 */
export const FLAG_TOMBSTONE = 1;
export const FLAG_EXPIRY = 2;
export const FLAG_CONTENT_TYPE = 4;
const KNOWN_FLAGS = FLAG_TOMBSTONE | FLAG_EXPIRY | FLAG_CONTENT_TYPE;
export const MAX_CONTENT_TYPE_BYTES = 255;
/** Flags, expiry and the longest content type. */
export const MAX_RECORD_HEADER_BYTES = 1 + 8 + 1 + MAX_CONTENT_TYPE_BYTES;

export function recordHeaderBytes(hasExpiry: boolean, contentTypeBytes: number): number {
  return 1 + (hasExpiry ? 8 : 0) + (contentTypeBytes === 0 ? 0 : 1 + contentTypeBytes);
}

/**
 * Writes a put record's header and returns the offset of the payload.
 * `expiresAt` 0 means none; `contentType` '' means JSON.
 */
export function writeRecordHeader(
  target: Uint8Array,
  offset: number,
  expiresAt: Revision,
  contentType: string,
): number {
  let at = offset + 1;
  let flags = 0;
  if (expiresAt > 0) {
    flags |= FLAG_EXPIRY;
    writeUint53(target, at, expiresAt);
    at += 8;
  }
  if (contentType !== '') {
    assert(contentType.length <= MAX_CONTENT_TYPE_BYTES, 'content type longer than 255 bytes');
    flags |= FLAG_CONTENT_TYPE;
    target[at++] = contentType.length;
    for (let i = 0; i < contentType.length; i++) target[at++] = contentType.charCodeAt(i);
  }
  target[offset] = flags;
  return at;
}

export function isTombstone(bytes: Uint8Array, start: number): boolean {
  return (bytes[start]! & FLAG_TOMBSTONE) !== 0;
}

/** The revision from which the record counts as absent, or 0 when it never expires. */
export function recordExpiresAt(bytes: Uint8Array, start: number): Revision {
  return (bytes[start]! & FLAG_EXPIRY) === 0 ? 0 : readUint53(bytes, start + 1);
}

/** True when the key is absent at `at`: a tombstone, or expired. */
export function isAbsentAt(bytes: Uint8Array, start: number, at: Revision): boolean {
  const flags = bytes[start]!;
  if (flags === 0) return false;
  if ((flags & FLAG_TOMBSTONE) !== 0) return true;
  return (flags & FLAG_EXPIRY) !== 0 && readUint53(bytes, start + 1) <= at;
}

/** '' for JSON. */
export function recordContentType(bytes: Uint8Array, start: number): string {
  const flags = bytes[start]!;
  if ((flags & FLAG_CONTENT_TYPE) === 0) return '';
  const at = start + 1 + ((flags & FLAG_EXPIRY) === 0 ? 0 : 8);
  const length = bytes[at]!;
  let text = '';
  for (let i = 1; i <= length; i++) text += String.fromCharCode(bytes[at + i]!);
  return text;
}

/** Offset of the payload, after checking that the header's flags are known and that it fits in `length`. */
export function recordPayloadStart(bytes: Uint8Array, start: number, length: number): number {
  const flags = length > 0 ? bytes[start]! : 0;
  if (length < 1 || (flags & ~KNOWN_FLAGS) !== 0) {
    throw new CorruptionError('record', 'a known header', length < 1 ? 'no bytes' : `flags ${flags}`);
  }
  let at = start + 1;
  if ((flags & FLAG_EXPIRY) !== 0) at += 8;
  if ((flags & FLAG_CONTENT_TYPE) !== 0) at += 1 + (at < start + length ? bytes[at]! : length);
  if (at > start + length) throw new CorruptionError('record', `a header within ${length} bytes`, `${at - start}`);
  return at;
}

export const TOMBSTONE_RECORD: Uint8Array = Uint8Array.of(FLAG_TOMBSTONE);
