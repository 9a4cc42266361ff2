import { compareRanges } from '../../base/bytes.js';
import { assert } from '../../base/assert.js';
import { CorruptionError } from '../../base/errors.js';
import { readReplicaId, readRevisionTrailer, REVISION_TRAILER_BYTES, type Revision } from '../row-key.js';
import { Block } from './block.js';
import { decodeBlock } from './block-codec.js';
import { BlockSearch } from './block-search.js';
import type { BlockSource } from './block-source.js';
import { mayContain, rowHash } from './bloom-filter.js';
import { blockName, type BlockHandle } from './format.js';
import type { TableMeta } from './table-meta.js';

/** What a point read found in one table. */
export type FindResult = typeof ABSENT | typeof FOUND | typeof BLOCKED;
/** The table has no version of the row at or below the revision. */
export const ABSENT = 0;
/** The newest such version is in the reader's `found*` fields; it may be a tombstone. */
export const FOUND = 1;
/** Block `blockedOn` is not in memory: await `loadBlock(blockedOn)` and call `findFrom` with what it gave. */
export const BLOCKED = 2;

const EMPTY = new Uint8Array(0);

/** An open table. Only its index and filter are held; blocks come from the source. */
export class TableReader {
  readonly meta: TableMeta;
  readonly source: BlockSource;
  readonly smallestRowKey: Uint8Array;
  readonly smallestRevision: Revision;
  readonly largestRowKey: Uint8Array;
  readonly largestRevision: Revision;

  /** The record of the version that `find` found: valid as long as somebody holds these bytes. */
  foundRecord: Uint8Array = EMPTY;
  foundStart = 0;
  foundLength = 0;
  foundRevision: Revision = 0;
  /** The block that `find` needs. */
  blockedOn = -1;

  readonly #search = new BlockSearch();

  constructor(meta: TableMeta, source: BlockSource) {
    this.meta = meta;
    this.source = source;
    const { smallest, largest } = meta.properties;
    this.smallestRowKey = smallest.subarray(0, smallest.length - REVISION_TRAILER_BYTES);
    this.smallestRevision = readRevisionTrailer(smallest, this.smallestRowKey.length);
    this.largestRowKey = largest.subarray(0, largest.length - REVISION_TRAILER_BYTES);
    this.largestRevision = readRevisionTrailer(largest, this.largestRowKey.length);
  }

  get fileNumber(): number {
    return this.meta.fileNumber;
  }

  get blockCount(): number {
    return this.meta.index.count;
  }

  /** Memory of index and filter, about. */
  get memoryBytes(): number {
    return this.meta.index.memoryBytes + this.meta.filter.length;
  }

  /** False when the table certainly has no version of the row. `userKeyHash` is the xxHash32 of the key without replicaId. */
  mayContainRow(key: Uint8Array, keyStart: number, userKeyHash: number): boolean {
    return mayContain(this.meta.filter, rowHash(userKeyHash, readReplicaId(key, keyStart)));
  }

  /** The newest version of the row at or below `revision`. Allocates no more than a block's handle. */
  find(key: Uint8Array, keyStart: number, keyLength: number, userKeyHash: number, revision: Revision): FindResult {
    if (!this.mayContainRow(key, keyStart, userKeyHash)) return ABSENT;
    const at = this.meta.index.find(key, keyStart, keyLength, revision);
    return at < 0 ? ABSENT : this.findFrom(at, key, keyStart, keyLength, revision);
  }

  /**
   * Goes on with a `find` that was BLOCKED on `block`. `held` is that block if it was loaded: an eviction in between must not make a
   * read wait for ever.
   */
  findFrom(
    block: number,
    key: Uint8Array,
    keyStart: number,
    keyLength: number,
    revision: Revision,
    held?: Block,
  ): FindResult {
    let here = held;
    for (let at = block; ; at++) {
      here ??= this.cachedBlock(at);
      if (here === undefined) {
        this.blockedOn = at;
        return BLOCKED;
      }
      if (this.#search.seek(here, key, keyStart, keyLength, revision)) return this.#take(here);
      if (!this.rowGoesOn(at, key, keyStart, keyLength)) return ABSENT;
      here = undefined;
    }
  }

  /** For a block that ends before the sought version: whether the next one may have it. It then starts in the middle of the row. */
  rowGoesOn(block: number, key: Uint8Array, keyStart: number, keyLength: number): boolean {
    const { index } = this.meta;
    return block + 1 < index.count && index.startsWithRow(block + 1, key, keyStart, keyLength);
  }

  /** The block from memory, or undefined. */
  cachedBlock(index: number): Block | undefined {
    return this.source.getCached(this.fileNumber, this.meta.index.handle(index));
  }

  loadBlock(index: number): Promise<Block> {
    return this.source.load(this.fileNumber, this.meta.index.handle(index));
  }

  /** Whether a row may lie between the table's first and last. */
  coversRow(key: Uint8Array, keyStart: number, keyLength: number): boolean {
    const { smallestRowKey: low, largestRowKey: high } = this;
    return (
      compareRanges(low, 0, low.length, key, keyStart, keyLength) <= 0 &&
      compareRanges(high, 0, high.length, key, keyStart, keyLength) >= 0
    );
  }

  #take(block: Block): FindResult {
    if (!this.#search.sameRow) return ABSENT;
    const entry = this.#search.entry;
    this.foundRecord = block.bytes;
    this.foundStart = entry.keyAt + entry.unshared;
    this.foundLength = entry.valueLength;
    this.foundRevision = entry.revision;
    return FOUND;
  }
}

/** The decoded block of the stored `bytes` at `handle`: what a BlockSource calls after its read. */
export function readBlock(fileNumber: number, handle: BlockHandle, bytes: Uint8Array): Block {
  const where = blockName(fileNumber, handle.offset);
  if (bytes.length !== handle.sizeBytes)
    throw new CorruptionError(where, `${handle.sizeBytes} bytes`, `${bytes.length}`);
  const contents = decodeBlock(fileNumber, handle.offset, bytes);
  assert(contents.length > 0, 'an empty block');
  return new Block(contents, where);
}
