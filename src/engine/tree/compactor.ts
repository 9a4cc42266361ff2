import type { TableOptions } from '../../lsm/table/table-builder.js';
import type { Compaction, CompactionLimits } from '../../lsm/compaction/picker.js';
import { pickGarbage, type GarbageLimits } from '../../lsm/compaction/garbage.js';
import { deadTables, pickCompaction, pickFromLevel, planRewrite } from '../../lsm/compaction/picker.js';
import { rangesOf } from '../../lsm/compaction/older-rows.js';
import { compareBytes } from '../../base/bytes.js';
import { CairnError } from '../../base/errors.js';
import { totalBytes, type TableFile } from '../../lsm/version/table-file.js';
import { MAX_LEVELS, overlapping } from '../../lsm/version/version.js';
import type { Disk } from '../../ports/disk.js';
import type { Executor } from '../../ports/executor.js';
import type { CompactionSliceInput, CompactionSliceOutput, InputTable } from '../jobs/compaction-slice.js';
import type { EngineJobs } from '../jobs/jobs.js';
import { REVISION_UNITS_PER_MS } from '../engine-options.js';
import { EngineClosing, type Retry } from '../retry.js';
import { makeTablesDurable } from './durable-tables.js';
import type { History } from './history.js';
import type { OpenTable, TableStore } from './table-store.js';
import type { TreeView, VersionSet } from './version-set.js';

/**
 * A quarter of a table for nothing is more than levels waste anyway. A day is how long what expired may lie in a cold table; it
 * also bounds the copying: a table is written again at most once a day for it.
 */
const GARBAGE: GarbageLimits = { share: 0.25, age: 86_400_000 * REVISION_UNITS_PER_MS };

export interface CompactorContext {
  readonly versions: VersionSet;
  readonly store: TableStore;
  readonly history: History;
  readonly disk: Disk;
  readonly executor: Executor<EngineJobs>;
  readonly retry: Retry;
  readonly tablesDirectory: string;
  readonly limits: CompactionLimits;
  /** With this many tables in level 0 writers are slowed down, and compaction is urgent. */
  readonly urgentLevel0Tables: number;
  readonly targetTableBytes: number;
  readonly table: Partial<TableOptions>;
  /** An Int32: above 0 while a flush waits for the worker of urgent jobs. */
  readonly flushesWaiting: SharedArrayBuffer;
  /** An Int32: above 0 when the engine closes. */
  readonly closing: SharedArrayBuffer;
  /** False: nothing is compacted without `compactAll`. */
  readonly automatic: boolean;
  readonly onError: (error: unknown) => void;
  /** An input is damaged, and compaction has halted. */
  readonly onCorruption: (error: CairnError) => void;
}

/**
 * Keeps the levels within their limits, one compaction at a time: the floor durable, then the merge in slices, then files and
 * directory synced, then the manifest edit, then the inputs removed when nobody reads them. A crash between any two of
 * these leaves either the old tables or the new ones, and files that the next start collects.
 */
export class Compactor {
  readonly #context: CompactorContext;
  #running: Promise<void> | null = null;
  #wanted = false;
  #fullWanted: (() => void)[] = [];
  #garbageWanted = false;
  /** What must not run beside a compaction. */
  readonly #others: (() => Promise<void>)[] = [];
  /** Set for good: after a failure nobody goes on. */
  #failure: Error | null = null;
  compactions = 0;
  movedTables = 0;
  readBytes = 0;
  writtenBytes = 0;

  constructor(context: CompactorContext) {
    this.#context = context;
  }

  /** Why there are no more compactions; null while there are. */
  get failure(): Error | null {
    return this.#failure;
  }

  get running(): boolean {
    return this.#running !== null;
  }

  /** The tree has changed: looks whether a level wants a compaction. */
  wake(): void {
    if (this.#failure !== null) return;
    this.#wanted = true;
    this.#start();
  }

  /**
   * Runs `work` while no compaction is planned or under way: a plan relies on nobody else putting tables below level 0. Waits for
   * the end of the compaction that is under way, not for those that are due. Also when compaction has halted.
   */
  between(work: () => Promise<void>): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#others.push(() => work().then(resolve, reject));
      this.#start();
    });
  }

  /** Moves all data into the lowest level that holds any, dropping all that may be dropped. Resolves also when it failed. */
  compactAll(): Promise<void> {
    if (this.#failure !== null) return Promise.resolve();
    const done = new Promise<void>((resolve) => void this.#fullWanted.push(resolve));
    this.wake();
    return done;
  }

  /** One compaction for garbage alone, if there is no other work and something is worth it. */
  collectGarbage(): void {
    if (!this.#context.automatic || this.running) return;
    this.#garbageWanted = true;
    this.wake();
  }

  async idle(): Promise<void> {
    while (this.#running !== null) await this.#running;
  }

  #start(): void {
    // Never synchronously: the end of the run must come after this assignment.
    this.#running ??= Promise.resolve().then(() => this.#run());
  }

  async #run(): Promise<void> {
    try {
      for (;;) {
        await this.#letOthers();
        if (!this.#wanted || this.#failure !== null || this.#context.retry.closing) break;
        this.#wanted = false;
        const waiters = this.#fullWanted.splice(0);
        try {
          if (waiters.length > 0) await this.#compactAll();
        } finally {
          for (const resolve of waiters) resolve();
        }
        if (this.#context.automatic) await this.#compactWhereNeeded();
      }
    } catch (error) {
      if (!(error instanceof EngineClosing)) this.#fail(error);
    } finally {
      this.#running = null;
      for (const resolve of this.#fullWanted.splice(0)) resolve();
      if (this.#others.length > 0) this.#start();
    }
  }

  async #letOthers(): Promise<void> {
    for (let work = this.#others.shift(); work !== undefined; work = this.#others.shift()) await work();
  }

  /**
   * A damaged table ends compaction, not the process: all other keys can still be read and written, and a process that ended
   * would meet the table again at every start. The levels grow until writes are refused.
   */
  #fail(error: unknown): void {
    this.#failure = error instanceof Error ? error : new Error(String(error));
    // By its code: an error from a worker has lost its class.
    if (error instanceof CairnError && error.code === 'corruption') this.#context.onCorruption(error);
    else this.#context.onError(error);
  }

  async #compactWhereNeeded(): Promise<void> {
    const { versions, limits, retry } = this.#context;
    while (!retry.closing && this.#fullWanted.length === 0) {
      await this.#letOthers();
      await this.#dropDeadTables();
      const compaction = pickCompaction(versions.current.version, limits) ?? this.#pickGarbage();
      if (compaction === null) return;
      await this.#compact(compaction);
    }
  }

  #pickGarbage(): Compaction | null {
    const { versions, history, flushesWaiting } = this.#context;
    if (!this.#garbageWanted) return null;
    this.#garbageWanted = false;
    if (Atomics.load(new Int32Array(flushesWaiting), 0) > 0) return null;
    const { version, levels } = versions.current;
    const readers = new Map(levels.flat().map(({ file, reader }) => [file.fileNumber, reader]));
    return pickGarbage(version, (table) => readers.get(table.fileNumber)!.meta.properties, history.attainable, GARBAGE);
  }

  async #compactAll(): Promise<void> {
    const { versions } = this.#context;
    await this.#dropDeadTables();
    const deepest = versions.current.version.levels.findLastIndex((tables) => tables.length > 0);
    // Level 0 overlaps itself, so it moves down even when it is the only one.
    const bottom = Math.max(1, deepest);
    const untouched = new Set(versions.current.version.levels[bottom]!.map((table) => table.fileNumber));
    for (let level = 0; level < bottom; level++) {
      for (;;) {
        await this.#letOthers();
        const step = pickFromLevel(versions.current.version, level);
        if (step === null) break;
        await this.#compact(step);
      }
    }
    for (const table of versions.current.version.levels[bottom]!) {
      await this.#letOthers();
      if (untouched.has(table.fileNumber)) await this.#compact(planRewrite(bottom, table));
    }
  }

  async #dropDeadTables(): Promise<void> {
    const { versions } = this.#context;
    if (deadTables(versions.current.version).length === 0) return;
    await versions.commit((version) => ({
      removed: deadTables(version).map(({ level, table }) => ({ level, fileNumber: table.fileNumber })),
    }));
  }

  async #compact(compaction: Compaction): Promise<void> {
    this.compactions++;
    if (compaction.trivialMove) {
      this.movedTables += compaction.inputs.length;
      await this.#install(compaction, compaction.inputs, []);
      return;
    }
    const { history, retry } = this.#context;
    await history.advance();
    // As a whole too: a sync that finds no space has lost what it should have made durable.
    const { written, opened } = await retry.run('compaction', () => this.#writeOutputs(compaction));
    this.readBytes += totalBytes(compaction.inputs) + totalBytes(compaction.outputInputs);
    this.writtenBytes += totalBytes(written);
    await this.#install(compaction, written, opened);
  }

  async #writeOutputs(compaction: Compaction): Promise<{ written: TableFile[]; opened: OpenTable[] }> {
    const { versions } = this.#context;
    // Pinned, so that no input is removed under the workers.
    const view = versions.pin();
    const written: TableFile[] = [];
    const opened: OpenTable[] = [];
    try {
      await this.#merge(view, compaction, written);
      await makeTablesDurable(this.#context, written);
      for (const table of written) opened.push(await this.#open(table));
      return { written, opened };
    } catch (error) {
      await this.#discard(written, opened);
      throw error;
    } finally {
      versions.unpin(view);
    }
  }

  async #merge(view: TreeView, compaction: Compaction, written: TableFile[]): Promise<void> {
    const base = this.#sliceBase(view, compaction);
    let resumeAfter: Uint8Array | null = null;
    do {
      const output: CompactionSliceOutput = await this.#runSlice(base, resumeAfter);
      if (output.table !== null) written.push(output.table);
      resumeAfter = output.resumeAfter;
    } while (resumeAfter !== null);
  }

  #runSlice(base: SliceBase, resumeAfter: Uint8Array | null): Promise<CompactionSliceOutput> {
    const { executor, retry, store, versions, urgentLevel0Tables, flushesWaiting, closing } = this.#context;
    return retry.run('compaction slice', async () => {
      const fileNumber = await versions.allocateFileNumber();
      const urgent = versions.current.version.levels[0]!.length >= urgentLevel0Tables;
      const stopFlags = urgent ? [closing, flushesWaiting] : [closing];
      const input = { ...base, resumeAfter, fileNumber, path: store.path(fileNumber), stopFlags };
      try {
        return await executor.run('compactionSlice', input, urgent ? 'urgent' : 'background');
      } catch (error) {
        await store.remove(fileNumber).catch(() => {});
        throw error;
      }
    });
  }

  #sliceBase(view: TreeView, compaction: Compaction): SliceBase {
    const { store, table, targetTableBytes } = this.#context;
    const { version } = view;
    const inputs = [...compaction.inputs, ...compaction.outputInputs];
    const smallest = inputs.map((table) => table.smallestRow).reduce((a, b) => (compareBytes(a, b) <= 0 ? a : b));
    const largest = inputs.map((table) => table.largestRow).reduce((a, b) => (compareBytes(a, b) >= 0 ? a : b));
    const name = ({ fileNumber }: TableFile): InputTable => ({ fileNumber, path: store.path(fileNumber) });
    const levels = compaction.level === 0 ? [compaction.outputInputs] : [compaction.inputs, compaction.outputInputs];
    const olderRows = [];
    for (let level = compaction.outputLevel + 1; level < MAX_LEVELS; level++) {
      olderRows.push(rangesOf(overlapping(version.levels[level]!, smallest, largest)));
    }
    return {
      overlapping: compaction.level === 0 ? compaction.inputs.map(name) : [],
      sorted: levels.filter((tables) => tables.length > 0).map((tables) => tables.map(name)),
      targetBytes: targetTableBytes,
      table,
      floor: version.historyFloor,
      liveReplicas: [...version.liveReplicas],
      olderRows,
    };
  }

  #open(table: TableFile): Promise<OpenTable> {
    return this.#context.retry.run('table open', () => this.#context.store.open(table));
  }

  async #discard(written: readonly TableFile[], opened: readonly OpenTable[]): Promise<void> {
    const { store } = this.#context;
    for (const { file } of opened) await store.close(file.fileNumber);
    for (const { fileNumber } of written) await store.remove(fileNumber).catch(() => {});
  }

  async #install(compaction: Compaction, tables: readonly TableFile[], opened: readonly OpenTable[]): Promise<void> {
    const { level, outputLevel, inputs, outputInputs } = compaction;
    const largest = inputs.map((table) => table.largestRow).reduce((a, b) => (compareBytes(a, b) >= 0 ? a : b));
    await this.#context.versions.commit(
      () => ({
        removed: [
          ...inputs.map(({ fileNumber }) => ({ level, fileNumber })),
          ...outputInputs.map(({ fileNumber }) => ({ level: outputLevel, fileNumber })),
        ],
        added: tables.map((table) => ({ level: outputLevel, table })),
        pointers: level === 0 || level === outputLevel ? [] : [{ level, row: largest }],
      }),
      opened,
    );
  }
}

type SliceBase = Omit<CompactionSliceInput, 'resumeAfter' | 'fileNumber' | 'path' | 'stopFlags'>;
