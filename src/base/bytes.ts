/**
 * Byte order everywhere is unsigned and lexicographic (`Buffer.compare`), never JavaScript's string order.
 * Loops beat `Buffer.compare` on short keys because they need no subarray per call.
 */
export function compareRanges(
  a: Uint8Array,
  aStart: number,
  aLength: number,
  b: Uint8Array,
  bStart: number,
  bLength: number,
): number {
  const shared = aLength < bLength ? aLength : bLength;
  for (let i = 0; i < shared; i++) {
    const difference = a[aStart + i]! - b[bStart + i]!;
    if (difference !== 0) return difference;
  }
  return aLength - bLength;
}

export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  return compareRanges(a, 0, a.length, b, 0, b.length);
}

/** A copy in memory of its own. `slice` is not one: a Buffer's gives a view. */
export function copyBytes(bytes: Uint8Array, start = 0, length = bytes.length - start): Uint8Array<ArrayBuffer> {
  const copy = new Uint8Array(length);
  copy.set(start === 0 && length === bytes.length ? bytes : bytes.subarray(start, start + length));
  return copy;
}

export function equalRanges(a: Uint8Array, aStart: number, b: Uint8Array, bStart: number, length: number): boolean {
  for (let i = 0; i < length; i++) if (a[aStart + i] !== b[bStart + i]) return false;
  return true;
}

/** Reads an unsigned integer below 2^53 from 8 little-endian bytes. */
export function readUint53(bytes: Uint8Array, offset: number): number {
  const low =
    (bytes[offset]! | (bytes[offset + 1]! << 8) | (bytes[offset + 2]! << 16) | (bytes[offset + 3]! << 24)) >>> 0;
  const high =
    (bytes[offset + 4]! | (bytes[offset + 5]! << 8) | (bytes[offset + 6]! << 16) | (bytes[offset + 7]! << 24)) >>> 0;
  return high * 0x1_0000_0000 + low;
}

/** Writes an unsigned integer below 2^53 as 8 little-endian bytes. */
export function writeUint53(bytes: Uint8Array, offset: number, value: number): void {
  const low = value >>> 0;
  const high = Math.floor(value / 0x1_0000_0000);
  bytes[offset] = low;
  bytes[offset + 1] = low >>> 8;
  bytes[offset + 2] = low >>> 16;
  bytes[offset + 3] = low >>> 24;
  bytes[offset + 4] = high;
  bytes[offset + 5] = high >>> 8;
  bytes[offset + 6] = high >>> 16;
  bytes[offset + 7] = high >>> 24;
}

export function readUint32(bytes: Uint8Array, offset: number): number {
  return (bytes[offset]! | (bytes[offset + 1]! << 8) | (bytes[offset + 2]! << 16) | (bytes[offset + 3]! << 24)) >>> 0;
}

export function writeUint32(bytes: Uint8Array, offset: number, value: number): void {
  bytes[offset] = value;
  bytes[offset + 1] = value >>> 8;
  bytes[offset + 2] = value >>> 16;
  bytes[offset + 3] = value >>> 24;
}
