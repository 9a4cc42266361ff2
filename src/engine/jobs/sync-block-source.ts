import { assert } from '../../base/assert.js';
import type { Block } from '../../lsm/table/block.js';
import type { BlockSource } from '../../lsm/table/block-source.js';
import type { BlockHandle } from '../../lsm/table/format.js';
import { parseTableMeta } from '../../lsm/table/table-meta.js';
import { readBlock, TableReader } from '../../lsm/table/table-reader.js';
import type { SyncDisk, SyncFile } from '../../ports/disk.js';
import { readExactlySync } from '../file-io.js';

/**
 * Tables read in place by a worker, blocks read as they are needed and kept by nobody: a merge reads each block once, so the main
 * thread's block cache stays as it is.
 */
export class SyncBlockSource implements BlockSource {
  readonly #disk: SyncDisk;
  readonly #files = new Map<number, SyncFile>();

  constructor(disk: SyncDisk) {
    this.#disk = disk;
  }

  open(path: string, fileNumber: number): TableReader {
    const file = this.#disk.open(path, 'read');
    this.#files.set(fileNumber, file);
    const meta = parseTableMeta(fileNumber, file.size(), (offset, length) => {
      const bytes = new Uint8Array(length);
      readExactlySync(file, bytes, offset);
      return bytes;
    });
    return new TableReader(meta, this);
  }

  getCached(fileNumber: number, handle: BlockHandle): Block {
    const file = this.#files.get(fileNumber);
    assert(file !== undefined, `reading table ${fileNumber}, which is not open`);
    const bytes = new Uint8Array(handle.sizeBytes);
    readExactlySync(file, bytes, handle.offset);
    return readBlock(fileNumber, handle, bytes);
  }

  load(fileNumber: number, handle: BlockHandle): Promise<Block> {
    return Promise.resolve(this.getCached(fileNumber, handle));
  }

  close(): void {
    for (const file of this.#files.values()) file.close();
    this.#files.clear();
  }
}
