import { CorruptionError } from '../base/errors.js';
import { crc32c } from '../codec/crc32c.js';
import { readFileSync, replaceFileSync, writeNewFile } from '../engine/file-io.js';
import type { Disk, SyncDisk } from '../ports/disk.js';
import type { RaftStart } from '../raft/options.js';

const FILE = 'repairs.json';

/**
 * Which replicas have lost entries to damage of the log and up to which index at most, in `<data-dir>/repairs.json`: one line of JSON,
 * then its CRC32C in hex. Such a replica may not vote until another member has given it all that it may have acknowledged (Raft
 * rule 15), also when the node stops in between, and when the damaged part of the log is gone by then.
 */
export class Repairs {
  readonly #disk: Disk;
  readonly #directory: string;
  /** By group. */
  #indexes: ReadonlyMap<number, number>;
  #writing: Promise<void> | null = null;

  private constructor(disk: Disk, directory: string, indexes: ReadonlyMap<number, number>) {
    this.#disk = disk;
    this.#directory = directory;
    this.#indexes = indexes;
  }

  /** Takes what the start has found; durable when this returns. Throws a `CorruptionError`, and the disk's errors. */
  static open(disk: Disk, directory: string, found: readonly RaftStart[]): Repairs {
    const before = read(disk.blocking, `${directory}/${FILE}`);
    const indexes = new Map(before);
    for (const { group, repairIndex } of found) {
      if (repairIndex > (indexes.get(group) ?? 0)) indexes.set(group, repairIndex);
    }
    if (found.some(({ group, repairIndex }) => repairIndex > (before.get(group) ?? 0))) {
      const path = `${directory}/${FILE}`;
      replaceFileSync(disk.blocking, path, `${path}.new`, encode(indexes));
    }
    return new Repairs(disk, directory, indexes);
  }

  /** 0: the group's log is whole. */
  indexOf(group: number): number {
    return this.#indexes.get(group) ?? 0;
  }

  get count(): number {
    return this.#indexes.size;
  }

  /** Forgets groups that are whole again; what that meets is tried again. A crash before it is durable has them repaired once more. */
  finished(isWhole: (group: number) => boolean): void {
    const left = new Map([...this.#indexes].filter(([group]) => !isWhole(group)));
    if (this.#writing !== null || left.size === this.#indexes.size) return;
    this.#writing = this.#replace(left)
      .catch(() => undefined)
      .finally(() => {
        this.#writing = null;
      });
  }

  /** Resolves when nothing is written any more. */
  async close(): Promise<void> {
    await this.#writing;
  }

  async #replace(left: ReadonlyMap<number, number>): Promise<void> {
    const path = `${this.#directory}/${FILE}`;
    const temporary = `${path}.new`;
    if (await this.#disk.exists(temporary)) await this.#disk.remove(temporary);
    await writeNewFile(this.#disk, temporary, encode(left));
    await this.#disk.rename(temporary, path);
    await this.#disk.syncDirectory(this.#directory);
    this.#indexes = left;
  }
}

function read(disk: SyncDisk, path: string): Map<number, number> {
  if (!disk.exists(path)) return new Map();
  const [line = '', checksum = ''] = Buffer.from(readFileSync(disk, path)).toString('utf8').split('\n');
  if (checksum !== checksumOf(line)) {
    throw new CorruptionError(path, `checksum ${checksumOf(line)}`, JSON.stringify(checksum));
  }
  return new Map((JSON.parse(line) as { readonly groups: readonly (readonly [number, number])[] }).groups);
}

function encode(indexes: ReadonlyMap<number, number>): Uint8Array {
  const line = JSON.stringify({ groups: [...indexes] });
  return Buffer.from(`${line}\n${checksumOf(line)}\n`);
}

function checksumOf(line: string): string {
  return crc32c(Buffer.from(line)).toString(16).padStart(8, '0');
}
