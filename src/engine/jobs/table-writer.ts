import { REVISION_TRAILER_BYTES } from '../../lsm/row-key.js';
import { TableBuilder, type FinishedTable, type TableOptions } from '../../lsm/table/table-builder.js';
import type { TableFile } from '../../lsm/version/table-file.js';
import type { SyncDisk, SyncFile } from '../../ports/disk.js';
import { writeFullySync } from '../file-io.js';

/** Pieces are gathered so that a system call writes this much at once. */
const WRITE_BYTES = 256 * 1024;

/** Writes a table file from a worker. The caller decides who syncs it. */
export class TableWriter {
  readonly builder: TableBuilder;
  readonly #file: SyncFile;
  readonly #fileNumber: number;
  readonly #buffer = new Uint8Array(WRITE_BYTES);
  #buffered = 0;
  #written = 0;

  constructor(disk: SyncDisk, path: string, fileNumber: number, options: Partial<TableOptions>) {
    this.#fileNumber = fileNumber;
    this.#file = disk.open(path, 'create');
    this.builder = new TableBuilder(fileNumber, options, (bytes) => this.#take(bytes));
  }

  /** Writes what is left. The table must have an entry. */
  finish(): TableFile {
    const finished = this.builder.finish();
    this.#writeBuffer();
    return describe(this.#fileNumber, finished);
  }

  sync(): void {
    this.#file.sync();
  }

  close(): void {
    this.#file.close();
  }

  #take(bytes: Uint8Array): void {
    if (this.#buffered + bytes.length > WRITE_BYTES) this.#writeBuffer();
    if (bytes.length >= WRITE_BYTES) {
      this.#write(bytes);
      return;
    }
    this.#buffer.set(bytes, this.#buffered);
    this.#buffered += bytes.length;
  }

  #writeBuffer(): void {
    if (this.#buffered > 0) this.#write(this.#buffer.subarray(0, this.#buffered));
    this.#buffered = 0;
  }

  #write(bytes: Uint8Array): void {
    writeFullySync(this.#file, bytes, this.#written);
    this.#written += bytes.length;
  }
}

function describe(fileNumber: number, table: FinishedTable): TableFile {
  return {
    fileNumber,
    sizeBytes: table.sizeBytes,
    entryCount: table.entryCount,
    smallestRow: table.smallest.slice(0, table.smallest.length - REVISION_TRAILER_BYTES),
    largestRow: table.largest.slice(0, table.largest.length - REVISION_TRAILER_BYTES),
    smallestRevision: table.minRevision,
    largestRevision: table.maxRevision,
  };
}
