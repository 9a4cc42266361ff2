import { readUint32, writeUint32 } from '../../base/bytes.js';
import { CorruptionError } from '../../base/errors.js';
import { crc32c } from '../../codec/crc32c.js';
import { MAX_VARINT_BYTES, VarintReader, writeVarint } from '../../codec/varint.js';
import { recordPayloadStart } from '../../lsm/record.js';
import { MAX_USER_KEY_BYTES, type Revision } from '../../lsm/row-key.js';

/**
 * A snapshot on its way to another node: all versions of one replica's rows in row order, newest version first, cut into chunks. Keys
 * are user keys; each node puts its own replicaId before them. Integers are little endian.
 *
 *   0    format version u8 (1)
 *   1    flags u8: bit 0: the first entry is of the same row as the last one of the chunk before; bit 1: the last chunk
 *   2    zeros, 2 bytes
 *   4    sequence u32: 0, 1, 2, ...
 *   8    entry count u32
 *   12   body length u32
 *   16   CRC-32C u32 of bytes 0 to 15 and the body, continued from the checksum of the chunk before (0 for the first)
 *   20   body; an entry is
 *          key length varint; 0: the key of the entry before, never in a chunk's first entry
 *          key
 *          revision varint
 *          record length varint, record (lsm/record.ts)
 *
 * Checksums go from chunk to chunk, so one that is lost, repeated, out of order or of another snapshot is noticed, and a stream that
 * ends without its last chunk is not whole.
 */
const CHUNK_FORMAT_VERSION = 1;
export const CHUNK_HEADER_BYTES = 20;
export const BODY_LENGTH_AT = 12;
const FLAG_CONTINUES_ROW = 1;
const FLAG_LAST = 2;
const CHECKSUM_AT = 16;
/** Three varints. */
const ENTRY_OVERHEAD_BYTES = 3 * MAX_VARINT_BYTES;

export interface ChunkHeader {
  readonly sequence: number;
  readonly continuesRow: boolean;
  readonly isLast: boolean;
  readonly entryCount: number;
  /** The next chunk's checksum goes on from it. */
  readonly checksum: number;
}

/** Writes the chunks of one stream. A chunk has the target size, or the size of one entry that is larger than that. */
export class ChunkWriter {
  readonly #targetBytes: number;
  #bytes: Uint8Array;
  #at = CHUNK_HEADER_BYTES;
  #entryCount = 0;
  #continuesRow = false;
  #sequence = 0;
  #checksum = 0;

  constructor(targetBytes: number) {
    this.#targetBytes = targetBytes;
    this.#bytes = new Uint8Array(targetBytes);
  }

  hasRoom(keyLength: number, recordLength: number): boolean {
    if (this.#entryCount === 0) return true;
    return this.#at + ENTRY_OVERHEAD_BYTES + keyLength + recordLength <= this.#bytes.length;
  }

  /** There is room for it. `sameRow`: its key is that of the entry before, which may stand in the chunk before. */
  add(
    key: Uint8Array,
    keyStart: number,
    keyLength: number,
    sameRow: boolean,
    revision: Revision,
    record: Uint8Array,
    recordStart: number,
    recordLength: number,
  ): void {
    if (this.#entryCount === 0) {
      this.#continuesRow = sameRow;
      this.#makeRoom(ENTRY_OVERHEAD_BYTES + keyLength + recordLength);
    }
    const bytes = this.#bytes;
    const storedLength = sameRow && this.#entryCount > 0 ? 0 : keyLength;
    let at = writeVarint(bytes, this.#at, storedLength);
    for (let i = 0; i < storedLength; i++) bytes[at++] = key[keyStart + i]!;
    at = writeVarint(bytes, at, revision);
    at = writeVarint(bytes, at, recordLength);
    bytes.set(record.subarray(recordStart, recordStart + recordLength), at);
    this.#at = at + recordLength;
    this.#entryCount++;
  }

  /** The chunk, which belongs to the caller. The next one begins. */
  seal(isLast: boolean): Uint8Array {
    const bytes = this.#bytes.subarray(0, this.#at);
    bytes[0] = CHUNK_FORMAT_VERSION;
    bytes[1] = (this.#continuesRow ? FLAG_CONTINUES_ROW : 0) | (isLast ? FLAG_LAST : 0);
    writeUint32(bytes, 4, this.#sequence++);
    writeUint32(bytes, 8, this.#entryCount);
    writeUint32(bytes, BODY_LENGTH_AT, this.#at - CHUNK_HEADER_BYTES);
    this.#checksum = checksumOf(bytes, this.#checksum);
    writeUint32(bytes, CHECKSUM_AT, this.#checksum);
    this.#bytes = new Uint8Array(isLast ? 0 : this.#targetBytes);
    this.#at = CHUNK_HEADER_BYTES;
    this.#entryCount = 0;
    this.#continuesRow = false;
    return bytes;
  }

  #makeRoom(entryBytes: number): void {
    const needed = CHUNK_HEADER_BYTES + entryBytes;
    if (needed > this.#bytes.length) this.#bytes = new Uint8Array(needed);
  }
}

/** Checks everything but the entries; CorruptionError when it is not chunk `sequence`, behind one whose checksum was `previous`. */
export function readChunkHeader(chunk: Uint8Array, sequence: number, previous: number): ChunkHeader {
  const where = `snapshot chunk ${sequence}`;
  if (chunk.length < CHUNK_HEADER_BYTES) {
    throw new CorruptionError(where, `at least ${CHUNK_HEADER_BYTES} bytes`, `${chunk.length}`);
  }
  const version = chunk[0]!;
  if (version !== CHUNK_FORMAT_VERSION) {
    throw new CorruptionError(where, `format version ${CHUNK_FORMAT_VERSION}`, `version ${version}`);
  }
  const bodyBytes = readUint32(chunk, BODY_LENGTH_AT);
  if (bodyBytes !== chunk.length - CHUNK_HEADER_BYTES) {
    throw new CorruptionError(where, `${chunk.length - CHUNK_HEADER_BYTES} bytes of entries`, `${bodyBytes}`);
  }
  const checksum = readUint32(chunk, CHECKSUM_AT);
  if (checksum !== checksumOf(chunk, previous)) throw new CorruptionError(where, 'a valid checksum', 'a wrong one');
  const found = readUint32(chunk, 4);
  if (found !== sequence) throw new CorruptionError(where, `sequence ${sequence}`, `${found}`);
  const flags = chunk[1]!;
  if (flags > (FLAG_CONTINUES_ROW | FLAG_LAST) || chunk[2] !== 0 || chunk[3] !== 0) {
    throw new CorruptionError(where, 'known flags', `${flags} ${chunk[2]} ${chunk[3]}`);
  }
  return {
    sequence,
    continuesRow: (flags & FLAG_CONTINUES_ROW) !== 0,
    isLast: (flags & FLAG_LAST) !== 0,
    entryCount: readUint32(chunk, 8),
    checksum,
  };
}

function checksumOf(chunk: Uint8Array, previous: number): number {
  return crc32c(chunk.subarray(CHUNK_HEADER_BYTES), crc32c(chunk.subarray(0, CHECKSUM_AT), previous));
}

/**
 * The entries of chunks that lie one behind the other and whose headers were checked. `next` moves to the next entry; the fields
 * describe it. CorruptionError for anything that a writer never makes, so that a table built of it is sound.
 */
export class ChunkReader {
  readonly bytes: Uint8Array;
  keyStart = 0;
  keyLength = 0;
  /** The key is not that of the entry before. */
  isNewKey = false;
  revision: Revision = 0;
  recordStart = 0;
  recordLength = 0;
  readonly #end: number;
  #entriesLeft = 0;
  #body: VarintReader | null = null;
  #chunkEnd = 0;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.#end = bytes.length;
  }

  /** False behind the last entry. */
  next(): boolean {
    while (this.#entriesLeft === 0) {
      this.#checkEndOfBody();
      if (this.#chunkEnd === this.#end) return false;
      this.#openChunk(this.#chunkEnd);
    }
    this.#entriesLeft--;
    this.#readEntry(this.#body!);
    return true;
  }

  #openChunk(start: number): void {
    const bodyStart = start + CHUNK_HEADER_BYTES;
    const where = `snapshot chunk ${readUint32(this.bytes, start + 4)}`;
    this.#entriesLeft = readUint32(this.bytes, start + 8);
    this.#chunkEnd = bodyStart + readUint32(this.bytes, start + 12);
    this.#body = new VarintReader(this.bytes, bodyStart, this.#chunkEnd, where);
    this.isNewKey = false;
    this.keyLength = 0;
  }

  #readEntry(body: VarintReader): void {
    const keyLength = body.varint();
    if (keyLength > MAX_USER_KEY_BYTES || (keyLength === 0 && this.keyLength === 0)) {
      throw new CorruptionError(body.where, `a key of 1 to ${MAX_USER_KEY_BYTES} bytes`, `${keyLength}`);
    }
    this.isNewKey = keyLength > 0;
    if (this.isNewKey) {
      this.keyStart = body.skip(keyLength);
      this.keyLength = keyLength;
    }
    this.revision = body.varint();
    this.recordLength = body.varint();
    this.recordStart = body.skip(this.recordLength);
    // Throws for a header that this version does not know.
    recordPayloadStart(this.bytes, this.recordStart, this.recordLength);
  }

  #checkEndOfBody(): void {
    const body = this.#body;
    if (body === null || body.at === body.end) return;
    throw new CorruptionError(body.where, 'the end behind the last entry', `${body.end - body.at} more bytes`);
  }
}
