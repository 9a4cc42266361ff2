import { assert } from '../../base/assert.js';
import { CairnError } from '../../base/errors.js';
import { mutated } from '../../base/mutations.js';
import type { LogWriter } from '../../ports/log-writer.js';
import { EntryReader, type EntryRequest, type LoggedEntry } from './entry-reader.js';
import {
  addGroup,
  alignUp,
  CHANGED_VOTE,
  FIRST_RECORD_OFFSET,
  ITEM_ENTRY,
  ITEM_HARD_STATE,
  ITEM_HEADER_BYTES,
  newGroupSet,
  RECORD_HEADER_BYTES,
  RECORD_MAGIC,
  RECORD_NUMBERS,
  SEGMENT_HEADER_BYTES,
  writeItemHeader,
  writePrevious,
  writeRecordHeader,
  writeSegmentHeader,
} from './format.js';
import { type LogOptions, type LogSizes, logSizes } from './log-options.js';
import type { LogRecoverySink } from './recovery.js';
import { LogRing } from './ring.js';
import { type HardState, isVoteChange, type ReplicaRange, Segment } from './segment.js';
import {
  CONTROL_BYTES,
  ControlArea,
  NO_SPARE,
  WORD_STALLED,
  WORD_TOLD,
  WORD_WRITES,
  WRITE_FIGURES,
} from './shared-area.js';
import { Spares } from './spares.js';
import { startLog, type StartedLog } from './start.js';

/** A record that has grown to it is closed, so that the writer begins before a large loop turn ends. */
const RECORD_FULL_BYTES = 1024 * 1024;
const ADMISSION_BYTES = 1024;

/** 'failed' also after `close`. */
export type LogAdmission = 'open' | 'overloaded' | 'disk_full' | 'failed';

export interface LogStatistics {
  readonly records: number;
  readonly entries: number;
  readonly writes: number;
  readonly writtenBytes: number;
  readonly ringUsedBytes: number;
  readonly segmentCount: number;
  readonly spareCount: number;
  readonly sizeBytes: number;
}

/** The highest flushed index of a replica; Infinity for one that is no longer alive. */
export type FlushedIndexOf = (group: number, replicaId: number) => number;

interface DurableWaiter {
  readonly sequence: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/**
 * The node-wide write-ahead log. Entries of all groups are encoded in place into a shared ring; `seal` closes what was
 * appended in a loop turn into one checksummed record, which the log's writer makes durable. FORMAT.md has the bytes
 * and what recovery concludes from them.
 */
export class Log {
  /** The ring. What `reserveEntry` returned is valid in it until the entry's record is released. */
  readonly bytes: Uint8Array;
  readonly logId: Uint8Array;
  readonly recovered: StartedLog;
  readonly #options: LogOptions;
  readonly #sizes: LogSizes;
  readonly #writer: LogWriter;
  readonly #control: ControlArea;
  readonly #ring: LogRing;
  readonly #spares: Spares;
  readonly #reader: EntryReader;
  readonly #segments: Segment[];
  readonly #hardStates: Map<number, HardState>;
  #segment: Segment;
  /** The one that was begun on a full disk: it only takes what is urgent. Null when there is none. */
  readonly #smallSegment: Segment | null;
  #clockBound: number;
  /** Changes of a term or vote so far. */
  #voteCount: number;
  #recordNumber: number;
  /** Of the entries in the open record, or else in the one before; all groups where that is not known. */
  readonly #groups = newGroupSet().fill(0xffff_ffff);
  /** Position of the open record in the ring, or -1. */
  #recordAt = -1;
  #recordEnd = 0;
  #itemCount = 0;
  #boundChanged = false;
  #woken = 0;
  #waiters: DurableWaiter[] = [];
  #failure: Error | null = null;
  #isEnding = false;
  #closing = false;
  #closed: Promise<void> | null = null;
  #isStalled = false;
  #releasing = false;
  /** So many of the oldest segments are on their way to become spares. */
  #givenBack = 0;
  #refusal: LogAdmission = 'open';
  #entries = 0;
  #writes = 0;
  #writtenBytes = 0;

  /**
   * Blocks while it recovers: the sink has taken everything and a new segment is durable when this returns.
   * Throws a `CorruptionError` for what a crash can't explain, and the disk's errors.
   */
  static open(options: LogOptions, sink: LogRecoverySink): Log {
    const sizes = logSizes(options);
    const { directory, random } = options;
    const expectedLogId = options.expectedLogId ?? null;
    const disk = options.disk.blocking;
    const { segmentBytes, reserveBytes } = sizes;
    const isRepairable = options.isRepairable ?? false;
    const started = startLog(
      { disk, directory, random, expectedLogId, segmentBytes, reserveBytes, isRepairable },
      sink,
    );
    return new Log(options, sizes, started);
  }

  private constructor(options: LogOptions, sizes: LogSizes, started: StartedLog) {
    const ring = new SharedArrayBuffer(sizes.ringBytes);
    const control = new SharedArrayBuffer(CONTROL_BYTES);
    this.#options = options;
    this.#sizes = sizes;
    this.#control = new ControlArea(control);
    this.#ring = new LogRing(ring, this.#control, sizes.urgentRingBytes);
    this.bytes = this.#ring.bytes;
    this.logId = started.logId;
    this.recovered = started;
    this.#segments = started.segments;
    this.#segment = started.segments.at(-1)!;
    this.#smallSegment = started.isShortOfSpace ? this.#segment : null;
    this.#hardStates = started.hardStates;
    this.#clockBound = started.clockBound;
    this.#voteCount = started.voteCount;
    this.#recordNumber = started.recordNumber;
    this.#spares = new Spares({
      disk: options.disk,
      clock: options.clock,
      directory: options.directory,
      segmentBytes: sizes.segmentBytes,
      reserveBytes: sizes.reserveBytes,
      spareCount: sizes.spareCount,
      maxSpareCount: sizes.maxSpareCount,
      ready: started.spares,
      hasReserve: started.hasReserve,
      isDiskFull: started.isShortOfSpace,
      nextNumber: started.nextSpareNumber,
      onChange: () => options.onAdmission?.(),
      onReleased: (segment) => this.#released(segment),
      onFatal: (error) => this.#fail(error),
    });
    const maxRecordBytes = RECORD_FULL_BYTES + ITEM_HEADER_BYTES + sizes.maxEntryBytes;
    this.#reader = new EntryReader(options.disk, options.clock, options.directory, this.logId, maxRecordBytes, () =>
      this.#segments.slice(this.#givenBack),
    );
    this.#writer = options.writer;
    this.#writer.onProgress = () => this.#progress();
    this.#writer.onFailure = (error) => this.#fail(error);
    this.#writer.start({ directory: options.directory, ring, control, logId: started.logId });
    this.#spares.run();
  }

  /** Whether an entry of ordinary size would be taken now. */
  get admission(): LogAdmission {
    if (this.#failure !== null || this.#closing) return 'failed';
    if (this.#isStalled) return 'disk_full';
    const bytes = (this.#recordAt < 0 ? 0 : this.#recordEnd - this.#recordAt) + ADMISSION_BYTES;
    if (!this.#hasSegmentRoom(bytes, false) && this.#spares.readyCount === 0) return this.#noSpare();
    return this.#ring.find(bytes, false) < 0 ? 'overloaded' : 'open';
  }

  /**
   * Whether entries with payloads of so many bytes in all, the last of them with `lastBytes`, would be taken now; about, as where records
   * end is not known yet. False: `refusal` says why.
   */
  wouldTake(count: number, bytes: number, lastBytes: number): boolean {
    if (this.#failure !== null || this.#closing) return this.#refuse('failed') > 0;
    if (this.#isStalled) return this.#refuse('disk_full') > 0;
    const empty = RECORD_HEADER_BYTES + this.#sizes.previousBytes;
    const open = this.#recordAt < 0 ? empty : this.#recordEnd - this.#recordAt;
    const needed = open + bytes + count * ITEM_HEADER_BYTES;
    if (!this.#hasSegmentRoom(needed, false) && this.#spares.readyCount === 0) return this.#refuse(this.#noSpare()) > 0;
    if (this.#ring.find(needed, false) >= 0) return true;
    // At the ring's end room for at most the last item is lost.
    const spread = needed + lastBytes + ADMISSION_BYTES;
    return spread <= this.#ring.freeBytes || this.#refuse('overloaded') > 0;
  }

  /** Why the last `reserveEntry`, `wouldTake` or `appendHardState` found no room. */
  get refusal(): LogAdmission {
    return this.#refusal;
  }

  /** The newest sequence that is on disk. */
  get durableSequence(): number {
    return this.#ring.durable;
  }

  get clockBound(): number {
    return this.#clockBound;
  }

  /** Size of all segments, oldest to newest, without spares. */
  get sizeBytes(): number {
    let bytes = 0;
    for (const segment of this.#segments) bytes += segment.fileBytes;
    return bytes;
  }

  get segmentCount(): number {
    return this.#segments.length;
  }

  get statistics(): LogStatistics {
    return {
      records: this.#ring.published,
      entries: this.#entries,
      writes: this.#writes,
      writtenBytes: this.#writtenBytes,
      ringUsedBytes: this.#ring.usedBytes,
      segmentCount: this.#segments.length,
      spareCount: this.#spares.readyCount,
      sizeBytes: this.sizeBytes,
    };
  }

  /**
   * Takes room for an entry and returns the offset in `bytes` where its payload goes. The caller writes all of it before it
   * calls anything else here. -1 when the entry can't be taken now; `refusal` says why. An urgent one, without which the
   * node can't serve, may take what is kept for hard states.
   */
  reserveEntry(
    group: number,
    replicaId: number,
    term: number,
    index: number,
    revision: number,
    kind: number,
    payloadLength: number,
    urgent = false,
  ): number {
    assert(payloadLength <= this.#sizes.maxEntryBytes, `log entry of ${payloadLength} bytes is larger than the limit`);
    const at = this.#reserve(ITEM_HEADER_BYTES + payloadLength, urgent);
    if (at < 0) return -1;
    writeItemHeader(this.bytes, at, ITEM_ENTRY, kind, group, replicaId, term, index, revision, payloadLength);
    this.#segment.noteEntry(group, replicaId, index);
    addGroup(this.#groups, group);
    this.#entries++;
    return at + ITEM_HEADER_BYTES;
  }

  /** False when there is no room even in what is kept for hard states; then nothing may be answered that needs it. */
  appendHardState(group: number, replicaId: number, term: number, vote: number, commit: number): boolean {
    const at = this.#reserve(ITEM_HEADER_BYTES, true);
    if (at < 0) return false;
    const isChange = isVoteChange(this.#hardStates.get(group), replicaId, term, vote);
    if (isChange) this.#voteCount++;
    const kind = isChange ? CHANGED_VOTE : 0;
    writeItemHeader(this.bytes, at, ITEM_HARD_STATE, kind, group, replicaId, term, vote, commit, 0);
    this.#hardStates.set(group, { group, replicaId, term, vote, commit, segment: this.#segment.number });
    return true;
  }

  /** Every record from now on carries the bound. It holds once `boundSequence`, after the next `seal`, is durable. */
  appendClockBound(revision: number): void {
    assert(revision >= this.#clockBound, `clock bound ${revision} below the one given, ${this.#clockBound}`);
    if (revision === this.#clockBound) return;
    this.#clockBound = revision;
    this.#boundChanged = true;
  }

  /**
   * Closes the open record and wakes the writer. Returns the newest sequence: when it is durable, all entries and hard states
   * appended so far are.
   */
  seal(): number {
    if (this.#boundChanged && this.#recordAt < 0 && !this.#savesSpace) this.#open(0, true);
    this.#closeRecord();
    if (this.#ring.published !== this.#woken && this.#failure === null) {
      this.#woken = this.#ring.published;
      this.#writer.wake();
    }
    return this.#ring.published;
  }

  /** After `seal`: the newest clock bound is in this record. One that found no room comes with the next record. */
  get boundSequence(): number {
    return this.#boundChanged ? this.#ring.published + 1 : this.#ring.published;
  }

  /** Looks for progress at once instead of when the event loop hears of it. */
  poll(): void {
    this.#progress();
  }

  /** Resolves when everything up to the sequence is on disk; rejects when it never will be. */
  whenDurable(sequence: number): Promise<void> {
    if (sequence <= this.#ring.durable) return Promise.resolve();
    if (this.#failure !== null) return Promise.reject(this.#failure);
    const durable = new Promise<void>((resolve, reject) => this.#waiters.push({ sequence, resolve, reject }));
    this.#rejectStalled();
    return durable;
  }

  /** Frees the ring's space of everything up to the sequence, which must be durable. */
  release(sequence: number): void {
    this.#ring.release(sequence);
    // `seal` promised a record for a bound that found no room; nobody may come to seal again.
    if (this.#boundChanged && this.#recordAt < 0) this.seal();
  }

  /** Reads entries back. Resolves to null when the first of them is not there any more, or can't be read. */
  readEntries(request: EntryRequest): Promise<readonly LoggedEntry[] | null> {
    return this.#reader.read(request);
  }

  /**
   * Gives back the oldest segments that hold nothing above what was flushed. The caller made the flush durable before.
   * Hard states that are only there are written again first. Resolves to the number of segments that were given back.
   */
  async releaseBefore(flushedIndexOf: FlushedIndexOf): Promise<number> {
    if (this.#releasing || this.#failure !== null || this.#closing) return 0;
    const first = this.#givenBack;
    let end = first;
    const isFree = (segment: Segment): boolean => mutated('log-released-early') || !isPinned(segment, flushedIndexOf);
    while (end < this.#segments.length - 1 && isFree(this.#segments[end]!)) end++;
    if (end === first) return 0;
    const released = this.#segments.slice(first, end);
    const last = released.at(-1)!.number;
    for (const state of this.#hardStates.values()) {
      if (state.segment > last || mutated('log-hard-state-not-copied')) continue;
      if (!this.appendHardState(state.group, state.replicaId, state.term, state.vote, state.commit)) return 0;
    }
    this.#releasing = true;
    try {
      await this.#sealedDurable();
    } finally {
      this.#releasing = false;
    }
    this.#givenBack += released.length;
    for (const segment of released) {
      this.#options.onGivenBack?.(segment.ranges);
      this.#spares.release(segment);
    }
    return released.length;
  }

  /** The replicas that keep the oldest segment from being released. */
  pinning(flushedIndexOf: FlushedIndexOf): ReplicaRange[] {
    const oldest = this.#segments[this.#givenBack]!;
    return [...oldest.ranges].filter((range) => flushedIndexOf(range.group, range.replicaId) < range.maxIndex);
  }

  /**
   * Makes everything durable and stops. The last record holds nothing: it states that all before it is durable, so
   * recovery takes no later damage for a torn tail. It carries the bound that `lastInstant` gives, which may be below the
   * one of before; called when nothing more is taken. Rejects when the disk is full or has failed.
   */
  close(lastInstant: () => number = () => this.#clockBound): Promise<void> {
    this.#closed ??= this.#close(lastInstant);
    return this.#closed;
  }

  async #close(lastInstant: () => number): Promise<void> {
    try {
      this.#isEnding = true;
      this.#rejectStalled();
      if (this.#failure !== null) return;
      // Only after the others are durable: one write for both would let the empty one state less.
      await this.#sealedDurable();
      if (this.#recordAt < 0 && this.#open(0, true)) this.#clockBound = lastInstant();
      const last = this.#sealedDurable();
      this.#closing = true;
      await last;
    } finally {
      this.#closing = true;
      await this.#reader.close();
      await this.#spares.close();
      await this.#writer.stop();
    }
  }

  /**
   * Seals and resolves when what has a record is durable. A clock bound that finds no room is not waited for: space may only come
   * when this has resolved.
   */
  #sealedDurable(): Promise<void> {
    return this.whenDurable(this.seal());
  }

  #reserve(bytes: number, urgent: boolean): number {
    if (this.#failure !== null || this.#closing) return this.#refuse('failed');
    if (this.#isStalled && !urgent) return this.#refuse('disk_full');
    if (this.#recordAt >= 0) {
      const size = this.#recordEnd - this.#recordAt;
      const isFull =
        size >= RECORD_FULL_BYTES ||
        this.#recordEnd + bytes > this.#ring.reach(this.#recordAt, urgent) ||
        !this.#hasSegmentRoom(size + bytes, urgent);
      if (isFull) this.#closeRecord();
    }
    if (this.#recordAt < 0 && !this.#open(bytes, urgent)) return -1;
    const at = this.#recordEnd;
    this.#recordEnd += bytes;
    this.#itemCount++;
    return this.#ring.offset(at);
  }

  #refuse(reason: LogAdmission): -1 {
    this.#refusal = reason;
    return -1;
  }

  /** Begins a record that has room for items of so many bytes; false and `#refusal` when there is none. */
  #open(itemBytes: number, urgent: boolean): boolean {
    const { previousBytes } = this.#sizes;
    const bytes = RECORD_HEADER_BYTES + previousBytes + itemBytes;
    if (!this.#hasSegmentRoom(bytes, urgent)) {
      if (this.#spares.readyCount === 0) return this.#refuse(this.#noSpare()) > 0;
      if (this.#ring.find(FIRST_RECORD_OFFSET + bytes, urgent) < 0) return this.#refuse('overloaded') > 0;
      this.#rotate(urgent);
    }
    const at = this.#ring.find(bytes, urgent);
    if (at < 0 || !this.#hasSegmentRoom(bytes, urgent)) return this.#refuse('overloaded') > 0;
    this.#recordAt = at;
    this.#recordEnd = at + RECORD_HEADER_BYTES;
    this.#itemCount = 0;
    if (previousBytes > 0) this.#appendPrevious();
    return true;
  }

  /** What this record tells of those before it. */
  #appendPrevious(): void {
    this.#recordNumber = (this.#recordNumber + 1) % RECORD_NUMBERS;
    const previous = { recordNumber: this.#recordNumber, voteCount: this.#voteCount, groups: this.#groups };
    writePrevious(this.bytes, this.#ring.offset(this.#recordEnd), previous);
    this.#groups.fill(0);
    this.#recordEnd += this.#sizes.previousBytes;
    this.#itemCount++;
  }

  #closeRecord(): void {
    if (this.#recordAt < 0) return;
    const bytes = this.#recordEnd - this.#recordAt;
    const segment = this.#segment;
    writeRecordHeader(
      this.bytes,
      this.#ring.offset(this.#recordAt),
      RECORD_MAGIC,
      bytes - RECORD_HEADER_BYTES,
      this.#itemCount,
      segment.number,
      segment.end,
      this.#clockBound,
    );
    this.#ring.publish(this.#recordAt, bytes, NO_SPARE);
    segment.end += alignUp(bytes);
    this.#recordAt = -1;
    this.#boundChanged = false;
  }

  /** Goes on in a new segment; there is a spare and room in the ring. */
  #rotate(urgent: boolean): void {
    const at = this.#ring.find(SEGMENT_HEADER_BYTES, urgent);
    const spare = this.#spares.take();
    assert(at >= 0 && spare >= 0, 'a new log segment needs a spare and room in the ring');
    const previous = this.#segment;
    const number = previous.number + 1;
    writeSegmentHeader(this.bytes, this.#ring.offset(at), number, {
      logId: this.logId,
      previousSegment: previous.number,
      previousEnd: previous.end,
      clockBound: this.#clockBound,
    });
    this.#ring.publish(at, SEGMENT_HEADER_BYTES, spare);
    this.#boundChanged = false;
    this.#segment = new Segment(number, this.#sizes.segmentBytes, FIRST_RECORD_OFFSET);
    this.#segments.push(this.#segment);
    const sizeBytes = this.sizeBytes;
    if (sizeBytes > this.#sizes.sizeBoundBytes) {
      const bound = this.#sizes.sizeBoundBytes;
      this.#options.onWarning?.(`the log's segments have ${sizeBytes} bytes, expected at most ${bound}`);
    }
  }

  /** While there is no spare, the segment's last bytes are kept for what the node needs to step down and to recover. */
  #hasSegmentRoom(recordBytes: number, urgent: boolean): boolean {
    const segment = this.#segment;
    const isKept = !urgent && this.#spares.readyCount === 0;
    if (isKept && segment === this.#smallSegment) return false;
    return segment.end + recordBytes <= segment.fileBytes - (isKept ? this.#sizes.urgentSegmentBytes : 0);
  }

  /** Records for nothing but a clock bound, one after the other, must not use up what the next start needs. */
  get #savesSpace(): boolean {
    const segment = this.#segment;
    return segment === this.#smallSegment && this.#spares.readyCount === 0 && segment.end > segment.fileBytes / 2;
  }

  #noSpare(): LogAdmission {
    return this.#spares.isDiskFull ? 'disk_full' : 'overloaded';
  }

  #progress(): void {
    if (this.#failure !== null) return;
    const words = this.#control.words;
    Atomics.store(words, WORD_TOLD, 0);
    const isStalled = Atomics.load(words, WORD_STALLED) !== 0;
    if (isStalled !== this.#isStalled) {
      this.#isStalled = isStalled;
      this.#rejectStalled();
      this.#options.onAdmission?.();
    }
    this.#takeFigures();
    if (!this.#ring.refresh()) return;
    const durable = this.#ring.durable;
    if (this.#waiters.length > 0) {
      for (const waiter of this.#waiters) if (waiter.sequence <= durable) waiter.resolve();
      this.#waiters = this.#waiters.filter((waiter) => waiter.sequence > durable);
    }
    this.#options.onDurable(durable);
  }

  #takeFigures(): void {
    const count = Atomics.load(this.#control.words, WORD_WRITES);
    const fresh = (count - (this.#writes | 0)) | 0;
    this.#writes += fresh;
    // The figures of older writes are overwritten when the main thread looks seldom; only the metrics miss them.
    for (let i = Math.min(fresh, WRITE_FIGURES - 1); i > 0; i--) {
      const write = (count - i) | 0;
      const bytes = this.#control.writtenBytes(write);
      this.#writtenBytes += bytes;
      this.#options.onWrite?.(this.#control.durationMs(write), bytes, this.#control.writtenRecords(write));
    }
  }

  /** Nobody waits at the end of the process for a disk to have space again. */
  #rejectStalled(): void {
    if (!this.#isEnding || !this.#isStalled) return;
    this.#rejectWaiters(new CairnError('disk_full', 'the log could not be written to the end: the disk is full'));
  }

  #rejectWaiters(error: Error): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) waiter.reject(error);
  }

  #released(segment: Segment): void {
    assert(this.#segments[0] === segment, 'log segments are released oldest first');
    this.#segments.shift();
    this.#givenBack--;
  }

  #fail(error: Error): void {
    if (this.#failure !== null) return;
    this.#failure = error;
    this.#rejectWaiters(error);
    this.#options.onFatal(error);
  }
}

function isPinned(segment: Segment, flushedIndexOf: FlushedIndexOf): boolean {
  for (const range of segment.ranges) if (flushedIndexOf(range.group, range.replicaId) < range.maxIndex) return true;
  return false;
}
