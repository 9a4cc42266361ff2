import { availableParallelism } from 'node:os';
import { Piscina } from 'piscina';
import { CairnError } from '../base/errors.js';
import type { Executor, JobMap, JobPriority } from '../ports/executor.js';
import { failureToError, type JobAnswer } from './job-errors.js';

export interface PiscinaExecutorOptions {
  /** The worker's entry: exports a function for each job. */
  readonly workerUrl: URL;
  /** Cores - 1, at least 1, unless told: the main thread wants a core for itself. */
  readonly threads?: number;
}

/**
 * Blocks that LZ4 made are outside of V8's heap and unknown to it; they go when the small objects that hold them are collected. With
 * the default size a worker let hundreds of megabytes of them lie.
 */
const YOUNG_GENERATION_MIB = 2;

type PiscinaQueue = NonNullable<NonNullable<ConstructorParameters<typeof Piscina>[0]>['taskQueue']>;
type PiscinaTask = NonNullable<ReturnType<PiscinaQueue['shift']>>;

type QueueOptions = { readonly priority: JobPriority };

/** Urgent tasks first, each priority in order of arrival. */
class TwoPriorityQueue {
  readonly #urgent: PiscinaTask[] = [];
  readonly #background: PiscinaTask[] = [];

  get size(): number {
    return this.#urgent.length + this.#background.length;
  }

  push(task: PiscinaTask): void {
    this.#queueOf(task).push(task);
  }

  /** Gives back a task that was taken while every worker was busy. */
  unshift(task: PiscinaTask): void {
    this.#queueOf(task).unshift(task);
  }

  shift(): PiscinaTask | null {
    return this.#urgent.shift() ?? this.#background.shift() ?? null;
  }

  remove(task: PiscinaTask): void {
    for (const queue of [this.#urgent, this.#background]) {
      const at = queue.indexOf(task);
      if (at >= 0) queue.splice(at, 1);
    }
  }

  #queueOf(task: PiscinaTask): PiscinaTask[] {
    const { [Piscina.queueOptionsSymbol]: options } = task as PiscinaTask & Record<symbol, QueueOptions | undefined>;
    return options?.priority === 'urgent' ? this.#urgent : this.#background;
  }
}

/** Jobs on a Piscina pool of worker threads, which are kept for the life of the process. */
export class PiscinaExecutor<Jobs extends JobMap> implements Executor<Jobs> {
  readonly concurrency: number;
  readonly #pool: Piscina;
  #closed = false;

  constructor(options: PiscinaExecutorOptions) {
    this.concurrency = Math.max(1, options.threads ?? availableParallelism() - 1);
    this.#pool = new Piscina({
      filename: options.workerUrl.href,
      minThreads: this.concurrency,
      maxThreads: this.concurrency,
      idleTimeout: Infinity,
      concurrentTasksPerWorker: 1,
      // Else a task that found every worker busy goes to the end of the queue.
      stricterFIFO: true,
      taskQueue: new TwoPriorityQueue(),
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_GENERATION_MIB },
    });
  }

  async run<Name extends keyof Jobs & string>(
    name: Name,
    input: Jobs[Name]['input'],
    priority: JobPriority,
  ): Promise<Jobs[Name]['output']> {
    if (this.#closed) throw new CairnError('unavailable', `job ${name}: the executor is closed`);
    const task = { input, [Piscina.queueOptionsSymbol]: { priority } };
    let answer: JobAnswer;
    try {
      answer = (await this.#pool.run(task, { name })) as JobAnswer;
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
    await this.#pool.close({ force: true });
  }
}
