import { assert } from '../../base/assert.js';
import { CorruptionError } from '../../base/errors.js';
import { Block } from '../../lsm/table/block.js';
import type { BlockSource } from '../../lsm/table/block-source.js';
import type { Revision } from '../../lsm/row-key.js';
import { blockName, type BlockHandle } from '../../lsm/table/format.js';
import { footerRange, metaRanges, parseMeta } from '../../lsm/table/table-meta.js';
import { readBlock, TableReader } from '../../lsm/table/table-reader.js';
import type { TableFile } from '../../lsm/version/table-file.js';
import type { Disk, DiskFile } from '../../ports/disk.js';
import type { BlockCache } from '../cache/block-cache.js';
import type { ReadLimiter } from '../cache/read-limiter.js';
import type { BlockReader, BlockWaiter } from '../block-reader/block-reader.js';
import { readExactly } from '../file-io.js';
import { tableName } from './table-name.js';

/** A table of the tree: what the manifest says of it, and its open file with index and filter in memory. */
export interface OpenTable {
  readonly file: TableFile;
  readonly reader: TableReader;
}

interface Handle {
  readonly file: DiskFile;
  readonly reader: TableReader;
  /** Reads under way by offset: a block is read once however many wait for it. */
  readonly loading: Map<number, Promise<Block>>;
  /** The blocks that a reader going on in either direction would miss next. */
  expectedAbove: number;
  expectedBelow: number;
}

/**
 * A miss that continues the one before loads this many blocks more, so that a scan waits once for all of them: without it a
 * scan made one trip to the reader's thread and back for every 75 entries.
 */
const READAHEAD_BLOCKS = 8;
/** Never more than this share of the cache, or the blocks would be gone before they are used. */
const READAHEAD_CACHE_SHARE = 1 / 8;

/** The open table files of the main thread, and the way of their blocks into the cache. */
export class TableStore implements BlockSource {
  readonly #disk: Disk;
  readonly #directory: string;
  readonly #cache: BlockCache;
  readonly #limiter: ReadLimiter;
  readonly #reader: BlockReader | null;
  readonly #handles = new Map<number, Handle>();

  /** `reader`: a faster way to blocks, if there is one. */
  constructor(
    disk: Disk,
    directory: string,
    cache: BlockCache,
    limiter: ReadLimiter,
    reader: BlockReader | null = null,
  ) {
    this.#disk = disk;
    this.#directory = directory;
    this.#cache = cache;
    this.#limiter = limiter;
    this.#reader = reader;
  }

  path(fileNumber: number): string {
    return `${this.#directory}/${tableName(fileNumber)}`;
  }

  /** Opens a table that is complete and durable, and checks that it is the one that `table` describes. */
  async open(table: TableFile): Promise<OpenTable> {
    const { fileNumber, sizeBytes } = table;
    assert(!this.#handles.has(fileNumber), `table ${fileNumber} is open already`);
    const file = await this.#disk.open(this.path(fileNumber), 'read');
    try {
      const found = await file.size();
      if (found !== sizeBytes) throw new CorruptionError(file.path, `${sizeBytes} bytes`, `${found}`);
      const footerBytes = await readRange(file, footerRange(fileNumber, sizeBytes));
      const ranges = metaRanges(fileNumber, sizeBytes, footerBytes);
      const indexBytes = await readRange(file, ranges.index);
      const filterBytes = await readRange(file, ranges.filter);
      const meta = parseMeta(fileNumber, sizeBytes, footerBytes, indexBytes, filterBytes);
      const reader = new TableReader(meta, this);
      this.#handles.set(fileNumber, { file, reader, loading: new Map(), expectedAbove: -1, expectedBelow: -1 });
      return { file: table, reader };
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  getCached(fileNumber: number, handle: BlockHandle): Block | undefined {
    return this.#cache.get(fileNumber, handle.offset);
  }

  load(fileNumber: number, handle: BlockHandle): Promise<Block> {
    const table = this.#handles.get(fileNumber);
    assert(table !== undefined, `reading table ${fileNumber}, which is not open`);
    const under = table.loading.get(handle.offset);
    if (under !== undefined) return under;
    const loading = this.#startLoading(table, handle);
    this.#readAhead(table, handle);
    return loading;
  }

  /**
   * Has the block reader's thread search a block for the newest version of `row` at or below `revision`. False when the block is to
   * be loaded instead: it is worth its place in the cache, a read of it is under way, or the thread is busy or gone.
   */
  search(reader: TableReader, block: number, row: Uint8Array, revision: Revision, waiter: BlockWaiter): boolean {
    if (this.#reader === null) return false;
    const { fileNumber } = reader;
    const table = this.#handles.get(fileNumber);
    assert(table !== undefined, `searching table ${fileNumber}, which is not open`);
    const handle = reader.meta.index.handle(block);
    if (block === table.expectedAbove || block === table.expectedBelow) return false;
    if (table.loading.size > 0 && table.loading.has(handle.offset)) return false;
    if (this.#cache.wants(fileNumber, handle)) return false;
    return this.#reader.search(fileNumber, handle, row, revision, waiter);
  }

  /** Closes a table that nobody reads any more. */
  async close(fileNumber: number): Promise<void> {
    const table = this.#handles.get(fileNumber);
    assert(table !== undefined, `closing table ${fileNumber}, which is not open`);
    this.#handles.delete(fileNumber);
    this.#cache.dropFile(fileNumber);
    this.#reader?.forget(fileNumber);
    await table.file.close();
  }

  /** Removes a file that the manifest does not name, if it is there. */
  async remove(fileNumber: number): Promise<void> {
    const path = this.path(fileNumber);
    if (await this.#disk.exists(path)) await this.#disk.remove(path);
  }

  async closeAll(): Promise<void> {
    for (const fileNumber of [...this.#handles.keys()]) await this.close(fileNumber);
  }

  #startLoading(table: Handle, handle: BlockHandle): Promise<Block> {
    const loading = this.#read(table, handle);
    table.loading.set(handle.offset, loading);
    return loading;
  }

  #readAhead(table: Handle, handle: BlockHandle): void {
    const { index, properties, fileNumber } = table.reader.meta;
    const at = index.blockAt(handle.offset);
    const step = at === table.expectedAbove ? 1 : at === table.expectedBelow ? -1 : 0;
    table.expectedAbove = at + 1;
    table.expectedBelow = at - 1;
    if (step === 0) return;
    const blockBytes = properties.rawBytes / index.count;
    const most = Math.min(READAHEAD_BLOCKS, (this.#cache.capacityBytes * READAHEAD_CACHE_SHARE) / blockBytes);
    let next = at + step;
    for (let i = 1; i <= most && next >= 0 && next < index.count; i++, next += step) {
      const ahead = index.handle(next);
      if (table.loading.has(ahead.offset) || this.#cache.has(fileNumber, ahead.offset)) continue;
      // Whoever needs the block meets the error.
      this.#startLoading(table, ahead).catch(() => undefined);
    }
    if (step > 0) table.expectedAbove = next;
    else table.expectedBelow = next;
  }

  async #read(table: Handle, handle: BlockHandle): Promise<Block> {
    const { fileNumber } = table.reader;
    try {
      const decoded = (await this.#reader?.read(fileNumber, handle)) ?? null;
      const block =
        decoded === null
          ? await this.#limiter.run(async () => readBlock(fileNumber, handle, await readRange(table.file, handle)))
          : new Block(decoded, blockName(fileNumber, handle.offset));
      this.#cache.add(fileNumber, handle.offset, block);
      return block;
    } finally {
      table.loading.delete(handle.offset);
    }
  }
}

async function readRange(file: DiskFile, range: BlockHandle): Promise<Uint8Array> {
  const bytes = new Uint8Array(range.sizeBytes);
  await readExactly(file, bytes, range.offset);
  return bytes;
}
