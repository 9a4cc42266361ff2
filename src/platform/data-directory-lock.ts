import fs from 'node:fs';
import path from 'node:path';
import { tryLock } from 'fs-native-extensions';
import { CairnError } from '../base/errors.js';
import { makeDirectoryDurablySync } from '../engine/file-io.js';
import { NodeSyncDisk } from './node-disk.js';

const LOCK_FILE = 'LOCK';
/** A process id and a newline; whatever is longer was not written by Cairn. */
const HOLDER_BYTES = 32;

/**
 * The sole right to a data directory. It is a lock of the kernel on an open file, so it ends with the process however
 * that dies; the file's content, the holder's process id, is only for the message.
 */
export class DataDirectoryLock {
  #descriptor: number;

  private constructor(descriptor: number) {
    this.#descriptor = descriptor;
  }

  /** Makes the directory, durably, if need be. A `configuration` error when another process holds it. */
  static acquire(directory: string): DataDirectoryLock {
    const file = path.join(directory, LOCK_FILE);
    let descriptor: number;
    try {
      makeDirectoryDurablySync(new NodeSyncDisk(), directory);
      descriptor = fs.openSync(file, fs.constants.O_RDWR | fs.constants.O_CREAT, 0o640);
    } catch (error) {
      const { message } = error as Error;
      throw new CairnError('configuration', `data directory ${directory} can't be used: ${message}`, { cause: error });
    }
    try {
      if (!tryLock(descriptor)) {
        throw new CairnError('configuration', `data directory ${directory} is in use by ${holderOf(descriptor)}`);
      }
      fs.ftruncateSync(descriptor, 0);
      fs.writeSync(descriptor, `${process.pid}\n`, 0);
      return new DataDirectoryLock(descriptor);
    } catch (error) {
      fs.closeSync(descriptor);
      if (error instanceof CairnError) throw error;
      const { message } = error as Error;
      throw new CairnError('configuration', `${file} can't be locked: ${message}`, { cause: error });
    }
  }

  /** Gives the directory free; no effect a second time. The file stays: removing it would race with the next holder. */
  release(): void {
    if (this.#descriptor < 0) return;
    fs.closeSync(this.#descriptor);
    this.#descriptor = -1;
  }
}

function holderOf(descriptor: number): string {
  const bytes = Buffer.alloc(HOLDER_BYTES);
  const text = bytes.toString('latin1', 0, fs.readSync(descriptor, bytes, 0, HOLDER_BYTES, 0));
  const match = /^(\d+)\n$/.exec(text);
  return match === null ? 'another process' : `process ${match[1]}`;
}
