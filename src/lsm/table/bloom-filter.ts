/**
 * A split-block Bloom filter (Putze, Sanders, Singler: "Cache-, hash- and space-efficient Bloom filters"): a row
 * sets one bit in each of the 8 words of one 32-byte block, so a look-up touches one cache line. Words are little endian.
 */
export const BLOOM_BLOCK_BYTES = 32;
const WORDS = 8;
/** Odd multipliers, one per word: each takes its bit from the top of a product. */
const SALTS = Int32Array.of(
  0x47b6137b,
  0x44974d91,
  0x8824ad5b,
  0xa2b7289d,
  0x705495c7,
  0x2df1424b,
  0x9efc4947,
  0x5c6bfb31,
);
const REPLICA_MULTIPLIER = 0x9e3779b1;

/**
 * The filter's hash of a row: the xxHash32 of the user key (base/hash.ts), which a request computes once, mixed with the replica.
 */
export function rowHash(userKeyHash: number, replicaId: number): number {
  return mix(userKeyHash ^ Math.imul(replicaId + 1, REPLICA_MULTIPLIER));
}

/** The size of a filter with `bitsPerRow` bits for each row. */
export function bloomFilterBytes(rows: number, bitsPerRow: number): number {
  return Math.max(1, Math.ceil((rows * bitsPerRow) / (BLOOM_BLOCK_BYTES * 8))) * BLOOM_BLOCK_BYTES;
}

/** Adds rows to a filter, which is all zeros at first. Same hashes, same bytes. */
export function addToBloomFilter(filter: Uint8Array, hashes: Uint32Array): void {
  const blocks = filter.length / BLOOM_BLOCK_BYTES;
  for (let i = 0; i < hashes.length; i++) {
    const hash = hashes[i]!;
    const base = blockOf(hash, blocks);
    const bits = mix(hash);
    for (let word = 0; word < WORDS; word++) {
      const bit = Math.imul(bits, SALTS[word]!) >>> 27;
      filter[base + word * 4 + (bit >>> 3)]! |= 1 << (bit & 7);
    }
  }
}

/** False only when the row was not added. An empty filter knows nothing and says true. */
export function mayContain(filter: Uint8Array, hash: number): boolean {
  if (filter.length === 0) return true;
  const base = blockOf(hash, filter.length / BLOOM_BLOCK_BYTES);
  const bits = mix(hash);
  for (let word = 0; word < WORDS; word++) {
    const bit = Math.imul(bits, SALTS[word]!) >>> 27;
    if ((filter[base + word * 4 + (bit >>> 3)]! & (1 << (bit & 7))) === 0) return false;
  }
  return true;
}

/** The hash's share of 2^32, scaled to the blocks. */
function blockOf(hash: number, blocks: number): number {
  return Math.floor(((hash >>> 0) * blocks) / 0x1_0000_0000) * BLOOM_BLOCK_BYTES;
}

/** MurmurHash3's finalizer: every input bit reaches every output bit. */
function mix(value: number): number {
  let hash = value | 0;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
