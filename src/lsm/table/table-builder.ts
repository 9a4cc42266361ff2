import { assert } from '../../base/assert.js';
import { compareRanges, copyBytes } from '../../base/bytes.js';
import { xxHash32 } from '../../base/hash.js';
import { FLAG_TOMBSTONE, recordExpiresAt } from '../record.js';
import {
  LATEST,
  MAX_ROW_KEY_BYTES,
  readReplicaId,
  REPLICA_ID_BYTES,
  REVISION_TRAILER_BYTES,
  writeRevisionTrailer,
  type Revision,
} from '../row-key.js';
import { BlockBuilder } from './block-builder.js';
import { encodeBlock } from './block-codec.js';
import { addToBloomFilter, bloomFilterBytes, rowHash } from './bloom-filter.js';
import { BLOCK_TRAILER_BYTES, FOOTER_BYTES, type BlockHandle } from './format.js';
import { encodeFooter } from './footer.js';
import { encodeProperties, type TableProperties } from './properties.js';
import { RowHashes } from './row-hashes.js';
import { TableIndexBuilder } from './table-index.js';

export interface TableOptions {
  /** A block is closed when it holds this many bytes before compression. */
  readonly blockSizeBytes: number;
  /** Entries between two keys that are stored whole. */
  readonly restartInterval: number;
  /** 0: no filter. */
  readonly bloomBitsPerRow: number;
  readonly compress: boolean;
  /** Kept in the properties. */
  readonly createdAtRevision: Revision;
}

/** Measured with bench/micro/table.ts; FORMAT.md has the figures. */
export const DEFAULT_TABLE_OPTIONS: TableOptions = {
  blockSizeBytes: 8 * 1024,
  restartInterval: 16,
  bloomBitsPerRow: 10,
  compress: true,
  createdAtRevision: 0,
};

export interface FinishedTable extends TableProperties {
  readonly sizeBytes: number;
}

/** Writes one table (FORMAT.md) from entries in cursor order. A piece given to `sink` is valid until that returns. */
export class TableBuilder {
  readonly #fileNumber: number;
  readonly #options: TableOptions;
  readonly #sink: (bytes: Uint8Array) => void;
  readonly #block: BlockBuilder;
  /** For blocks in their stored form. */
  readonly #stored: Uint8Array;
  readonly #index = new TableIndexBuilder();
  #offset = 0;
  #finished = false;

  /** The entry before: row key and revision. */
  #lastKey = new Uint8Array(MAX_ROW_KEY_BYTES);
  #lastKeyLength = 0;
  #lastRevision: Revision = 0;
  #smallest: Uint8Array | undefined;
  /** Separator of the block being filled (table-index.ts). */
  #separator = new Uint8Array(0);
  #separatorRevision: Revision = LATEST;

  readonly #hashes = new RowHashes();
  #rowCount = 0;
  #entryCount = 0;
  #tombstoneCount = 0;
  #expiringCount = 0;
  #rawBytes = 0;
  #minRevision: Revision = LATEST;
  #maxRevision: Revision = 0;
  #earliestGarbageRevision: Revision = LATEST;

  constructor(fileNumber: number, options: Partial<TableOptions>, sink: (bytes: Uint8Array) => void) {
    this.#fileNumber = fileNumber;
    this.#options = { ...DEFAULT_TABLE_OPTIONS, ...options };
    this.#sink = sink;
    this.#block = new BlockBuilder(this.#options.restartInterval, this.#options.blockSizeBytes);
    this.#stored = new Uint8Array(2 * this.#options.blockSizeBytes);
  }

  get entryCount(): number {
    return this.#entryCount;
  }

  /** Of keys and records so far, before compression. */
  get rawBytes(): number {
    return this.#rawBytes;
  }

  /** About the size of the file if it ended here; the block being filled counts uncompressed. */
  get estimatedBytes(): number {
    const filterBytes = (this.#rowCount * this.#options.bloomBitsPerRow) / 8;
    const open = this.#block.entryCount === 0 ? 0 : this.#block.sizeBytes;
    return this.#offset + open + Math.ceil(filterBytes) + this.#index.sizeBytes + FOOTER_BYTES;
  }

  /** Entries come in cursor order: row key ascending, then revision descending, none twice. */
  add(
    key: Uint8Array,
    keyStart: number,
    keyLength: number,
    revision: Revision,
    record: Uint8Array,
    recordStart: number,
    recordLength: number,
  ): void {
    assert(keyLength > REPLICA_ID_BYTES && keyLength <= MAX_ROW_KEY_BYTES, `row key of ${keyLength} bytes`);
    assert(recordLength > 0, 'an empty record');
    assert(Number.isSafeInteger(revision) && revision >= 0, `revision ${revision}`);
    const order = compareRanges(this.#lastKey, 0, this.#lastKeyLength, key, keyStart, keyLength);
    const sameRow = order === 0;
    assert(order < 0 || (sameRow && this.#lastRevision > revision), 'entries out of order');
    // A value that fills a block alone does not share one with small entries: reading those would decode it.
    if (this.#block.entryCount > 0 && recordLength >= this.#options.blockSizeBytes) this.#closeBlock();
    if (this.#block.entryCount === 0) this.#openBlock(key, keyStart, keyLength, revision, sameRow);
    this.#block.add(key, keyStart, keyLength, revision, record, recordStart, recordLength);
    if (sameRow) this.#noteGarbage(this.#lastRevision);
    else this.#addRow(key, keyStart, keyLength, revision);
    this.#lastRevision = revision;
    this.#count(revision, record, recordStart);
    this.#rawBytes += keyLength + recordLength;
    if (this.#block.sizeBytes >= this.#options.blockSizeBytes) this.#closeBlock();
  }

  /** Writes filter, index, properties and footer. There must be at least one entry. */
  finish(): FinishedTable {
    assert(!this.#finished && this.#smallest !== undefined, 'finish of a finished or empty table');
    this.#finished = true;
    if (this.#block.entryCount > 0) this.#closeBlock();
    const dataBytes = this.#offset;
    const filter = this.#writeFilter();
    const index = this.#write(this.#index.finish(), true);
    const properties: TableProperties = {
      entryCount: this.#entryCount,
      rowCount: this.#rowCount,
      tombstoneCount: this.#tombstoneCount,
      expiringCount: this.#expiringCount,
      blockCount: this.#index.count,
      rawBytes: this.#rawBytes,
      dataBytes,
      minRevision: this.#minRevision,
      maxRevision: this.#maxRevision,
      earliestGarbageRevision: this.#earliestGarbageRevision,
      createdAtRevision: this.#options.createdAtRevision,
      smallest: this.#smallest,
      largest: internalKey(this.#lastKey, 0, this.#lastKeyLength, this.#lastRevision),
    };
    const propertiesHandle = this.#write(encodeProperties(properties), true);
    const footer = { filter, index, properties: propertiesHandle };
    this.#sink(encodeFooter(this.#fileNumber, this.#offset, footer));
    this.#offset += FOOTER_BYTES;
    return { ...properties, sizeBytes: this.#offset };
  }

  #openBlock(key: Uint8Array, keyStart: number, keyLength: number, revision: Revision, sameRow: boolean): void {
    if (sameRow) {
      this.#separator = copyBytes(key, keyStart, keyLength);
      this.#separatorRevision = revision;
      return;
    }
    const last = this.#lastKey;
    const most = Math.min(keyLength, this.#lastKeyLength);
    let shared = 0;
    while (shared < most && last[shared] === key[keyStart + shared]) shared++;
    this.#separator = copyBytes(key, keyStart, shared + 1);
    this.#separatorRevision = LATEST;
  }

  #closeBlock(): void {
    const handle = this.#write(this.#block.finish(), this.#options.compress);
    this.#index.add(this.#separator, this.#separatorRevision, handle.sizeBytes);
    this.#block.reset();
  }

  #writeFilter(): BlockHandle {
    if (this.#options.bloomBitsPerRow === 0) return { offset: this.#offset, sizeBytes: 0 };
    const filterBytes = bloomFilterBytes(this.#rowCount, this.#options.bloomBitsPerRow);
    // With room for its trailer, or it would be copied.
    const stored = new Uint8Array(filterBytes + BLOCK_TRAILER_BYTES);
    const filter = stored.subarray(0, filterBytes);
    for (const hashes of this.#hashes.pieces()) addToBloomFilter(filter, hashes);
    return this.#write(filter, false, stored);
  }

  #write(raw: Uint8Array, compress: boolean, target = this.#stored): BlockHandle {
    const stored = encodeBlock(this.#fileNumber, this.#offset, raw, compress, target);
    const handle = { offset: this.#offset, sizeBytes: stored.length };
    this.#sink(stored);
    this.#offset += stored.length;
    return handle;
  }

  #addRow(key: Uint8Array, keyStart: number, keyLength: number, revision: Revision): void {
    const userKeyHash = xxHash32(key, keyStart + REPLICA_ID_BYTES, keyLength - REPLICA_ID_BYTES);
    this.#hashes.add(rowHash(userKeyHash, readReplicaId(key, keyStart)));
    this.#rowCount++;
    this.#smallest ??= internalKey(key, keyStart, keyLength, revision);
    const last = this.#lastKey;
    for (let i = 0; i < keyLength; i++) last[i] = key[keyStart + i]!;
    this.#lastKeyLength = keyLength;
  }

  #count(revision: Revision, record: Uint8Array, recordStart: number): void {
    this.#entryCount++;
    if (revision < this.#minRevision) this.#minRevision = revision;
    if (revision > this.#maxRevision) this.#maxRevision = revision;
    const flags = record[recordStart]!;
    if (flags === 0) return;
    if ((flags & FLAG_TOMBSTONE) !== 0) {
      this.#tombstoneCount++;
      this.#noteGarbage(revision);
    }
    const expiresAt = recordExpiresAt(record, recordStart);
    if (expiresAt > 0) {
      this.#expiringCount++;
      this.#noteGarbage(expiresAt);
    }
  }

  #noteGarbage(revision: Revision): void {
    if (revision < this.#earliestGarbageRevision) this.#earliestGarbageRevision = revision;
  }
}

function internalKey(key: Uint8Array, keyStart: number, keyLength: number, revision: Revision): Uint8Array {
  const bytes = new Uint8Array(keyLength + REVISION_TRAILER_BYTES);
  bytes.set(key.subarray(keyStart, keyStart + keyLength));
  writeRevisionTrailer(bytes, keyLength, revision);
  return bytes;
}
