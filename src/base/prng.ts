import { assert } from './assert.js';

function rotateLeft(value: number, bits: number): number {
  return (value << bits) | (value >>> (32 - bits));
}

/**
 * xoshiro128** (Blackman and Vigna, "Scrambled linear pseudorandom number generators"): fast, 128 bits of state, good in
 * all its bits, and repeatable from a seed. Not for secrets.
 */
export class Prng {
  #s0: number;
  #s1: number;
  #s2: number;
  #s3: number;

  /** `seed`: an integer from 0 to 2^53 - 1. Different seeds give unrelated sequences. */
  constructor(seed: number) {
    assert(Number.isSafeInteger(seed) && seed >= 0, `a seed is an integer from 0 to 2^53 - 1, found ${seed}`);
    // splitmix32 spreads the seed over the state, as the authors advise. Its four outputs are never all zero.
    let mix = (seed ^ Math.imul(Math.floor(seed / 0x1_0000_0000), 0x85ebca6b)) | 0;
    const next = (): number => {
      mix = (mix + 0x9e3779b9) | 0;
      let word = Math.imul(mix ^ (mix >>> 16), 0x21f0aaad);
      word = Math.imul(word ^ (word >>> 15), 0x735a2d97);
      return word ^ (word >>> 15);
    };
    this.#s0 = next();
    this.#s1 = next();
    this.#s2 = next();
    this.#s3 = next();
  }

  /** A uniform integer in [0, 2^32). */
  uint32(): number {
    const result = Math.imul(rotateLeft(Math.imul(this.#s1, 5), 7), 9) >>> 0;
    const shifted = this.#s1 << 9;
    this.#s2 ^= this.#s0;
    this.#s3 ^= this.#s1;
    this.#s1 ^= this.#s2;
    this.#s0 ^= this.#s3;
    this.#s2 ^= shifted;
    this.#s3 = rotateLeft(this.#s3, 11);
    return result;
  }

  /** A uniform number in [0, 1) with 32 random bits. */
  unit(): number {
    return this.uint32() / 0x1_0000_0000;
  }

  /** A uniform integer in [0, bound), for a bound from 1 to 2^32; the bias is below bound / 2^32. */
  below(bound: number): number {
    assert(bound >= 1 && bound <= 0x1_0000_0000, `a bound is from 1 to 2^32, found ${bound}`);
    return Math.floor(this.unit() * bound);
  }

  /** A uniform integer from `low` to `high`, both included. */
  between(low: number, high: number): number {
    return low + this.below(high - low + 1);
  }

  /** True with the given probability. */
  chance(probability: number): boolean {
    return this.unit() < probability;
  }

  pick<T>(choices: readonly T[]): T {
    assert(choices.length > 0, 'a pick needs at least one choice');
    return choices[this.below(choices.length)]!;
  }

  fill(target: Uint8Array): void {
    let word = 0;
    for (let i = 0; i < target.length; i++) {
      if ((i & 3) === 0) word = this.uint32();
      target[i] = word;
      word >>>= 8;
    }
  }

  /** A new generator whose sequence does not depend on how much this one is used later. */
  fork(): Prng {
    return new Prng(this.uint32() * 0x20_0000 + (this.uint32() >>> 11));
  }
}
