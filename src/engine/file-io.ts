import { CorruptionError } from '../base/errors.js';
import type { Disk, DiskFile, SyncDisk, SyncFile } from '../ports/disk.js';

/*
 * A single read or write call may move fewer bytes than asked (LSM rule 13); nothing above this file calls them
 * directly. `readFully` may end early only at the end of the file and returns the count; `readExactly` is for bytes
 * that must be there, and calls their absence corruption.
 */

/** Returns the bytes read: `target.length`, or fewer when the file ends first. */
export function readFullySync(file: SyncFile, target: Uint8Array, offset: number): number {
  let done = file.read(target, offset);
  while (done < target.length) {
    const count = file.read(target.subarray(done), offset + done);
    if (count === 0) return done;
    done += count;
  }
  return done;
}

/** Fills the whole target; a `CorruptionError` when the file ends first. */
export function readExactlySync(file: SyncFile, target: Uint8Array, offset: number): void {
  const count = readFullySync(file, target, offset);
  if (count !== target.length) throw endOfFile(file.path, target.length, offset, count);
}

export function writeFullySync(file: SyncFile, source: Uint8Array, offset: number): void {
  let done = 0;
  while (done < source.length) {
    done += file.write(done === 0 ? source : source.subarray(done), offset + done);
  }
}

/** Returns the bytes read: `target.length`, or fewer when the file ends first. */
export async function readFully(file: DiskFile, target: Uint8Array, offset: number): Promise<number> {
  let done = await file.read(target, offset);
  while (done < target.length) {
    const count = await file.read(target.subarray(done), offset + done);
    if (count === 0) return done;
    done += count;
  }
  return done;
}

/** Fills the whole target; a `CorruptionError` when the file ends first. */
export async function readExactly(file: DiskFile, target: Uint8Array, offset: number): Promise<void> {
  const count = await readFully(file, target, offset);
  if (count !== target.length) throw endOfFile(file.path, target.length, offset, count);
}

export async function writeFully(file: DiskFile, source: Uint8Array, offset: number): Promise<void> {
  let done = 0;
  while (done < source.length) {
    done += await file.write(done === 0 ? source : source.subarray(done), offset + done);
  }
}

/** The whole content of a file that nobody is writing. */
export function readFileSync(disk: SyncDisk, path: string): Uint8Array {
  const file = disk.open(path, 'read');
  try {
    const bytes = new Uint8Array(file.size());
    readExactlySync(file, bytes, 0);
    return bytes;
  } finally {
    file.close();
  }
}

/**
 * A new file with these bytes, durable with its name when the call returns: create, write, sync, sync directory
 * (LSM rule 3). EEXIST when the name is taken. After a failure or a crash a partial file may be left under the name,
 * so readers must find the name elsewhere (a manifest) or rename a finished file to it.
 */
export function writeNewFileSync(disk: SyncDisk, path: string, bytes: Uint8Array): void {
  const file = disk.open(path, 'create');
  try {
    writeFullySync(file, bytes, 0);
    file.sync();
  } finally {
    file.close();
  }
  disk.syncDirectory(parentDirectory(path));
}

/** As `writeNewFileSync`, without blocking. */
export async function writeNewFile(disk: Disk, path: string, bytes: Uint8Array): Promise<void> {
  const file = await disk.open(path, 'create');
  try {
    await writeFully(file, bytes, 0);
    await file.sync();
  } finally {
    await file.close();
  }
  await disk.syncDirectory(parentDirectory(path));
}

/**
 * Puts a file with these bytes under the name in one step: after a crash the name holds the old content or the new,
 * whole. `temporaryPath` must be in the same directory and is overwritten.
 */
export function replaceFileSync(disk: SyncDisk, path: string, temporaryPath: string, bytes: Uint8Array): void {
  if (disk.exists(temporaryPath)) disk.remove(temporaryPath);
  writeNewFileSync(disk, temporaryPath, bytes);
  disk.rename(temporaryPath, path);
  disk.syncDirectory(parentDirectory(path));
}

/**
 * Makes the directory and its missing parents, and their names durable: one level at a time, so that only the lowest level
 * found can have a name that is not durable (the process that made it may have been killed before it synced it). That one is
 * synced too.
 */
export function makeDirectoryDurablySync(disk: SyncDisk, directory: string): void {
  const missing: string[] = [];
  let level = directory;
  while (!disk.exists(level)) {
    missing.push(level);
    level = parentDirectory(level);
  }
  disk.syncDirectory(parentDirectory(level));
  for (const path of missing.reverse()) {
    disk.makeDirectory(path);
    disk.syncDirectory(parentDirectory(path));
  }
}

/** The directory that holds the name: `a` for `a/b` and for `a/b/`, `.` for `a`, `/` for `/a`. */
export function parentDirectory(path: string): string {
  let end = path.length;
  while (end > 1 && path[end - 1] === '/') end--;
  const slash = path.lastIndexOf('/', end - 1);
  if (slash < 0) return '.';
  return slash === 0 ? '/' : path.slice(0, slash);
}

function endOfFile(path: string, length: number, offset: number, count: number): CorruptionError {
  return new CorruptionError(path, `${length} bytes at offset ${offset}`, `${count} bytes before the end of the file`);
}
