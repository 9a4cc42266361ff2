const PRIME_1 = 0x9e3779b1;
const PRIME_2 = 0x85ebca77;
const PRIME_3 = 0xc2b2ae3d;
const PRIME_4 = 0x27d4eb2f;
const PRIME_5 = 0x165667b1;

function rotateLeft(value: number, bits: number): number {
  return (value << bits) | (value >>> (32 - bits));
}

function readInt32(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
}

/**
 * xxHash32 with seed 0 of `length` bytes from `start`, as an unsigned 32-bit integer. It places keys in partitions, so
 * it is part of the data format and of the client protocol. Source: the xxHash specification, "XXH32 algorithm".
 */
export function xxHash32(bytes: Uint8Array, start: number, length: number): number {
  let at = start;
  const end = start + length;
  let hash: number;
  if (length >= 16) {
    let v1 = (PRIME_1 + PRIME_2) | 0;
    let v2 = PRIME_2 | 0;
    let v3 = 0;
    let v4 = -PRIME_1 | 0;
    const limit = end - 16;
    do {
      v1 = Math.imul(rotateLeft((v1 + Math.imul(readInt32(bytes, at), PRIME_2)) | 0, 13), PRIME_1);
      v2 = Math.imul(rotateLeft((v2 + Math.imul(readInt32(bytes, at + 4), PRIME_2)) | 0, 13), PRIME_1);
      v3 = Math.imul(rotateLeft((v3 + Math.imul(readInt32(bytes, at + 8), PRIME_2)) | 0, 13), PRIME_1);
      v4 = Math.imul(rotateLeft((v4 + Math.imul(readInt32(bytes, at + 12), PRIME_2)) | 0, 13), PRIME_1);
      at += 16;
    } while (at <= limit);
    hash = (rotateLeft(v1, 1) + rotateLeft(v2, 7) + rotateLeft(v3, 12) + rotateLeft(v4, 18)) | 0;
  } else {
    hash = PRIME_5 | 0;
  }
  hash = (hash + length) | 0;
  for (; at + 4 <= end; at += 4) {
    hash = Math.imul(rotateLeft((hash + Math.imul(readInt32(bytes, at), PRIME_3)) | 0, 17), PRIME_4);
  }
  for (; at < end; at++) {
    hash = Math.imul(rotateLeft((hash + Math.imul(bytes[at]!, PRIME_5)) | 0, 11), PRIME_1);
  }
  hash = Math.imul(hash ^ (hash >>> 15), PRIME_2);
  hash = Math.imul(hash ^ (hash >>> 13), PRIME_3);
  return (hash ^ (hash >>> 16)) >>> 0;
}
