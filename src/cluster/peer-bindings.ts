import { CorruptionError } from '../base/errors.js';
import { crc32c } from '../codec/crc32c.js';
import { readFileSync, writeNewFileSync } from '../engine/file-io.js';
import type { SyncDisk } from '../ports/disk.js';

const FILE = 'peers.json';

/**
 * Which data directory each other node has, in `<data-dir>/peers.json`: one line of JSON, then its CRC32C in hex. A node that comes back with
 * an empty disk has forgotten its votes and what it acknowledged, so it may not go on under its old name (Raft rule 11):
 * whoever has met it before refuses it. The name is bound, durably, when it is heard for the first time.
 */
export class PeerBindings {
  readonly #disk: SyncDisk;
  readonly #directory: string;
  readonly #incarnations: Map<string, string>;

  constructor(disk: SyncDisk, directory: string) {
    this.#disk = disk;
    this.#directory = directory;
    this.#incarnations = read(disk, `${directory}/${FILE}`);
  }

  /** Why the node is not the one that was met before; null when it is, or is met for the first time. */
  bind(nodeId: string, incarnation: string): string | null {
    const known = this.#incarnations.get(nodeId);
    if (known === incarnation) return null;
    if (known !== undefined) {
      return `node "${nodeId}" had another data directory before (incarnation ${known}, now ${incarnation}): a node that lost its disk may not vote as the old one`;
    }
    this.#write(new Map(this.#incarnations).set(nodeId, incarnation));
    this.#incarnations.set(nodeId, incarnation);
    return null;
  }

  #write(incarnations: ReadonlyMap<string, string>): void {
    const path = `${this.#directory}/${FILE}`;
    const line = JSON.stringify(Object.fromEntries(incarnations));
    const temporary = `${path}.new`;
    if (this.#disk.exists(temporary)) this.#disk.remove(temporary);
    writeNewFileSync(this.#disk, temporary, Buffer.from(`${line}\n${checksumOf(line)}\n`));
    this.#disk.rename(temporary, path);
    this.#disk.syncDirectory(this.#directory);
  }
}

function read(disk: SyncDisk, path: string): Map<string, string> {
  if (!disk.exists(path)) return new Map();
  const [line = '', checksum = ''] = Buffer.from(readFileSync(disk, path)).toString('utf8').split('\n');
  if (checksum !== checksumOf(line)) {
    throw new CorruptionError(path, `checksum ${checksumOf(line)}`, JSON.stringify(checksum));
  }
  return new Map(Object.entries(JSON.parse(line) as Record<string, string>));
}

function checksumOf(line: string): string {
  return crc32c(Buffer.from(line)).toString(16).padStart(8, '0');
}
