/** The constants of FORMAT.md, shared by encoders and decoders. */

/** The last 8 bytes of every table. */
export const TABLE_MAGIC: Uint8Array = new TextEncoder().encode('CairnSST');
export const TABLE_FORMAT_VERSION = 1;

/** Behind the stored bytes of every block: compression u8, CRC32C u32. */
export const BLOCK_TRAILER_BYTES = 5;
export const COMPRESSION_NONE = 0;
export const COMPRESSION_LZ4 = 1;

/** Each entry's revision is 7 bytes little endian: revisions are below 2^53. */
export const ENTRY_REVISION_BYTES = 7;
/** A block ends with its restart offsets (u32 each) and their count (u32). */
export const RESTART_BYTES = 4;
/** Shared, unshared and value length, each a varint below 2^32 (5 bytes), then the revision. */
export const MAX_ENTRY_HEADER_BYTES = 3 * 5 + ENTRY_REVISION_BYTES;

/** One version may be 16 MiB of value with its header and key; a block holds at least one entry, however big. */
export const MAX_BLOCK_BYTES = 32 * 1024 * 1024;

export const FOOTER_BYTES = 64;
export const FOOTER_FILTER_AT = 0;
export const FOOTER_INDEX_AT = 12;
export const FOOTER_PROPERTIES_AT = 24;
export const FOOTER_FILE_NUMBER_AT = 36;
export const FOOTER_VERSION_AT = 48;
export const FOOTER_CHECKSUM_AT = 52;
export const FOOTER_MAGIC_AT = 56;

/** Where a stored block lies; `sizeBytes` includes its trailer. */
export interface BlockHandle {
  readonly offset: number;
  readonly sizeBytes: number;
}

/** How errors name a place in a table. */
export function blockName(fileNumber: number, offset: number): string {
  return `table ${fileNumber}, block at ${offset}`;
}
