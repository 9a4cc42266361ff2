import { CorruptionError } from '../base/errors.js';
import { crc32c } from '../codec/crc32c.js';
import { readFileSync, replaceFileSync } from '../engine/file-io.js';
import type { SyncDisk } from '../ports/disk.js';

const FILE = 'peers.json';
const NOBODY: readonly string[] = [];

interface Stored {
  readonly incarnations: Readonly<Record<string, string>>;
  readonly isKnown: boolean;
}

/**
 * Which data directory each other node has, in `<data-dir>/peers.json`: one line of JSON, then its CRC32C in hex. A node that comes back with
 * an empty disk has forgotten its votes and what it acknowledged, so it may not go on under its old name (Raft rule 11).
 *
 * Two halves make that hold. Who meets a node for the first time binds its name to its data directory, durably, and refuses
 * any other one from then on. And a new directory takes no part in any group until each other member has bound it (`isKnown`).
 * So whatever a quorum acknowledged, another member of that quorum refuses the wiped disk, which then never votes, even with a
 * node that has met nobody yet.
 */
export class PeerBindings {
  readonly #disk: SyncDisk;
  readonly #directory: string;
  readonly #others: readonly string[];
  #incarnations: ReadonlyMap<string, string>;
  #isKnown: boolean;
  readonly #welcomedBy = new Set<string>();

  /** `others`: the members of the cluster without this node. */
  constructor(disk: SyncDisk, directory: string, others: readonly string[]) {
    this.#disk = disk;
    this.#directory = directory;
    this.#others = others;
    const { incarnations, isKnown } = read(disk, `${directory}/${FILE}`);
    this.#incarnations = new Map(Object.entries(incarnations));
    this.#isKnown = isKnown;
  }

  /** Each other member has bound this directory, in this life of the process or in an earlier one. */
  get isKnown(): boolean {
    return this.#isKnown;
  }

  /** Who has not, as far as this node knows. */
  get missing(): readonly string[] {
    return this.#isKnown ? NOBODY : this.#others.filter((nodeId) => !this.#welcomedBy.has(nodeId));
  }

  /** Why the node is not the one that was met before; null when it is, or is met for the first time. */
  bind(nodeId: string, incarnation: string): string | null {
    const known = this.#incarnations.get(nodeId);
    if (known === incarnation) return null;
    if (known !== undefined) {
      return `node "${nodeId}" had another data directory before (incarnation ${known}, now ${incarnation}): a node that lost its disk may not vote as the old one`;
    }
    const incarnations = new Map(this.#incarnations).set(nodeId, incarnation);
    this.#write(incarnations, this.#isKnown);
    this.#incarnations = incarnations;
    return null;
  }

  /** A member has taken this node's connection, and so has bound it. True when it was the last one that was missing. */
  welcomed(nodeId: string): boolean {
    if (this.#isKnown) return false;
    this.#welcomedBy.add(nodeId);
    if (this.missing.length > 0) return false;
    this.#write(this.#incarnations, true);
    this.#isKnown = true;
    return true;
  }

  #write(incarnations: ReadonlyMap<string, string>, isKnown: boolean): void {
    const path = `${this.#directory}/${FILE}`;
    const stored: Stored = { incarnations: Object.fromEntries(incarnations), isKnown };
    const line = JSON.stringify(stored);
    replaceFileSync(this.#disk, path, `${path}.new`, Buffer.from(`${line}\n${checksumOf(line)}\n`));
  }
}

function read(disk: SyncDisk, path: string): Stored {
  if (!disk.exists(path)) return { incarnations: {}, isKnown: false };
  const [line = '', checksum = ''] = Buffer.from(readFileSync(disk, path)).toString('utf8').split('\n');
  if (checksum !== checksumOf(line)) {
    throw new CorruptionError(path, `checksum ${checksumOf(line)}`, JSON.stringify(checksum));
  }
  const stored = JSON.parse(line) as Partial<Stored>;
  if (typeof stored.incarnations !== 'object' || typeof stored.isKnown !== 'boolean') {
    throw new CorruptionError(path, 'incarnations and isKnown', line);
  }
  return { incarnations: stored.incarnations, isKnown: stored.isKnown };
}

function checksumOf(line: string): string {
  return crc32c(Buffer.from(line)).toString(16).padStart(8, '0');
}
