import { assert } from '../../base/assert.js';
import { CorruptionError } from '../../base/errors.js';
import type { Block } from '../../lsm/table/block.js';
import type { BlockSource } from '../../lsm/table/block-source.js';
import type { BlockHandle } from '../../lsm/table/format.js';
import { footerRange, metaRange, parseMeta } from '../../lsm/table/table-meta.js';
import { readBlock, TableReader } from '../../lsm/table/table-reader.js';
import type { TableFile } from '../../lsm/version/table-file.js';
import type { Disk, DiskFile } from '../../ports/disk.js';
import type { BlockCache } from '../cache/block-cache.js';
import type { ReadLimiter } from '../cache/read-limiter.js';
import { readExactly } from '../file-io.js';

/** A table of the tree: what the manifest says of it, and its open file with index and filter in memory. */
export interface OpenTable {
  readonly file: TableFile;
  readonly reader: TableReader;
}

export function tableName(fileNumber: number): string {
  return `${String(fileNumber).padStart(6, '0')}.sst`;
}

export function parseTableName(name: string): number | null {
  const match = /^([0-9]{6,15})\.sst$/.exec(name);
  return match === null ? null : Number(match[1]);
}

interface Handle {
  readonly file: DiskFile;
  /** Reads under way by offset: a block is read once however many wait for it. */
  readonly loading: Map<number, Promise<Block>>;
}

/** The open table files of the main thread, and the way of their blocks into the cache. */
export class TableStore implements BlockSource {
  readonly #disk: Disk;
  readonly #directory: string;
  readonly #cache: BlockCache;
  readonly #limiter: ReadLimiter;
  readonly #handles = new Map<number, Handle>();

  constructor(disk: Disk, directory: string, cache: BlockCache, limiter: ReadLimiter) {
    this.#disk = disk;
    this.#directory = directory;
    this.#cache = cache;
    this.#limiter = limiter;
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
      const metaBytes = await readRange(file, metaRange(fileNumber, sizeBytes, footerBytes));
      const reader = new TableReader(parseMeta(fileNumber, sizeBytes, footerBytes, metaBytes), this);
      this.#handles.set(fileNumber, { file, loading: new Map() });
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
    const loading = this.#limiter.run(() => this.#read(table, fileNumber, handle));
    table.loading.set(handle.offset, loading);
    return loading;
  }

  /** Closes a table that nobody reads any more. */
  async close(fileNumber: number): Promise<void> {
    const table = this.#handles.get(fileNumber);
    assert(table !== undefined, `closing table ${fileNumber}, which is not open`);
    this.#handles.delete(fileNumber);
    this.#cache.dropFile(fileNumber);
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

  async #read(table: Handle, fileNumber: number, handle: BlockHandle): Promise<Block> {
    try {
      const block = readBlock(fileNumber, handle, await readRange(table.file, handle));
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
