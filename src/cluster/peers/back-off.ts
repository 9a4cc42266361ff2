import type { Random } from '../../ports/random.js';

/** Delays that double from the least to the most, each made shorter by chance by up to a half so that nodes don't call in step. */
export class BackOff {
  readonly #random: Random;
  readonly #minMs: number;
  readonly #maxMs: number;
  #nextMs: number;

  constructor(random: Random, minMs: number, maxMs: number) {
    this.#random = random;
    this.#minMs = minMs;
    this.#maxMs = maxMs;
    this.#nextMs = minMs;
  }

  next(): number {
    const delayMs = this.#nextMs;
    this.#nextMs = Math.min(2 * delayMs, this.#maxMs);
    return delayMs * (1 - this.#random.uint32() / 0x2_0000_0000);
  }

  reset(): void {
    this.#nextMs = this.#minMs;
  }
}
