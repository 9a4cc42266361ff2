import { ANY_ROW_MAY_BE_OLDER } from '../../lsm/compaction/older-rows.js';
import { mergeInto } from '../../lsm/compaction/merge.js';
import { Memtable } from '../../lsm/memtable/memtable.js';
import type { Revision } from '../../lsm/row-key.js';
import type { TableBuilder, TableOptions } from '../../lsm/table/table-builder.js';
import type { TableFile } from '../../lsm/version/table-file.js';
import type { SyncDisk } from '../../ports/disk.js';
import { parentDirectory } from '../file-io.js';
import { STEP_BYTES } from './steps.js';
import { TableWriter } from './table-writer.js';

export interface FlushInput {
  /** The arena of a frozen memtable. */
  readonly buffer: SharedArrayBuffer;
  readonly fileNumber: number;
  readonly path: string;
  readonly table: Partial<TableOptions>;
  /** Durable history floor: what it hides need not be written at all. */
  readonly floor: Revision;
  readonly liveReplicas: readonly number[];
}

export interface FlushOutput {
  /** Null when there was nothing to keep; then there is no file. */
  readonly table: TableFile | null;
}

/**
 * Writes a frozen memtable as one table of level 0, durable with its name when the job ends (LSM rule 3). Yields now and then, see
 * jobs.ts.
 */
export function* flushSteps(disk: SyncDisk, input: FlushInput): Generator<void, FlushOutput> {
  const cursor = Memtable.attach(input.buffer).cursor();
  cursor.seekToFirst();
  const liveReplicas = new Set(input.liveReplicas);
  let writer: TableWriter | null = null;
  const open = (): TableBuilder =>
    (writer ??= new TableWriter(disk, input.path, input.fileNumber, input.table)).builder;
  try {
    for (let stepEnd = STEP_BYTES; ; stepEnd += STEP_BYTES) {
      const { floor } = input;
      const shouldStop = (): boolean => writer !== null && writer.builder.rawBytes >= stepEnd;
      const options = { floor, liveReplicas, olderRows: ANY_ROW_MAY_BE_OLDER, targetBytes: Infinity, shouldStop };
      if (mergeInto(cursor, open, options).resumeAfter === null) break;
      yield;
    }
    const written = writer as TableWriter | null;
    if (written === null) return { table: null };
    const table = written.finish();
    written.sync();
    disk.syncDirectory(parentDirectory(input.path));
    return { table };
  } finally {
    (writer as TableWriter | null)?.close();
  }
}
