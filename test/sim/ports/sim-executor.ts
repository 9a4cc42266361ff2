import { assert } from '../../../src/base/assert.js';
import { CairnError } from '../../../src/base/errors.js';
import type { Prng } from '../../../src/base/prng.js';
import type { Executor, JobMap, JobPriority } from '../../../src/ports/executor.js';
import { PowerLoss } from './power-loss.js';
import { never, type EventSource } from './scheduler.js';

/** What a worker runs for each job. */
export type JobFunctions<Jobs extends JobMap> = {
  readonly [Name in keyof Jobs]: (input: Jobs[Name]['input']) => Jobs[Name]['output'] | Promise<Jobs[Name]['output']>;
};

export interface SimExecutorOptions<Jobs extends JobMap> {
  readonly scheduler: EventSource;
  readonly prng: Prng;
  readonly functions: JobFunctions<Jobs>;
  /** How many background jobs are under way at once, beside one that is urgent; 1 unless told. */
  readonly backgroundThreads?: number;
  /** The longest time between a job's start and its answer; 5 unless told. */
  readonly longestJobMs?: number;
  /** The probability that a job's worker dies before or after the job; 0 unless told. */
  readonly deathProbability?: number;
}

/** Thrown inside a job (from a hook of the disk, say): its worker dies there. */
export class WorkerKilled extends Error {
  override readonly name = 'WorkerKilled';
}

export type WorkerDeath =
  /** The job never ran. */
  | 'before'
  /** The job ran to its end, but nobody heard of it. */
  | 'after';

interface WaitingJob {
  readonly name: string;
  readonly input: unknown;
  readonly resolve: (output: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/** Jobs of one priority: those that wait, and how many may run at once. */
interface Lane {
  readonly waiting: WaitingJob[];
  readonly threads: number;
  busy: number;
}

/** Runs jobs one by one in this process, at times that the seed gives, as if workers did it. */
export class SimExecutor<Jobs extends JobMap> implements Executor<Jobs> {
  readonly #options: SimExecutorOptions<Jobs>;
  readonly #prng: Prng;
  readonly #lanes: Readonly<Record<JobPriority, Lane>>;
  readonly #deaths: WorkerDeath[] = [];
  #ended = 0;
  #closed = false;
  #stopped = false;
  #whenIdle: (() => void)[] = [];

  constructor(options: SimExecutorOptions<Jobs>) {
    this.#options = options;
    this.#prng = options.prng.fork();
    const { backgroundThreads = 1 } = options;
    assert(backgroundThreads >= 1, `expected at least 1 background thread, found ${backgroundThreads}`);
    this.#lanes = {
      urgent: { waiting: [], threads: 1, busy: 0 },
      background: { waiting: [], threads: backgroundThreads, busy: 0 },
    };
  }

  /** Jobs that ended, well or badly. */
  get endedJobs(): number {
    return this.#ended;
  }

  run<Name extends keyof Jobs & string>(
    name: Name,
    input: Jobs[Name]['input'],
    priority: JobPriority,
  ): Promise<Jobs[Name]['output']> {
    if (this.#stopped) return never();
    if (this.#closed) return Promise.reject(new CairnError('unavailable', `job ${name}: the executor is closed`));
    // As postMessage does: functions can't cross, shared memory is not copied.
    const cloned = structuredClone(input);
    return new Promise((resolve, reject) => {
      const job: WaitingJob = {
        name,
        input: cloned,
        resolve: resolve,
        reject,
      };
      const lane = this.#lanes[priority];
      lane.waiting.push(job);
      this.#startNext(lane);
    });
  }

  /** Kills the worker of the next job that starts. */
  killNext(death: WorkerDeath): void {
    this.#deaths.push(death);
  }

  /** The process is gone: nothing runs or settles any more. */
  stop(): void {
    this.#stopped = true;
  }

  /** Rejects the waiting jobs with `unavailable`; resolves when the running ones have ended. */
  close(): Promise<void> {
    if (this.#stopped) return never();
    this.#closed = true;
    for (const { waiting } of Object.values(this.#lanes)) {
      for (const job of waiting.splice(0)) {
        job.reject(new CairnError('unavailable', `job ${job.name}: the executor was closed before it started`));
      }
    }
    if (!this.#busy) return Promise.resolve();
    return new Promise((resolve) => void this.#whenIdle.push(resolve));
  }

  get #busy(): boolean {
    return Object.values(this.#lanes).some((lane) => lane.busy > 0);
  }

  #startNext(lane: Lane): void {
    while (lane.busy < lane.threads) {
      const job = lane.waiting.shift();
      if (job === undefined) return;
      lane.busy++;
      const { scheduler, longestJobMs = 5 } = this.#options;
      const totalMs = this.#prng.unit() * longestJobMs;
      const startMs = this.#prng.unit() * totalMs;
      scheduler.schedule(startMs, () => {
        if (this.#stopped) return;
        const answer = this.#perform(job);
        scheduler.schedule(totalMs - startMs, () => void answer.then((settle) => this.#finish(lane, settle)));
      });
    }
  }

  /** Runs the job now; the result is how to answer it later. */
  async #perform(job: WaitingJob): Promise<() => void> {
    const { functions, deathProbability = 0 } = this.#options;
    const death =
      this.#deaths.shift() ??
      (this.#prng.chance(deathProbability) ? this.#prng.pick<WorkerDeath>(['before', 'after']) : undefined);
    const died = (): void => job.reject(new CairnError('unavailable', `job ${job.name}: its worker died`));
    if (death === 'before') return died;
    try {
      const work = functions[job.name];
      assert(work !== undefined, `expected a function for the job ${job.name}, found none`);
      // Called without an await before it: the job's disk operations belong to this event.
      const output = structuredClone(await work(job.input));
      return death === 'after' ? died : () => job.resolve(output);
    } catch (error) {
      if (error instanceof PowerLoss) this.stop();
      return error instanceof WorkerKilled ? died : () => job.reject(error);
    }
  }

  #finish(lane: Lane, settle: () => void): void {
    if (this.#stopped) return;
    lane.busy--;
    this.#ended++;
    settle();
    this.#startNext(lane);
    if (this.#busy) return;
    for (const resolve of this.#whenIdle.splice(0)) resolve();
  }
}
