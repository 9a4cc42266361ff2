import { readUint32, readUint53, writeUint32, writeUint53 } from '../../base/bytes.js';
import { crc32c } from '../../codec/crc32c.js';

/**
 * Encoder and decoder of the log's bytes share these constants. The format is described in FORMAT.md.
 */
export const FORMAT_VERSION = 1;
export const LOG_ID_BYTES = 16;
/**
 * Every record begins at a multiple of it, in its file and in the ring: a sector. So a write never touches a sector that
 * holds durable bytes, and a torn one can't take them along.
 */
export const RECORD_ALIGNMENT_BYTES = 512;

/** 'CLOG' and 'CSEG' as little-endian integers. */
export const RECORD_MAGIC = 0x474f4c43;
export const SEGMENT_MAGIC = 0x47455343;

const AT_CHECKSUM = 0;
const AT_MAGIC = 4;
const AT_BODY_BYTES = 8;
const AT_ITEM_COUNT = 12;
const AT_SEGMENT = 16;
const AT_OFFSET = 24;
const AT_DURABLE_OFFSET = 32;
const AT_CLOCK_BOUND = 40;
export const RECORD_HEADER_BYTES = 48;

const AT_FORMAT_VERSION = RECORD_HEADER_BYTES;
const AT_LOG_ID = RECORD_HEADER_BYTES + 8;
const AT_PREVIOUS_SEGMENT = AT_LOG_ID + LOG_ID_BYTES;
const AT_PREVIOUS_END = AT_PREVIOUS_SEGMENT + 8;
export const SEGMENT_HEADER_BYTES = AT_PREVIOUS_END + 8;
/** Where a segment's first record begins. */
export const FIRST_RECORD_OFFSET = RECORD_ALIGNMENT_BYTES;

const AT_PAYLOAD_BYTES = 0;
const AT_ITEM_TYPE = 4;
const AT_ENTRY_KIND = 5;
const AT_RESERVED = 6;
const AT_GROUP = 8;
const AT_REPLICA_ID = 12;
const AT_TERM = 16;
const AT_INDEX = 24;
const AT_REVISION = 32;
export const ITEM_HEADER_BYTES = 40;

export const ITEM_ENTRY = 1;
/** The vote stands in the index's place, the commit index in the revision's. */
export const ITEM_HARD_STATE = 2;
/** In the kind's place of a hard state that says another term or vote than the one before. */
export const CHANGED_VOTE = 1;
/**
 * Begins every record of a log that other nodes can repair, and tells of what stands before it, in case that can't be read: see
 * `writePrevious`.
 */
export const ITEM_PREVIOUS = 3;

export function alignUp(bytes: number): number {
  const over = bytes % RECORD_ALIGNMENT_BYTES;
  return over === 0 ? bytes : bytes + RECORD_ALIGNMENT_BYTES - over;
}

/** What checksums of records start from, so that a record of another log never looks valid. */
export function checksumSeed(logId: Uint8Array): number {
  return crc32c(logId);
}

/** All of a record's header but the durable offset and the checksum, which `finishRecord` adds. */
export function writeRecordHeader(
  bytes: Uint8Array,
  at: number,
  magic: number,
  bodyBytes: number,
  itemCount: number,
  segment: number,
  offset: number,
  clockBound: number,
): void {
  writeUint32(bytes, at + AT_MAGIC, magic);
  writeUint32(bytes, at + AT_BODY_BYTES, bodyBytes);
  writeUint32(bytes, at + AT_ITEM_COUNT, itemCount);
  writeUint53(bytes, at + AT_SEGMENT, segment);
  writeUint53(bytes, at + AT_OFFSET, offset);
  writeUint53(bytes, at + AT_CLOCK_BOUND, clockBound);
}

/** Gives a record another place. `finishRecord` has to follow. */
export function moveRecord(bytes: Uint8Array, at: number, segment: number, offset: number): void {
  writeUint53(bytes, at + AT_SEGMENT, segment);
  writeUint53(bytes, at + AT_OFFSET, offset);
}

/** Called right before the write, when it is known what is durable. `seed` is 0 for a segment header. */
export function finishRecord(bytes: Uint8Array, at: number, durableOffset: number, seed: number): void {
  writeUint53(bytes, at + AT_DURABLE_OFFSET, durableOffset);
  const end = at + RECORD_HEADER_BYTES + recordBodyBytes(bytes, at);
  writeUint32(bytes, at + AT_CHECKSUM, crc32c(bytes.subarray(at + AT_MAGIC, end), seed));
}

export function recordMagic(bytes: Uint8Array, at: number): number {
  return readUint32(bytes, at + AT_MAGIC);
}
export function recordBodyBytes(bytes: Uint8Array, at: number): number {
  return readUint32(bytes, at + AT_BODY_BYTES);
}
export function recordItemCount(bytes: Uint8Array, at: number): number {
  return readUint32(bytes, at + AT_ITEM_COUNT);
}
export function recordSegment(bytes: Uint8Array, at: number): number {
  return readUint53(bytes, at + AT_SEGMENT);
}
export function recordOffset(bytes: Uint8Array, at: number): number {
  return readUint53(bytes, at + AT_OFFSET);
}
export function recordDurableOffset(bytes: Uint8Array, at: number): number {
  return readUint53(bytes, at + AT_DURABLE_OFFSET);
}
export function recordClockBound(bytes: Uint8Array, at: number): number {
  return readUint53(bytes, at + AT_CLOCK_BOUND);
}

/** Whether a valid record holds neither entries nor hard states. */
export function isEmptyRecord(bytes: Uint8Array, at: number): boolean {
  const count = recordItemCount(bytes, at);
  return count === 0 || (count === 1 && itemType(bytes, at + RECORD_HEADER_BYTES) === ITEM_PREVIOUS);
}

/**
 * True when a whole, valid record of this segment stands at `at`, which is `offset` in the file. `length` is how much of
 * `bytes` belongs to the file. The cheap comparisons come first: a scan calls this at every sector.
 */
export function isValidRecord(
  bytes: Uint8Array,
  at: number,
  length: number,
  segment: number,
  magic: number,
  seed: number,
  offset = at,
): boolean {
  if (at + RECORD_HEADER_BYTES > length) return false;
  if (recordMagic(bytes, at) !== magic || recordSegment(bytes, at) !== segment) return false;
  if (recordOffset(bytes, at) !== offset || recordDurableOffset(bytes, at) > offset) return false;
  const end = at + RECORD_HEADER_BYTES + recordBodyBytes(bytes, at);
  if (end > length) return false;
  return crc32c(bytes.subarray(at + AT_MAGIC, end), seed) === readUint32(bytes, at + AT_CHECKSUM);
}

export interface SegmentHeader {
  readonly formatVersion: number;
  readonly logId: Uint8Array;
  readonly previousSegment: number;
  /** Where the previous segment's last valid record ends; everything below it is durable. 0 without a previous one. */
  readonly previousEnd: number;
  readonly clockBound: number;
}

/** A whole segment header but for the checksum: `finishRecord(bytes, at, 0, 0)` adds that. */
export function writeSegmentHeader(
  bytes: Uint8Array,
  at: number,
  segment: number,
  header: Omit<SegmentHeader, 'formatVersion'>,
): void {
  const bodyBytes = SEGMENT_HEADER_BYTES - RECORD_HEADER_BYTES;
  writeRecordHeader(bytes, at, SEGMENT_MAGIC, bodyBytes, 0, segment, 0, header.clockBound);
  writeUint32(bytes, at + AT_FORMAT_VERSION, FORMAT_VERSION);
  writeUint32(bytes, at + AT_FORMAT_VERSION + 4, 0);
  bytes.set(header.logId, at + AT_LOG_ID);
  writeUint53(bytes, at + AT_PREVIOUS_SEGMENT, header.previousSegment);
  writeUint53(bytes, at + AT_PREVIOUS_END, header.previousEnd);
}

/** Null when no valid header of this segment stands at the start of `bytes`. The version is not judged here. */
export function readSegmentHeader(bytes: Uint8Array, length: number, segment: number): SegmentHeader | null {
  if (length < SEGMENT_HEADER_BYTES || !isValidRecord(bytes, 0, length, segment, SEGMENT_MAGIC, 0)) return null;
  return {
    formatVersion: readUint32(bytes, AT_FORMAT_VERSION),
    logId: bytes.slice(AT_LOG_ID, AT_LOG_ID + LOG_ID_BYTES),
    previousSegment: readUint53(bytes, AT_PREVIOUS_SEGMENT),
    previousEnd: readUint53(bytes, AT_PREVIOUS_END),
    clockBound: recordClockBound(bytes, 0),
  };
}

export function writeItemHeader(
  bytes: Uint8Array,
  at: number,
  type: number,
  entryKind: number,
  group: number,
  replicaId: number,
  term: number,
  index: number,
  revision: number,
  payloadBytes: number,
): void {
  writeUint32(bytes, at + AT_PAYLOAD_BYTES, payloadBytes);
  bytes[at + AT_ITEM_TYPE] = type;
  bytes[at + AT_ENTRY_KIND] = entryKind;
  bytes[at + AT_RESERVED] = 0;
  bytes[at + AT_RESERVED + 1] = 0;
  writeUint32(bytes, at + AT_GROUP, group);
  writeUint32(bytes, at + AT_REPLICA_ID, replicaId);
  writeUint53(bytes, at + AT_TERM, term);
  writeUint53(bytes, at + AT_INDEX, index);
  writeUint53(bytes, at + AT_REVISION, revision);
}

/** So many numbers of records there are before they wrap around. */
export const RECORD_NUMBERS = 2 ** 32;
/** A record's groups are told by so many bits: the remainder of their ids. */
const GROUP_BITS = 96;

/** What a record says of those before it. */
export interface Previous {
  /** Of this record: the one before has the number before. Wraps around at 2^32. */
  readonly recordNumber: number;
  /** How many changes of a term or vote, of all groups, stand in the log before it. */
  readonly voteCount: number;
  /** For `mayHold`: the groups of the entries of the record before it. */
  readonly groups: Uint32Array;
}

/** An empty set of groups. */
export function newGroupSet(): Uint32Array {
  return new Uint32Array(GROUP_BITS / 32);
}

export function addGroup(groups: Uint32Array, group: number): void {
  const bit = group % GROUP_BITS;
  groups[bit >>> 5]! |= 1 << (bit & 31);
}

/** False: the group is not in the set. */
export function mayHold(groups: Uint32Array, group: number): boolean {
  const bit = group % GROUP_BITS;
  return (groups[bit >>> 5]! & (1 << (bit & 31))) !== 0;
}

export function writePrevious(bytes: Uint8Array, at: number, { recordNumber, voteCount, groups }: Previous): void {
  const [first, second, third] = groups as unknown as [number, number, number];
  writeItemHeader(bytes, at, ITEM_PREVIOUS, 0, recordNumber, first, second, voteCount, third, 0);
}

export function readPrevious(bytes: Uint8Array, at: number): Previous {
  const groups = Uint32Array.of(itemReplicaId(bytes, at), itemTerm(bytes, at), itemRevision(bytes, at));
  return { recordNumber: itemGroup(bytes, at), voteCount: itemIndex(bytes, at), groups };
}

export function itemPayloadBytes(bytes: Uint8Array, at: number): number {
  return readUint32(bytes, at + AT_PAYLOAD_BYTES);
}
export function itemType(bytes: Uint8Array, at: number): number {
  return bytes[at + AT_ITEM_TYPE]!;
}
export function itemEntryKind(bytes: Uint8Array, at: number): number {
  return bytes[at + AT_ENTRY_KIND]!;
}
export function itemGroup(bytes: Uint8Array, at: number): number {
  return readUint32(bytes, at + AT_GROUP);
}
export function itemReplicaId(bytes: Uint8Array, at: number): number {
  return readUint32(bytes, at + AT_REPLICA_ID);
}
export function itemTerm(bytes: Uint8Array, at: number): number {
  return readUint53(bytes, at + AT_TERM);
}
export function itemIndex(bytes: Uint8Array, at: number): number {
  return readUint53(bytes, at + AT_INDEX);
}
export function itemRevision(bytes: Uint8Array, at: number): number {
  return readUint53(bytes, at + AT_REVISION);
}
