import { assert } from '../../base/assert.js';
import type { SyncDisk, SyncFile } from '../../ports/disk.js';
import { DiskError } from '../../ports/disk.js';
import type { LogWriterJob } from '../../ports/log-writer.js';
import { writeFullySync } from '../file-io.js';
import { segmentPath, sparePath } from './file-names.js';
import { checksumSeed, finishRecord, recordOffset, recordSegment } from './format.js';
import {
  ControlArea,
  NO_SPARE,
  WORD_DURABLE,
  WORD_PUBLISHED,
  WORD_STALLED,
  WORD_TOLD,
  WORD_WRITES,
} from './shared-area.js';

/** One write takes at most this much, so that the first of many waiting records is not answered with the last. */
const MAX_WRITE_BYTES = 4 * 1024 * 1024;

/** 'idle': nothing is waiting. 'written': one write was made. 'stalled': the disk is full; try again later. */
export type WriteStep = 'idle' | 'written' | 'stalled';

/**
 * What the log's writer does, without the waiting: takes published records from the ring, completes them and writes them
 * to the segment they name. Everything it wrote is durable when `write` returns, because segments are open O_DSYNC.
 * Any error but ENOSPC is thrown and final: after a failed synced write nobody knows what the disk holds.
 */
export class WriteLoop {
  readonly #directory: string;
  readonly #ring: Uint8Array;
  readonly #control: ControlArea;
  readonly #seed: number;
  readonly #disk: SyncDisk;
  readonly #nowMs: () => number;
  readonly #tell: () => void;
  #file: SyncFile | null = null;
  #segment = 0;
  /** Still set when that failed. A failed sync is not tried again, whatever its reason. */
  #isSyncingDirectory = false;
  /** The last durable sequence, modulo 2^32. */
  #durable = 0;

  /** `tell` makes the main thread look at the control area; it is called once until the main thread has looked. */
  constructor(job: LogWriterJob, disk: SyncDisk, nowMs: () => number, tell: () => void) {
    this.#directory = job.directory;
    this.#ring = new Uint8Array(job.ring);
    this.#control = new ControlArea(job.control);
    this.#seed = checksumSeed(job.logId);
    this.#disk = disk;
    this.#nowMs = nowMs;
    this.#tell = tell;
  }

  step(): WriteStep {
    const words = this.#control.words;
    const published = Atomics.load(words, WORD_PUBLISHED);
    if (published === this.#durable) return 'idle';
    try {
      this.#writeNext(published);
    } catch (error) {
      if (!(error instanceof DiskError) || error.code !== 'ENOSPC' || this.#isSyncingDirectory) throw error;
      if (Atomics.exchange(words, WORD_STALLED, 1) === 0) this.#tellOnce();
      return 'stalled';
    }
    Atomics.store(words, WORD_STALLED, 0);
    Atomics.store(words, WORD_DURABLE, this.#durable);
    this.#tellOnce();
    return 'written';
  }

  close(): void {
    this.#file?.close();
    this.#file = null;
  }

  #tellOnce(): void {
    if (Atomics.exchange(this.#control.words, WORD_TOLD, 1) === 0) this.#tell();
  }

  /** One write: a segment header alone, or all waiting records that are contiguous in the ring and in the file. */
  #writeNext(published: number): void {
    const control = this.#control;
    const first = (this.#durable + 1) | 0;
    const ringOffset = control.ringOffset(first);
    const startedMs = this.#nowMs();
    let last = first;
    let bytes = control.recordBytes(first);
    if (control.spare(first) !== NO_SPARE) {
      this.#startSegment(ringOffset, bytes, control.spare(first));
    } else {
      while (last !== published && bytes < MAX_WRITE_BYTES) {
        const next = (last + 1) | 0;
        if (control.spare(next) !== NO_SPARE || control.ringOffset(next) !== ringOffset + bytes) break;
        bytes += control.recordBytes(next);
        last = next;
      }
      this.#writeRecords(first, last, ringOffset, bytes);
    }
    this.#durable = last;
    const writes = Atomics.load(control.words, WORD_WRITES);
    control.setFigures(writes, this.#nowMs() - startedMs, bytes, ((last - first) | 0) + 1);
    Atomics.store(control.words, WORD_WRITES, (writes + 1) | 0);
  }

  #writeRecords(first: number, last: number, ringOffset: number, bytes: number): void {
    const ring = this.#ring;
    const segment = recordSegment(ring, ringOffset);
    const offset = recordOffset(ring, ringOffset);
    if (this.#file === null) {
      this.#file = this.#disk.open(segmentPath(this.#directory, segment), 'dsync');
      this.#segment = segment;
    }
    assert(segment === this.#segment, `log record of segment ${segment} while ${this.#segment} is written`);
    // Everything below this write is durable by now, also what was still in flight when the records were sealed. Stating
    // less would make recovery take a rotten record that was acknowledged for a torn tail.
    let at = ringOffset;
    for (let sequence = first; ; sequence = (sequence + 1) | 0) {
      finishRecord(ring, at, offset, this.#seed);
      at += this.#control.recordBytes(sequence);
      if (sequence === last) break;
    }
    writeFullySync(this.#file, ring.subarray(ringOffset, ringOffset + bytes), offset);
  }

  /**
   * The header is durable before the file gets its name, and the name before the first record: a file with a segment's
   * name always begins with a whole header. May be called again after ENOSPC up to the rename.
   */
  #startSegment(ringOffset: number, bytes: number, spare: number): void {
    const segment = recordSegment(this.#ring, ringOffset);
    this.#file?.close();
    this.#file = null;
    finishRecord(this.#ring, ringOffset, 0, 0);
    const from = sparePath(this.#directory, spare);
    const file = this.#disk.open(from, 'dsync');
    try {
      writeFullySync(file, this.#ring.subarray(ringOffset, ringOffset + bytes), 0);
      this.#disk.rename(from, segmentPath(this.#directory, segment));
    } catch (error) {
      file.close();
      throw error;
    }
    this.#file = file;
    this.#segment = segment;
    this.#isSyncingDirectory = true;
    this.#disk.syncDirectory(this.#directory);
    this.#isSyncingDirectory = false;
  }
}
