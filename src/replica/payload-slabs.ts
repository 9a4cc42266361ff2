const SLAB_BYTES = 256 * 1024;
/** A payload above it gets memory of its own, so that it does not keep a slab's neighbours alive. */
const LARGE_BYTES = SLAB_BYTES / 8;

/**
 * Memory for the payloads of entries, which live until they are applied here and, in a group of several members, sent to slow
 * followers. Carved from slabs, so that a small entry costs no allocation of its own; a slab goes when nobody refers to it.
 */
export class PayloadSlabs {
  /** Where the last `take` is. */
  bytes: Uint8Array = new Uint8Array(0);
  #slab: Uint8Array = new Uint8Array(0);
  #used = 0;

  /** Room for `length` bytes; returns its offset in `bytes`. */
  take(length: number): number {
    if (length > LARGE_BYTES) {
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
