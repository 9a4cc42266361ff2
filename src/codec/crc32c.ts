import { crc32c as nativeCrc32c } from '@node-rs/crc32';

/** Crossing into the native binding costs about 0.1 us, the table below 1 to 2 ns a byte (bench/micro/table.ts). */
const SHORT_BYTES = 48;
/** The Castagnoli polynomial, bits reversed (RFC 3720, appendix B.4). */
const POLYNOMIAL = 0x82f63b78;

const TABLE: Int32Array = makeTable();

function makeTable(): Int32Array {
  const table = new Int32Array(256);
  for (let byte = 0; byte < 256; byte++) {
    let value = byte;
    for (let bit = 0; bit < 8; bit++) value = (value & 1) === 0 ? value >>> 1 : (value >>> 1) ^ POLYNOMIAL;
    table[byte] = value;
  }
  return table;
}

/**
 * CRC32C of `bytes` as an unsigned 32-bit integer. Views on shared memory are fine. `initial` is the checksum of what comes
 * before: `crc32c(b, crc32c(a))` is the checksum of a followed by b.
 */
export function crc32c(bytes: Uint8Array, initial = 0): number {
  return bytes.length > SHORT_BYTES ? nativeCrc32c(bytes, initial) : shortCrc32c(bytes, initial);
}

function shortCrc32c(bytes: Uint8Array, initial: number): number {
  let value = ~initial;
  for (let i = 0; i < bytes.length; i++) value = TABLE[(value ^ bytes[i]!) & 0xff]! ^ (value >>> 8);
  return ~value >>> 0;
}
