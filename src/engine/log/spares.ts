import type { Clock, Timer } from '../../ports/clock.js';
import { type Disk, DiskError, type SyncDisk } from '../../ports/disk.js';
import { writeFully, writeFullySync } from '../file-io.js';
import { reservePath, segmentPath, sparePath, unfinishedPath } from './file-names.js';
import type { Segment } from './segment.js';

/** Zeros are written in slices, so that the log's own writes find the disk free in between. */
const FILL_SLICE_BYTES = 1024 * 1024;
const FILL_SYNC_BYTES = 8 * 1024 * 1024;
const RETRY_DELAY_MS = 1000;

export interface SparesOptions {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly directory: string;
  readonly segmentBytes: number;
  readonly reserveBytes: number;
  /** How many spares are made ahead. */
  readonly spareCount: number;
  /** How many released segments are kept as spares; more are removed. */
  readonly maxSpareCount: number;
  readonly ready: number[];
  readonly hasReserve: boolean;
  readonly isDiskFull: boolean;
  /** No spare and no reserve has this number or a higher one. */
  readonly nextNumber: number;
  /** A spare was taken away, one became ready, or the disk became full or has space again. */
  readonly onChange: () => void;
  readonly onReleased: (segment: Segment) => void;
  readonly onFatal: (error: Error) => void;
}

/**
 * Keeps files ready that the log's writer turns into segments, so that a synced write never has to grow a file, and takes
 * released segments back, oldest first. All of it off the latency path, one step after the other.
 */
export class Spares {
  readonly #options: SparesOptions;
  readonly #ready: number[];
  #hasReserve: boolean;
  #nextNumber: number;
  #released: Segment[] = [];
  #running: Promise<void> | null = null;
  #retry: Timer | null = null;
  #closed = false;
  #diskFull: boolean;
  #lastError: Error | null = null;
  /** Still set when that failed: then nobody knows which names a crash would leave. */
  #isSyncingDirectory = false;

  constructor(options: SparesOptions) {
    this.#options = options;
    this.#ready = options.ready;
    this.#hasReserve = options.hasReserve;
    this.#diskFull = options.isDiskFull;
    this.#nextNumber = options.nextNumber;
  }

  get readyCount(): number {
    return this.#ready.length;
  }

  /** True while a spare could not be made for lack of space. */
  get isDiskFull(): boolean {
    return this.#diskFull;
  }

  /** Why the last step failed that is tried again every second; null when none did. */
  get lastError(): Error | null {
    return this.#lastError;
  }

  /** The number of a ready spare, which is no longer one, or -1. */
  take(): number {
    const number = this.#ready.shift() ?? -1;
    this.run();
    return number;
  }

  /** In the log's order, after all earlier ones. */
  release(segment: Segment): void {
    this.#released.push(segment);
    // It may free the space that a retry waits for.
    this.#retry?.cancel();
    this.#retry = null;
    this.run();
  }

  run(): void {
    if (this.#running !== null || this.#closed || this.#retry !== null) return;
    this.#running = this.#work().finally(() => {
      this.#running = null;
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#retry?.cancel();
    this.#retry = null;
    await this.#running;
  }

  async #work(): Promise<void> {
    try {
      for (;;) {
        if (this.#closed) return;
        if (this.#released.length > 0) await this.#takeBack(this.#released[0]!);
        else if (this.#ready.length < this.#options.spareCount) await this.#makeSpare();
        else if (!this.#hasReserve) await this.#makeReserve();
        else break;
        this.#lastError = null;
      }
      this.#setDiskFull(false);
    } catch (error) {
      this.#failed(error instanceof Error ? error : new Error(String(error)));
    }
  }

  #failed(error: Error): void {
    if (!(error instanceof DiskError) || error.code === 'EIO' || this.#isSyncingDirectory) {
      this.#options.onFatal(error);
      return;
    }
    this.#lastError = error;
    if (this.#closed) return;
    this.#retry = this.#options.clock.setTimer(RETRY_DELAY_MS, () => {
      this.#retry = null;
      this.run();
    });
    if (error.code === 'ENOSPC') this.#setDiskFull(true);
  }

  #setDiskFull(full: boolean): void {
    if (this.#diskFull === full) return;
    this.#diskFull = full;
    this.#options.onChange();
  }

  async #makeSpare(): Promise<void> {
    const number = this.#nextNumber++;
    const { directory, segmentBytes } = this.#options;
    await this.#fill(number, segmentBytes, sparePath(directory, number));
    this.#ready.push(number);
    this.#diskFull = false;
    this.#options.onChange();
  }

  async #makeReserve(): Promise<void> {
    const number = this.#nextNumber++;
    const { directory, reserveBytes } = this.#options;
    await this.#fill(number, reserveBytes, reservePath(directory, number));
    this.#hasReserve = true;
  }

  /** A file of zeros that were really written, durable before it gets its name. */
  async #fill(number: number, sizeBytes: number, to: string): Promise<void> {
    const { disk, directory } = this.#options;
    const path = unfinishedPath(directory, number);
    if ((await disk.freeBytes(directory)) < sizeBytes) throw new DiskError('ENOSPC', 'write', path);
    const file = await disk.open(path, 'create');
    try {
      try {
        const zeros = new Uint8Array(Math.min(FILL_SLICE_BYTES, sizeBytes));
        for (let at = 0; at < sizeBytes; at += zeros.length) {
          await writeFully(file, zeros.subarray(0, Math.min(zeros.length, sizeBytes - at)), at);
          if ((at + zeros.length) % FILL_SYNC_BYTES === 0) await file.sync();
        }
        await file.sync();
      } finally {
        await file.close();
      }
      await disk.rename(path, to);
    } catch (error) {
      // Half a spare would keep others from the space that is left. When the removal fails too, the next start does it.
      await disk.remove(path).catch(() => undefined);
      throw error;
    }
    await this.#syncDirectory();
  }

  async #syncDirectory(): Promise<void> {
    this.#isSyncingDirectory = true;
    await this.#options.disk.syncDirectory(this.#options.directory);
    this.#isSyncingDirectory = false;
  }

  /**
   * The directory is synced after each: were two names changed at once, a crash could keep the later change only, and
   * the log would have a hole.
   */
  async #takeBack(segment: Segment): Promise<void> {
    const { disk, directory, segmentBytes, maxSpareCount } = this.#options;
    const path = segmentPath(directory, segment.number);
    if (segment.fileBytes === segmentBytes && this.#ready.length < maxSpareCount) {
      const number = this.#nextNumber++;
      await disk.rename(path, sparePath(directory, number));
      this.#released.shift();
      await this.#syncDirectory();
      this.#ready.push(number);
    } else {
      await disk.remove(path);
      this.#released.shift();
      await this.#syncDirectory();
    }
    this.#options.onReleased(segment);
    this.#options.onChange();
  }
}

/** As the spares and the reserve are made, but blocking: for a start that finds none. */
export function makeZerosSync(disk: SyncDisk, directory: string, number: number, sizeBytes: number, to: string): void {
  const path = unfinishedPath(directory, number);
  if (disk.freeBytes(directory) < sizeBytes) throw new DiskError('ENOSPC', 'write', path);
  const file = disk.open(path, 'create');
  try {
    try {
      const zeros = new Uint8Array(Math.min(FILL_SLICE_BYTES, sizeBytes));
      for (let at = 0; at < sizeBytes; at += zeros.length) {
        writeFullySync(file, zeros.subarray(0, Math.min(zeros.length, sizeBytes - at)), at);
      }
      file.sync();
    } finally {
      file.close();
    }
    disk.rename(path, to);
  } catch (error) {
    if (disk.exists(path)) disk.remove(path);
    throw error;
  }
  disk.syncDirectory(directory);
}
