import fs from 'node:fs';
import { DiskError, type Disk, type DiskFile, type OpenMode, type SyncDisk, type SyncFile } from '../ports/disk.js';

const { O_RDONLY, O_RDWR, O_CREAT, O_EXCL, O_DSYNC } = fs.constants;

/** New files are for the node's own user and group. */
const FILE_MODE = 0o640;
const DIRECTORY_MODE = 0o750;

function openFlags(mode: OpenMode, path: string): number {
  switch (mode) {
    case 'read':
      return O_RDONLY;
    case 'write':
      return O_RDWR;
    case 'dsync':
      // Absent on Windows. Without it an acknowledged write would not be durable, so refuse rather than go on.
      if (O_DSYNC === undefined) throw new DiskError('ENOTSUP', 'open with O_DSYNC', path);
      return O_RDWR | O_DSYNC;
    case 'create':
      return O_RDWR | O_CREAT | O_EXCL;
  }
}

/** System errors become `DiskError`s with their code; anything else is a bug in the call and passes as it is. */
function diskError(error: unknown, operation: string, path: string): unknown {
  if (!(error instanceof Error)) return error;
  const { code, errno } = error as NodeJS.ErrnoException;
  return code !== undefined && errno !== undefined ? new DiskError(code, operation, path, error) : error;
}

/** Only these two say that the name is not there. EIO, EMFILE and EACCES say nothing about it. */
function meansAbsent(error: NodeJS.ErrnoException): boolean {
  return error.code === 'ENOENT' || error.code === 'ENOTDIR';
}

function sortByBytes(names: string[]): string[] {
  return names
    .map((name) => Buffer.from(name))
    .sort(Buffer.compare)
    .map((name) => name.toString());
}

function freeBytesOf(stats: { bavail: bigint; bsize: bigint }): number {
  return Number(stats.bavail * stats.bsize);
}

/** Blocking files over `node:fs`. Holds no state, so each thread may make its own. */
export class NodeSyncDisk implements SyncDisk {
  open(path: string, mode: OpenMode): SyncFile {
    const flags = openFlags(mode, path);
    return new NodeSyncFile(
      attempt('open', path, () => fs.openSync(path, flags, FILE_MODE)),
      path,
    );
  }

  rename(from: string, to: string): void {
    attempt('rename', from, () => fs.renameSync(from, to));
  }

  remove(path: string): void {
    attempt('remove', path, () => fs.unlinkSync(path));
  }

  list(directory: string): string[] {
    return sortByBytes(attempt('list', directory, () => fs.readdirSync(directory)));
  }

  makeDirectory(directory: string): void {
    attempt('make directory', directory, () => fs.mkdirSync(directory, { recursive: true, mode: DIRECTORY_MODE }));
  }

  syncDirectory(directory: string): void {
    attempt('sync directory', directory, () => {
      const descriptor = fs.openSync(directory, O_RDONLY);
      try {
        fs.fsyncSync(descriptor);
      } finally {
        fs.closeSync(descriptor);
      }
    });
  }

  exists(path: string): boolean {
    return attempt('stat', path, () => {
      try {
        fs.statSync(path);
        return true;
      } catch (error) {
        if (meansAbsent(error as NodeJS.ErrnoException)) return false;
        throw error;
      }
    });
  }

  freeBytes(path: string): number {
    return freeBytesOf(attempt('statfs', path, () => fs.statfsSync(path, { bigint: true })));
  }
}

function attempt<T>(operation: string, path: string, call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw diskError(error, operation, path);
  }
}

/** The descriptor of a closed file. The system gives numbers again, so a late call must not use the old one. */
const CLOSED = -1;

function checkOpen(descriptor: number, operation: string, path: string): void {
  if (descriptor === CLOSED) throw new DiskError('EBADF', operation, path);
}

class NodeSyncFile implements SyncFile {
  readonly path: string;
  #descriptor: number;

  constructor(descriptor: number, path: string) {
    this.#descriptor = descriptor;
    this.path = path;
  }

  // No closures in `read` and `write`: block reads and log appends come here.
  read(target: Uint8Array, offset: number): number {
    checkOpen(this.#descriptor, 'read', this.path);
    try {
      return fs.readSync(this.#descriptor, target, 0, target.length, offset);
    } catch (error) {
      throw diskError(error, 'read', this.path);
    }
  }

  write(source: Uint8Array, offset: number): number {
    checkOpen(this.#descriptor, 'write', this.path);
    try {
      return fs.writeSync(this.#descriptor, source, 0, source.length, offset);
    } catch (error) {
      throw diskError(error, 'write', this.path);
    }
  }

  /** fdatasync: the data and what is needed to read it back, the size included, but no time stamps. */
  sync(): void {
    checkOpen(this.#descriptor, 'sync', this.path);
    attempt('sync', this.path, () => fs.fdatasyncSync(this.#descriptor));
  }

  size(): number {
    checkOpen(this.#descriptor, 'stat', this.path);
    return attempt('stat', this.path, () => fs.fstatSync(this.#descriptor).size);
  }

  truncate(sizeBytes: number): void {
    checkOpen(this.#descriptor, 'truncate', this.path);
    attempt('truncate', this.path, () => fs.ftruncateSync(this.#descriptor, sizeBytes));
  }

  close(): void {
    const descriptor = this.#descriptor;
    checkOpen(descriptor, 'close', this.path);
    this.#descriptor = CLOSED;
    attempt('close', this.path, () => fs.closeSync(descriptor));
  }
}

type Settle<T> = (error: Error | null, value: T) => void;

/** The call's call back as a promise, with the error mapped. */
function completion<T>(operation: string, path: string, start: (settle: Settle<T>) => void): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    start((error, value) => {
      if (error === null || error === undefined) resolve(value);
      else reject(diskError(error, operation, path));
    });
  });
}

/** Files over `node:fs` without blocking: every call takes a thread of libuv's pool. */
export class NodeDisk implements Disk {
  readonly blocking: SyncDisk = new NodeSyncDisk();

  async open(path: string, mode: OpenMode): Promise<DiskFile> {
    const flags = openFlags(mode, path);
    const descriptor = await completion<number>('open', path, (settle) => fs.open(path, flags, FILE_MODE, settle));
    return new NodeDiskFile(descriptor, path);
  }

  rename(from: string, to: string): Promise<void> {
    return completion<void>('rename', from, (settle) => fs.rename(from, to, settle));
  }

  remove(path: string): Promise<void> {
    return completion<void>('remove', path, (settle) => fs.unlink(path, settle));
  }

  async list(directory: string): Promise<string[]> {
    return sortByBytes(await completion<string[]>('list', directory, (settle) => fs.readdir(directory, settle)));
  }

  async makeDirectory(directory: string): Promise<void> {
    await completion<string | undefined>('make directory', directory, (settle) =>
      fs.mkdir(directory, { recursive: true, mode: DIRECTORY_MODE }, settle),
    );
  }

  async syncDirectory(directory: string): Promise<void> {
    const operation = 'sync directory';
    const descriptor = await completion<number>(operation, directory, (settle) => fs.open(directory, O_RDONLY, settle));
    try {
      await completion<void>(operation, directory, (settle) => fs.fsync(descriptor, settle));
    } finally {
      await completion<void>(operation, directory, (settle) => fs.close(descriptor, settle));
    }
  }

  exists(path: string): Promise<boolean> {
    return completion<boolean>('stat', path, (settle) =>
      fs.stat(path, (error) => {
        if (error === null) settle(null, true);
        else if (meansAbsent(error)) settle(null, false);
        else settle(error, false);
      }),
    );
  }

  async freeBytes(path: string): Promise<number> {
    const stats = await completion<fs.BigIntStatsFs>('statfs', path, (settle) =>
      fs.statfs(path, { bigint: true }, settle),
    );
    return freeBytesOf(stats);
  }
}

class NodeDiskFile implements DiskFile {
  readonly path: string;
  #descriptor: number;

  constructor(descriptor: number, path: string) {
    this.#descriptor = descriptor;
    this.path = path;
  }

  read(target: Uint8Array, offset: number): Promise<number> {
    return this.#completion<number>('read', (descriptor, settle) =>
      fs.read(descriptor, target, 0, target.length, offset, settle),
    );
  }

  write(source: Uint8Array, offset: number): Promise<number> {
    return this.#completion<number>('write', (descriptor, settle) =>
      fs.write(descriptor, source, 0, source.length, offset, settle),
    );
  }

  sync(): Promise<void> {
    return this.#completion<void>('sync', (descriptor, settle) => fs.fdatasync(descriptor, settle));
  }

  async size(): Promise<number> {
    const stats = await this.#completion<fs.Stats>('stat', (descriptor, settle) => fs.fstat(descriptor, settle));
    return stats.size;
  }

  truncate(sizeBytes: number): Promise<void> {
    return this.#completion<void>('truncate', (descriptor, settle) =>
      fs.ftruncate(descriptor, sizeBytes, settle as fs.NoParamCallback),
    );
  }

  close(): Promise<void> {
    return this.#completion<void>('close', (descriptor, settle) => {
      this.#descriptor = CLOSED;
      fs.close(descriptor, settle);
    });
  }

  #completion<T>(operation: string, start: (descriptor: number, settle: Settle<T>) => void): Promise<T> {
    return completion(operation, this.path, (settle) => {
      checkOpen(this.#descriptor, operation, this.path);
      start(this.#descriptor, settle);
    });
  }
}
