import { compareRanges, readUint32, readUint53, writeUint32, writeUint53 } from '../../base/bytes.js';
import { CairnError, CorruptionError } from '../../base/errors.js';
import { placedChecksum } from './block-codec.js';
import {
  FOOTER_BYTES,
  FOOTER_CHECKSUM_AT,
  FOOTER_FILE_NUMBER_AT,
  FOOTER_FILTER_AT,
  FOOTER_INDEX_AT,
  FOOTER_MAGIC_AT,
  FOOTER_PROPERTIES_AT,
  FOOTER_VERSION_AT,
  TABLE_FORMAT_VERSION,
  TABLE_MAGIC,
  type BlockHandle,
} from './format.js';

export interface Footer {
  /** Of size 0 when the table has no filter. */
  readonly filter: BlockHandle;
  readonly index: BlockHandle;
  readonly properties: BlockHandle;
}

export function encodeFooter(fileNumber: number, offset: number, footer: Footer): Uint8Array {
  const bytes = new Uint8Array(FOOTER_BYTES);
  writeHandle(bytes, FOOTER_FILTER_AT, footer.filter);
  writeHandle(bytes, FOOTER_INDEX_AT, footer.index);
  writeHandle(bytes, FOOTER_PROPERTIES_AT, footer.properties);
  writeUint53(bytes, FOOTER_FILE_NUMBER_AT, fileNumber);
  writeUint32(bytes, FOOTER_VERSION_AT, TABLE_FORMAT_VERSION);
  writeUint32(bytes, FOOTER_CHECKSUM_AT, placedChecksum(fileNumber, offset, bytes.subarray(0, FOOTER_CHECKSUM_AT)));
  bytes.set(TABLE_MAGIC, FOOTER_MAGIC_AT);
  return bytes;
}

/** `bytes` are the last FOOTER_BYTES of a file of `sizeBytes`. */
export function parseFooter(fileNumber: number, sizeBytes: number, bytes: Uint8Array): Footer {
  const where = `table ${fileNumber}, footer`;
  if (sizeBytes < FOOTER_BYTES || bytes.length !== FOOTER_BYTES) {
    throw new CorruptionError(where, `${FOOTER_BYTES} bytes at the end of the file`, `${bytes.length} of ${sizeBytes}`);
  }
  if (compareRanges(bytes, FOOTER_MAGIC_AT, TABLE_MAGIC.length, TABLE_MAGIC, 0, TABLE_MAGIC.length) !== 0) {
    const found = Buffer.from(bytes.subarray(FOOTER_MAGIC_AT)).toString('hex');
    throw new CorruptionError(where, 'the magic "CairnSST"', `bytes ${found}`);
  }
  const offset = sizeBytes - FOOTER_BYTES;
  const expected = readUint32(bytes, FOOTER_CHECKSUM_AT);
  const found = placedChecksum(fileNumber, offset, bytes.subarray(0, FOOTER_CHECKSUM_AT));
  if (found !== expected) {
    const writtenAs = readUint53(bytes, FOOTER_FILE_NUMBER_AT);
    const what = `${found.toString(16)} (the footer names table ${writtenAs})`;
    throw new CorruptionError(where, `CRC32C ${expected.toString(16)}`, what);
  }
  const version = readUint32(bytes, FOOTER_VERSION_AT);
  if (version !== TABLE_FORMAT_VERSION) {
    throw new CairnError(
      'configuration',
      `${where}: expected format version ${TABLE_FORMAT_VERSION}, found ${version}; a newer Cairn wrote this table`,
    );
  }
  const footer = {
    filter: readHandle(bytes, FOOTER_FILTER_AT),
    index: readHandle(bytes, FOOTER_INDEX_AT),
    properties: readHandle(bytes, FOOTER_PROPERTIES_AT),
  };
  const filterEnd = footer.filter.offset + footer.filter.sizeBytes;
  const indexEnd = footer.index.offset + footer.index.sizeBytes;
  const propertiesEnd = footer.properties.offset + footer.properties.sizeBytes;
  if (footer.index.offset !== filterEnd || footer.properties.offset !== indexEnd || propertiesEnd !== offset) {
    const layout = `ends ${filterEnd}, ${indexEnd}, ${propertiesEnd}`;
    throw new CorruptionError(where, `filter, index and properties one behind the other up to ${offset}`, layout);
  }
  return footer;
}

function writeHandle(bytes: Uint8Array, at: number, handle: BlockHandle): void {
  writeUint53(bytes, at, handle.offset);
  writeUint32(bytes, at + 8, handle.sizeBytes);
}

function readHandle(bytes: Uint8Array, at: number): BlockHandle {
  return { offset: readUint53(bytes, at), sizeBytes: readUint32(bytes, at + 8) };
}
