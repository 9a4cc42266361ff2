import { assert } from '../base/assert.js';
import { copyBytes, equalRanges } from '../base/bytes.js';
import { SILENT_LOGGER } from '../base/logger.js';
import type { Cursor } from '../lsm/cursor.js';
import { StepBudget } from '../lsm/cursors/step-budget.js';
import { UserKeyMerge } from '../lsm/cursors/user-key-merge.js';
import { VisibleCursor } from '../lsm/cursors/visible-cursor.js';
import {
  MAX_ROW_KEY_BYTES,
  makeRowKey,
  readReplicaId,
  REPLICA_ID_BYTES,
  replicaEnd,
  writeReplicaId,
  type Revision,
} from '../lsm/row-key.js';
import { ABSENT, BLOCKED, FOUND, type FindResult } from '../lsm/table/table-reader.js';
import { emptyGroupState, type GroupState } from '../lsm/version/version-edit.js';
import { BlockReader } from './block-reader/block-reader.js';
import { BlockCache } from './cache/block-cache.js';
import { ReadLimiter } from './cache/read-limiter.js';
import { EngineCursor, type RowBounds } from './engine-cursor.js';
import {
  DEFAULT_CONCURRENT_BLOCK_READS,
  DEFAULT_ENGINE_TABLE_OPTIONS,
  DEFAULT_LEVEL0_LIMITS,
  DEFAULT_MAX_FROZEN_MEMTABLES,
  DEFAULT_TARGET_TABLE_SIZE_BYTES,
  LEVEL_FACTOR,
  type CapturedState,
  type EngineOptions,
  type Level0Limits,
} from './engine-options.js';
import { collectStats, type EngineStats } from './engine-stats.js';
import type { Manifest } from './manifest/manifest.js';
import { FlushPipeline } from './memtables/flush-pipeline.js';
import { MemtableSet } from './memtables/memtable-set.js';
import { collectOrphans, openManifest, openTables, TABLES_DIRECTORY } from './open-tree.js';
import { Hit, lookupTables, PointRead, TableWalk, type FoundRecord, type PointReads } from './point-read.js';
import { Retry } from './retry.js';
import type { ReplicaImporter } from './snapshot/replica-importer.js';
import type { ReplicaSnapshot, ReplicaSnapshotRequest } from './snapshot/replica-snapshot.js';
import { ReplicaTransfers, type ReplicaImportOptions } from './snapshot/replica-transfers.js';
import { Compactor } from './tree/compactor.js';
import { History, type RevisionPin } from './tree/history.js';
import { TableStore } from './tree/table-store.js';
import { VersionSet } from './tree/version-set.js';

export { ABSENT, BLOCKED, FOUND } from '../lsm/table/table-reader.js';

/** `slow`: writers should be delayed a little. `stop`: no new write should be admitted; what is admitted is still taken. */
export type Pressure = 'none' | 'slow' | 'stop';
export type PressureReason = 'flush_behind' | 'level0' | 'disk_full';

/** What a restart finds. */
export interface RecoveredState {
  /** By groupId. Log entries behind `appliedIndex` are to be applied again. */
  readonly groups: ReadonlyMap<number, GroupState>;
  readonly clockBound: Revision;
  readonly nextReplicaId: number;
}

export interface ScanRange {
  readonly replicaIds: readonly number[];
  /** User keys in [startKey, endKey); `endKey` null means to the end. */
  readonly startKey: Uint8Array;
  readonly endKey: Uint8Array | null;
  readonly at: Revision;
  /** The revision at which expiry is judged; `at` when left out. */
  readonly expiryAt?: Revision;
}

/** A share of the spare arena's preparation time is left when the memtable is this full. */
const PREPARE_SPARE_FILL = 0.5;

/**
 * The storage of one node: memtables over a tree of tables, for all replicas. This class only ties the parts together; each
 * has its own file: memtables/ (rotation, flush), tree/ (versions, tables, compaction, history), manifest/, cache/, jobs/.
 *
 * It keeps no log. Entries that are not in tables yet are in the node's log (engine/log), and whoever opens the
 * engine applies them again from `recovered`.
 */
export class Engine {
  readonly recovered: RecoveredState;
  /** What the last `lookup` found. */
  readonly hit: Hit = new Hit();

  readonly #options: EngineOptions;
  readonly #level0: Level0Limits;
  readonly #maxFrozenMemtables: number;
  readonly #manifest: Manifest;
  readonly #memtables: MemtableSet;
  readonly #cache: BlockCache;
  readonly #store: TableStore;
  readonly #versions: VersionSet;
  readonly #history: History;
  readonly #flushes: FlushPipeline;
  readonly #compactor: Compactor;
  readonly #transfers: ReplicaTransfers;
  readonly #retry: Retry;
  /** An Int32 each, read by workers. */
  readonly #flushesWaiting = new SharedArrayBuffer(4);
  readonly #closing = new SharedArrayBuffer(4);
  /** The last look-up's row and how far it got. */
  readonly #row = new Uint8Array(MAX_ROW_KEY_BYTES);
  readonly #walk: TableWalk;
  readonly #reads: PointReads;
  /** The revision of the last look-up if it was BLOCKED and nothing was written since; else -1. */
  #blockedAt: Revision = -1;
  #blockedLength = 0;
  #failure: Error | null = null;
  #arenaJobs: Promise<void> = Promise.resolve();

  static async open(options: EngineOptions): Promise<Engine> {
    const { disk, directory } = options;
    const log = options.log ?? SILENT_LOGGER;
    const tablesDirectory = `${directory}/${TABLES_DIRECTORY}`;
    const { manifest, version } = await openManifest(disk, directory, tablesDirectory);
    await collectOrphans(disk, tablesDirectory, version, log);
    const cache = new BlockCache(options.blockCacheSizeBytes);
    const limiter = new ReadLimiter(options.concurrentBlockReads ?? DEFAULT_CONCURRENT_BLOCK_READS);
    const { blockReaderThread } = options;
    const reader =
      blockReaderThread === undefined
        ? null
        : new BlockReader(blockReaderThread, tablesDirectory, (callback) => options.clock.defer(callback));
    const store = new TableStore(disk, tablesDirectory, cache, limiter, reader);
    const tables = await openTables(store, version).catch(async (error: unknown) => {
      await store.closeAll();
      await reader?.close();
      await manifest.close();
      throw error;
    });
    const retry = new Retry(options.clock, log);
    let engine: Engine | null = null;
    const onError = (error: unknown): void => {
      if (engine !== null) engine.#fail(error);
    };
    const versions = new VersionSet(manifest, store, retry, version, tables, onError);
    engine = new Engine(options, tablesDirectory, manifest, cache, store, versions, retry);
    engine.#wakeCompactor();
    return engine;
  }

  private constructor(
    options: EngineOptions,
    tablesDirectory: string,
    manifest: Manifest,
    cache: BlockCache,
    store: TableStore,
    versions: VersionSet,
    retry: Retry,
  ) {
    const { disk, executor } = options;
    this.#options = options;
    this.#level0 = { ...DEFAULT_LEVEL0_LIMITS, ...options.level0 };
    this.#maxFrozenMemtables = options.maxFrozenMemtables ?? DEFAULT_MAX_FROZEN_MEMTABLES;
    this.#manifest = manifest;
    this.#cache = cache;
    this.#store = store;
    this.#versions = versions;
    this.#retry = retry;
    this.#walk = new TableWalk(versions.current);
    this.#reads = { store, versions };
    const { groups, clockBound, nextReplicaId } = versions.current.version;
    this.recovered = { groups, clockBound, nextReplicaId };
    this.#history = new History(versions, options.historyWindowMs, options.nowRevision);
    this.#memtables = new MemtableSet(options.memtableSizeBytes, (buffer, recycled) =>
      this.#prepareArena(buffer, recycled),
    );
    const onError = (error: unknown): void => this.#fail(error);
    const flushesWaiting = this.#flushesWaiting;
    const table = { ...DEFAULT_ENGINE_TABLE_OPTIONS, ...options.table };
    const tree = {
      versions,
      store,
      history: this.#history,
      disk,
      executor,
      retry,
      tablesDirectory,
      limits: {
        level0Tables: this.#level0.compactionTables,
        levelBaseBytes: options.levelBaseSizeBytes ?? 4 * options.memtableSizeBytes,
        levelFactor: LEVEL_FACTOR,
      },
      targetTableBytes: options.targetTableSizeBytes ?? DEFAULT_TARGET_TABLE_SIZE_BYTES,
      table,
      closing: this.#closing,
      onError,
    };
    this.#compactor = new Compactor({
      ...tree,
      urgentLevel0Tables: this.#level0.slowTables,
      flushesWaiting,
      automatic: options.automaticCompaction ?? true,
      onCorruption: (error) => {
        const what = 'a table is damaged: no compaction until it is repaired, writes end when level 0 is full';
        (options.log ?? SILENT_LOGGER).error({ error: error.message }, what);
      },
    });
    this.#transfers = new ReplicaTransfers({
      ...tree,
      compactor: this.#compactor,
      memtables: this.#memtables,
      clock: options.clock,
    });
    this.#flushes = new FlushPipeline({
      memtables: this.#memtables,
      versions,
      store,
      executor,
      retry,
      flushesWaiting,
      table,
      onInstalled: (captured) => {
        options.onFlushed?.(captured.groups);
        this.#wakeCompactor();
      },
      onError,
    });
  }

  // --- Replicas and groups: each change is durable when the promise resolves.

  /** The durable state of each group, by groupId. */
  groupStates(): ReadonlyMap<number, GroupState> {
    return this.#versions.current.version.groups;
  }

  /**
   * For each live replica the index up to which its entries are in tables, 0 for one that no flush has covered yet. A replica that
   * is not in it was dropped.
   */
  flushedIndexes(): Map<number, number> {
    const { groups, liveReplicas } = this.#versions.current.version;
    const indexes = new Map([...liveReplicas].map((replicaId) => [replicaId, 0]));
    for (const { replicaId, appliedIndex } of groups.values()) {
      if (liveReplicas.has(replicaId)) indexes.set(replicaId, appliedIndex);
    }
    return indexes;
  }

  /** A new replica for each group, with an id that no replica had before. */
  async createReplicas(groupIds: readonly number[]): Promise<number[]> {
    let replicaIds: number[] = [];
    await this.#versions.commit((version) => {
      const first = version.nextReplicaId;
      replicaIds = groupIds.map((_, i) => first + i);
      const groups = groupIds.flatMap((groupId, i) =>
        version.groups.has(groupId) ? [] : [emptyGroupState(groupId, first + i)],
      );
      return { nextReplicaId: first + groupIds.length, createdReplicas: replicaIds, groups };
    });
    return replicaIds;
  }

  async createReplica(groupId: number): Promise<number> {
    const [replicaId] = await this.createReplicas([groupId]);
    assert(replicaId !== undefined, 'a replica was asked for');
    return replicaId;
  }

  /** The replica's rows are gone for readers at once and from the disk after later compactions; its group's state goes too. */
  async dropReplica(replicaId: number): Promise<void> {
    await this.#versions.commit((version) => {
      const removedGroups = [...version.groups.values()].filter((state) => state.replicaId === replicaId);
      return { droppedReplicas: [replicaId], removedGroups: removedGroups.map((state) => state.groupId) };
    });
    this.#wakeCompactor();
  }

  /** Replaces the states of groups: a snapshot's installation, or a hard state that must outlive its log segment. */
  saveGroupStates(groups: readonly GroupState[], clockBound: Revision = 0): Promise<void> {
    return this.#versions.commit(() => ({ groups, clockBound }));
  }

  // --- Snapshots of replicas, on their way to and from other nodes.

  /** One replica as of the last applied entry, to be sent in chunks; call it between two entries. Must be closed. */
  openReplicaSnapshot(request: ReplicaSnapshotRequest): ReplicaSnapshot {
    return this.#transfers.open(request);
  }

  /** Takes such chunks for a replica with an id that no replica had before. Must be finished or aborted. */
  beginReplicaImport(options: ReplicaImportOptions = {}): Promise<ReplicaImporter> {
    return this.#transfers.begin(options);
  }

  // --- Writes.

  /**
   * Makes sure that one entry's inserts all fit into the active memtable; call it before the first insert of each entry, when
   * every entry before it is wholly applied. `bytes` is the sum of the user keys' and records' lengths.
   */
  prepare(bytes: number, count: number): void {
    if (!this.#memtables.hasRoom(bytes, count)) void this.#rotate(bytes, count);
    else if (this.#memtables.fill > PREPARE_SPARE_FILL) this.#memtables.prepareSpare();
  }

  /** Adds one version; see Memtable.insert. The entry was prepared, so it fits. */
  insert(
    replicaId: number,
    key: Uint8Array,
    keyStart: number,
    keyLength: number,
    hash: number,
    revision: Revision,
    record: Uint8Array,
    recordStart: number,
    recordLength: number,
  ): void {
    this.#blockedAt = -1;
    const fits = this.#memtables.active.memtable.insert(
      replicaId,
      key,
      keyStart,
      keyLength,
      hash,
      revision,
      record,
      recordStart,
      recordLength,
    );
    assert(fits, `an insert of ${keyLength} + ${recordLength} bytes that was not prepared`);
  }

  get pressure(): Pressure {
    const { diskFull } = this.#retry;
    const level0 = this.#versions.current.version.levels[0]!.length;
    const frozen = this.#memtables.frozen.length;
    const behind = frozen >= this.#maxFrozenMemtables;
    if (diskFull || this.#failure !== null || level0 >= this.#level0.stopTables) return 'stop';
    if (frozen > this.#maxFrozenMemtables || (behind && this.#memtables.nearlyFull)) return 'stop';
    return behind || level0 >= this.#level0.slowTables ? 'slow' : 'none';
  }

  /** What `pressure` comes from; null when there is none. */
  get pressureReason(): PressureReason | null {
    if (this.#retry.diskFull) return 'disk_full';
    if (this.#versions.current.version.levels[0]!.length >= this.#level0.slowTables) return 'level0';
    return this.pressure === 'none' ? null : 'flush_behind';
  }

  // --- Reads.

  /**
   * The newest version of a key at or below `at`, when memory alone can tell. FOUND leaves it in `hit` (a tombstone or an
   * expired version is one too); BLOCKED: ask `read`. Allocates nothing.
   */
  lookup(
    replicaId: number,
    key: Uint8Array,
    keyStart: number,
    keyLength: number,
    hash: number,
    at: Revision,
  ): FindResult {
    this.#blockedAt = -1;
    if (this.#lookupMemtables(replicaId, key, keyStart, keyLength, hash, at)) return FOUND;
    const row = this.#row;
    const rowLength = REPLICA_ID_BYTES + keyLength;
    if (rowLength > MAX_ROW_KEY_BYTES) return ABSENT;
    writeReplicaId(row, 0, replicaId);
    for (let i = 0; i < keyLength; i++) row[REPLICA_ID_BYTES + i] = key[keyStart + i]!;
    this.#walk.start(this.#versions.current);
    const found = lookupTables(this.#walk, row, rowLength, hash, at, this.hit);
    if (found === BLOCKED) {
      this.#blockedAt = at;
      this.#blockedLength = rowLength;
    }
    return found;
  }

  /**
   * As `lookup`, reading blocks that are not in memory. Rejects with CorruptionError or DiskError. Just after a look-up of the same
   * key that was BLOCKED it goes on from there.
   */
  read(replicaId: number, key: Uint8Array, hash: number, at: Revision): Promise<FoundRecord | null> {
    if (!this.#wasBlockedOn(replicaId, key, at)) {
      const found = this.lookup(replicaId, key, 0, key.length, hash, at);
      if (found === ABSENT) return Promise.resolve(null);
      if (found === FOUND) {
        const { bytes, start, length, revision } = this.hit;
        return Promise.resolve({ record: copyBytes(bytes, start, length), revision });
      }
    }
    this.#blockedAt = -1;
    const walk = this.#walk.copy();
    const { blockedTable, blockedOn } = this.hit;
    const row = makeRowKey(replicaId, key);
    return new Promise((resolve, reject) => {
      new PointRead(this.#reads, walk, blockedTable!, blockedOn, row, hash, at, resolve, reject).start();
    });
  }

  /** All versions of all rows; must be closed. */
  cursor(bounds: RowBounds = {}): EngineCursor {
    return EngineCursor.open(this.#memtables, this.#versions, bounds);
  }

  /**
   * The live keys of some replicas at a revision, merged by user key; not positioned yet, must be closed. Each call on it is
   * short: it gives up its turn after a number of entries that nobody may see (cursor.ts).
   */
  scan(range: ScanRange): UserKeyMerge {
    const budget = new StepBudget();
    const children = range.replicaIds.map((replicaId): Cursor => {
      const lower = makeRowKey(replicaId, range.startKey);
      const upper = range.endKey === null ? replicaEnd(replicaId) : makeRowKey(replicaId, range.endKey);
      const { at: atRevision, expiryAt = range.at } = range;
      return new VisibleCursor(this.cursor({ lower, upper }), { lower, upper, atRevision, expiryAt, budget });
    });
    return new UserKeyMerge(children, range.replicaIds);
  }

  // --- History.

  /** Reads below it may miss versions and must be refused. */
  get historyFloor(): Revision {
    return this.#history.floor;
  }

  /** Keeps what is visible at `revision`, which is not below the floor, until the pin is released. */
  pinRevision(revision: Revision): RevisionPin {
    return this.#history.pin(revision);
  }

  // --- Upkeep.

  /** Everything applied so far is in tables when it resolves. Not to be called within an entry. */
  flush(): Promise<void> {
    if (this.#memtables.active.memtable.versionCount > 0) return this.#rotate(0, 0);
    return this.#flushes.add(null, this.#options.captureAppliedState());
  }

  /** Flushes, then merges all tables into one level. */
  async compact(): Promise<void> {
    await this.flush();
    await this.#compactor.compactAll();
    const failure = this.#failure ?? this.#compactor.failure;
    if (failure !== null) throw failure;
  }

  /** To be called now and then: writes a table again whose garbage can go, if there is nothing else to do. */
  collectGarbage(): void {
    this.#compactor.collectGarbage();
  }

  /** When the flushes and compactions that are due now have ended. */
  async settled(): Promise<void> {
    await this.#flushes.idle();
    await this.#compactor.idle();
    await this.#versions.idle();
  }

  stats(): EngineStats {
    return collectStats(this.#memtables, this.#versions, this.#cache, this.#flushes, this.#compactor, this.#manifest);
  }

  /** Ends background work and closes the files. What is in memtables stays in the log alone. */
  async close(): Promise<void> {
    this.#retry.close();
    // A slice that is under way ends at its next row.
    Atomics.store(new Int32Array(this.#closing), 0, 1);
    await this.#transfers.close();
    await this.settled();
    await this.#arenaJobs;
    await this.#store.closeAll();
    await this.#options.blockReaderThread?.stop();
    await this.#manifest.close();
  }

  #wasBlockedOn(replicaId: number, key: Uint8Array, at: Revision): boolean {
    if (this.#blockedAt !== at || this.#blockedLength !== REPLICA_ID_BYTES + key.length) return false;
    return (
      this.#walk.view === this.#versions.current &&
      readReplicaId(this.#row, 0) === replicaId &&
      equalRanges(this.#row, REPLICA_ID_BYTES, key, 0, key.length)
    );
  }

  #lookupMemtables(
    replicaId: number,
    key: Uint8Array,
    keyStart: number,
    keyLength: number,
    hash: number,
    at: Revision,
  ): boolean {
    let { memtable } = this.#memtables.active;
    let handle = memtable.find(replicaId, key, keyStart, keyLength, hash, at);
    const { frozen } = this.#memtables;
    for (let i = frozen.length - 1; handle === 0 && i >= 0; i--) {
      memtable = frozen[i]!.memtable;
      handle = memtable.find(replicaId, key, keyStart, keyLength, hash, at);
    }
    if (handle === 0) return false;
    const { hit } = this;
    hit.bytes = memtable.bytes;
    hit.start = memtable.recordStart(handle);
    hit.length = memtable.recordLength(handle);
    hit.revision = memtable.revisionAt(handle);
    return true;
  }

  #rotate(bytes: number, count: number): Promise<void> {
    const captured: CapturedState = this.#options.captureAppliedState();
    return this.#flushes.add(this.#memtables.rotate(captured, bytes, count), captured);
  }

  #prepareArena(buffer: SharedArrayBuffer, recycled: boolean): Promise<void> {
    const job = this.#options.executor.run('prepareArena', { buffer, recycled }, 'urgent').then(() => {});
    this.#arenaJobs = job.catch(() => {});
    return job;
  }

  #wakeCompactor(): void {
    this.#compactor.wake();
  }

  #fail(error: unknown): void {
    if (this.#failure !== null) return;
    this.#failure = error instanceof Error ? error : new Error(String(error));
    this.#options.onError(this.#failure);
  }
}
