import { assert } from '../../base/assert.js';
import { copyBytes } from '../../base/bytes.js';
import { Block } from '../../lsm/table/block.js';
import type { BlockSource } from '../../lsm/table/block-source.js';
import type { BlockHandle } from '../../lsm/table/format.js';
import { parseTableMeta } from '../../lsm/table/table-meta.js';
import { readBlock, TableReader } from '../../lsm/table/table-reader.js';
import type { SyncDisk, SyncFile } from '../../ports/disk.js';
import { readExactlySync } from '../file-io.js';

/** Larger blocks get memory of their own. */
const SCRATCH_BYTES = 64 * 1024;

/**
 * Tables read in place by a worker, blocks read as they are needed and kept by nobody: a merge reads each block once, so the main
 * thread's block cache stays as it is.
 */
export class SyncBlockSource implements BlockSource {
  readonly #disk: SyncDisk;
  readonly #files = new Map<number, SyncFile>();
  /** Stored blocks are read into it: an array for each left megabytes behind between two collections. */
  readonly #scratch = new Uint8Array(SCRATCH_BYTES);

  constructor(disk: SyncDisk) {
    this.#disk = disk;
  }

  /** Without its filter: a merge asks for no single row. */
  open(path: string, fileNumber: number): TableReader {
    const file = this.#disk.open(path, 'read');
    this.#files.set(fileNumber, file);
    const readRange = (offset: number, length: number): Uint8Array => {
      const bytes = new Uint8Array(length);
      readExactlySync(file, bytes, offset);
      return bytes;
    };
    const meta = parseTableMeta(fileNumber, file.size(), readRange, false);
    return new TableReader(meta, this);
  }

  getCached(fileNumber: number, handle: BlockHandle): Block {
    const file = this.#files.get(fileNumber);
    assert(file !== undefined, `reading table ${fileNumber}, which is not open`);
    const { sizeBytes } = handle;
    const bytes = sizeBytes <= SCRATCH_BYTES ? this.#scratch.subarray(0, sizeBytes) : new Uint8Array(sizeBytes);
    readExactlySync(file, bytes, handle.offset);
    const block = readBlock(fileNumber, handle, bytes);
    // What was stored uncompressed is a view of what was read, and cursors keep views of blocks.
    return block.bytes.buffer === this.#scratch.buffer ? new Block(copyBytes(block.bytes), block.where) : block;
  }

  load(fileNumber: number, handle: BlockHandle): Promise<Block> {
    return Promise.resolve(this.getCached(fileNumber, handle));
  }

  close(): void {
    for (const file of this.#files.values()) file.close();
    this.#files.clear();
  }
}
