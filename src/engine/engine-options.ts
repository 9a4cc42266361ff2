import type { Logger } from '../base/logger.js';
import type { Revision } from '../lsm/row-key.js';
import type { TableOptions } from '../lsm/table/table-builder.js';
import type { GroupState } from '../lsm/version/version-edit.js';
import type { BlockReaderThread } from '../ports/block-reader-thread.js';
import type { Clock } from '../ports/clock.js';
import type { Disk } from '../ports/disk.js';
import type { Executor } from '../ports/executor.js';
import type { EngineJobs } from './jobs/jobs.js';

/** What a memtable covers: taken between two entries, so that none is covered in part (Raft rule 13). */
export interface CapturedState {
  readonly groups: readonly GroupState[];
  readonly clockBound: Revision;
}

export interface EngineOptions {
  /** Holds CURRENT, the manifest and the directory of tables. Made when it does not exist. */
  readonly directory: string;
  readonly disk: Disk;
  readonly executor: Executor<EngineJobs>;
  readonly clock: Clock;
  readonly memtableSizeBytes: number;
  readonly blockCacheSizeBytes: number;
  /** Superseded versions stay readable this long. */
  readonly historyWindowMs: number;
  /** The engine asks for a stop of writes when this many frozen memtables wait and the active one is full. 2 unless told. */
  readonly maxFrozenMemtables?: number;
  /** Size at which a compaction begins the next table. 32 MiB unless told. */
  readonly targetTableSizeBytes?: number;
  /** How tables are written. */
  readonly table?: Partial<TableOptions>;
  /** Size that level 1 may reach, level 2 ten times that, and so on. Four memtables unless told. */
  readonly levelBaseSizeBytes?: number;
  readonly level0?: Partial<Level0Limits>;
  /** False: tables are only compacted by `compact`. */
  readonly automaticCompaction?: boolean;
  /** A thread that reads and decodes blocks; without it they are read through `disk` and decoded here. */
  readonly blockReaderThread?: BlockReaderThread;
  /** Block reads through `disk` under way at once; below the size of libuv's pool. 3 unless told. */
  readonly concurrentBlockReads?: number;
  /** The revision clock's now; versions older than it by the history window may go. */
  readonly nowRevision: () => Revision;
  /** The state of the groups as of the entries that are wholly applied. Called at rotations. */
  readonly captureAppliedState: () => CapturedState;
  /** The tables hold everything up to these states: log entries before them are not needed any more. */
  readonly onFlushed?: (groups: readonly GroupState[]) => void;
  /** A failure that nobody may go on from, for example EIO while a table is written. Called once. */
  readonly onError: (error: Error) => void;
  readonly log?: Logger;
}

export interface Level0Limits {
  readonly compactionTables: number;
  readonly slowTables: number;
  readonly stopTables: number;
}

/** Revisions count units of 1/4096 ms (DESIGN.md section 4). */
export const REVISION_UNITS_PER_MS = 4096;

export const DEFAULT_LEVEL0_LIMITS: Level0Limits = { compactionTables: 4, slowTables: 12, stopTables: 20 };
export const DEFAULT_TARGET_TABLE_SIZE_BYTES = 32 * 1024 * 1024;
export const DEFAULT_MAX_FROZEN_MEMTABLES = 2;
export const DEFAULT_CONCURRENT_BLOCK_READS = 3;
export const LEVEL_FACTOR = 10;
/**
 * Measured with random reads of data five times the cache: blocks of 4 KiB cost 23 us of CPU a read, of 8 KiB 33 us, of 2 KiB
 * 21 us; a scan takes 1.65 us an entry with 4 KiB and 1.55 us with 8 KiB.
 */
export const DEFAULT_ENGINE_TABLE_OPTIONS: Partial<TableOptions> = { blockSizeBytes: 4 * 1024 };
