import { readUint32, readUint53, writeUint32, writeUint53 } from '../../base/bytes.js';
import { CorruptionError } from '../../base/errors.js';
import { crc32c } from '../../codec/crc32c.js';

/**
 * A manifest file: two commit slots, then records.
 *
 *   0       slot 0, 4 KiB apart from the other so that a torn write of one never touches both
 *   4096    slot 1
 *   8192    records, each at a multiple of 4 KiB, zeros up to the next
 *
 *   slot     magic 8 bytes, format version u32, manifest number u64, sequence u64, durable end u64, CRC-32C u32
 *   record   length of the edit u32, CRC-32C u32, edit (lsm/version/edit-codec.ts)
 *
 * A record's checksum covers manifest number, offset, length and edit, so a record is valid only at its own place. An append
 * writes and syncs the record, then writes and syncs the slot that is not the newest one with the new durable end, and only
 * then is acknowledged. So a bad record below the durable end is corruption; behind it, it is the torn tail of an edit
 * that nobody was told of. Losing the newest slot leaves the other one, and the record it missed is valid by itself.
 * Records share no sector because a write that power loss tears may leave garbage in all of the sector that it touched.
 */
export const MANIFEST_FORMAT_VERSION = 1;
/** The largest sector of a disk. */
const SECTOR_BYTES = 4096;
export const SLOT_STRIDE_BYTES = SECTOR_BYTES;
export const RECORDS_START = 2 * SLOT_STRIDE_BYTES;
export const RECORD_HEADER_BYTES = 8;
/** Far above any real edit; a larger declared length is corruption, not a reason to allocate. */
export const MAX_EDIT_BYTES = 1024 ** 3;

const MAGIC = Uint8Array.from('CAIRNMAN', (letter) => letter.charCodeAt(0));
const SLOT_BYTES = 40;

export interface CommitSlot {
  readonly sequence: number;
  /** Everything before it is acknowledged. */
  readonly durableEnd: number;
}

export function encodeSlot(manifestNumber: number, slot: CommitSlot): Uint8Array {
  const bytes = new Uint8Array(SLOT_BYTES);
  bytes.set(MAGIC, 0);
  writeUint32(bytes, 8, MANIFEST_FORMAT_VERSION);
  writeUint53(bytes, 12, manifestNumber);
  writeUint53(bytes, 20, slot.sequence);
  writeUint53(bytes, 28, slot.durableEnd);
  writeUint32(bytes, 36, crc32c(bytes.subarray(0, 36)));
  return bytes;
}

/** Null when the slot was never written, is torn or damaged. A CairnError when it is of an unknown format version. */
export function decodeSlot(file: Uint8Array, offset: number, manifestNumber: number, path: string): CommitSlot | null {
  if (file.length < offset + SLOT_BYTES) return null;
  const bytes = file.subarray(offset, offset + SLOT_BYTES);
  if (readUint32(bytes, 36) !== crc32c(bytes.subarray(0, 36))) return null;
  if (!MAGIC.every((byte, i) => bytes[i] === byte)) return null;
  const version = readUint32(bytes, 8);
  if (version !== MANIFEST_FORMAT_VERSION) {
    throw new CorruptionError(path, `format version ${MANIFEST_FORMAT_VERSION}`, `version ${version}`);
  }
  const found = readUint53(bytes, 12);
  if (found !== manifestNumber) throw new CorruptionError(path, `manifest number ${manifestNumber}`, `${found}`);
  return { sequence: readUint53(bytes, 20), durableEnd: readUint53(bytes, 28) };
}

export function encodeRecord(manifestNumber: number, offset: number, edit: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(recordBytes(edit.length));
  writeUint32(bytes, 0, edit.length);
  bytes.set(edit, RECORD_HEADER_BYTES);
  writeUint32(bytes, 4, recordChecksum(manifestNumber, offset, edit));
  return bytes;
}

/** Bytes of the file that a record takes: whole sectors. */
export function recordBytes(editLength: number): number {
  return Math.ceil((RECORD_HEADER_BYTES + editLength) / SECTOR_BYTES) * SECTOR_BYTES;
}

/** The edit of the record at `offset`, or null when there is no whole and valid record. */
export function decodeRecord(file: Uint8Array, offset: number, manifestNumber: number): Uint8Array | null {
  if (offset + RECORD_HEADER_BYTES > file.length) return null;
  const length = readUint32(file, offset);
  const start = offset + RECORD_HEADER_BYTES;
  if (length === 0 || length > MAX_EDIT_BYTES || start + length > file.length) return null;
  const edit = file.subarray(start, start + length);
  return recordChecksum(manifestNumber, offset, edit) === readUint32(file, offset + 4) ? edit : null;
}

function recordChecksum(manifestNumber: number, offset: number, edit: Uint8Array): number {
  const place = new Uint8Array(20);
  writeUint53(place, 0, manifestNumber);
  writeUint53(place, 8, offset);
  writeUint32(place, 16, edit.length);
  return crc32c(edit, crc32c(place));
}

export function manifestName(manifestNumber: number): string {
  return `MANIFEST-${String(manifestNumber).padStart(6, '0')}`;
}

/** The number in a manifest's file name, or null for any other name. */
export function parseManifestName(name: string): number | null {
  const match = /^MANIFEST-([0-9]{6,15})$/.exec(name);
  return match === null ? null : Number(match[1]);
}

export const CURRENT_NAME = 'CURRENT';
export const CURRENT_TEMPORARY_NAME = 'CURRENT.tmp';

/** The text of CURRENT: the manifest's name and its checksum. */
export function encodeCurrent(manifestNumber: number): Uint8Array {
  const name = manifestName(manifestNumber);
  return Uint8Array.from(`${name} ${nameChecksum(name)}\n`, (letter) => letter.charCodeAt(0));
}

/** The number of the manifest that CURRENT names. */
export function decodeCurrent(bytes: Uint8Array, path: string): number {
  const text = String.fromCharCode(...bytes.subarray(0, 256));
  const match = /^(MANIFEST-[0-9]{6,15}) ([0-9a-f]{8})\n$/.exec(text);
  const number = match === null ? null : parseManifestName(match[1]!);
  if (match === null || number === null || match[2] !== nameChecksum(match[1]!)) {
    throw new CorruptionError(path, 'a manifest name and its checksum', JSON.stringify(text.slice(0, 64)));
  }
  return number;
}

function nameChecksum(name: string): string {
  return crc32c(Uint8Array.from(name, (letter) => letter.charCodeAt(0)))
    .toString(16)
    .padStart(8, '0');
}
