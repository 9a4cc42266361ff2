import { CorruptionError } from '../../base/errors.js';
import { DiskError, type SyncDisk } from '../../ports/disk.js';
import type { Random } from '../../ports/random.js';
import { makeDirectoryDurablySync, writeFullySync } from '../file-io.js';
import { parseLogFileName, reservePath, segmentPath, sparePath, unfinishedPath } from './file-names.js';
import { finishRecord, LOG_ID_BYTES, SEGMENT_HEADER_BYTES, writeSegmentHeader } from './format.js';
import { type LogRecoverySink, type RecoveredLog, recoverSegments } from './recovery.js';
import { Segment } from './segment.js';
import { makeSpareSync } from './spares.js';

export interface StartedLog extends RecoveredLog {
  readonly logId: Uint8Array;
  /** In addition to the recovered ones, a new last one that holds nothing yet. */
  readonly segments: Segment[];
  readonly spares: number[];
  readonly hasReserve: boolean;
  readonly nextSpareNumber: number;
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
}

/**
 * Recovers the log and begins a new segment, whose header says where the last one ends: that cuts its torn tail for
 * good before the first append. A crash at any point leaves a log that recovers to the same entries.
 */
export function startLog(options: StartOptions, sink: LogRecoverySink): StartedLog {
  const { disk, directory, expectedLogId } = options;
  makeDirectoryDurablySync(disk, directory);
  const files = listFiles(disk, directory, options.segmentBytes);
  if (files.segments.length === 0 && expectedLogId !== null) {
    throw new CorruptionError(directory, 'the segments of the log of this data directory', 'none');
  }
  const recovered = recoverSegments(disk, directory, files.segments, expectedLogId, sink);
  let logId = recovered.logId;
  if (logId === null) {
    logId = new Uint8Array(LOG_ID_BYTES);
    options.random.fill(logId);
  }
  const previous = recovered.segments.at(-1) ?? null;
  const current = beginSegment(options, files, previous, logId, recovered.clockBound);
  if (previous !== null && previous.fileBytes > previous.end) cutFile(disk, directory, previous);
  return {
    ...recovered,
    logId,
    segments: [...recovered.segments, current],
    spares: files.spares,
    hasReserve: files.reserves.length > 0,
    nextSpareNumber: files.nextSpareNumber,
  };
}

/** Leaves only usable spares. Names that were changed before a crash are made durable before they are relied on. */
function listFiles(disk: SyncDisk, directory: string, segmentBytes: number): LogFiles {
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
    else if (kind === 'reserve') files.reserves.push(number);
    else if (fileSize(disk, sparePath(directory, number)) === segmentBytes) files.spares.push(number);
    else disk.remove(sparePath(directory, number));
  }
  disk.syncDirectory(directory);
  files.segments.sort((a, b) => a - b);
  return files;
}

function fileSize(disk: SyncDisk, path: string): number {
  const file = disk.open(path, 'read');
  try {
    return file.size();
  } finally {
    file.close();
  }
}

function beginSegment(
  options: StartOptions,
  files: LogFiles,
  previous: Segment | null,
  logId: Uint8Array,
  clockBound: number,
): Segment {
  const { disk, directory } = options;
  const number = previous === null ? 1 : previous.number + 1;
  const path = takeFile(options, files);
  const fileBytes = fileSize(disk, path);
  const header = new Uint8Array(SEGMENT_HEADER_BYTES);
  const previousSegment = previous?.number ?? 0;
  writeSegmentHeader(header, 0, number, { logId, previousSegment, previousEnd: previous?.end ?? 0, clockBound });
  finishRecord(header, 0, 0, 0);
  const file = disk.open(path, 'dsync');
  try {
    writeFullySync(file, header, 0);
  } finally {
    file.close();
  }
  disk.rename(path, segmentPath(directory, number));
  disk.syncDirectory(directory);
  return new Segment(number, fileBytes, SEGMENT_HEADER_BYTES);
}

/** The path of a file that becomes the new segment: a spare, a new one, or on a full disk the reserve. */
function takeFile(options: StartOptions, files: LogFiles): string {
  const { disk, directory, segmentBytes } = options;
  const spare = files.spares.shift();
  if (spare !== undefined) return sparePath(directory, spare);
  const number = files.nextSpareNumber++;
  try {
    makeSpareSync(disk, directory, number, segmentBytes);
    return sparePath(directory, number);
  } catch (error) {
    const reserve = files.reserves.shift();
    if (reserve === undefined || !(error instanceof DiskError) || error.code !== 'ENOSPC') throw error;
    return reservePath(directory, reserve);
  }
}

/** Gives the space behind a finished segment's end back; only after the next segment's header says where that is. */
function cutFile(disk: SyncDisk, directory: string, segment: Segment): void {
  const file = disk.open(segmentPath(directory, segment.number), 'write');
  try {
    file.truncate(segment.end);
  } finally {
    file.close();
  }
  segment.fileBytes = segment.end;
}
