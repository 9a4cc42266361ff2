/**
 * Files as a node sees them, in two flavours over the same semantics: `Disk` never blocks and serves the main
 * thread; `SyncDisk` blocks and serves start-up, the log's thread and the pool's workers.
 *
 * What survives a crash: bytes written before a completed `sync` of the file (or written to a `dsync` file), and
 * names made before a completed `syncDirectory` of the directory that holds them. Nothing else may be relied on.
 * `read` and `write` may be short, as pread and pwrite may; the loops are in `engine/file-io.ts`.
 * All paths are absolute or relative to the process, with `/` between parts.
 */
export type OpenMode =
  /** Existing file, read only. */
  | 'read'
  /** Existing file, read and write. */
  | 'write'
  /** Existing file, read and write; each completed write is durable (O_DSYNC). */
  | 'dsync'
  /** New file, read and write; EEXIST when the name is taken. */
  | 'create';

export interface SyncDisk {
  open(path: string, mode: OpenMode): SyncFile;
  /** Replaces `to` atomically when it exists. */
  rename(from: string, to: string): void;
  remove(path: string): void;
  /** Names in the directory, sorted by bytes, without `.` and `..`. */
  list(directory: string): string[];
  /** Makes the directory and its parents; no error when it exists. */
  makeDirectory(directory: string): void;
  /** Makes the directory's entries (new, renamed and removed names) durable. */
  syncDirectory(directory: string): void;
  exists(path: string): boolean;
  /** Bytes that an ordinary user may still write to the file system that holds `path`. */
  freeBytes(path: string): number;
}

export interface SyncFile {
  readonly path: string;
  /** Reads at most `target.length` bytes at `offset`; returns the count, 0 only at the end of the file. */
  read(target: Uint8Array, offset: number): number;
  /** Writes at most `source.length` bytes at `offset`; returns the count, at least 1 for a non-empty source. */
  write(source: Uint8Array, offset: number): number;
  /** Makes the file's written bytes and size durable. */
  sync(): void;
  size(): number;
  truncate(sizeBytes: number): void;
  close(): void;
}

export interface Disk {
  /** The blocking flavour over the same files. Only for start-up on the main thread. */
  readonly blocking: SyncDisk;
  open(path: string, mode: OpenMode): Promise<DiskFile>;
  rename(from: string, to: string): Promise<void>;
  remove(path: string): Promise<void>;
  list(directory: string): Promise<string[]>;
  makeDirectory(directory: string): Promise<void>;
  syncDirectory(directory: string): Promise<void>;
  exists(path: string): Promise<boolean>;
  freeBytes(path: string): Promise<number>;
}

export interface DiskFile {
  readonly path: string;
  read(target: Uint8Array, offset: number): Promise<number>;
  write(source: Uint8Array, offset: number): Promise<number>;
  sync(): Promise<void>;
  size(): Promise<number>;
  truncate(sizeBytes: number): Promise<void>;
  close(): Promise<void>;
}

/** The codes that callers tell apart; any other system code is passed on as it came. */
export type DiskErrorCode = 'ENOENT' | 'EEXIST' | 'EIO' | 'ENOSPC' | 'EMFILE' | 'EACCES' | (string & {});

const EXPLANATIONS: Readonly<Record<string, string>> = {
  EMFILE: ' (this process has as many files and connections open as it may: raise the limit, ulimit -n)',
  ENFILE: ' (the system has as many files open as it may: raise the limit, fs.file-max)',
};

/** A failed file call. Its `code` is the system's; EIO and EMFILE never mean "not found". */
export class DiskError extends Error {
  override readonly name = 'DiskError';
  readonly code: DiskErrorCode;
  readonly path: string;

  constructor(code: DiskErrorCode, operation: string, path: string, cause?: unknown) {
    super(`${operation} ${path}: ${code}${EXPLANATIONS[code] ?? ''}`, cause === undefined ? undefined : { cause });
    this.code = code;
    this.path = path;
  }
}
