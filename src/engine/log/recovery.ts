import { compareBytes } from '../../base/bytes.js';
import { CairnError, CorruptionError } from '../../base/errors.js';
import { mutated } from '../../base/mutations.js';
import type { SyncDisk } from '../../ports/disk.js';
import { readFullySync } from '../file-io.js';
import { segmentPath } from './file-names.js';
import {
  alignUp,
  CHANGED_VOTE,
  checksumSeed,
  FIRST_RECORD_OFFSET,
  FORMAT_VERSION,
  isEmptyRecord,
  isValidRecord,
  ITEM_ENTRY,
  ITEM_HARD_STATE,
  ITEM_HEADER_BYTES,
  ITEM_PREVIOUS,
  itemEntryKind,
  itemGroup,
  itemIndex,
  itemPayloadBytes,
  itemReplicaId,
  itemRevision,
  itemTerm,
  itemType,
  mayHold,
  type Previous,
  readPrevious,
  readSegmentHeader,
  RECORD_ALIGNMENT_BYTES,
  RECORD_HEADER_BYTES,
  RECORD_MAGIC,
  RECORD_NUMBERS,
  recordBodyBytes,
  recordClockBound,
  recordDurableOffset,
  recordItemCount,
  recordMagic,
  recordOffset,
  recordSegment,
  SEGMENT_HEADER_BYTES,
  type SegmentHeader,
} from './format.js';
import { type HardState, Segment } from './segment.js';

/**
 * Takes what the log holds, in the order in which it was written. An entry whose index is not above that of an earlier
 * entry of the same replica replaces that one and all after it (Raft truncates so); the receiver has to do that.
 * `bytes` is only valid during the call.
 */
export interface LogRecoverySink {
  entry(
    group: number,
    replicaId: number,
    term: number,
    index: number,
    revision: number,
    kind: number,
    bytes: Uint8Array,
    payloadStart: number,
    payloadLength: number,
  ): void;
  /** A later one of the same group replaces an earlier one. */
  hardState(group: number, replicaId: number, term: number, vote: number, commit: number): void;
  /**
   * Before what comes next, at most so many items of the groups that are not left out can't be read: entries and commit indexes,
   * but no change of a term or vote. Only told when damage may be repaired.
   */
  damaged?(items: number, mayConcern: (group: number) => boolean): void;
}

export interface RecoveredLog {
  /** Null when there is no segment. */
  readonly logId: Uint8Array | null;
  /** Oldest first. The last one's `end` is where its torn tail begins. */
  readonly segments: Segment[];
  /** The newest of each group. */
  readonly hardStates: Map<number, HardState>;
  /** No revision above it was given. */
  readonly clockBound: number;
  /** The last run ended by itself and left a bound below its earlier ones, which no longer hold, wherever they stand. */
  readonly endedCleanly: boolean;
  readonly entryCount: number;
  /**
   * The last records of the last segment, from `unstatedStart` to its end: those that no record calls durable. A sync
   * can't prove that they are: after a failed one, a second one succeeds without writing anything, as the kernel takes
   * the pages for clean.
   */
  readonly unstated: Uint8Array;
  readonly unstatedStart: number;
  /** Bytes of records that were being written at the crash and are cut off. */
  readonly tornBytes: number;
  /** Changes of a term or vote that the log has had, and the number of its last record that tells one. */
  readonly voteCount: number;
  readonly recordNumber: number;
}

/**
 * Reads all segments, which must be the numbers that are in the directory, ascending. Nothing is changed. Throws a `CorruptionError` for everything that a crash can't explain.
 */
export function recoverSegments(
  disk: SyncDisk,
  directory: string,
  numbers: readonly number[],
  expectedLogId: Uint8Array | null,
  sink: LogRecoverySink,
  isRepairable = false,
): RecoveredLog {
  const recovery = new Recovery(disk, directory, sink, expectedLogId, isRepairable);
  for (let i = 0; i < numbers.length; i++) {
    if (i > 0 && numbers[i] !== numbers[i - 1]! + 1) {
      const missing = segmentPath(directory, numbers[i - 1]! + 1);
      throw new CorruptionError(missing, `a log segment between ${numbers[i - 1]} and ${numbers[i]}`, 'no file');
    }
  }
  for (let i = 0; i < numbers.length; i++) {
    const next = i + 1 < numbers.length ? recovery.readHeader(numbers[i + 1]!) : null;
    recovery.readSegment(numbers[i]!, next);
  }
  return recovery.result();
}

class Recovery {
  readonly #disk: SyncDisk;
  readonly #directory: string;
  readonly #sink: LogRecoverySink;
  readonly #isRepairable: boolean;
  readonly #segments: Segment[] = [];
  readonly #hardStates = new Map<number, HardState>();
  #logId: Uint8Array | null;
  #seed = 0;
  #clockBound = 0;
  #endedCleanly = false;
  #entryCount = 0;
  #tornBytes = 0;
  #unstated = new Uint8Array(0);
  #unstatedStart = 0;
  #buffer = new Uint8Array(0);
  /** Changes of a term or vote so far; -1 before the log says how many there were. */
  #voteCount = -1;
  #recordNumber = 0;
  /** Records were skipped, at most with so many items, and nothing says yet that no vote was among them. */
  #damage: CorruptionError | null = null;
  #lostItems = 0;
  /** The item that could not be parsed, for the error. */
  #badItem = '';

  constructor(
    disk: SyncDisk,
    directory: string,
    sink: LogRecoverySink,
    expectedLogId: Uint8Array | null,
    isRepairable: boolean,
  ) {
    this.#disk = disk;
    this.#directory = directory;
    this.#sink = sink;
    this.#isRepairable = isRepairable;
    this.#logId = expectedLogId;
    if (expectedLogId !== null) this.#seed = checksumSeed(expectedLogId);
  }

  result(): RecoveredLog {
    if (this.#damage !== null) throw this.#damage;
    return {
      logId: this.#segments.length === 0 ? null : this.#logId,
      segments: this.#segments,
      hardStates: this.#hardStates,
      clockBound: this.#clockBound,
      endedCleanly: this.#endedCleanly,
      entryCount: this.#entryCount,
      unstated: this.#unstated,
      unstatedStart: this.#unstatedStart,
      tornBytes: this.#tornBytes,
      voteCount: Math.max(0, this.#voteCount),
      recordNumber: this.#recordNumber,
    };
  }

  readHeader(number: number): SegmentHeader {
    const path = segmentPath(this.#directory, number);
    const file = this.#disk.open(path, 'read');
    try {
      const bytes = new Uint8Array(SEGMENT_HEADER_BYTES);
      return this.#checkHeader(path, number, bytes, readFullySync(file, bytes, 0));
    } finally {
      file.close();
    }
  }

  /** `next` is the following segment's header, which says where this one ends; null for the last. */
  readSegment(number: number, next: SegmentHeader | null): void {
    const path = segmentPath(this.#directory, number);
    // What a killed process wrote last may stand in the page cache only. It must not be lost by a power failure after
    // this start served it.
    const file = this.#disk.open(path, next === null ? 'write' : 'read');
    try {
      if (next === null) file.sync();
      const size = file.size();
      if (this.#buffer.length < size) this.#buffer = new Uint8Array(size);
      const bytes = this.#buffer;
      const length = readFullySync(file, bytes.subarray(0, size), 0);
      const header = this.#checkHeader(path, number, bytes, length);
      this.#takeBound(header.clockBound, true);
      const segment = new Segment(number, size, FIRST_RECORD_OFFSET);
      let statedDurable = FIRST_RECORD_OFFSET;
      const end = next === null ? length : next.previousEnd;
      if (next !== null && next.previousSegment !== number) {
        const where = segmentPath(this.#directory, number + 1);
        throw new CorruptionError(where, `previous segment ${number}`, `${next.previousSegment}`);
      }
      while (segment.end < end) {
        const at = segment.end;
        if (!isValidRecord(bytes, at, length, number, RECORD_MAGIC, this.#seed)) {
          const damage =
            next === null
              ? this.#checkTail(path, bytes, segment, length)
              : this.#badRecord(path, bytes, at, length, number, `offset ${end}, which segment ${number + 1} states`);
          if (damage === null) break;
          segment.end = this.#skip(bytes, segment, end, damage);
          statedDurable = Math.max(statedDurable, segment.end);
          continue;
        }
        statedDurable = Math.max(statedDurable, recordDurableOffset(bytes, at));
        this.#takeRecord(path, bytes, at, segment);
        segment.end = alignUp(at + RECORD_HEADER_BYTES + recordBodyBytes(bytes, at));
      }
      if (next === null) {
        this.#unstatedStart = statedDurable;
        this.#unstated = bytes.slice(statedDurable, segment.end);
      } else if (segment.end !== end) {
        const found = `a record that ends at ${segment.end}`;
        throw new CorruptionError(path, `the last record to end at ${end}, as segment ${number + 1} states`, found);
      }
      this.#segments.push(segment);
    } finally {
      file.close();
    }
  }

  #checkHeader(path: string, number: number, bytes: Uint8Array, length: number): SegmentHeader {
    const header = readSegmentHeader(bytes, length, number);
    if (header === null) {
      throw new CorruptionError(`${path} at offset 0`, `a valid header of log segment ${number}`, 'none');
    }
    if (header.formatVersion !== FORMAT_VERSION) {
      const message = `${path}: expected log format ${FORMAT_VERSION}, found ${header.formatVersion}`;
      throw new CairnError('configuration', message);
    }
    if (this.#logId === null) {
      this.#logId = header.logId;
      this.#seed = checksumSeed(header.logId);
    } else if (compareBytes(this.#logId, header.logId) !== 0) {
      throw new CorruptionError(path, `a segment of log ${hex(this.#logId)}`, `one of log ${hex(header.logId)}`);
    }
    return header;
  }

  /** Goes on behind damaged records; returns where the next valid one begins, or `end`. Throws when they can't be repaired. */
  #skip(bytes: Uint8Array, { number, end: at }: Segment, end: number, damage: CorruptionError): number {
    if (!this.#isRepairable || this.#voteCount < 0) throw damage;
    let next = at + RECORD_ALIGNMENT_BYTES;
    while (next < end && !isValidRecord(bytes, next, end, number, RECORD_MAGIC, this.#seed))
      next += RECORD_ALIGNMENT_BYTES;
    next = Math.min(next, end);
    this.#damage ??= damage;
    this.#lostItems += Math.floor((next - at) / ITEM_HEADER_BYTES);
    return next;
  }

  /** What this record says must be what was read; else a change of a term or vote was lost, and the node might vote twice. */
  #takePrevious(path: string, at: number, { recordNumber, voteCount, groups }: Previous): void {
    if (this.#damage !== null) {
      if (voteCount !== this.#voteCount && !mutated('log-lost-vote-ignored')) {
        const found = `${voteCount} before the record at offset ${at} of ${path}; a vote is lost (${this.#damage.message})`;
        throw new CorruptionError(this.#directory, `${this.#voteCount} changes of a term or vote`, found);
      }
      // Of one lost record it is known whose entries it had.
      const isOne = recordNumber === (this.#recordNumber + 2) % RECORD_NUMBERS;
      this.#sink.damaged?.(this.#lostItems, (group) => !isOne || mayHold(groups, group));
      this.#damage = null;
      this.#lostItems = 0;
    }
    this.#voteCount = voteCount;
    this.#recordNumber = recordNumber;
  }

  /**
   * What follows the last valid record is a torn tail (then null), unless a valid record beyond it says that it had been durable:
   * then bytes that may have been acknowledged are gone.
   */
  #checkTail(path: string, bytes: Uint8Array, segment: Segment, length: number): CorruptionError | null {
    let lastSeen = 0;
    for (let at = segment.end; at + RECORD_HEADER_BYTES <= length; at += RECORD_ALIGNMENT_BYTES) {
      if (bytes[at + 4] !== (RECORD_MAGIC & 0xff)) continue;
      if (!isValidRecord(bytes, at, length, segment.number, RECORD_MAGIC, this.#seed)) continue;
      const durable = recordDurableOffset(bytes, at);
      if (durable > segment.end) {
        const stated = `offset ${durable}, which the record at ${at} states`;
        return this.#badRecord(path, bytes, segment.end, length, segment.number, stated);
      }
      lastSeen = at + RECORD_HEADER_BYTES + recordBodyBytes(bytes, at);
    }
    if (lastSeen > 0) this.#tornBytes = lastSeen - segment.end;
    else if (segment.end + RECORD_HEADER_BYTES <= length && this.#looksBegun(bytes, segment)) {
      this.#tornBytes = Math.min(RECORD_HEADER_BYTES + recordBodyBytes(bytes, segment.end), length - segment.end);
    }
    return null;
  }

  #looksBegun(bytes: Uint8Array, segment: Segment): boolean {
    return recordMagic(bytes, segment.end) === RECORD_MAGIC && recordSegment(bytes, segment.end) === segment.number;
  }

  #takeRecord(path: string, bytes: Uint8Array, recordAt: number, segment: Segment): void {
    const itemCount = recordItemCount(bytes, recordAt);
    this.#takeBound(recordClockBound(bytes, recordAt), isEmptyRecord(bytes, recordAt));
    const end = recordAt + RECORD_HEADER_BYTES + recordBodyBytes(bytes, recordAt);
    let at = recordAt + RECORD_HEADER_BYTES;
    for (let i = 0; i < itemCount; i++) {
      const next = this.#takeItem(path, bytes, at, end, segment);
      if (next < 0) {
        throw new CorruptionError(`${path} at offset ${at}`, 'a whole item of a known type', this.#badItem);
      }
      at = next;
    }
    if (at !== end) {
      throw new CorruptionError(
        `${path} at offset ${recordAt}`,
        `items of ${end - recordAt} bytes`,
        `${at - recordAt}`,
      );
    }
  }

  /**
   * Bounds ascend, but for the empty record that ends a run, and the header that the next start makes of it. Behind a
   * header there may be copies of records with older bounds, so those of records with items never lower anything.
   */
  #takeBound(bound: number, mayLower: boolean): void {
    this.#endedCleanly = mayLower && bound < this.#clockBound;
    if (mayLower || bound > this.#clockBound) this.#clockBound = bound;
  }

  /** Returns where the next item begins, or -1. */
  #takeItem(path: string, bytes: Uint8Array, at: number, end: number, segment: Segment): number {
    const payloadStart = at + ITEM_HEADER_BYTES;
    if (payloadStart > end || payloadStart + itemPayloadBytes(bytes, at) > end) {
      this.#badItem = 'one that ends beyond its record';
      return -1;
    }
    const payloadLength = itemPayloadBytes(bytes, at);
    const group = itemGroup(bytes, at);
    const replicaId = itemReplicaId(bytes, at);
    const term = itemTerm(bytes, at);
    const index = itemIndex(bytes, at);
    const revision = itemRevision(bytes, at);
    switch (itemType(bytes, at)) {
      case ITEM_ENTRY:
        segment.noteEntry(group, replicaId, index);
        this.#entryCount++;
        this.#sink.entry(
          group,
          replicaId,
          term,
          index,
          revision,
          itemEntryKind(bytes, at),
          bytes,
          payloadStart,
          payloadLength,
        );
        break;
      case ITEM_HARD_STATE:
        // Not what differs from what was read before: a copy of one that went with a released segment is no change.
        if (itemEntryKind(bytes, at) === CHANGED_VOTE && this.#voteCount >= 0) this.#voteCount++;
        this.#hardStates.set(group, { group, replicaId, term, vote: index, commit: revision, segment: segment.number });
        this.#sink.hardState(group, replicaId, term, index, revision);
        break;
      case ITEM_PREVIOUS:
        this.#takePrevious(path, at, readPrevious(bytes, at));
        break;
      default:
        this.#badItem = `type ${itemType(bytes, at)}`;
        return -1;
    }
    return payloadStart + payloadLength;
  }

  #badRecord(
    path: string,
    bytes: Uint8Array,
    at: number,
    length: number,
    segment: number,
    durableBelow: string,
  ): CorruptionError {
    let found = 'a record with a wrong checksum';
    if (at + RECORD_HEADER_BYTES > length) found = `the end of the file at ${length}`;
    else if (recordMagic(bytes, at) !== RECORD_MAGIC) found = `bytes 0x${recordMagic(bytes, at).toString(16)} as magic`;
    else if (recordSegment(bytes, at) !== segment) found = `a record of segment ${recordSegment(bytes, at)}`;
    else if (recordOffset(bytes, at) !== at) found = `a record of offset ${recordOffset(bytes, at)}`;
    const expected = `a valid record of segment ${segment} (durable below ${durableBelow})`;
    return new CorruptionError(`${path} at offset ${at}`, expected, found);
  }
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}
