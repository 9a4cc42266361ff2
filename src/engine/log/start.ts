import { CorruptionError } from '../../base/errors.js';
import { DiskError, type SyncDisk } from '../../ports/disk.js';
import type { Random } from '../../ports/random.js';
import { makeDirectoryDurablySync, writeFullySync } from '../file-io.js';
import { parseLogFileName, reservePath, segmentPath, sparePath, unfinishedPath } from './file-names.js';
import {
  alignUp,
  checksumSeed,
  finishRecord,
  FIRST_RECORD_OFFSET,
  isEmptyRecord,
  LOG_ID_BYTES,
  moveRecord,
  RECORD_HEADER_BYTES,
  recordBodyBytes,
  writeSegmentHeader,
} from './format.js';
import { type LogRecoverySink, type RecoveredLog, recoverSegments } from './recovery.js';
import { Segment } from './segment.js';
import { makeZerosSync } from './spares.js';

/** On a full disk the new segment may be so small: room for the first entries and hard states of 256 groups. */
const LEAST_SEGMENT_BYTES = 32 * 1024;
const PAGE_BYTES = 4096;

export interface StartedLog extends Omit<RecoveredLog, 'unstated' | 'unstatedStart'> {
  readonly logId: Uint8Array;
  /** In addition to the recovered ones, a new last one that holds nothing yet. */
  readonly segments: Segment[];
  readonly spares: number[];
  readonly hasReserve: boolean;
  readonly nextSpareNumber: number;
  /** The disk is full, and the new segment is the reserve or smaller: what it holds is kept for recovery. */
  readonly isShortOfSpace: boolean;
}

interface LogFiles {
  readonly segments: number[];
  readonly spares: number[];
  readonly reserves: number[];
  nextSpareNumber: number;
}

export interface StartOptions {
  readonly disk: SyncDisk;
  readonly directory: string;
  readonly random: Random;
  readonly expectedLogId: Uint8Array | null;
  readonly segmentBytes: number;
  readonly reserveBytes: number;
  readonly isRepairable: boolean;
}

/**
 * Recovers the log and begins a new segment, whose header says where the last one ends: that cuts its torn tail for
 * good before the first append. A crash at any point leaves a log that recovers to the same entries.
 */
export function startLog(options: StartOptions, sink: LogRecoverySink): StartedLog {
  const { disk, directory, expectedLogId } = options;
  makeDirectoryDurablySync(disk, directory);
  const files = listFiles(options);
  if (files.segments.length === 0 && expectedLogId !== null) {
    throw new CorruptionError(directory, 'the segments of the log of this data directory', 'none');
  }
  const recovered = recoverSegments(disk, directory, files.segments, expectedLogId, sink, options.isRepairable);
  let logId = recovered.logId;
  if (logId === null) {
    logId = new Uint8Array(LOG_ID_BYTES);
    options.random.fill(logId);
  }
  const { path, isShortOfSpace } = takeFile(options, files, recovered.segments);
  const current = beginSegment(options, path, recovered, logId);
  const previous = recovered.segments.at(-1) ?? null;
  if (previous !== null && previous.fileBytes > previous.end) cutFile(disk, directory, previous);
  return {
    logId,
    hardStates: recovered.hardStates,
    clockBound: recovered.clockBound,
    endedCleanly: recovered.endedCleanly,
    entryCount: recovered.entryCount,
    tornBytes: recovered.tornBytes,
    voteCount: recovered.voteCount,
    recordNumber: recovered.recordNumber,
    segments: [...recovered.segments, current],
    spares: files.spares,
    hasReserve: files.reserves.length > 0,
    nextSpareNumber: files.nextSpareNumber,
    isShortOfSpace,
  };
}

/** Leaves only usable spares and whole reserves. Names that were changed before a crash are made durable before they are relied on. */
function listFiles({ disk, directory, segmentBytes, reserveBytes }: StartOptions): LogFiles {
  const files: LogFiles = { segments: [], spares: [], reserves: [], nextSpareNumber: 1 };
  for (const name of disk.list(directory)) {
    const parsed = parseLogFileName(name);
    if (parsed === null) continue;
    const { kind, number } = parsed;
    if (kind === 'segment') {
      files.segments.push(number);
      continue;
    }
    files.nextSpareNumber = Math.max(files.nextSpareNumber, number + 1);
    if (kind === 'unfinished') disk.remove(unfinishedPath(directory, number));
    else if (kind === 'reserve')
      keepOrRemove(disk, reservePath(directory, number), reserveBytes, number, files.reserves);
    else keepOrRemove(disk, sparePath(directory, number), segmentBytes, number, files.spares);
  }
  disk.syncDirectory(directory);
  files.segments.sort((a, b) => a - b);
  return files;
}

function keepOrRemove(disk: SyncDisk, path: string, sizeBytes: number, number: number, kept: number[]): void {
  if (fileSize(disk, path) === sizeBytes) kept.push(number);
  else disk.remove(path);
}

function fileSize(disk: SyncDisk, path: string): number {
  const file = disk.open(path, 'read');
  try {
    return file.size();
  } finally {
    file.close();
  }
}

/**
 * The new segment begins with a copy of the records that nothing calls durable yet; the previous one then ends before
 * them. In place they could not be made safe: a crash during the write could take what an earlier process acknowledged.
 * The file gets its name when all of that is durable.
 */
function beginSegment(options: StartOptions, path: string, recovered: RecoveredLog, logId: Uint8Array): Segment {
  const { disk, directory } = options;
  const previous = recovered.segments.at(-1) ?? null;
  const number = previous === null ? 1 : previous.number + 1;
  const segment = new Segment(number, fileSize(disk, path), FIRST_RECORD_OFFSET);
  let bytes = new Uint8Array(FIRST_RECORD_OFFSET);
  if (previous !== null && recovered.unstated.length <= segment.fileBytes / 2) {
    bytes = copyRecords(recovered, segment, checksumSeed(logId));
    previous.end = recovered.unstatedStart;
  }
  writeSegmentHeader(bytes, 0, number, {
    logId,
    previousSegment: previous?.number ?? 0,
    previousEnd: previous?.end ?? 0,
    clockBound: recovered.clockBound,
  });
  finishRecord(bytes, 0, 0, 0);
  const file = disk.open(path, 'dsync');
  try {
    writeFullySync(file, bytes, 0);
  } finally {
    file.close();
  }
  disk.rename(path, segmentPath(directory, number));
  disk.syncDirectory(directory);
  return segment;
}

/**
 * Room for the header, then the unstated records as records of the segment. The previous segment goes on to count as the
 * one that holds their entries: it is released first, and only when they are flushed.
 */
function copyRecords(recovered: RecoveredLog, segment: Segment, seed: number): Uint8Array<ArrayBuffer> {
  const { unstated } = recovered;
  const bytes = new Uint8Array(FIRST_RECORD_OFFSET + unstated.length);
  for (let from = 0; from < unstated.length;) {
    const recordBytes = RECORD_HEADER_BYTES + recordBodyBytes(unstated, from);
    // An empty one was written at a clean end; what it says of the clock stands in the new header, too.
    if (!isEmptyRecord(unstated, from)) {
      const at = segment.end;
      bytes.set(unstated.subarray(from, from + recordBytes), at);
      moveRecord(bytes, at, segment.number, at);
      finishRecord(bytes, at, at, seed);
      segment.end = alignUp(at + recordBytes);
    }
    from = alignUp(from + recordBytes);
  }
  return bytes.subarray(0, segment.end);
}

/** A file that becomes the new segment: a spare, a new one, or on a full disk the reserve or a small one. */
function takeFile(
  options: StartOptions,
  files: LogFiles,
  segments: readonly Segment[],
): { path: string; isShortOfSpace: boolean } {
  const { disk, directory, segmentBytes } = options;
  const spare = files.spares.shift();
  if (spare !== undefined) return { path: sparePath(directory, spare), isShortOfSpace: false };
  const path = sparePath(directory, files.nextSpareNumber);
  try {
    makeZerosSync(disk, directory, files.nextSpareNumber++, segmentBytes, path);
    return { path, isShortOfSpace: false };
  } catch (error) {
    if (!isDiskFull(error) || segments.length === 0) throw error;
    const reserve = files.reserves.shift();
    if (reserve !== undefined) return { path: reservePath(directory, reserve), isShortOfSpace: true };
    return { path: makeSmallFile(options, files, segments, error), isShortOfSpace: true };
  }
}

/**
 * When an earlier start on this full disk took the reserve: the segments' tails are given back, and what is free is taken.
 * Recovery has read the tails. Behind the end that a successor states nothing counts; behind the last segment's end stands
 * nothing that any record calls durable. So a crash before the new segment has its name leaves a log of the same records,
 * with or without those tails. The new segment takes urgent items only, so most of it is there for the next start.
 */
function makeSmallFile(
  options: StartOptions,
  files: LogFiles,
  segments: readonly Segment[],
  fullDisk: DiskError,
): string {
  const { disk, directory, segmentBytes, reserveBytes } = options;
  for (const segment of segments) if (segment.fileBytes > segment.end) cutFile(disk, directory, segment);
  const least = Math.max(PAGE_BYTES, Math.min(LEAST_SEGMENT_BYTES, segmentBytes / 16));
  let sizeBytes = Math.min(reserveBytes, disk.freeBytes(directory));
  for (; sizeBytes >= least; sizeBytes /= 2) {
    sizeBytes -= sizeBytes % PAGE_BYTES;
    const path = reservePath(directory, files.nextSpareNumber);
    try {
      makeZerosSync(disk, directory, files.nextSpareNumber++, sizeBytes, path);
      return path;
    } catch (error) {
      // What a file system needs for itself does not show in its free bytes.
      if (!isDiskFull(error)) throw error;
    }
  }
  throw fullDisk;
}

function isDiskFull(error: unknown): error is DiskError {
  return error instanceof DiskError && error.code === 'ENOSPC';
}

/** Gives the space behind a segment's end back; really, so that a full disk has it when this returns. */
function cutFile(disk: SyncDisk, directory: string, segment: Segment): void {
  const file = disk.open(segmentPath(directory, segment.number), 'write');
  try {
    file.truncate(segment.end);
    file.sync();
  } finally {
    file.close();
  }
  segment.fileBytes = segment.end;
}
