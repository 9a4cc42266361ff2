import { xxHash32 } from '../../src/base/hash.js';
import { Prng } from '../../src/base/prng.js';
import type { CapturedState, EngineOptions } from '../../src/engine/engine-options.js';
import { Engine } from '../../src/engine/engine.js';
import { createEngineJobs, type EngineJobs } from '../../src/engine/jobs/jobs.js';
import { isAbsentAt } from '../../src/lsm/record.js';
import type { Revision } from '../../src/lsm/row-key.js';
import type { Clock, Timer } from '../../src/ports/clock.js';
import type { SyncDisk } from '../../src/ports/disk.js';
import type { Executor, JobPriority } from '../../src/ports/executor.js';
import { SimDisk } from '../sim/ports/sim-disk.js';

/** Runs jobs in this thread, one at a time and in the order of their arrival, each in a microtask of its own. */
export class InlineExecutor implements Executor<EngineJobs> {
  readonly started: string[] = [];
  /** Called before each job; what it throws is the job's error. */
  beforeJob: (name: string) => void = () => {};
  /** No job starts before it resolves. */
  hold: Promise<void> = Promise.resolve();
  readonly #jobs: Record<string, (input: never) => unknown>;
  #last: Promise<unknown> = Promise.resolve();

  constructor(disk: SyncDisk) {
    this.#jobs = createEngineJobs(disk);
  }

  run<Name extends keyof EngineJobs>(
    name: Name,
    input: EngineJobs[Name]['input'],
    _priority: JobPriority,
  ): Promise<EngineJobs[Name]['output']> {
    const cloned = structuredClone(input) as never;
    const answer = this.#last
      .then(() => this.hold)
      .then(() => {
        this.started.push(name);
        this.beforeJob(name);
        return structuredClone(this.#jobs[name]!(cloned)) as EngineJobs[Name]['output'];
      });
    this.#last = answer.catch(() => {});
    return answer;
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

/** Timers fire at the end of the loop turn, whatever their delay. */
export class HastyClock implements Clock {
  nowMs = 0;

  wallMs(): number {
    return this.nowMs;
  }

  monotonicMs(): number {
    return this.nowMs;
  }

  setTimer(_delayMs: number, callback: () => void): Timer {
    const handle = setImmediate(callback);
    return { cancel: () => clearImmediate(handle) };
  }

  defer(callback: () => void): void {
    setImmediate(callback);
  }
}

export interface Harness {
  readonly engine: Engine;
  readonly disk: SimDisk;
  readonly executor: InlineExecutor;
  readonly errors: Error[];
  readonly flushed: number[];
  /** What the engine captures at rotations. */
  captured: CapturedState;
  now: Revision;
}

export const DIRECTORY = '/data/engine';

export function newDisk(seed = 1): SimDisk {
  return new SimDisk({ prng: new Prng(seed) });
}

export async function openHarness(disk: SimDisk = newDisk(), options: Partial<EngineOptions> = {}): Promise<Harness> {
  const executor = new InlineExecutor(disk.blocking);
  const harness = {
    disk,
    executor,
    errors: [] as Error[],
    flushed: [] as number[],
    captured: { groups: [], clockBound: 0 } as CapturedState,
    now: 0,
  };
  const engine = await Engine.open({
    directory: DIRECTORY,
    disk,
    executor,
    clock: new HastyClock(),
    memtableSizeBytes: 64 * 1024,
    blockCacheSizeBytes: 64 * 1024,
    historyWindowMs: 0,
    targetTableSizeBytes: 16 * 1024,
    levelBaseSizeBytes: 48 * 1024,
    nowRevision: () => harness.now,
    captureAppliedState: () => harness.captured,
    onFlushed: (groups) => void harness.flushed.push(...groups.map((group) => group.appliedIndex)),
    onError: (error) => void harness.errors.push(error),
    ...options,
  });
  return Object.assign(harness, { engine });
}

export function bytesOf(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

export function putRecord(payload: string): Uint8Array {
  return bytesOf(`\0${payload}`);
}

export function write(
  engine: Engine,
  replicaId: number,
  key: Uint8Array,
  revision: Revision,
  record: Uint8Array,
): void {
  engine.prepare(key.length + record.length, 1);
  const hash = xxHash32(key, 0, key.length);
  engine.insert(replicaId, key, 0, key.length, hash, revision, record, 0, record.length);
}

/** The record that a reader at `at` gets, null when the key is absent; also checks that `lookup` agrees with `read`. */
export async function readAt(
  engine: Engine,
  replicaId: number,
  key: Uint8Array,
  at: Revision,
): Promise<{ record: Uint8Array; revision: Revision } | null> {
  const found = await engine.read(replicaId, key, xxHash32(key, 0, key.length), at);
  return found === null || isAbsentAt(found.record, 0, at) ? null : found;
}
