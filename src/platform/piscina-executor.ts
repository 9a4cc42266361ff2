import { Piscina } from 'piscina';
import { CairnError } from '../base/errors.js';
import type { Executor, JobMap, JobPriority } from '../ports/executor.js';
import { failureToError, type JobAnswer } from './job-errors.js';
import { SMALL_HEAP } from './worker-heap.js';

export interface PiscinaExecutorOptions {
  /** The worker's entry: exports a function for each job. Its `workerData` is PoolWorkerData. */
  readonly workerUrl: URL;
  /** Threads for background jobs, at least 1. Urgent jobs have one of their own beside them. */
  readonly backgroundThreads: number;
}

export interface PoolWorkerData {
  readonly niceness: number;
}

/**
 * On a machine whose cores are all busy, PUT at half the maximum rate during back-to-back compactions took 8 s (p99) with
 * workers at normal priority, 0.35 to 2.4 s with compaction at this one. Flushes have a thread at normal priority, or they would
 * starve and writes with them.
 */
const BACKGROUND_NICENESS = 10;

/** Jobs on Piscina pools of worker threads, one pool for each priority, which are kept for the life of the process. */
export class PiscinaExecutor<Jobs extends JobMap> implements Executor<Jobs> {
  readonly #pools: Readonly<Record<JobPriority, Piscina>>;
  #closed = false;

  constructor({ workerUrl, backgroundThreads }: PiscinaExecutorOptions) {
    this.#pools = {
      urgent: newPool(workerUrl, 1, 0),
      background: newPool(workerUrl, backgroundThreads, BACKGROUND_NICENESS),
    };
  }

  async run<Name extends keyof Jobs & string>(
    name: Name,
    input: Jobs[Name]['input'],
    priority: JobPriority,
  ): Promise<Jobs[Name]['output']> {
    if (this.#closed) throw new CairnError('unavailable', `job ${name}: the executor is closed`);
    let answer: JobAnswer;
    try {
      answer = (await this.#pools[priority].run({ input }, { name })) as JobAnswer;
    } catch (cause) {
      // Jobs answer with their errors, so this is the pool's: the worker died, or the pool is closing.
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new CairnError('unavailable', `job ${name}: its worker died (${why})`, { cause });
    }
    if (!answer.ok) throw failureToError(answer.failure);
    return answer.output;
  }

  /** Running jobs end, waiting ones are rejected. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all(Object.values(this.#pools).map((pool) => pool.close({ force: true })));
  }
}

function newPool(workerUrl: URL, threads: number, niceness: number): Piscina {
  const workerData: PoolWorkerData = { niceness };
  return new Piscina({
    filename: workerUrl.href,
    minThreads: threads,
    maxThreads: threads,
    idleTimeout: Infinity,
    concurrentTasksPerWorker: 1,
    // Else a task that found every worker busy goes to the end of the queue.
    stricterFIFO: true,
    workerData,
    // Else a worker waits for its next task outside of its event loop, where the memory of LZ4's blocks is given back: 330 MB were
    // never freed after 8 million writes.
    atomics: 'disabled',
    resourceLimits: SMALL_HEAP,
  });
}
