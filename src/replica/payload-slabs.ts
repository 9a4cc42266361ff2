const SLAB_BYTES = 256 * 1024;
/** A payload above it gets memory of its own, so that it does not keep a slab's neighbours alive. */
const LARGE_BYTES = SLAB_BYTES / 8;

/**
 * Memory for the payloads of entries. On a node alone they live until they are applied, and are carved from slabs, so that a small
 * entry costs no allocation of its own; a slab goes when nobody refers to it. In a cluster entries are kept for slow followers,
 * in quiet groups for long, so each has memory of its own: else one of 100 bytes would keep a whole slab.
 */
export class PayloadSlabs {
  /** Where the last `take` is. */
  bytes: Uint8Array = new Uint8Array(0);
  #slab: Uint8Array = new Uint8Array(0);
  #used = 0;
  readonly #largeBytes: number;

  constructor(isAlone: boolean) {
    this.#largeBytes = isAlone ? LARGE_BYTES : 0;
  }

  /** Room for `length` bytes; returns its offset in `bytes`. */
  take(length: number): number {
    if (length > this.#largeBytes) {
      this.bytes = new Uint8Array(length);
      return 0;
    }
    if (this.#used + length > this.#slab.length) {
      this.#slab = new Uint8Array(SLAB_BYTES);
      this.#used = 0;
    }
    this.bytes = this.#slab;
    const at = this.#used;
    this.#used += length;
    return at;
  }
}
