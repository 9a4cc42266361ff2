import { readUint32, writeUint32, writeUint53 } from '../../base/bytes.js';
import { assert } from '../../base/assert.js';
import { CorruptionError } from '../../base/errors.js';
import { crc32c } from '../../codec/crc32c.js';
import { lz4Compress, lz4Decompress } from '../../codec/lz4.js';
import { BLOCK_TRAILER_BYTES, blockName, COMPRESSION_LZ4, COMPRESSION_NONE, MAX_BLOCK_BYTES } from './format.js';

const place = new Uint8Array(16);

/**
 * A checksum that starts from the block's place, so that a block of another file or offset (a misdirected read or
 * write) is as wrong as a flipped bit.
 */
export function placedChecksum(fileNumber: number, offset: number, bytes: Uint8Array): number {
  writeUint53(place, 0, fileNumber);
  writeUint53(place, 8, offset);
  return crc32c(bytes, crc32c(place));
}

/**
 * The stored form of a block that will stand at `offset` of its file. One above MAX_BLOCK_BYTES is not compressed, so that the cap
 * on declared sizes holds for all: the filter or the index of a large table (4 KiB keys that differ at their end) may be.
 * The result is a view of `target` if that is large enough.
 */
export function encodeBlock(
  fileNumber: number,
  offset: number,
  raw: Uint8Array,
  compress: boolean,
  target?: Uint8Array,
): Uint8Array {
  assert(raw.length > 0, 'an empty block');
  let payload = raw;
  let compression = COMPRESSION_NONE;
  if (compress && raw.length <= MAX_BLOCK_BYTES) {
    const packed = lz4Compress(raw);
    // Less than an eighth saved does not pay for decompressing at every read.
    if (packed.length <= raw.length - (raw.length >>> 3)) {
      payload = packed;
      compression = COMPRESSION_LZ4;
    }
  }
  const storedBytes = payload.length + BLOCK_TRAILER_BYTES;
  const stored =
    target !== undefined && storedBytes <= target.length
      ? target.subarray(0, storedBytes)
      : new Uint8Array(storedBytes);
  stored.set(payload);
  stored[payload.length] = compression;
  const checksum = placedChecksum(fileNumber, offset, stored.subarray(0, payload.length + 1));
  writeUint32(stored, payload.length + 1, checksum);
  return stored;
}

/**
 * The contents of the stored block `bytes` (trailer included). The checksum is verified before anything else is
 * believed. Uncompressed contents are a view on `bytes`.
 */
export function decodeBlock(fileNumber: number, offset: number, bytes: Uint8Array): Uint8Array {
  const where = blockName(fileNumber, offset);
  const payloadBytes = bytes.length - BLOCK_TRAILER_BYTES;
  if (payloadBytes <= 0) {
    throw new CorruptionError(where, `more than ${BLOCK_TRAILER_BYTES} bytes`, `${bytes.length}`);
  }
  const expected = readUint32(bytes, payloadBytes + 1);
  const found = placedChecksum(fileNumber, offset, bytes.subarray(0, payloadBytes + 1));
  if (found !== expected) {
    throw new CorruptionError(where, `CRC32C ${expected.toString(16)}`, found.toString(16));
  }
  const payload = bytes.subarray(0, payloadBytes);
  switch (bytes[payloadBytes]) {
    case COMPRESSION_NONE:
      return payload;
    case COMPRESSION_LZ4:
      return lz4Decompress(payload, MAX_BLOCK_BYTES, where);
    default:
      throw new CorruptionError(where, 'a known compression (0 or 1)', `${bytes[payloadBytes]}`);
  }
}
