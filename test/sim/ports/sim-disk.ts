import type { Prng } from '../../../src/base/prng.js';
import {
  DiskError,
  type Disk,
  type DiskErrorCode,
  type DiskFile,
  type OpenMode,
  type SyncDisk,
  type SyncFile,
} from '../../../src/ports/disk.js';
import { PowerLoss } from './power-loss.js';
import type { EventSource } from './scheduler.js';
import type { SimFile } from './sim-file.js';
import { SimTree } from './sim-tree.js';

export type DiskOperation =
  | 'open'
  | 'create'
  | 'read'
  | 'write'
  | 'sync'
  | 'size'
  | 'truncate'
  | 'close'
  | 'rename'
  | 'remove'
  | 'list'
  | 'makeDirectory'
  | 'syncDirectory'
  | 'exists'
  | 'freeBytes';

const MUTATIONS: ReadonlySet<DiskOperation> = new Set([
  'create',
  'write',
  'sync',
  'truncate',
  'rename',
  'remove',
  'makeDirectory',
  'syncDirectory',
] as const);

/** Whether a crash at the operation can leave another state than a crash before it. */
export function isMutation(operation: DiskOperation): boolean {
  return MUTATIONS.has(operation);
}

export interface SimDiskOptions {
  /** Decides about latencies, short transfers and failed syncs. Not about crashes: those get their own. */
  readonly prng: Prng;
  /** Gives the asynchronous calls their order; without it they complete in the microtask that follows. */
  readonly scheduler?: EventSource;
  /** The longest an asynchronous call takes; 2 unless told. */
  readonly longestLatencyMs?: number;
  /** Bytes that the files may take; more is ENOSPC. Unbounded unless told. */
  readonly capacityBytes?: number;
  /** How probable it is that a read or write moves only a part; 0 unless told. */
  readonly shortTransferProbability?: number;
  /** Whether a crash may leave a sector half old and half new; true unless told. */
  readonly tearsSectors?: boolean;
  /** Whether a torn sector may hold garbage, also in bytes that the write did not change; true unless told. */
  readonly garblesSectors?: boolean;
}

export interface DiskFault {
  readonly operation: DiskOperation;
  readonly code: DiskErrorCode;
  /** Only on paths that match. */
  readonly path?: RegExp;
  /** The first operation that fails, counted from now on from 1; 1 unless told. */
  readonly nth?: number;
  /** How many fail from then on; 1 unless told, Infinity for a broken disk. */
  readonly times?: number;
}

interface ArmedFault {
  readonly fault: DiskFault;
  seen: number;
}

interface ReadFlip {
  readonly path: string;
  readonly offset: number;
  readonly bit: number;
  times: number;
}

/**
 * A disk in memory with the promises of `ports/disk.ts` and no others. The machine that it belongs to ends with
 * `powerOff` or `crash`: from then on blocking calls throw `PowerLoss` and asynchronous ones never settle, also those
 * under way; the disk that `crash` returns is what the next start finds.
 */
export class SimDisk implements Disk {
  readonly blocking: SyncDisk;
  /**
   * Called in the middle of each operation that succeeds: its effect is visible, but not durable yet. It may call
   * `powerOff` (the operation then never completes), take a `crashImage`, or throw: the caller gets that error.
   */
  onOperation: ((operation: DiskOperation, path: string) => void) | undefined;
  capacityBytes: number;
  shortTransferProbability: number;
  readonly #core: Core;

  constructor(options: SimDiskOptions, tree: SimTree = new SimTree()) {
    this.capacityBytes = options.capacityBytes ?? Infinity;
    this.shortTransferProbability = options.shortTransferProbability ?? 0;
    this.#core = new Core(this, options, tree);
    this.blocking = new SimSyncDisk(this.#core);
  }

  /** Operations so far that could change the disk. */
  get mutationCount(): number {
    return this.#core.mutations;
  }

  /** Operations so far of one kind. */
  operationCount(operation: DiskOperation): number {
    return this.#core.counts.get(operation) ?? 0;
  }

  get isOff(): boolean {
    return this.#core.isOff;
  }

  /** The sizes of all files. */
  get usedBytes(): number {
    return this.#core.usedBytes;
  }

  /** Ends every use of this disk; what it holds stays to be taken by `crashImage`. */
  powerOff(): void {
    this.#core.isOff = true;
  }

  /** `powerOff`, then what the next start finds. */
  crash(prng: Prng, options: Partial<SimDiskOptions> = {}): SimDisk {
    this.powerOff();
    return this.crashImage(prng, options);
  }

  /** What the next start would find after a crash now, as a disk of its own; this one goes on. No faults are taken over. */
  crashImage(prng: Prng, options: Partial<SimDiskOptions> = {}): SimDisk {
    const core = this.#core;
    const { tearsSectors: tears = true, garblesSectors: garbles = true } = core.options;
    const tree = core.tree.afterCrash(prng, { tears, garbles });
    return new SimDisk({ ...core.options, capacityBytes: this.capacityBytes, ...options, prng: prng.fork() }, tree);
  }

  /** The process ended, the machine did not: nothing is lost, but handles and calls under way are dead. */
  processExit(options: Partial<SimDiskOptions> = {}): SimDisk {
    this.powerOff();
    return new SimDisk({ ...this.#core.options, capacityBytes: this.capacityBytes, ...options }, this.#core.tree);
  }

  /** Makes operations fail. */
  inject(fault: DiskFault): void {
    this.#core.faults.push({ fault, seen: 0 });
  }

  /** Ends all injected faults and flips on read. */
  heal(): void {
    this.#core.faults.length = 0;
    this.#core.flips.length = 0;
  }

  /** Flips a bit of a stored byte. */
  flipBit(path: string, offset: number, bit: number): void {
    this.#core.tree.file(path, 'flip').flipBit(offset, bit);
  }

  /** Flips a bit of the byte in what the next reads of it return; what is stored stays right. */
  flipBitOnRead(path: string, offset: number, bit: number, times = 1): void {
    this.#core.flips.push({ path, offset, bit, times });
  }

  /** The paths of all files, sorted. */
  paths(): string[] {
    return this.#core.tree.paths();
  }

  open(path: string, mode: OpenMode): Promise<DiskFile> {
    return this.#core.later(() => new SimDiskFile(this.#core, this.#core.open(path, mode)));
  }

  rename(from: string, to: string): Promise<void> {
    return this.#core.later(() => this.#core.rename(from, to));
  }

  remove(path: string): Promise<void> {
    return this.#core.later(() => this.#core.remove(path));
  }

  list(directory: string): Promise<string[]> {
    return this.#core.later(() => this.#core.list(directory));
  }

  makeDirectory(directory: string): Promise<void> {
    return this.#core.later(() => this.#core.makeDirectory(directory));
  }

  syncDirectory(directory: string): Promise<void> {
    return this.#core.later(() => this.#core.syncDirectory(directory));
  }

  exists(path: string): Promise<boolean> {
    return this.#core.later(() => this.#core.exists(path));
  }

  freeBytes(path: string): Promise<number> {
    return this.#core.later(() => this.#core.freeBytes(path));
  }
}

interface Handle {
  readonly path: string;
  readonly mode: OpenMode;
  readonly file: SimFile;
  isClosed: boolean;
}

/** The operations, each at one point in time; both flavours are thin over it. */
class Core {
  readonly options: SimDiskOptions;
  readonly tree: SimTree;
  readonly counts = new Map<DiskOperation, number>();
  readonly faults: ArmedFault[] = [];
  readonly flips: ReadFlip[] = [];
  mutations = 0;
  isOff = false;
  readonly #disk: SimDisk;
  readonly #prng: Prng;

  constructor(disk: SimDisk, options: SimDiskOptions, tree: SimTree) {
    this.#disk = disk;
    this.options = options;
    this.tree = tree;
    this.#prng = options.prng.fork();
  }

  /** Runs the operation at a time that the seed gives. */
  later<T>(operation: () => T): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const complete = (): void => {
        try {
          resolve(operation());
        } catch (error) {
          if (!(error instanceof PowerLoss)) reject(error);
        }
      };
      const { scheduler, longestLatencyMs = 2 } = this.options;
      if (scheduler === undefined) queueMicrotask(complete);
      else scheduler.schedule(this.#prng.unit() * longestLatencyMs, complete);
    });
  }

  open(path: string, mode: OpenMode): Handle {
    const kind = mode === 'create' ? 'create' : 'open';
    const file = this.#perform(kind, path, () =>
      mode === 'create' ? this.tree.create(path) : this.tree.file(path, 'open'),
    );
    return { path, mode, file, isClosed: false };
  }

  rename(from: string, to: string): void {
    this.#perform('rename', from, () => this.tree.rename(from, to));
  }

  remove(path: string): void {
    this.#perform('remove', path, () => this.tree.remove(path));
  }

  list(directory: string): string[] {
    return this.#perform('list', directory, () => this.tree.list(directory));
  }

  makeDirectory(directory: string): void {
    this.#perform('makeDirectory', directory, () => this.tree.makeDirectory(directory));
  }

  syncDirectory(directory: string): void {
    this.#perform(
      'syncDirectory',
      directory,
      () => this.tree.checkDirectory(directory, 'sync directory'),
      () => this.tree.syncDirectory(directory),
    );
  }

  exists(path: string): boolean {
    return this.#perform('exists', path, () => this.tree.exists(path));
  }

  freeBytes(path: string): number {
    return this.#perform('freeBytes', path, () => {
      if (!this.tree.exists(path)) throw new DiskError('ENOENT', 'statfs', path);
      return this.#free();
    });
  }

  read(handle: Handle, target: Uint8Array, offset: number): number {
    return this.#perform('read', handle.path, () => {
      checkOpen(handle, 'read');
      const part = target.subarray(0, this.#transferBytes(target.length));
      const count = handle.file.read(part, offset);
      for (const flip of this.flips) {
        const at = flip.offset - offset;
        if (flip.times === 0 || flip.path !== handle.path || at < 0 || at >= count) continue;
        part[at]! ^= 1 << flip.bit;
        flip.times--;
      }
      return count;
    });
  }

  write(handle: Handle, source: Uint8Array, offset: number): number {
    let count = 0;
    return this.#perform(
      'write',
      handle.path,
      () => {
        checkWritable(handle, 'write');
        const room = this.#roomFor(handle, offset, source.length);
        if (room === 0 && source.length > 0) throw new DiskError('ENOSPC', 'write', handle.path);
        count = this.#transferBytes(Math.min(source.length, room));
        handle.file.write(source.subarray(0, count), offset);
        return count;
      },
      () => {
        if (handle.mode === 'dsync') handle.file.syncRange(offset, count);
      },
    );
  }

  sync(handle: Handle): void {
    this.#perform(
      'sync',
      handle.path,
      () => checkOpen(handle, 'sync'),
      () => handle.file.sync(),
      () => handle.file.failSync(this.#prng),
    );
  }

  size(handle: Handle): number {
    return this.#perform('size', handle.path, () => {
      checkOpen(handle, 'stat');
      return handle.file.size;
    });
  }

  truncate(handle: Handle, sizeBytes: number): void {
    this.#perform('truncate', handle.path, () => {
      checkWritable(handle, 'truncate');
      if (sizeBytes - handle.file.size > this.#free()) throw new DiskError('ENOSPC', 'truncate', handle.path);
      handle.file.truncate(sizeBytes);
    });
  }

  close(handle: Handle): void {
    this.#perform('close', handle.path, () => {
      checkOpen(handle, 'close');
      handle.isClosed = true;
    });
  }

  /** Fault, visible effect, hook, durable effect: in this order. */
  #perform<T>(kind: DiskOperation, path: string, effect: () => T, makeDurable?: () => void, onFault?: () => void): T {
    if (this.isOff) throw new PowerLoss();
    this.counts.set(kind, (this.counts.get(kind) ?? 0) + 1);
    const code = this.#faultOf(kind, path);
    if (code !== undefined) {
      onFault?.();
      throw new DiskError(code, kind, path);
    }
    const result = effect();
    if (isMutation(kind)) this.mutations++;
    this.#disk.onOperation?.(kind, path);
    // The hook may have switched the machine off.
    if (this.isOff as boolean) throw new PowerLoss();
    makeDurable?.();
    return result;
  }

  #faultOf(kind: DiskOperation, path: string): DiskErrorCode | undefined {
    let code: DiskErrorCode | undefined;
    for (const armed of this.faults) {
      const { operation, path: pattern, nth = 1, times = 1 } = armed.fault;
      if (operation !== kind || pattern?.test(path) === false) continue;
      armed.seen++;
      if (armed.seen >= nth && armed.seen < nth + times) code ??= armed.fault.code;
    }
    return code;
  }

  #transferBytes(wanted: number): number {
    if (wanted <= 1 || !this.#prng.chance(this.#disk.shortTransferProbability)) return wanted;
    return this.#prng.between(1, wanted - 1);
  }

  #roomFor(handle: Handle, offset: number, length: number): number {
    const growth = Math.max(0, offset + length - handle.file.size);
    return Math.max(0, length - Math.max(0, growth - this.#free()));
  }

  get usedBytes(): number {
    let used = 0;
    for (const path of this.tree.paths()) used += this.tree.file(path, 'stat').size;
    return used;
  }

  #free(): number {
    if (this.#disk.capacityBytes === Infinity) return Number.MAX_SAFE_INTEGER;
    return Math.max(0, this.#disk.capacityBytes - this.usedBytes);
  }
}

function checkOpen(handle: Handle, operation: string): void {
  if (handle.isClosed) throw new DiskError('EBADF', operation, handle.path);
}

function checkWritable(handle: Handle, operation: string): void {
  if (handle.isClosed || handle.mode === 'read') {
    // What Linux answers: ftruncate of a read-only descriptor is EINVAL, a write to it EBADF.
    const code = handle.isClosed || operation === 'write' ? 'EBADF' : 'EINVAL';
    throw new DiskError(code, operation, handle.path);
  }
}

class SimSyncDisk implements SyncDisk {
  readonly #core: Core;

  constructor(core: Core) {
    this.#core = core;
  }

  open(path: string, mode: OpenMode): SyncFile {
    return new SimSyncFile(this.#core, this.#core.open(path, mode));
  }

  rename(from: string, to: string): void {
    this.#core.rename(from, to);
  }

  remove(path: string): void {
    this.#core.remove(path);
  }

  list(directory: string): string[] {
    return this.#core.list(directory);
  }

  makeDirectory(directory: string): void {
    this.#core.makeDirectory(directory);
  }

  syncDirectory(directory: string): void {
    this.#core.syncDirectory(directory);
  }

  exists(path: string): boolean {
    return this.#core.exists(path);
  }

  freeBytes(path: string): number {
    return this.#core.freeBytes(path);
  }
}

class SimSyncFile implements SyncFile {
  readonly #core: Core;
  readonly #handle: Handle;

  constructor(core: Core, handle: Handle) {
    this.#core = core;
    this.#handle = handle;
  }

  get path(): string {
    return this.#handle.path;
  }

  read(target: Uint8Array, offset: number): number {
    return this.#core.read(this.#handle, target, offset);
  }

  write(source: Uint8Array, offset: number): number {
    return this.#core.write(this.#handle, source, offset);
  }

  sync(): void {
    this.#core.sync(this.#handle);
  }

  size(): number {
    return this.#core.size(this.#handle);
  }

  truncate(sizeBytes: number): void {
    this.#core.truncate(this.#handle, sizeBytes);
  }

  close(): void {
    this.#core.close(this.#handle);
  }
}

class SimDiskFile implements DiskFile {
  readonly #core: Core;
  readonly #handle: Handle;

  constructor(core: Core, handle: Handle) {
    this.#core = core;
    this.#handle = handle;
  }

  get path(): string {
    return this.#handle.path;
  }

  read(target: Uint8Array, offset: number): Promise<number> {
    return this.#core.later(() => this.#core.read(this.#handle, target, offset));
  }

  write(source: Uint8Array, offset: number): Promise<number> {
    return this.#core.later(() => this.#core.write(this.#handle, source, offset));
  }

  sync(): Promise<void> {
    return this.#core.later(() => this.#core.sync(this.#handle));
  }

  size(): Promise<number> {
    return this.#core.later(() => this.#core.size(this.#handle));
  }

  truncate(sizeBytes: number): Promise<void> {
    return this.#core.later(() => this.#core.truncate(this.#handle, sizeBytes));
  }

  close(): Promise<void> {
    return this.#core.later(() => this.#core.close(this.#handle));
  }
}
