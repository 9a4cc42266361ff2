import { createEngineJobs, type EngineJobs } from '../src/engine/jobs/jobs.js';
import { answerOf, type JobAnswer } from '../src/platform/job-errors.js';
import { NodeSyncDisk } from '../src/platform/node-disk.js';

/** The pool's worker: one export for each job of EngineJobs. */
const jobs = createEngineJobs(new NodeSyncDisk());

type Task<Name extends keyof EngineJobs> = { readonly input: EngineJobs[Name]['input'] };

export function flush({ input }: Task<'flush'>): JobAnswer {
  return answerOf(() => jobs.flush(input));
}

export function compactionSlice({ input }: Task<'compactionSlice'>): JobAnswer {
  return answerOf(() => jobs.compactionSlice(input));
}

export function prepareArena({ input }: Task<'prepareArena'>): JobAnswer {
  return answerOf(() => jobs.prepareArena(input));
}
