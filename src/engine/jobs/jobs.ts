import type { SyncDisk } from '../../ports/disk.js';
import {
  runBuildSnapshotTable,
  type BuildSnapshotTableInput,
  type BuildSnapshotTableOutput,
} from './build-snapshot-table.js';
import { runCompactionSlice, type CompactionSliceInput, type CompactionSliceOutput } from './compaction-slice.js';
import { runFlush, type FlushInput, type FlushOutput } from './flush.js';
import { prepareArena, type PrepareArenaInput } from './prepare-arena.js';

/** What the engine asks of worker threads. Inputs and outputs are structured-cloned; arenas are shared. */
export type EngineJobs = {
  flush: { input: FlushInput; output: FlushOutput };
  compactionSlice: { input: CompactionSliceInput; output: CompactionSliceOutput };
  buildSnapshotTable: { input: BuildSnapshotTableInput; output: BuildSnapshotTableOutput };
  prepareArena: { input: PrepareArenaInput; output: null };
};

export type EngineJobFunctions = {
  readonly [Name in keyof EngineJobs]: (input: EngineJobs[Name]['input']) => EngineJobs[Name]['output'];
};

/** The jobs over a disk: the workers' and, in the simulator, the same code inline. */
export function createEngineJobs(disk: SyncDisk): EngineJobFunctions {
  return {
    flush: (input) => runFlush(disk, input),
    compactionSlice: (input) => runCompactionSlice(disk, input),
    buildSnapshotTable: (input) => runBuildSnapshotTable(disk, input),
    prepareArena: (input) => prepareArena(input),
  };
}
