import { copyBytes } from '../base/bytes.js';
import type { CairnError } from '../base/errors.js';
import { xxHash32 } from '../base/hash.js';
import { mutated } from '../base/mutations.js';
import type { GroupHost } from '../cluster/group-host.js';
import type { Instants } from '../cluster/instants/instants.js';
import { partitionOf, partitionOfRange } from '../cluster/placement.js';
import { ABSENT, BLOCKED, type Engine } from '../engine/engine.js';
import { isAbsentAt, recordContentType, recordExpiresAt, recordPayloadStart } from '../lsm/record.js';
import { LATEST, type Revision } from '../lsm/row-key.js';
import type { Clock } from '../ports/clock.js';
import type { Group } from '../replica/group.js';
import { revisionToMs, type RevisionClock } from '../replica/revision-clock.js';
import { InstantPins } from './instant-pins.js';
import { Freshness } from './freshness.js';
import { NodeScan } from './node-scan.js';
import type {
  BatchOperation,
  BatchResult,
  Condition,
  DeleteDone,
  FoundVersion,
  LocalService,
  MultiGetResult,
  NodeStatus,
  PutOptions,
  Readiness,
  ReadOptions,
  Scan,
  ScanOptions,
  StoredVersion,
  WriteDone,
} from './service.js';
import { storedVersion } from './stored-version.js';
import { Writer } from './writer.js';

export interface NodeServiceOptions {
  readonly nodeId: string;
  readonly host: GroupHost;
  readonly engine: Engine;
  readonly revisionClock: RevisionClock;
  /** On a node of a cluster. */
  readonly instants?: Instants;
  readonly clock: Clock;
  readonly maxValueBytes: number;
  readonly maxEntryBytes: number;
  readonly status: () => NodeStatus;
}

/** The service over this node's own groups. */
export class NodeService implements LocalService {
  readonly nodeId: string;
  readonly found = new FoundView();
  readonly #host: GroupHost;
  readonly #engine: Engine;
  readonly #revisionClock: RevisionClock;
  readonly #clock: Clock;
  readonly #groups: readonly Group[];
  readonly #writer: Writer;
  readonly #instants: InstantPins;
  readonly #allPartitions: readonly number[];
  readonly #freshness: Freshness<Group>;
  readonly #status: () => NodeStatus;
  #draining = false;

  constructor(options: NodeServiceOptions) {
    this.nodeId = options.nodeId;
    this.#host = options.host;
    this.#engine = options.engine;
    this.#revisionClock = options.revisionClock;
    this.#clock = options.clock;
    this.#groups = options.host.groups;
    this.#writer = new Writer(options);
    this.#instants = new InstantPins(options);
    this.#allPartitions = this.#groups.map(({ partition }) => partition);
    this.#freshness = new Freshness(options.host, options.clock);
    this.#status = options.status;
  }

  partitionOf(key: Uint8Array, start: number, length: number): number {
    return partitionOf(key, start, length, xxHash32(key, start, length), this.#groups.length);
  }

  tryGet(key: Uint8Array, start: number, length: number): 'found' | 'absent' | 'blocked' {
    const hash = xxHash32(key, start, length);
    const partition = partitionOf(key, start, length, hash, this.#groups.length);
    const found = this.found;
    found.partition = partition;
    const group = this.#groups[partition]!;
    if (!this.#host.readsAlone(group)) return 'blocked';
    const code = this.#engine.lookup(group.replicaId, key, start, length, hash, LATEST);
    if (code === BLOCKED) return 'blocked';
    if (code === ABSENT) return 'absent';
    const hit = this.#engine.hit;
    if (hit.bytes[hit.start] !== 0) {
      const at = Math.max(this.#host.now(), hit.revision);
      if (isAbsentAt(hit.bytes, hit.start, at)) {
        const expiry = recordExpiresAt(hit.bytes, hit.start);
        // A write that found it, from before its end, may be on its way.
        const isDecided = expiry <= this.#instants.completeUpTo(partition);
        if (!isDecided && group.findUnapplied(key, start, length, hash) !== null) return 'blocked';
        return expiry === 0 || this.#relyNow(at) ? 'absent' : 'blocked';
      }
    }
    found.set(hit.bytes, hit.start, hit.length, hit.revision);
    return 'found';
  }

  async get(key: Uint8Array, options: ReadOptions): Promise<StoredVersion | null> {
    const copy = copyBytes(key);
    const hash = xxHash32(copy, 0, copy.length);
    const group = this.#groups[partitionOf(copy, 0, copy.length, hash, this.#groups.length)]!;
    if (options.at !== 0) {
      const pin = await this.#instants.pin(options.at, [group.partition]);
      return this.#readAt(copy, options.at).finally(() => pin.release());
    }
    // The instant of the read is its start: judged later, a key that was written again in time would seem absent.
    const alone = this.#host.readsAlone(group);
    const isStale = options.consistency === 'stale';
    const confirmed = alone ? null : isStale ? await this.#freshness.last(group) : await this.#freshness.pass(group);
    const now = confirmed === null ? this.#host.now() : confirmed.instant;
    const complete = isStale ? Infinity : this.#instants.completeUpTo(group.partition);
    let version = await this.#engine.read(group.replicaId, copy, hash, LATEST);
    const expiry = version === null ? 0 : recordExpiresAt(version.record, 0);
    if (expiry > complete && expiry <= now && !mutated('server-expired-before-decided')) {
      await this.#instants.complete(group, copy, hash, expiry, now);
      version = await this.#engine.read(group.replicaId, copy, hash, LATEST);
    }
    if (isStale) options.onStaleness?.(confirmed === null ? 0 : this.#freshness.stalenessMs(confirmed));
    if (version === null) return null;
    const at = Math.max(now, version.revision);
    if (!isAbsentAt(version.record, 0, at)) return storedVersion(version.record, version.revision);
    // Several voters are bound to the instant of the round by the round itself.
    if (alone && recordExpiresAt(version.record, 0) !== 0) await this.#host.rely(at);
    return null;
  }

  put(key: Uint8Array, start: number, length: number, value: Uint8Array, options: PutOptions, done: WriteDone): void {
    this.#writer.put(key, start, length, value, options, done);
  }

  tryPut(
    key: Uint8Array,
    start: number,
    length: number,
    value: Uint8Array,
    options: PutOptions,
    done: WriteDone,
  ): CairnError | null {
    return this.#writer.tryPut(key, start, length, value, options, done);
  }

  delete(key: Uint8Array, condition: Condition | null, done: DeleteDone): void {
    this.#writer.delete(key, condition, done);
  }

  batch(operations: readonly BatchOperation[], done: (results: readonly BatchResult[]) => void): void {
    this.#writer.batch(operations, done);
  }

  async multiGet(keys: readonly Uint8Array[], options: ReadOptions): Promise<MultiGetResult> {
    const copies = keys.map((key) => copyBytes(key));
    const partitions = new Set(copies.map((key) => this.partitionOf(key, 0, key.length)));
    const pin = await this.#instants.pin(options.at, [...partitions]);
    try {
      const { revision } = pin;
      const versions = await Promise.all(copies.map((key) => this.#readAt(key, revision)));
      return { revision, versions };
    } finally {
      pin.release();
    }
  }

  async openScan(options: ScanOptions): Promise<Scan> {
    const endKey = options.endKey === null ? null : copyBytes(options.endKey);
    const scan = { ...options, startKey: copyBytes(options.startKey), endKey };
    const only = partitionOfRange(scan.startKey, endKey, this.#groups.length);
    const groups = only < 0 ? this.#groups : [this.#groups[only]!];
    const pin = await this.#instants.pin(options.at, only < 0 ? this.#allPartitions : [only]);
    const onClose = (): void => pin.release();
    return new NodeScan({ engine: this.#engine, clock: this.#clock, groups, scan, revision: pin.revision, onClose });
  }

  readiness(): Readiness {
    const admission = this.#host.admission();
    const leaderless = this.#groups.filter((group) => this.#host.leaderOf(group) === null).length;
    const led = this.#groups.filter((group) => group.isServing).length;
    const { missingMembers } = this.#host;
    const leaders =
      missingMembers.length > 0
        ? `a new data directory takes part when it has met every member once: waits for ${missingMembers.join(', ')}`
        : leaderless > 0
          ? `${leaderless} partitions have no leader`
          : `leads ${led} of ${this.#groups.length} partitions`;
    return {
      ready: !this.#draining && leaderless === 0,
      checks: [
        { name: 'serving', ok: !this.#draining, detail: this.#draining ? 'draining' : 'taking requests' },
        { name: 'leaders', ok: leaderless === 0, detail: leaders },
        { name: 'writes', ok: admission === null, detail: admission === null ? 'accepted' : admission.message },
      ],
    };
  }

  status(): NodeStatus {
    return this.#status();
  }

  /** From now on `readiness` says no; calls are still served. */
  drain(): void {
    this.#draining = true;
  }

  async #readAt(key: Uint8Array, at: Revision): Promise<StoredVersion | null> {
    const hash = xxHash32(key, 0, key.length);
    const group = this.#groups[partitionOf(key, 0, key.length, hash, this.#groups.length)]!;
    const version = await this.#engine.read(group.replicaId, key, hash, at);
    return version === null || isAbsentAt(version.record, 0, at)
      ? null
      : storedVersion(version.record, version.revision);
  }

  /** An answer "expired" binds the clock to `at`. False: `at` passes the durable bound, so the caller has to wait. */
  #relyNow(at: Revision): boolean {
    if (at > this.#revisionClock.durableBound) return false;
    this.#revisionClock.raise(at);
    return true;
  }
}

/** The version that `tryGet` found, as views; one object for the life of the service. */
class FoundView implements FoundVersion {
  bytes: Uint8Array = new Uint8Array(0);
  start = 0;
  length = 0;
  revision: Revision = 0;
  expiresAtMs = 0;
  contentType = '';
  /** Of the key that was looked up, found or not. */
  partition = 0;

  set(bytes: Uint8Array, recordStart: number, recordLength: number, revision: Revision): void {
    this.bytes = bytes;
    this.revision = revision;
    if (bytes[recordStart] === 0) {
      this.start = recordStart + 1;
      this.length = recordLength - 1;
      this.expiresAtMs = 0;
      this.contentType = '';
      return;
    }
    this.start = recordPayloadStart(bytes, recordStart, recordLength);
    this.length = recordStart + recordLength - this.start;
    const expiresAt = recordExpiresAt(bytes, recordStart);
    this.expiresAtMs = expiresAt === 0 ? 0 : revisionToMs(expiresAt);
    this.contentType = recordContentType(bytes, recordStart);
  }
}
