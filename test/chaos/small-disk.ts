import { closeSync, openSync, rmSync, writeSync } from 'node:fs';
import { mkdir, open } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { run } from './system.js';

const SIZE_MB = 320;
const CHUNK_BYTES = 4 << 20;
const PAGE_BYTES = 4096;

/** A small file system in memory under a node's data directory. */
export class SmallDisk {
  readonly node: string;
  readonly #ballast: string;

  private constructor(node: string, directory: string) {
    this.node = node;
    this.#ballast = join(directory, 'ballast');
  }

  /** Inside of the sandbox only: the mount ends with it. */
  static async mount(node: string, directory: string): Promise<SmallDisk> {
    await mkdir(directory, { recursive: true });
    await run('mount', '-t', 'tmpfs', '-o', `size=${SIZE_MB}m`, 'tmpfs', directory);
    return new SmallDisk(node, directory);
  }

  /** Takes all that is free. */
  async fill(): Promise<void> {
    const file = await open(this.#ballast, 'a');
    const chunk = Buffer.alloc(CHUNK_BYTES, 'x');
    try {
      for (;;) await file.write(chunk);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
    } finally {
      await file.close();
    }
    this.topUp();
  }

  /** The node gives space back and takes it again, so what is free is taken page by page. */
  topUp(): void {
    const descriptor = openSync(this.#ballast, 'a');
    try {
      for (;;) writeSync(descriptor, Buffer.alloc(PAGE_BYTES, 'x'));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
    } finally {
      closeSync(descriptor);
    }
  }

  release(): void {
    rmSync(this.#ballast, { force: true });
  }

  async unmount(): Promise<void> {
    await run('umount', '-l', dirname(this.#ballast));
  }
}
