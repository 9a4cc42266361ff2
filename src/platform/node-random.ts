import { randomFillSync } from 'node:crypto';
import type { Random } from '../ports/random.js';

/** One call into the system's generator costs about as much as a few KiB of its output, so it is asked in blocks. */
const POOL_WORDS = 1024;

/** The system's secure generator. Used words are cleared, so that a later memory dump shows none. */
export class NodeRandom implements Random {
  readonly #pool = new Uint32Array(POOL_WORDS);
  #next = POOL_WORDS;

  uint32(): number {
    if (this.#next === POOL_WORDS) {
      randomFillSync(this.#pool);
      this.#next = 0;
    }
    const word = this.#pool[this.#next]!;
    this.#pool[this.#next++] = 0;
    return word;
  }

  fill(target: Uint8Array): void {
    randomFillSync(target);
  }
}
