import { CorruptionError } from '../../base/errors.js';
import { decodeBlock } from './block-codec.js';
import { BLOOM_BLOCK_BYTES } from './bloom-filter.js';
import { parseFooter } from './footer.js';
import { blockName, FOOTER_BYTES, type BlockHandle } from './format.js';
import { decodeProperties, type TableProperties } from './properties.js';
import { TableIndex } from './table-index.js';

const NONE = new Uint8Array(0);

/** What stays in memory of an open table. */
export interface TableMeta {
  readonly fileNumber: number;
  readonly sizeBytes: number;
  readonly properties: TableProperties;
  readonly index: TableIndex;
  /** Empty when the table has none, it was not read or it is corrupt: then every read looks into the table. */
  readonly filter: Uint8Array;
  /** Set when the filter's block failed its check. The data is not affected; a compaction writes a new filter. */
  readonly filterError: CorruptionError | undefined;
}

/** The first step of opening a table without blocking: read this range. */
export function footerRange(fileNumber: number, sizeBytes: number): BlockHandle {
  if (sizeBytes < FOOTER_BYTES) {
    throw new CorruptionError(`table ${fileNumber}`, `at least ${FOOTER_BYTES} bytes`, `${sizeBytes}`);
  }
  return { offset: sizeBytes - FOOTER_BYTES, sizeBytes: FOOTER_BYTES };
}

/** What to read after the footer. */
export interface MetaRanges {
  /** Of size 0 when the table has no filter. */
  readonly filter: BlockHandle;
  /** Index and properties. */
  readonly index: BlockHandle;
}

/** The second step: read these ranges; point reads need the filter, a merge does not. */
export function metaRanges(fileNumber: number, sizeBytes: number, footerBytes: Uint8Array): MetaRanges {
  const { filter, index } = parseFooter(fileNumber, sizeBytes, footerBytes);
  return { filter, index: { offset: index.offset, sizeBytes: sizeBytes - FOOTER_BYTES - index.offset } };
}

/**
 * The last step: the bytes of these ranges. Without those of the filter, which is kept as it lies in them, every read looks into
 * the table.
 */
export function parseMeta(
  fileNumber: number,
  sizeBytes: number,
  footerBytes: Uint8Array,
  indexBytes: Uint8Array,
  filterBytes: Uint8Array = NONE,
): TableMeta {
  const footer = parseFooter(fileNumber, sizeBytes, footerBytes);
  const expected = sizeBytes - FOOTER_BYTES - footer.index.offset;
  if (indexBytes.length !== expected) {
    throw new CorruptionError(`table ${fileNumber}, meta`, `${expected} bytes`, `${indexBytes.length}`);
  }
  const part = (handle: BlockHandle): Uint8Array => {
    const start = handle.offset - footer.index.offset;
    return decodeBlock(fileNumber, handle.offset, indexBytes.subarray(start, start + handle.sizeBytes));
  };
  const propertiesName = `${blockName(fileNumber, footer.properties.offset)} (properties)`;
  const indexName = `${blockName(fileNumber, footer.index.offset)} (index)`;
  const properties = decodeProperties(part(footer.properties), propertiesName);
  const index = new TableIndex(part(footer.index), properties.blockCount, indexName);
  if (index.dataBytes !== footer.filter.offset) {
    throw new CorruptionError(indexName, `data blocks up to ${footer.filter.offset}`, `${index.dataBytes}`);
  }
  return { fileNumber, sizeBytes, properties, index, ...readFilter(fileNumber, footer.filter, filterBytes) };
}

/** All steps at once, for callers that read synchronously. */
export function parseTableMeta(
  fileNumber: number,
  sizeBytes: number,
  readRange: (offset: number, length: number) => Uint8Array,
  withFilter = true,
): TableMeta {
  const footer = footerRange(fileNumber, sizeBytes);
  const footerBytes = readRange(footer.offset, footer.sizeBytes);
  const { index, filter } = metaRanges(fileNumber, sizeBytes, footerBytes);
  const indexBytes = readRange(index.offset, index.sizeBytes);
  const filterBytes = withFilter ? readRange(filter.offset, filter.sizeBytes) : NONE;
  return parseMeta(fileNumber, sizeBytes, footerBytes, indexBytes, filterBytes);
}

function readFilter(
  fileNumber: number,
  handle: BlockHandle,
  bytes: Uint8Array,
): Pick<TableMeta, 'filter' | 'filterError'> {
  if (bytes.length === 0) return { filter: NONE, filterError: undefined };
  const where = `${blockName(fileNumber, handle.offset)} (filter)`;
  try {
    if (bytes.length !== handle.sizeBytes) {
      throw new CorruptionError(where, `${handle.sizeBytes} bytes`, `${bytes.length}`);
    }
    const filter = decodeBlock(fileNumber, handle.offset, bytes);
    if (filter.length % BLOOM_BLOCK_BYTES !== 0) {
      throw new CorruptionError(where, `a multiple of ${BLOOM_BLOCK_BYTES} bytes`, `${filter.length}`);
    }
    return { filter, filterError: undefined };
  } catch (error) {
    if (!(error instanceof CorruptionError)) throw error;
    return { filter: NONE, filterError: error };
  }
}
