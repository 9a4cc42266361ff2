import { CorruptionError } from '../../base/errors.js';
import type { Clock, Timer } from '../../ports/clock.js';
import type { Disk } from '../../ports/disk.js';
import { readFully } from '../file-io.js';
import { segmentPath } from './file-names.js';
import {
  alignUp,
  checksumSeed,
  FIRST_RECORD_OFFSET,
  isValidRecord,
  ITEM_ENTRY,
  ITEM_HEADER_BYTES,
  itemEntryKind,
  itemIndex,
  itemPayloadBytes,
  itemReplicaId,
  itemRevision,
  itemTerm,
  itemType,
  RECORD_HEADER_BYTES,
  RECORD_MAGIC,
  recordBodyBytes,
  recordItemCount,
  recordMagic,
} from './format.js';
import type { Segment } from './segment.js';

/** An entry as it stands in the log. */
export interface LoggedEntry {
  readonly term: number;
  readonly index: number;
  readonly revision: number;
  readonly kind: number;
  readonly data: Uint8Array;
}

export interface EntryRequest {
  readonly replicaId: number;
  /** The entries `from` to `to`, at least one, then as many as fit into `maxBytes`. All of them are durable. */
  readonly from: number;
  readonly to: number;
  readonly maxBytes: number;
  /** The term of an entry of the replica's log. Others that stand at its index were replaced. */
  readonly termAt: (index: number) => number;
}

interface Waiting extends EntryRequest {
  readonly entries: LoggedEntry[];
  /** The next entry that it needs. */
  next: number;
  bytes: number;
  readonly done: (entries: readonly LoggedEntry[] | null) => void;
}

interface Place {
  readonly segment: number;
  readonly offset: number;
}

/** Read at once; what it holds is looked at in one step of the event loop. */
const CHUNK_BYTES = 256 * 1024;
/** A sweep ends when it has collected so much. */
const SWEEP_BYTES = 4 * 1024 * 1024;
/** Sweeps pause so that no more is collected or read: the network and the main thread have other things to do. */
const COLLECTED_BYTES_PER_MS = 64 * 1024;
const READ_BYTES_PER_MS = 128 * 1024;

/**
 * Reads entries back from the log's segments, for followers that are behind what is in memory. The groups' entries are mixed, so one
 * sweep over the segments serves all who wait. Where a sweep left a replica's entries is remembered for its next request, so a
 * follower that is fed step by step costs about one pass over the log.
 *
 * A segment may be given back and written over meanwhile: records carry the segment's number and their offset in their checksums, so
 * that shows, as every damage does, and the entries are gone for who asked.
 */
export class EntryReader {
  readonly #disk: Disk;
  readonly #clock: Clock;
  readonly #directory: string;
  readonly #seed: number;
  readonly #maxRecordBytes: number;
  /** Oldest first, without those that are given back. */
  readonly #segments: () => readonly Segment[];
  #waiting: Waiting[] = [];
  /** Those of the sweep under way, by replica. */
  readonly #wanted = new Map<number, Waiting[]>();
  /** Where a replica's next entry stands, or a record before it. */
  readonly #places = new Map<number, Place & { readonly next: number }>();
  #collectedBytes = 0;
  #readBytes = 0;
  #sweeping: Promise<void> | null = null;
  #pause: Timer | null = null;
  #closed = false;

  constructor(
    disk: Disk,
    clock: Clock,
    directory: string,
    logId: Uint8Array,
    maxRecordBytes: number,
    segments: () => readonly Segment[],
  ) {
    this.#disk = disk;
    this.#clock = clock;
    this.#directory = directory;
    this.#seed = checksumSeed(logId);
    this.#maxRecordBytes = maxRecordBytes;
    this.#segments = segments;
  }

  /** Resolves to null when the log does not hold the first of them any more, or it can't be read. */
  read(request: EntryRequest): Promise<readonly LoggedEntry[] | null> {
    return new Promise((resolve) => {
      this.#waiting.push({ ...request, entries: [], next: request.from, bytes: 0, done: resolve });
      this.#run();
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#pause?.cancel();
    this.#run();
    await this.#sweeping;
  }

  #run(): void {
    if (this.#closed) for (const waiting of this.#waiting.splice(0)) waiting.done(null);
    if (this.#sweeping !== null || (this.#pause !== null && !this.#closed) || this.#waiting.length === 0) return;
    this.#collectedBytes = 0;
    this.#readBytes = 0;
    this.#sweeping = this.#sweep().finally(() => {
      this.#sweeping = null;
      const pauseMs = Math.max(this.#collectedBytes / COLLECTED_BYTES_PER_MS, this.#readBytes / READ_BYTES_PER_MS);
      if (!this.#closed) {
        this.#pause = this.#clock.setTimer(Math.ceil(pauseMs), () => {
          this.#pause = null;
          this.#run();
        });
      } else this.#run();
    });
  }

  async #sweep(): Promise<void> {
    const start = this.#begin();
    try {
      for (let number = start.segment; this.#isWanted; number++) {
        const segment = this.#segments().find((one) => one.number === number);
        if (segment === undefined) break;
        await this.#sweepSegment(segment, number === start.segment ? start.offset : FIRST_RECORD_OFFSET);
      }
    } catch {
      // Whatever is wrong with the segment, a start will say; here it is not there.
    }
    for (const waiting of [...this.#wanted.values()].flat()) this.#finish(waiting);
  }

  get #isWanted(): boolean {
    return this.#wanted.size > 0 && !this.#closed;
  }

  /** Takes who waits into the sweep; returns the first place that any of them needs. */
  #begin(): Place {
    let start: Place = { segment: Infinity, offset: 0 };
    for (const waiting of this.#waiting.splice(0)) {
      const place = this.#placeOf(waiting);
      if (place === null) {
        waiting.done(null);
        continue;
      }
      const others = this.#wanted.get(waiting.replicaId);
      if (others === undefined) this.#wanted.set(waiting.replicaId, [waiting]);
      else others.push(waiting);
      if (place.segment < start.segment || (place.segment === start.segment && place.offset < start.offset)) {
        start = place;
      }
    }
    return start;
  }

  /** No earlier record holds the entry. */
  #placeOf({ replicaId, from }: EntryRequest): Place | null {
    const segments = this.#segments();
    const known = this.#places.get(replicaId);
    if (known !== undefined && segments.some(({ number }) => number === known.segment)) {
      if (known.next === from) return known;
    } else this.#places.delete(replicaId);
    const first = segments.find((segment) => segment.lastIndexOf(replicaId) >= from);
    return first === undefined ? null : { segment: first.number, offset: FIRST_RECORD_OFFSET };
  }

  async #sweepSegment(segment: Segment, start: number): Promise<void> {
    const { number } = segment;
    const path = segmentPath(this.#directory, number);
    const file = await this.#disk.open(path, 'read');
    try {
      let bytes = new Uint8Array(CHUNK_BYTES);
      let at = start;
      while (at < segment.end && this.#isWanted) {
        const length = await readFully(file, bytes.subarray(0, Math.min(bytes.length, segment.end - at)), at);
        this.#readBytes += length;
        let taken = 0;
        while (this.#isWanted && isValidRecord(bytes, taken, length, number, RECORD_MAGIC, this.#seed, at + taken)) {
          this.#takeRecord(bytes, taken, { segment: number, offset: at + taken });
          taken += alignUp(RECORD_HEADER_BYTES + recordBodyBytes(bytes, taken));
        }
        if (taken === 0) bytes = this.#largerBuffer(bytes, length, `${path} at offset ${at}`);
        at += taken;
      }
    } finally {
      await file.close();
    }
  }

  /** For a record that did not fit. */
  #largerBuffer(bytes: Uint8Array, length: number, where: string): Uint8Array<ArrayBuffer> {
    const isBegun = length >= RECORD_HEADER_BYTES && recordMagic(bytes, 0) === RECORD_MAGIC;
    const needed = isBegun ? RECORD_HEADER_BYTES + recordBodyBytes(bytes, 0) : 0;
    if (needed <= length || needed > this.#maxRecordBytes) throw new CorruptionError(where, 'a valid record', 'none');
    return new Uint8Array(alignUp(needed));
  }

  #takeRecord(bytes: Uint8Array, recordAt: number, place: Place): void {
    const count = recordItemCount(bytes, recordAt);
    let at = recordAt + RECORD_HEADER_BYTES;
    for (let i = 0; i < count && this.#wanted.size > 0; i++) {
      const wanted = itemType(bytes, at) === ITEM_ENTRY ? this.#wanted.get(itemReplicaId(bytes, at)) : undefined;
      if (wanted !== undefined) for (const waiting of [...wanted]) this.#takeItem(waiting, bytes, at, place);
      at += ITEM_HEADER_BYTES + itemPayloadBytes(bytes, at);
    }
  }

  #takeItem(waiting: Waiting, bytes: Uint8Array, at: number, place: Place): void {
    const index = itemIndex(bytes, at);
    const term = itemTerm(bytes, at);
    if (index !== waiting.next || term !== waiting.termAt(index)) return;
    const size = ITEM_HEADER_BYTES + itemPayloadBytes(bytes, at);
    const { entries } = waiting;
    if (entries.length > 0 && waiting.bytes + size > waiting.maxBytes) {
      this.#finish(waiting, place);
      return;
    }
    const data = bytes.slice(at + ITEM_HEADER_BYTES, at + size);
    entries.push({ term, index, revision: itemRevision(bytes, at), kind: itemEntryKind(bytes, at), data });
    waiting.next++;
    waiting.bytes += size;
    this.#collectedBytes += size;
    if (waiting.next > waiting.to || waiting.bytes >= waiting.maxBytes) this.#finish(waiting, place);
    if (this.#collectedBytes >= SWEEP_BYTES) this.#endSweep(place);
  }

  /** Who has something takes that; the others come first in the next sweep. */
  #endSweep(place: Place): void {
    for (const waiting of [...this.#wanted.values()].flat()) {
      if (waiting.entries.length > 0) this.#finish(waiting, place);
      else this.#waiting.push(waiting);
    }
    this.#wanted.clear();
  }

  /** `place`: where the sweep is; without one it went to the log's end or met damage. */
  #finish(waiting: Waiting, place?: Place): void {
    const { replicaId, next, entries, done } = waiting;
    const others = this.#wanted.get(replicaId)!.filter((other) => other !== waiting);
    if (others.length > 0) this.#wanted.set(replicaId, others);
    else this.#wanted.delete(replicaId);
    if (place !== undefined) this.#places.set(replicaId, { ...place, next });
    done(entries.length > 0 ? entries : null);
  }
}
