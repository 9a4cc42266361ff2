import { compareBytes } from '../../src/base/bytes.js';
import { CairnError } from '../../src/base/errors.js';
import { xxHash32 } from '../../src/base/hash.js';
import type {
  BatchOperation,
  BatchResult,
  Condition,
  DeleteDone,
  FoundVersion,
  MultiGetResult,
  NodeStatus,
  PutOptions,
  Readiness,
  ReadOptions,
  Scan,
  ScanItem,
  ScanOptions,
  Service,
  StoredVersion,
  WriteDone,
} from '../../src/server/service.js';

/** A key that a scan sees, with the version at its instant. */
interface Row {
  readonly key: Uint8Array;
  readonly version: StoredVersion;
}

/** All versions of one key, oldest first; a `version` of null is a tombstone. */
interface History {
  readonly key: Uint8Array;
  readonly versions: { readonly revision: number; readonly version: StoredVersion | null }[];
}

const PARTITIONS = 64;

/** The service over a Map that keeps every version: every answer is right and nothing is durable. For tests of the protocols. */
export class MemoryService implements Service {
  readonly nodeId: string = 'memory';
  found: FoundVersion = {
    bytes: new Uint8Array(0),
    start: 0,
    length: 0,
    revision: 0,
    expiresAtMs: 0,
    contentType: '',
    partition: 0,
  };
  ready = true;
  /** When set, point reads say 'blocked' and go the waiting way. */
  blocked = false;
  /** When set, answers that wait are held until it resolves. */
  gate: Promise<void> | null = null;
  /** When set, every write fails with it. */
  writeError: CairnError | null = null;
  openScans = 0;
  /** Reads that asked for no more than stale data, and what they are told. */
  staleReads = 0;
  stalenessMs = 0;
  /** Items that scans have given out. */
  scannedItems = 0;
  /** Reads below it are refused as gone. */
  historyFloor = 0;
  /** The time that decides what has expired; a test moves it. */
  nowMs = 1_800_000_000_000;
  #rows = new Map<string, History>();
  #revision = 4096;
  #done: (() => void)[] = [];

  partitionOf(key: Uint8Array, start: number, length: number): number {
    return Math.floor((xxHash32(key, start, length) * PARTITIONS) / 2 ** 32);
  }

  tryGet(key: Uint8Array, start: number, length: number): 'found' | 'absent' | 'blocked' {
    const partition = this.partitionOf(key, start, length);
    this.found = { ...this.found, partition };
    if (this.blocked) return 'blocked';
    const version = this.#latest(key.subarray(start, start + length));
    if (version === null) return 'absent';
    this.found = { ...version, bytes: version.value, start: 0, length: version.value.length, partition };
    return 'found';
  }

  async get(key: Uint8Array, options: ReadOptions): Promise<StoredVersion | null> {
    const copy = new Uint8Array(key);
    await this.gate;
    this.#check(options);
    const version = this.#versionAt(copy, options.at);
    const { stalenessMs } = this.#staleness(options);
    if (stalenessMs !== undefined) options.onStaleness?.(stalenessMs);
    return version;
  }

  put(key: Uint8Array, start: number, length: number, value: Uint8Array, options: PutOptions, done: WriteDone): void {
    const copy = new Uint8Array(key.subarray(start, start + length));
    const error = this.writeError ?? this.#conditionError(copy, options.condition);
    if (error === null) this.#store(copy, new Uint8Array(value), options.contentType, options.ttlSeconds);
    const revision = this.#revision;
    this.#later(() => done(error, revision));
  }

  delete(key: Uint8Array, condition: Condition | null, done: DeleteDone): void {
    const error = this.writeError ?? this.#conditionError(key, condition);
    const deleted = error === null && this.#remove(key);
    const revision = this.#revision;
    this.#later(() => done(error, revision, deleted));
  }

  batch(operations: readonly BatchOperation[], done: (results: readonly BatchResult[]) => void): void {
    const results = operations.map((operation): BatchResult => {
      if (this.writeError !== null) return { error: this.writeError, revision: 0, deleted: false };
      if (operation.kind === 'put') {
        this.#store(operation.key, new Uint8Array(operation.value), operation.contentType, operation.ttlSeconds);
        return { error: null, revision: this.#revision, deleted: false };
      }
      const deleted = this.#remove(operation.key);
      return { error: null, revision: this.#revision, deleted };
    });
    this.#later(() => done(results));
  }

  async multiGet(keys: readonly Uint8Array[], options: ReadOptions): Promise<MultiGetResult> {
    const copies = keys.map((key) => new Uint8Array(key));
    await this.gate;
    this.#check(options);
    const revision = options.at === 0 ? this.#revision : options.at;
    const versions = copies.map((key) => this.#versionAt(key, options.at));
    return { revision, versions, ...this.#staleness(options) };
  }

  async openScan(options: ScanOptions): Promise<Scan> {
    this.#check(options);
    const startKey = new Uint8Array(options.startKey);
    const endKey = options.endKey === null ? null : new Uint8Array(options.endKey);
    const revision = options.at === 0 ? this.#revision : options.at;
    const rows: Row[] = [];
    for (const { key } of this.#rows.values()) {
      if (compareBytes(key, startKey) < 0 || (endKey !== null && compareBytes(key, endKey) >= 0)) continue;
      const version = this.#versionAt(key, revision);
      if (version !== null) rows.push({ key, version });
    }
    rows.sort((a, b) => compareBytes(a.key, b.key));
    if (options.reverse) rows.reverse();
    this.openScans++;
    return new MemoryScan(
      this.#staleness(options).stalenessMs ?? 0,
      rows,
      options.keysOnly,
      revision,
      (items) => (this.scannedItems += items),
      () => this.openScans--,
    );
  }

  readiness(): Readiness {
    return {
      ready: this.ready,
      checks: [{ name: 'serving', ok: this.ready, detail: this.ready ? 'serving' : 'draining' }],
    };
  }

  status(): NodeStatus {
    return {
      nodeId: this.nodeId,
      version: '0.0.0',
      startedAtMs: 0,
      httpLibrary: 'none',
      dataDir: '',
      clusterId: 'memory-cluster',
      revision: this.#revision,
      partitions: Array.from({ length: PARTITIONS }, (_, partition) => ({
        partition,
        leader: this.nodeId,
        replicas: [this.nodeId],
        role: 'leader',
        term: 1,
        commitIndex: 0,
        appliedIndex: 0,
        electionsStood: 1,
        electionsWon: 1,
        followers: [],
      })),
      peers: [],
      storage: { memtableBytes: 0, frozenMemtables: 0, levels: [], logBytes: 0, blockCacheBytes: 0 },
    };
  }

  #staleness({ consistency }: ReadOptions): { stalenessMs?: number } {
    if (consistency !== 'stale') return {};
    this.staleReads++;
    return { stalenessMs: this.stalenessMs };
  }

  #check(options: ReadOptions): void {
    if (options.at > this.#revision) throw new CairnError('invalid_request', `revision ${options.at} is in the future`);
    if (options.at === 0 || options.at >= this.historyFloor) return;
    throw new CairnError('history_gone', `revision ${options.at} is gone`, {
      extra: { minRevision: this.historyFloor },
    });
  }

  #conditionError(key: Uint8Array, condition: Condition | null): CairnError | null {
    const revision = this.#latest(key)?.revision ?? 0;
    const { revisions, exists, absent } = condition ?? {};
    const holds =
      (revisions === undefined || revisions.includes(revision)) &&
      (!exists || revision > 0) &&
      (!absent || revision === 0);
    if (holds) return null;
    return new CairnError('precondition_failed', `the current revision is ${revision}`, {
      extra: { currentRevision: revision },
    });
  }

  #store(key: Uint8Array, value: Uint8Array, contentType: string, ttlSeconds: number): void {
    const revision = ++this.#revision;
    const expiresAtMs = ttlSeconds === 0 ? 0 : this.nowMs + ttlSeconds * 1000;
    this.#append(key, revision, { value, revision, expiresAtMs, contentType });
  }

  #remove(key: Uint8Array): boolean {
    const deleted = this.#latest(key) !== null;
    this.#append(key, ++this.#revision, null);
    return deleted;
  }

  #append(key: Uint8Array, revision: number, version: StoredVersion | null): void {
    const row = this.#rows.get(name(key)) ?? { key: new Uint8Array(key), versions: [] };
    row.versions.push({ revision, version });
    this.#rows.set(name(key), row);
  }

  #latest(key: Uint8Array): StoredVersion | null {
    return this.#versionAt(key, 0);
  }

  #versionAt(key: Uint8Array, at: number): StoredVersion | null {
    const revision = at === 0 ? this.#revision : at;
    const version =
      this.#rows.get(name(key))?.versions.findLast((entry) => entry.revision <= revision)?.version ?? null;
    return version === null || (version.expiresAtMs !== 0 && version.expiresAtMs <= this.nowMs) ? null : version;
  }

  /** All that is done in one loop turn is answered together, as by a group commit. */
  #later(done: () => void): void {
    if (this.#done.push(done) > 1) return;
    setImmediate(() => {
      void (this.gate ?? Promise.resolve()).then(() => {
        const calls = this.#done;
        this.#done = [];
        for (const call of calls) call();
      });
    });
  }
}

class MemoryScan implements Scan {
  readonly revision: number;
  readonly stalenessMs: number;
  readonly #rows: readonly Row[];
  readonly #keysOnly: boolean;
  readonly #onItems: (items: number) => void;
  readonly #onClose: () => void;
  #at = 0;
  #closed = false;

  constructor(
    stalenessMs: number,
    rows: readonly Row[],
    keysOnly: boolean,
    revision: number,
    onItems: (items: number) => void,
    onClose: () => void,
  ) {
    this.stalenessMs = stalenessMs;
    this.#rows = rows;
    this.#keysOnly = keysOnly;
    this.revision = revision;
    this.#onItems = onItems;
    this.#onClose = onClose;
  }

  get done(): boolean {
    return this.#at >= this.#rows.length;
  }

  async next(limit: number, maxBytes: number): Promise<ScanItem[]> {
    const items: ScanItem[] = [];
    let bytes = 0;
    while (!this.done && items.length < limit && (items.length === 0 || bytes < maxBytes)) {
      const { key, version } = this.#rows[this.#at++]!;
      items.push(this.#keysOnly ? { ...version, key, value: new Uint8Array(0) } : { ...version, key });
      bytes += key.length + version.value.length;
    }
    this.#onItems(items.length);
    return items;
  }

  close(): void {
    if (!this.#closed) this.#onClose();
    this.#closed = true;
  }
}

function name(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.length).toString('latin1');
}
