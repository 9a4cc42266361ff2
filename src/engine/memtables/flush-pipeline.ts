import type { TableOptions } from '../../lsm/table/table-builder.js';
import type { TableFile } from '../../lsm/version/table-file.js';
import type { Version } from '../../lsm/version/version.js';
import type { GroupState } from '../../lsm/version/version-edit.js';
import type { CapturedState } from '../engine-options.js';
import type { EngineJobs } from '../jobs/jobs.js';
import type { Executor } from '../../ports/executor.js';
import { EngineClosing, type Retry } from '../retry.js';
import type { TableStore } from '../tree/table-store.js';
import type { VersionSet } from '../tree/version-set.js';
import type { HeldMemtable, MemtableSet } from './memtable-set.js';

interface WaitingFlush {
  /** Null: only the captured state is to be made durable. */
  readonly held: HeldMemtable | null;
  readonly captured: CapturedState;
  readonly done: () => void;
  readonly failed: (error: unknown) => void;
}

export interface FlushContext {
  readonly memtables: MemtableSet;
  readonly versions: VersionSet;
  readonly store: TableStore;
  readonly executor: Executor<EngineJobs>;
  readonly retry: Retry;
  /** Int32: above 0 while a flush waits for its worker; an urgent compaction slice ends early then. */
  readonly flushesWaiting: SharedArrayBuffer;
  readonly table: Partial<TableOptions>;
  readonly onInstalled: (captured: CapturedState) => void;
  readonly onError: (error: unknown) => void;
}

/** Turns frozen memtables into tables of level 0, one at a time and in order (LSM rule 8). */
export class FlushPipeline {
  readonly #context: FlushContext;
  readonly #waitingFlag: Int32Array;
  readonly #queue: WaitingFlush[] = [];
  #running: Promise<void> | null = null;
  /** Why a flush ended. A later one would call the entries in the memtable that was left behind flushed. */
  #failure: Error | null = null;
  flushedTables = 0;
  flushedBytes = 0;

  constructor(context: FlushContext) {
    this.#context = context;
    this.#waitingFlag = new Int32Array(context.flushesWaiting);
  }

  /** Resolves when the memtable is in the tables and the captured state in the manifest. Rejects when that can't be. */
  add(held: HeldMemtable | null, captured: CapturedState): Promise<void> {
    if (this.#failure !== null) return rejected(this.#failure);
    const flushed = new Promise<void>((done, failed) => void this.#queue.push({ held, captured, done, failed }));
    // Whoever does not wait hears of failures by onError.
    flushed.catch(() => {});
    this.#running ??= this.#run();
    return flushed;
  }

  /** When the flushes that were added have ended. */
  async idle(): Promise<void> {
    while (this.#running !== null) await this.#running;
  }

  async #run(): Promise<void> {
    for (let next = this.#queue[0]; next !== undefined; next = this.#queue[0]) {
      try {
        await this.#flush(next.held, next.captured);
        next.done();
      } catch (error) {
        this.#failure = error instanceof Error ? error : new Error(String(error));
        for (const waiting of this.#queue.splice(0)) waiting.failed(error);
        if (!(error instanceof EngineClosing)) this.#context.onError(error);
        break;
      }
      this.#queue.shift();
    }
    this.#running = null;
  }

  async #flush(held: HeldMemtable | null, captured: CapturedState): Promise<void> {
    const { memtables, versions, store, retry, onInstalled } = this.#context;
    const empty = held === null || held.memtable.versionCount === 0;
    const table = empty ? null : await this.#writeTable(held);
    const open = table === null ? null : await retry.run('table open', () => store.open(table));
    await versions.commit(
      (version) => ({
        groups: stillCurrent(version, captured.groups),
        clockBound: captured.clockBound,
        added: table === null ? [] : [{ level: 0, table }],
      }),
      open === null ? [] : [open],
      () => {
        if (held !== null) memtables.removeOldest(held);
      },
    );
    if (table !== null) {
      this.flushedTables++;
      this.flushedBytes += table.sizeBytes;
    }
    onInstalled(captured);
  }

  #writeTable(held: HeldMemtable): Promise<TableFile | null> {
    const { versions, store, executor, retry, table } = this.#context;
    return retry.run('flush', async () => {
      // A new number for each attempt: a worker that was given up may have left a file.
      const fileNumber = await versions.allocateFileNumber();
      const version = versions.current.version;
      const input = {
        buffer: held.memtable.buffer,
        fileNumber,
        path: store.path(fileNumber),
        table,
        floor: version.historyFloor,
        liveReplicas: [...version.liveReplicas],
      };
      Atomics.add(this.#waitingFlag, 0, 1);
      try {
        return (await executor.run('flush', input, 'urgent')).table;
      } catch (error) {
        await store.remove(fileNumber).catch(() => {});
        throw error;
      } finally {
        Atomics.sub(this.#waitingFlag, 0, 1);
      }
    });
  }
}

/** Whoever does not wait heard of the failure by onError. */
function rejected(failure: Error): Promise<void> {
  const flushed = Promise.reject(failure);
  flushed.catch(() => {});
  return flushed;
}

/** A group that was removed, or got another replica, since its state was captured keeps what it has. */
function stillCurrent(version: Version, groups: readonly GroupState[]): GroupState[] {
  return groups.filter((state) => {
    const known = version.groups.get(state.groupId);
    return version.liveReplicas.has(state.replicaId) && (known === undefined || known.replicaId === state.replicaId);
  });
}
