import type { SyncDisk } from '../../ports/disk.js';
import {
  runBuildSnapshotTable,
  type BuildSnapshotTableInput,
  type BuildSnapshotTableOutput,
} from './build-snapshot-table.js';
import { compactionSliceSteps, type CompactionSliceInput, type CompactionSliceOutput } from './compaction-slice.js';
import { flushSteps, type FlushInput, type FlushOutput } from './flush.js';
import { prepareArena, type PrepareArenaInput } from './prepare-arena.js';
import { runSteps } from './steps.js';

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

/**
 * The long jobs in steps, for a thread that has to turn its event loop in between: the memory of what LZ4 compressed is given back
 * only there.
 */
export const engineJobSteps = { flush: flushSteps, compactionSlice: compactionSliceSteps };

/** The jobs over a disk: the workers' and, in the simulator, the same code inline. */
export function createEngineJobs(disk: SyncDisk): EngineJobFunctions {
  return {
    flush: (input) => runSteps(flushSteps(disk, input)),
    compactionSlice: (input) => runSteps(compactionSliceSteps(disk, input)),
    buildSnapshotTable: (input) => runBuildSnapshotTable(disk, input),
    prepareArena: (input) => prepareArena(input),
  };
}
