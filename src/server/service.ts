import type { CairnError } from '../base/errors.js';
import type { Revision } from '../lsm/row-key.js';

/**
 * What the protocols offer, without any protocol in it. HTTP and TCP adapters parse, call, and encode.
 *
 * Key and value arguments are views that the service reads only during the call (it copies what it must keep), so
 * adapters may pass scratch memory. Keys have been checked: 1 to 4,096 bytes. JSON values have been validated.
 */
export interface Service {
  readonly nodeId: string;
  /** The partition of a key, in [0, partitionCount). Pure. */
  partitionOf(key: Uint8Array, start: number, length: number): number;

  /**
   * Linearizable point read that never waits. 'found' leaves the version in `found`, valid until the current
   * call stack returns to the event loop or calls the service again; 'blocked' means: use `get`.
   */
  tryGet(key: Uint8Array, start: number, length: number): 'found' | 'absent' | 'blocked';
  readonly found: FoundVersion;

  /** Point read that may wait for the disk; null when absent. `key` is copied. Rejects with CairnError. */
  get(key: Uint8Array, options: ReadOptions): Promise<StoredVersion | null>;

  /** Writes one value. `done` is called exactly once, always after this call returned. */
  put(key: Uint8Array, start: number, length: number, value: Uint8Array, options: PutOptions, done: WriteDone): void;
  /** Deletes one key; `done` also says whether there was one. */
  delete(key: Uint8Array, condition: Condition | null, done: DeleteDone): void;
  /** Each partition's part is one atomic entry; the results are in the order of the operations. */
  batch(operations: readonly BatchOperation[], done: (results: readonly BatchResult[]) => void): void;
  /** Reads all keys at one instant; null where absent. */
  multiGet(keys: readonly Uint8Array[], options: ReadOptions): Promise<MultiGetResult>;

  /** Starts a scan over all partitions at one instant. The caller must `close` it. Rejects with CairnError. */
  openScan(options: ScanOptions): Promise<Scan>;

  /** False while draining or unable to serve; `reasons` names each check and what it found. */
  readiness(): Readiness;
  status(): NodeStatus;
}

/** Of a node's own groups. */
export interface LocalService extends Service {
  /**
   * As `put` without a condition, but a write that is not taken is refused at once, while the caller still has its bytes: then nothing was
   * executed and `done` is not called. Null: it was taken.
   */
  tryPut(
    key: Uint8Array,
    start: number,
    length: number,
    value: Uint8Array,
    options: PutOptions,
    done: WriteDone,
  ): CairnError | null;
}

export interface FoundVersion {
  readonly bytes: Uint8Array;
  /** The payload is `bytes[start .. start + length)`: JSON text, or raw bytes when `contentType` is not ''. */
  readonly start: number;
  readonly length: number;
  readonly revision: Revision;
  /** Milliseconds since the Unix epoch, 0 when it never expires. */
  readonly expiresAtMs: number;
  readonly contentType: string;
  /** Of the key that `tryGet` looked up last, found or not. */
  readonly partition: number;
}

export interface StoredVersion {
  /** A copy: JSON text, or raw bytes when `contentType` is not ''. */
  readonly value: Uint8Array;
  readonly revision: Revision;
  readonly expiresAtMs: number;
  readonly contentType: string;
}

/** Who waits for an answer. */
export interface Caller {
  /** False once it has gone: a read that still waits for a leader is dropped then. */
  readonly isOpen: boolean;
}

export interface ReadOptions {
  /** A revision to read at, or 0 for the latest. Rejects `history_gone` (extra.minRevision) below the floor, `invalid_request` in the future. */
  readonly at: Revision;
  /** The answer may lag, is given without asking other nodes, and says by how much it may lag. Linearizable without it. */
  readonly consistency?: 'stale';
  readonly caller?: Caller;
  /** Of a stale read of one key: called before the answer, which is at most so much older than the latest. */
  readonly onStaleness?: (stalenessMs: number) => void;
}

export interface Condition {
  /** The current revision must be one of these. */
  readonly revisions?: readonly Revision[];
  /** The key must exist (`If-Match: *`). */
  readonly exists?: true;
  /** The key must be absent (`If-None-Match: *`). */
  readonly absent?: true;
}

/** Shorter would round to "never"; longer would leave the range of revisions. */
export const MIN_TTL_SECONDS = 0.001;
export const MAX_TTL_SECONDS = 1_000_000_000;

export interface PutOptions {
  /** '' for JSON. */
  readonly contentType: string;
  /** Seconds until the key expires, fractions included; 0 for never. */
  readonly ttlSeconds: number;
  readonly condition: Condition | null;
}

/** The one for a plain JSON put; shared so that the hot path makes no object. */
export const PLAIN_PUT: PutOptions = { contentType: '', ttlSeconds: 0, condition: null };

/** On `precondition_failed` the error's `extra.currentRevision` is set, 0 when the key is absent. */
export type WriteDone = (error: CairnError | null, revision: Revision) => void;
export type DeleteDone = (error: CairnError | null, revision: Revision, deleted: boolean) => void;

export type BatchOperation =
  | {
      readonly kind: 'put';
      readonly key: Uint8Array;
      readonly value: Uint8Array;
      readonly contentType: string;
      readonly ttlSeconds: number;
    }
  | { readonly kind: 'delete'; readonly key: Uint8Array };

export interface BatchResult {
  readonly error: CairnError | null;
  readonly revision: Revision;
  /** For deletes: whether there was a value. */
  readonly deleted: boolean;
}

export interface MultiGetResult {
  readonly revision: Revision;
  readonly versions: readonly (StoredVersion | null)[];
  /** Of a stale read on a node that may lag: at most so much older than the latest. */
  readonly stalenessMs?: number;
}

export interface ScanOptions {
  /** Keys in [startKey, endKey) by bytes; `endKey` null means to the end. */
  readonly startKey: Uint8Array;
  readonly endKey: Uint8Array | null;
  readonly reverse: boolean;
  readonly keysOnly: boolean;
  /** As in ReadOptions: 0 pins the scan to now. */
  readonly at: Revision;
  readonly consistency?: 'stale';
}

export interface Scan {
  /** The instant that the scan sees. */
  readonly revision: Revision;
  /** As in MultiGetResult. */
  readonly stalenessMs?: number;
  /** True when there is nothing after what `next` returned last. */
  readonly done: boolean;
  /** At most `limit` items and about `maxBytes` of keys and values, at least one item unless done. */
  next(limit: number, maxBytes: number): Promise<ScanItem[]>;
  close(): void;
}

export interface ScanItem extends StoredVersion {
  readonly key: Uint8Array;
}

export interface Readiness {
  readonly ready: boolean;
  readonly checks: readonly { readonly name: string; readonly ok: boolean; readonly detail: string }[];
}

export interface NodeStatus {
  readonly nodeId: string;
  readonly version: string;
  readonly startedAtMs: number;
  readonly httpLibrary: string;
  readonly dataDir: string;
  /** The host that others reach the node by, when there is one. */
  readonly advertiseHost?: string;
  readonly clusterId: string;
  readonly revision: Revision;
  readonly partitions: readonly {
    readonly partition: number;
    /** '' when none is known. */
    readonly leader: string;
    /** Node ids of those that hold the partition. */
    readonly replicas: readonly string[];
    /** Of this node's replica. */
    readonly role: string;
    readonly term: number;
    readonly commitIndex: number;
    readonly appliedIndex: number;
    /** Elections that this replica stood in, and won, since the node started. */
    readonly electionsStood: number;
    readonly electionsWon: number;
    /** On the leader: how far the disks of the others are behind its log. Else empty. */
    readonly followers: readonly { readonly nodeId: string; readonly state: string; readonly lagEntries: number }[];
  }[];
  /** The other nodes of the cluster. */
  readonly peers: readonly {
    readonly nodeId: string;
    readonly isUp: boolean;
    /** Null until it was measured. */
    readonly roundTripMs: number | null;
  }[];
  readonly storage: {
    readonly memtableBytes: number;
    readonly frozenMemtables: number;
    readonly levels: readonly { readonly files: number; readonly bytes: number }[];
    readonly logBytes: number;
    readonly blockCacheBytes: number;
  };
}
