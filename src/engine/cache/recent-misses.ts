/** Fingerprints take 4 bytes a place; 1 MiB remembers the misses of a cache of 1 GiB. */
const MOST_PLACES = 1 << 18;
const FEWEST_PLACES = 64;

/**
 * Blocks that were missed a short time ago: a table of fingerprints, one for each place, the newest wins. So it forgets by itself,
 * and may only err by taking one block for another (1 in 2^32) or by forgetting early.
 */
export class RecentMisses {
  readonly #fingerprints: Int32Array;

  /** `window`: about so many misses are remembered. */
  constructor(window: number) {
    let places = FEWEST_PLACES;
    while (places < window && places < MOST_PLACES) places *= 2;
    this.#fingerprints = new Int32Array(places);
  }

  /** Notes a miss; whether the one before at this place was of the same block. */
  add(fileNumber: number, offset: number): boolean {
    const high = Math.floor(offset / 0x1_0000_0000);
    let hash = Math.imul(fileNumber ^ Math.imul(high + 1, 0x85ebca6b), 0x9e3779b1) ^ Math.imul(offset | 0, 0xc2b2ae35);
    hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
    hash ^= hash >>> 13;
    const fingerprints = this.#fingerprints;
    const place = hash & (fingerprints.length - 1);
    if (fingerprints[place] === hash) return true;
    fingerprints[place] = hash;
    return false;
  }
}
