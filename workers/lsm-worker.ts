import { getPriority, setPriority } from 'node:os';
import { setImmediate } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { createEngineJobs, engineJobSteps, type EngineJobs } from '../src/engine/jobs/jobs.js';
import { Piscina } from 'piscina';
import { answerOf, type JobAnswer } from '../src/platform/job-errors.js';
import { NodeSyncDisk } from '../src/platform/node-disk.js';
import type { PoolWorkerData } from '../src/platform/piscina-executor.js';

/** The pool's worker: one export for each job of EngineJobs. */
const disk = new NodeSyncDisk();
const jobs = createEngineJobs(disk);

const { niceness } = Piscina.workerData as PoolWorkerData;
// On Linux a niceness is the calling thread's own, elsewhere it would be the whole process's. A process that was started with a
// higher one keeps that: only root may lower it, and for all others the error would end the node.
if (process.platform === 'linux' && niceness > getPriority()) setPriority(niceness);

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as (options?: { readonly type: 'minor' }) => void;

/**
 * Blocks that LZ4 made lie outside of V8's heap and unknown to it, so V8 sees no reason to collect the small objects that
 * hold them. Measured after 5 to 6 million writes: 620 MB resident with a collection after each job, 790 MB without.
 */
function collected(answer: JobAnswer): JobAnswer {
  collectGarbage();
  return answer;
}

/** The event loop turns between steps: only there the memory of collected LZ4 blocks is given back. */
async function answerOfSteps(steps: Generator<void, unknown>): Promise<JobAnswer> {
  for (;;) {
    const step = answerOf(() => steps.next());
    if (!step.ok) return collected(step);
    const { done, value } = step.output as IteratorResult<void, unknown>;
    if (done === true) return collected({ ok: true, output: value });
    collectGarbage({ type: 'minor' });
    await setImmediate();
  }
}

type Task<Name extends keyof EngineJobs> = { readonly input: EngineJobs[Name]['input'] };

export function flush({ input }: Task<'flush'>): Promise<JobAnswer> {
  return answerOfSteps(engineJobSteps.flush(disk, input));
}

export function compactionSlice({ input }: Task<'compactionSlice'>): Promise<JobAnswer> {
  return answerOfSteps(engineJobSteps.compactionSlice(disk, input));
}

export function buildSnapshotTable({ input }: Task<'buildSnapshotTable'>): JobAnswer {
  return collected(answerOf(() => jobs.buildSnapshotTable(input)));
}

export function prepareArena({ input }: Task<'prepareArena'>): JobAnswer {
  return answerOf(() => jobs.prepareArena(input));
}
