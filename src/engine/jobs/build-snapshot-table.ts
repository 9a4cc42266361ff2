import { compareRanges } from '../../base/bytes.js';
import { CorruptionError } from '../../base/errors.js';
import { MAX_ROW_KEY_BYTES, REPLICA_ID_BYTES, writeReplicaId, type Revision } from '../../lsm/row-key.js';
import type { TableOptions } from '../../lsm/table/table-builder.js';
import type { TableFile } from '../../lsm/version/table-file.js';
import type { SyncDisk } from '../../ports/disk.js';
import { ChunkReader } from '../snapshot/chunk-format.js';
import { TableWriter } from './table-writer.js';

export interface BuildSnapshotTableInput {
  /** Chunks of a snapshot, one behind the other; their checksums are checked. */
  readonly buffer: SharedArrayBuffer;
  readonly byteLength: number;
  /** Whose rows they become. */
  readonly replicaId: number;
  readonly fileNumber: number;
  readonly path: string;
  readonly table: Partial<TableOptions>;
}

export interface BuildSnapshotTableOutput {
  /** Written, but not synced. */
  readonly table: TableFile;
  /** Of its first and its last entry: the rows at its ends may go on in the tables before and behind it. */
  readonly firstRevision: Revision;
  readonly lastRevision: Revision;
}

/** Writes the entries of some chunks, at least one, as a table. CorruptionError when they are not in order or malformed. */
export function runBuildSnapshotTable(disk: SyncDisk, input: BuildSnapshotTableInput): BuildSnapshotTableOutput {
  const reader = new ChunkReader(new Uint8Array(input.buffer, 0, input.byteLength));
  const row = new Uint8Array(MAX_ROW_KEY_BYTES);
  writeReplicaId(row, 0, input.replicaId);
  let keyLength = 0;
  let firstRevision: Revision = -1;
  let lastRevision: Revision = -1;
  const writer = new TableWriter(disk, input.path, input.fileNumber, input.table);
  try {
    while (reader.next()) {
      const { bytes, keyStart, revision } = reader;
      let order = -1;
      if (reader.isNewKey) {
        order = compareRanges(row, REPLICA_ID_BYTES, keyLength, bytes, keyStart, reader.keyLength);
        keyLength = reader.keyLength;
        for (let i = 0; i < keyLength; i++) row[REPLICA_ID_BYTES + i] = bytes[keyStart + i]!;
      } else {
        order = 0;
      }
      if (order > 0 || (order === 0 && revision >= lastRevision)) {
        throw new CorruptionError('snapshot', 'rows ascending and versions descending', 'entries out of order');
      }
      if (firstRevision < 0) firstRevision = revision;
      lastRevision = revision;
      const { recordStart, recordLength } = reader;
      writer.builder.add(row, 0, REPLICA_ID_BYTES + keyLength, revision, bytes, recordStart, recordLength);
    }
    return { table: writer.finish(), firstRevision, lastRevision };
  } finally {
    writer.close();
  }
}
