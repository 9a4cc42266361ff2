import type { Cursor } from '../../lsm/cursor.js';
import { LevelCursor } from '../../lsm/cursors/level-cursor.js';
import { MergingCursor } from '../../lsm/cursors/merging-cursor.js';
import { TableCursor } from '../../lsm/cursors/table-cursor.js';
import { mergeInto } from '../../lsm/compaction/merge.js';
import { OlderTables, type RowRange } from '../../lsm/compaction/older-rows.js';
import { LATEST, type Revision } from '../../lsm/row-key.js';
import type { TableBuilder, TableOptions } from '../../lsm/table/table-builder.js';
import type { TableFile } from '../../lsm/version/table-file.js';
import type { SyncDisk } from '../../ports/disk.js';
import { STEP_BYTES } from './steps.js';
import { SyncBlockSource } from './sync-block-source.js';
import { TableWriter } from './table-writer.js';

export interface InputTable {
  readonly fileNumber: number;
  readonly path: string;
}

export interface CompactionSliceInput {
  /** Tables that overlap each other, newest first: level 0. */
  readonly overlapping: readonly InputTable[];
  /** Levels, newest first; the tables of each in row order. */
  readonly sorted: readonly (readonly InputTable[])[];
  /** The last row of the slice before; null for the first slice. */
  readonly resumeAfter: Uint8Array | null;
  readonly fileNumber: number;
  readonly path: string;
  readonly targetBytes: number;
  readonly table: Partial<TableOptions>;
  /** Durable history floor. */
  readonly floor: Revision;
  readonly liveReplicas: readonly number[];
  /** Tables below the output, by level. */
  readonly olderRows: readonly (readonly RowRange[])[];
  /** An Int32 each: the slice ends early when one is above 0. */
  readonly stopFlags: readonly SharedArrayBuffer[];
}

export interface CompactionSliceOutput {
  /** Null when nothing was kept; then there is no file. Written, but not synced. */
  readonly table: TableFile | null;
  /** Where the next slice begins; null when all is done. */
  readonly resumeAfter: Uint8Array | null;
  readonly readEntries: number;
  readonly keptEntries: number;
}

/**
 * One slice of a compaction: merges rows behind `resumeAfter` into one table until it has its target size, the input ends, or
 * it is told to stop. Slices share nothing but the resume row, so any worker runs the next one and a worker that dies costs
 * one table.
 *
 * DESIGN.md asks for slices of at most 4 MB so that a flush never waits behind a compaction. Fixed slices would end either
 * in tables of 4 MB (25,000 open files for 100 GB) or in builder state that travels between threads. A slice that
 * ends when it is asked to gives a better bound (one row and the writing of filter and index) and whole tables else.
 * The output is not synced here: that takes as long as the disk likes, and a flush would wait for it. Yields now and then, see jobs.ts.
 */
export function* compactionSliceSteps(
  disk: SyncDisk,
  input: CompactionSliceInput,
): Generator<void, CompactionSliceOutput> {
  const stopFlags = input.stopFlags.map((buffer) => new Int32Array(buffer));
  const isTold = (): boolean => stopFlags.some((flag) => Atomics.load(flag, 0) > 0);
  const source = new SyncBlockSource(disk);
  const liveReplicas = new Set(input.liveReplicas);
  const olderRows = new OlderTables(input.olderRows);
  let writer: TableWriter | null = null;
  const open = (): TableBuilder =>
    (writer ??= new TableWriter(disk, input.path, input.fileNumber, input.table)).builder;
  let readEntries = 0;
  let keptEntries = 0;
  try {
    const cursor = openInputs(source, input);
    if (input.resumeAfter === null) cursor.seekToFirst();
    else cursor.seek(rowBehind(input.resumeAfter), LATEST);
    for (let stepEnd = STEP_BYTES; ; stepEnd += STEP_BYTES) {
      const { floor, targetBytes } = input;
      let isStepOver = false;
      const shouldStop = (): boolean => {
        isStepOver = writer !== null && writer.builder.rawBytes >= stepEnd;
        return isStepOver || isTold();
      };
      const merged = mergeInto(cursor, open, { floor, liveReplicas, olderRows, targetBytes, shouldStop });
      readEntries += merged.readEntries;
      keptEntries += merged.keptEntries;
      const { resumeAfter } = merged;
      if (resumeAfter === null || !isStepOver) {
        const table = (writer as TableWriter | null)?.finish() ?? null;
        return { table, resumeAfter, readEntries, keptEntries };
      }
      yield;
    }
  } finally {
    (writer as TableWriter | null)?.close();
    source.close();
  }
}

function openInputs(source: SyncBlockSource, input: CompactionSliceInput): Cursor {
  const cursors: Cursor[] = [];
  for (const { path, fileNumber } of input.overlapping) cursors.push(new TableCursor(source.open(path, fileNumber)));
  for (const level of input.sorted) {
    cursors.push(new LevelCursor(level.map(({ path, fileNumber }) => source.open(path, fileNumber))));
  }
  return new MergingCursor(cursors);
}

/** The smallest row key above `row`. */
function rowBehind(row: Uint8Array): Uint8Array {
  const next = new Uint8Array(row.length + 1);
  next.set(row);
  return next;
}
