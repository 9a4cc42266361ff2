import type { Arena } from './arena.js';
import { HEADER_WORDS, indexSlots, maxRows } from './layout.js';

/**
 * Open addressing with linear probing over words: a slot holds a row's word number, and in the bits which that leaves
 * free (7 with 100 MB) a tag from the hash, so that a probe seldom follows a link to another row. 0 is an empty slot.
 */
export class HashIndex {
  readonly capacity: number;
  readonly #arena: Arena;
  readonly #words: Int32Array;
  readonly #slots: number;
  readonly #linkBits: number;
  readonly #linkMask: number;
  /** After `find`: the slot that holds the row, or the empty one where it goes. */
  #slot = 0;
  #tag = 0;

  constructor(arena: Arena) {
    this.#arena = arena;
    this.#words = arena.words;
    this.#slots = indexSlots(arena.words.length);
    this.capacity = maxRows(this.#slots);
    this.#linkBits = 32 - Math.clz32(arena.words.length - 1);
    this.#linkMask = 2 ** this.#linkBits - 1;
  }

  /** The row whose key is in the arena's search key, or 0. */
  find(hash: number): number {
    const words = this.#words;
    const linkMask = this.#linkMask;
    const search = this.#arena.search;
    // A node holds few partitions, and a partition is a range of hashes, so the hash is spread again.
    const mixed = Math.imul(hash, 0x9e3779b1);
    const tag = mixed << this.#linkBits;
    const end = HEADER_WORDS + this.#slots;
    // The tag is made of the low bits, the place of the high ones.
    let slot = HEADER_WORDS + Math.floor((mixed >>> 0) * (this.#slots / 0x1_0000_0000));
    for (;;) {
      const held = words[slot]!;
      if (held === 0) break;
      if ((held & ~linkMask) === tag) {
        const row = held & linkMask;
        if (search.equals(words, row)) return row;
      }
      if (++slot === end) slot = HEADER_WORDS;
    }
    this.#slot = slot;
    this.#tag = tag;
    return 0;
  }

  /** Adds the row that the last `find` did not find. */
  add(row: number): void {
    this.#words[this.#slot] = row | this.#tag;
  }
}
