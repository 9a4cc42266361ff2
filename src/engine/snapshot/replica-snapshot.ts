import { assert } from '../../base/assert.js';
import { equalRanges } from '../../base/bytes.js';
import { CairnError } from '../../base/errors.js';
import { DropRules } from '../../lsm/compaction/drop-rules.js';
import { MAX_ROW_KEY_BYTES, REPLICA_ID_BYTES, replicaEnd, writeReplicaId, type Revision } from '../../lsm/row-key.js';
import type { Clock, Timer } from '../../ports/clock.js';
import { EngineCursor } from '../engine-cursor.js';
import type { MemtableSet } from '../memtables/memtable-set.js';
import type { History, RevisionPin } from '../tree/history.js';
import type { VersionSet } from '../tree/version-set.js';
import { ChunkWriter } from './chunk-format.js';

export interface ReplicaSnapshotRequest {
  readonly replicaId: number;
  /** The snapshot answers reads at or above it. Not below the engine's history floor. */
  readonly floor: Revision;
  /** Of the last applied entry. What is applied later has a higher one and is left out. */
  readonly revision: Revision;
  /** 256 KiB unless told. */
  readonly chunkBytes?: number;
}

export interface ReplicaSnapshotContext {
  readonly memtables: MemtableSet;
  readonly versions: VersionSet;
  readonly history: History;
  readonly clock: Clock;
}

const DEFAULT_CHUNK_BYTES = 256 * 1024;
/** The loop gets its turn back after this. */
const SLICE_MS = 4;
const ENTRIES_PER_CLOCK_READ = 64;
/** A reader that has not come back after this is slow. */
const IDLE_MS = 1_000;
const OLDEST_CURSOR_MS = 5_000;

/**
 * One replica as of one applied entry, as chunks (chunk-format.ts): of each row the versions above the floor and the newest one at or
 * below it, unless that one says "absent" at the floor. Nothing older can be on the receiver, so this is all that a read at or above
 * the floor can see, and the same bytes whatever flushes and compactions do meanwhile: the floor is pinned, later
 * revisions are left out.
 *
 * As a scan's (server/node-scan.ts) its cursor is given up when it is old or nobody asks, so that a slow receiver keeps neither
 * arenas nor removed tables; another one goes on behind the last entry.
 */
export class ReplicaSnapshot {
  readonly replicaId: number;
  readonly floor: Revision;
  readonly revision: Revision;
  /** Entries in the chunks so far. */
  entryCount = 0;
  readonly #context: ReplicaSnapshotContext;
  readonly #onClose: (snapshot: ReplicaSnapshot) => void;
  readonly #pin: RevisionPin;
  readonly #writer: ChunkWriter;
  readonly #rules: DropRules;
  readonly #lower: Uint8Array;
  readonly #upper: Uint8Array;
  #cursor: EngineCursor | null = null;
  #openedMs = 0;
  #sliceStartMs = -Infinity;
  #idle: Timer | null = null;
  /** The last entry that was looked at. */
  readonly #row = new Uint8Array(MAX_ROW_KEY_BYTES);
  #rowLength = 0;
  #rowRevision: Revision = 0;
  /** It belongs to the snapshot and is not written yet. */
  #isWanted = false;
  /** An entry of that row is in the chunks. */
  #rowWritten = false;
  #running = false;
  #done = false;
  #closed = false;

  /** To be called between two entries. */
  constructor(
    context: ReplicaSnapshotContext,
    request: ReplicaSnapshotRequest,
    onClose: (snapshot: ReplicaSnapshot) => void,
  ) {
    const { replicaId, floor, revision, chunkBytes = DEFAULT_CHUNK_BYTES } = request;
    this.replicaId = replicaId;
    this.floor = floor;
    this.revision = revision;
    this.#context = context;
    this.#onClose = onClose;
    this.#pin = context.history.pin(floor);
    this.#writer = new ChunkWriter(chunkBytes);
    this.#rules = new DropRules(floor);
    this.#lower = new Uint8Array(REPLICA_ID_BYTES);
    writeReplicaId(this.#lower, 0, replicaId);
    this.#upper = replicaEnd(replicaId);
  }

  /**
   * The next chunk, null behind the last one. One call at a time. Rejects with `unavailable` when the snapshot was closed or
   * its replica dropped, with CorruptionError or DiskError when a table can't be read.
   */
  async next(): Promise<Uint8Array | null> {
    assert(!this.#running, 'a chunk is asked for while another one is made');
    this.#idle?.cancel();
    this.#running = true;
    try {
      return this.#done ? null : await this.#makeChunk();
    } finally {
      this.#running = false;
      // Closed meanwhile, or failed: nobody goes on.
      if (this.#closed || this.#done) this.#giveUpCursor();
      else this.#idle = this.#context.clock.setTimer(IDLE_MS, () => this.#giveUpCursor());
    }
  }

  /** What it pins is free. No effect a second time. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#idle?.cancel();
    this.#pin.release();
    if (!this.#running) this.#giveUpCursor();
    this.#onClose(this);
  }

  async #makeChunk(): Promise<Uint8Array> {
    await this.#restWhenDue();
    for (let steps = 1; ; steps++) {
      const cursor = this.#cursor ?? (await this.#openCursor());
      if (!this.#isInReplica(cursor)) {
        this.#done = true;
        return this.#writer.seal(true);
      }
      this.#isWanted ||= this.#look(cursor);
      if (this.#isWanted) {
        if (!this.#writer.hasRoom(cursor.keyLength, cursor.valueLength)) return this.#writer.seal(false);
        this.#write(cursor);
      }
      while (!cursor.next()) await this.#load(cursor);
      if (steps % ENTRIES_PER_CLOCK_READ === 0) await this.#restWhenDue();
    }
  }

  /** Whether the entry, which was not looked at before, belongs to the snapshot. */
  #look(cursor: EngineCursor): boolean {
    const { key, keyStart, keyLength, revision } = cursor;
    if (!this.#isAtRow(cursor)) {
      const row = this.#row;
      for (let i = 0; i < keyLength; i++) row[i] = key[keyStart + i]!;
      this.#rowLength = keyLength;
      this.#rowWritten = false;
      this.#rules.startRow(true, false);
    }
    this.#rowRevision = revision;
    return revision <= this.revision && this.#rules.keeps(revision, cursor.value, cursor.valueStart);
  }

  #write(cursor: EngineCursor): void {
    const { key, keyStart, keyLength, revision } = cursor;
    this.#writer.add(
      key,
      keyStart + REPLICA_ID_BYTES,
      keyLength - REPLICA_ID_BYTES,
      this.#rowWritten,
      revision,
      cursor.value,
      cursor.valueStart,
      cursor.valueLength,
    );
    this.#isWanted = false;
    this.#rowWritten = true;
    this.entryCount++;
  }

  /** At the first entry that was not looked at or not written. */
  async #openCursor(): Promise<EngineCursor> {
    const { memtables, versions, clock } = this.#context;
    this.#checkOpen();
    if (!versions.current.version.liveReplicas.has(this.replicaId)) {
      throw new CairnError('unavailable', `replica ${this.replicaId} was dropped while its snapshot was read`);
    }
    const isFirst = this.#rowLength === 0;
    const lower = isFirst ? this.#lower : this.#row.slice(0, this.#rowLength);
    const cursor = EngineCursor.open(memtables, versions, { lower, upper: this.#upper });
    this.#cursor = cursor;
    this.#openedMs = clock.monotonicMs();
    while (!cursor.seek(lower, isFirst ? Number.MAX_SAFE_INTEGER : this.#rowRevision)) await this.#load(cursor);
    const isSame = !isFirst && cursor.valid && this.#isAtRow(cursor) && cursor.revision === this.#rowRevision;
    assert(isSame || !this.#isWanted, 'a version above the pinned floor was dropped');
    if (isSame && !this.#isWanted) while (!cursor.next()) await this.#load(cursor);
    return cursor;
  }

  async #load(cursor: EngineCursor): Promise<void> {
    await cursor.load();
    this.#checkOpen();
    if (this.#isSliceOver()) await this.#rest();
  }

  async #restWhenDue(): Promise<void> {
    if (!this.#isSliceOver()) return;
    await this.#rest();
    if (this.#sliceStartMs - this.#openedMs > OLDEST_CURSOR_MS) this.#giveUpCursor();
  }

  async #rest(): Promise<void> {
    await new Promise<void>((resolve) => this.#context.clock.defer(resolve));
    this.#sliceStartMs = this.#context.clock.monotonicMs();
    this.#checkOpen();
  }

  #isSliceOver(): boolean {
    return this.#context.clock.monotonicMs() - this.#sliceStartMs > SLICE_MS;
  }

  #checkOpen(): void {
    if (this.#closed) throw new CairnError('unavailable', `the snapshot of replica ${this.replicaId} was closed`);
  }

  #isAtRow({ key, keyStart, keyLength }: EngineCursor): boolean {
    return keyLength === this.#rowLength && equalRanges(key, keyStart, this.#row, 0, keyLength);
  }

  /** The bounds of a cursor only spare sources. */
  #isInReplica(cursor: EngineCursor): boolean {
    return cursor.valid && equalRanges(cursor.key, cursor.keyStart, this.#lower, 0, REPLICA_ID_BYTES);
  }

  #giveUpCursor(): void {
    this.#cursor?.close();
    this.#cursor = null;
  }
}
