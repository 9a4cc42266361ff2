import { copyBytes } from '../../base/bytes.js';
import { CorruptionError } from '../../base/errors.js';
import { decodeBlock } from './block-codec.js';
import { BLOOM_BLOCK_BYTES } from './bloom-filter.js';
import { parseFooter, type Footer } from './footer.js';
import { blockName, FOOTER_BYTES, type BlockHandle } from './format.js';
import { decodeProperties, type TableProperties } from './properties.js';
import { TableIndex } from './table-index.js';

/** What stays in memory of an open table. */
export interface TableMeta {
  readonly fileNumber: number;
  readonly sizeBytes: number;
  readonly properties: TableProperties;
  readonly index: TableIndex;
  /** Empty when the table has none or it is corrupt: then every read looks into the table. */
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

/** The second step: filter, index and properties lie in this range. */
export function metaRange(fileNumber: number, sizeBytes: number, footerBytes: Uint8Array): BlockHandle {
  const footer = parseFooter(fileNumber, sizeBytes, footerBytes);
  return { offset: footer.filter.offset, sizeBytes: sizeBytes - FOOTER_BYTES - footer.filter.offset };
}

/** The last step: `metaBytes` are the bytes of `metaRange`. */
export function parseMeta(
  fileNumber: number,
  sizeBytes: number,
  footerBytes: Uint8Array,
  metaBytes: Uint8Array,
): TableMeta {
  const footer = parseFooter(fileNumber, sizeBytes, footerBytes);
  const base = footer.filter.offset;
  const expected = sizeBytes - FOOTER_BYTES - base;
  if (metaBytes.length !== expected) {
    throw new CorruptionError(`table ${fileNumber}, meta`, `${expected} bytes`, `${metaBytes.length}`);
  }
  const part = (handle: BlockHandle): Uint8Array => {
    const start = handle.offset - base;
    return decodeBlock(fileNumber, handle.offset, metaBytes.subarray(start, start + handle.sizeBytes));
  };
  const propertiesName = `${blockName(fileNumber, footer.properties.offset)} (properties)`;
  const indexName = `${blockName(fileNumber, footer.index.offset)} (index)`;
  const properties = decodeProperties(part(footer.properties), propertiesName);
  const index = new TableIndex(part(footer.index), properties.blockCount, indexName);
  if (index.dataBytes !== base) {
    throw new CorruptionError(indexName, `data blocks up to ${base}`, `${index.dataBytes}`);
  }
  return { fileNumber, sizeBytes, properties, index, ...readFilter(fileNumber, footer, part) };
}

/** All steps at once, for callers that read synchronously. */
export function parseTableMeta(
  fileNumber: number,
  sizeBytes: number,
  readRange: (offset: number, length: number) => Uint8Array,
): TableMeta {
  const footer = footerRange(fileNumber, sizeBytes);
  const footerBytes = readRange(footer.offset, footer.sizeBytes);
  const meta = metaRange(fileNumber, sizeBytes, footerBytes);
  return parseMeta(fileNumber, sizeBytes, footerBytes, readRange(meta.offset, meta.sizeBytes));
}

function readFilter(
  fileNumber: number,
  footer: Footer,
  part: (handle: BlockHandle) => Uint8Array,
): Pick<TableMeta, 'filter' | 'filterError'> {
  const none = new Uint8Array(0);
  if (footer.filter.sizeBytes === 0) return { filter: none, filterError: undefined };
  try {
    const filter = part(footer.filter);
    if (filter.length % BLOOM_BLOCK_BYTES !== 0) {
      const where = `${blockName(fileNumber, footer.filter.offset)} (filter)`;
      throw new CorruptionError(where, `a multiple of ${BLOOM_BLOCK_BYTES} bytes`, `${filter.length}`);
    }
    // A copy, so that a small filter does not hold the buffer of the whole range.
    return { filter: copyBytes(filter), filterError: undefined };
  } catch (error) {
    if (!(error instanceof CorruptionError)) throw error;
    return { filter: none, filterError: error };
  }
}
