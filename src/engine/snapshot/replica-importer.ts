import { assert } from '../../base/assert.js';
import { compareBytes } from '../../base/bytes.js';
import { CairnError, CorruptionError } from '../../base/errors.js';
import type { CompactionLimits } from '../../lsm/compaction/picker.js';
import type { Revision } from '../../lsm/row-key.js';
import type { TableOptions } from '../../lsm/table/table-builder.js';
import type { TableFile } from '../../lsm/version/table-file.js';
import type { Version } from '../../lsm/version/version.js';
import type { GroupState, VersionEdit } from '../../lsm/version/version-edit.js';
import type { Disk } from '../../ports/disk.js';
import type { Executor } from '../../ports/executor.js';
import type { BuildSnapshotTableOutput } from '../jobs/build-snapshot-table.js';
import type { CompactionSliceInput, CompactionSliceOutput } from '../jobs/compaction-slice.js';
import type { EngineJobs } from '../jobs/jobs.js';
import { EngineClosing, isOutOfSpace, type Retry } from '../retry.js';
import type { Compactor } from '../tree/compactor.js';
import { makeTablesDurable } from '../tree/durable-tables.js';
import type { History } from '../tree/history.js';
import type { OpenTable, TableStore } from '../tree/table-store.js';
import type { VersionSet } from '../tree/version-set.js';
import { readChunkHeader } from './chunk-format.js';
import { placeTables } from './place-tables.js';

export interface ReplicaImportContext {
  readonly versions: VersionSet;
  readonly store: TableStore;
  readonly history: History;
  readonly compactor: Compactor;
  readonly disk: Disk;
  readonly executor: Executor<EngineJobs>;
  readonly retry: Retry;
  readonly tablesDirectory: string;
  readonly limits: CompactionLimits;
  readonly targetTableBytes: number;
  readonly table: Partial<TableOptions>;
  /** An Int32: above 0 when the engine closes. */
  readonly closing: SharedArrayBuffer;
  /** Nobody may go on from this. */
  readonly onError: (error: unknown) => void;
}

export interface InstallOptions {
  /** The snapshot's floor. The whole engine's history floor is not below it afterwards. */
  readonly floor: Revision;
  /** See VersionEdit; never below what floor and the state's revision ask for. */
  readonly clockBound?: Revision;
  /** Called in the turn in which the new replica takes the place of the old one: send readers and writers there now. */
  readonly onInstalled?: () => void;
}

/** A batch is built without waiting for more when it is so full and the next chunk begins a row. */
const BATCH_FULL = 0.75;

/**
 * Takes the chunks of a snapshot of another node and makes them this node's replica of the group. Two batches of chunks are in
 * memory: one that fills and one that a worker turns into a table. Tables belong to nobody until the manifest edit of `finish`, the
 * only commit point (Raft rule 12); the next start collects those of an import that a crash cut short.
 *
 * After a rejection of `add` or `finish` only `abort` is left, unless the rejection is that of the edit itself: then the process ends.
 */
export class ReplicaImporter {
  readonly replicaId: number;
  readonly #context: ReplicaImportContext;
  readonly #onEnd: (importer: ReplicaImporter) => void;
  readonly #batchBytes: number;
  /** Where chunks are gathered, and the room that the next batch will use. */
  #filling: SharedArrayBuffer | null = null;
  #free: SharedArrayBuffer | null = null;
  #filledBytes = 0;
  #filledEntries = 0;
  #building: Promise<void> = Promise.resolve();
  readonly #built: BuildSnapshotTableOutput[] = [];
  /** Files that `abort` removes. */
  readonly #files = new Set<number>();
  #open: OpenTable[] = [];
  /** What `prepare` made; null before. */
  #tables: TableFile[] | null = null;
  #sequence = 0;
  #checksum = 0;
  #hasLast = false;
  /** Calls are carried out one after the other. */
  #turn: Promise<void> = Promise.resolve();
  #failure: Error | null = null;
  #committing = false;
  #ended: Promise<void> | null = null;
  #cancel: () => void = () => {};
  readonly #cancelled: Promise<never>;

  constructor(
    context: ReplicaImportContext,
    replicaId: number,
    batchBytes: number,
    onEnd: (importer: ReplicaImporter) => void,
  ) {
    this.replicaId = replicaId;
    this.#context = context;
    this.#batchBytes = batchBytes;
    this.#onEnd = onEnd;
    this.#cancelled = new Promise((_, reject) => {
      this.#cancel = () => reject(new CairnError('unavailable', `the import of replica ${replicaId} has ended`));
    });
    this.#cancelled.catch(() => {});
  }

  /**
   * Takes the next chunk, which must not change until it resolves; whoever waits for that before asking the sender for more bounds
   * the memory. Rejects with CorruptionError for a chunk that is damaged or not the next one, and with the
   * errors of earlier chunks' tables: DiskError, also ENOSPC.
   */
  add(chunk: Uint8Array): Promise<void> {
    return this.#inTurn(() => this.#take(chunk));
  }

  /**
   * Behind the last chunk: writes what is left, syncs and opens the tables. All that can go wrong before the manifest edit of `finish`
   * (a full disk, a missing end) goes wrong here, while the caller can still do without the snapshot.
   */
  prepare(): Promise<void> {
    return this.#inTurn(() => this.#prepare());
  }

  /**
   * Installs the replica: when it resolves it is durable, `state` is the group's, and the replica that the group had before
   * is dropped. `state.replicaId` is this import's. May wait for readers below the floor and for the end of a compaction.
   * CorruptionError when the last chunk is missing.
   */
  finish(state: GroupState, options: InstallOptions): Promise<void> {
    assert(state.replicaId === this.replicaId, `a state of replica ${state.replicaId} for ${this.replicaId}`);
    return this.#inTurn(() => this.#finish(state, options));
  }

  /** Removes what was written. No effect when the edit of `finish` is under way or done. Resolves when nothing goes on. */
  abort(): Promise<void> {
    if (!this.#committing) this.#cancel();
    this.#ended ??= this.#turn.then(() => this.#discard());
    return this.#ended;
  }

  #inTurn(work: () => Promise<void>): Promise<void> {
    const turn = this.#turn.then(async () => {
      if (this.#ended !== null) await this.#cancelled;
      if (this.#failure !== null) throw this.#failure;
      try {
        await work();
      } catch (error) {
        this.#failure ??= error instanceof Error ? error : new Error(String(error));
        throw error;
      }
    });
    this.#turn = turn.catch(() => {});
    return turn;
  }

  async #take(chunk: Uint8Array): Promise<void> {
    if (this.#hasLast) throw new CorruptionError('snapshot', 'nothing behind the last chunk', 'another chunk');
    const header = readChunkHeader(chunk, this.#sequence, this.#checksum);
    this.#sequence++;
    this.#checksum = header.checksum;
    this.#hasLast = header.isLast;
    const filled = this.#filledBytes;
    const isFull = filled >= BATCH_FULL * this.#batchBytes && !header.continuesRow;
    if (isFull || filled + chunk.length > this.#batchBytes) await this.#buildBatch();
    this.#filling ??= this.#takeBuffer(chunk.length);
    new Uint8Array(this.#filling).set(chunk, this.#filledBytes);
    this.#filledBytes += chunk.length;
    this.#filledEntries += header.entryCount;
  }

  /** Only an entry that is larger than a batch needs more than the usual size. */
  #takeBuffer(leastBytes: number): SharedArrayBuffer {
    const free = this.#free;
    if (free !== null && leastBytes <= free.byteLength) {
      this.#free = null;
      return free;
    }
    return new SharedArrayBuffer(Math.max(leastBytes, this.#batchBytes));
  }

  /** Gives the chunks that were gathered to a worker when it is done with those before. */
  async #buildBatch(): Promise<void> {
    await this.#building;
    const buffer = this.#filling;
    const byteLength = this.#filledBytes;
    const isEmpty = this.#filledEntries === 0;
    this.#filling = null;
    this.#filledBytes = 0;
    this.#filledEntries = 0;
    if (buffer === null) return;
    const giveBack = (): void => {
      if (buffer.byteLength === this.#batchBytes) this.#free = buffer;
    };
    if (isEmpty) {
      giveBack();
      return;
    }
    this.#building = this.#buildTable(buffer, byteLength).finally(giveBack);
    // Whoever comes next hears of it.
    this.#building.catch(() => {});
  }

  async #buildTable(buffer: SharedArrayBuffer, byteLength: number): Promise<void> {
    const { executor, table } = this.#context;
    const built = await this.#runJob('snapshot table', ({ fileNumber, path }) => {
      const input = { buffer, byteLength, replicaId: this.replicaId, fileNumber, path, table };
      return executor.run('buildSnapshotTable', input, 'background');
    });
    const last = this.#built.at(-1);
    if (last !== undefined && !isBefore(last, built)) {
      throw new CorruptionError('snapshot', 'rows ascending and versions descending', 'chunks out of order');
    }
    this.#built.push(built);
  }

  /**
   * The job of a worker that died is done again. A full disk is not waited for as it is for flushes: giving the import up makes room.
   */
  async #runJob<T>(what: string, run: (file: { fileNumber: number; path: string }) => Promise<T>): Promise<T> {
    const { retry, versions, store } = this.#context;
    const outcome = await retry.run(what, async () => {
      const fileNumber = await versions.allocateFileNumber();
      this.#files.add(fileNumber);
      try {
        return { output: await run({ fileNumber, path: store.path(fileNumber) }) };
      } catch (error) {
        await store.remove(fileNumber).catch(() => {});
        if (isOutOfSpace(error)) return { error };
        throw error;
      }
    });
    if ('error' in outcome) throw outcome.error;
    return outcome.output;
  }

  async #prepare(): Promise<void> {
    if (this.#tables !== null) return;
    const { retry, store } = this.#context;
    if (!this.#hasLast) throw new CorruptionError('snapshot', 'a last chunk', `${this.#sequence} chunks without one`);
    await this.#buildBatch();
    await this.#building;
    const tables = await this.#wholeRowTables();
    await makeTablesDurable(this.#context, tables);
    for (const table of tables) this.#open.push(await retry.run('table open', () => store.open(table)));
    this.#tables = tables;
  }

  async #finish(state: GroupState, options: InstallOptions): Promise<void> {
    const { compactor, history } = this.#context;
    await this.#prepare();
    const tables = this.#tables!;
    await Promise.race([history.raise(options.floor), this.#cancelled]);
    await compactor.between(() => this.#commit(state, tables, options));
    this.#ended ??= Promise.resolve();
    this.#cancel();
    this.#onEnd(this);
    compactor.wake();
  }

  /** A row must not be in two tables of a level (LSM rule 7): tables that share one are merged. */
  async #wholeRowTables(): Promise<TableFile[]> {
    const tables: TableFile[] = [];
    let run: TableFile[] = [];
    for (const { table } of this.#built) {
      const last = run.at(-1);
      if (last !== undefined && compareBytes(last.largestRow, table.smallestRow) !== 0) {
        tables.push(...(await this.#mergeRun(run)));
        run = [];
      }
      run.push(table);
    }
    if (run.length > 0) tables.push(...(await this.#mergeRun(run)));
    return tables;
  }

  async #mergeRun(run: readonly TableFile[]): Promise<TableFile[]> {
    if (run.length === 1) return [...run];
    const { executor, store, table, targetTableBytes, closing } = this.#context;
    const base: Omit<CompactionSliceInput, 'resumeAfter' | 'fileNumber' | 'path'> = {
      overlapping: [],
      sorted: [run.map(({ fileNumber }) => ({ fileNumber, path: store.path(fileNumber) }))],
      targetBytes: targetTableBytes,
      table,
      // Nothing is dropped.
      floor: 0,
      liveReplicas: [this.replicaId],
      olderRows: [],
      stopFlags: [closing],
    };
    const merged: TableFile[] = [];
    let resumeAfter: Uint8Array | null = null;
    do {
      const from: Uint8Array | null = resumeAfter;
      const slice: CompactionSliceOutput = await this.#runJob('snapshot merge', (file) =>
        executor.run('compactionSlice', { ...base, ...file, resumeAfter: from }, 'background'),
      );
      if (slice.table !== null) merged.push(slice.table);
      resumeAfter = slice.resumeAfter;
    } while (resumeAfter !== null);
    for (const { fileNumber } of run) {
      await store.remove(fileNumber);
      this.#files.delete(fileNumber);
    }
    return merged;
  }

  async #commit(state: GroupState, tables: readonly TableFile[], options: InstallOptions): Promise<void> {
    const { versions, limits, onError } = this.#context;
    if (this.#ended !== null) await this.#cancelled;
    // From here on nobody removes the tables: a failed edit may still be found after a crash.
    this.#committing = true;
    const edit = (version: Version): VersionEdit => installEdit(version, state, tables, options, limits);
    try {
      await versions.commit(edit, this.#open, options.onInstalled);
    } catch (error) {
      if (!(error instanceof EngineClosing)) onError(error);
      throw error;
    }
  }

  async #discard(): Promise<void> {
    if (this.#committing) return;
    const { store } = this.#context;
    await this.#building.catch(() => {});
    for (const { file } of this.#open) await store.close(file.fileNumber);
    this.#open = [];
    // What can't be removed now is at the next start.
    for (const fileNumber of this.#files) await store.remove(fileNumber).catch(() => {});
    this.#filling = null;
    this.#free = null;
    this.#onEnd(this);
  }
}

/** Everything at once: tables, the replica, its group, the end of the one before. */
function installEdit(
  version: Version,
  state: GroupState,
  tables: readonly TableFile[],
  { floor, clockBound = 0 }: InstallOptions,
  limits: CompactionLimits,
): VersionEdit {
  const former = version.groups.get(state.groupId)?.replicaId;
  const level = tables.length === 0 ? 0 : placeTables(version, tables, limits);
  return {
    createdReplicas: [state.replicaId],
    droppedReplicas: former !== undefined && version.liveReplicas.has(former) ? [former] : [],
    groups: [state],
    historyFloor: Math.max(version.historyFloor, floor),
    // A restart must come up above all that may be read, whatever its wall clock shows.
    clockBound: Math.max(clockBound, floor + 1, state.revision + 1),
    added: tables.map((table) => ({ level, table })),
  };
}

/** The last entry of `a` comes before the first one of `b`. */
function isBefore(a: BuildSnapshotTableOutput, b: BuildSnapshotTableOutput): boolean {
  const order = compareBytes(a.table.largestRow, b.table.smallestRow);
  return order < 0 || (order === 0 && a.lastRevision > b.firstRevision);
}
