const CHUNK_HASHES = 16 * 1024;

/**
 * The hashes of a table's rows, which its filter is made of when their number is known. In chunks: one array that doubles is copied, at two
 * million rows from 8 MB to 16 MB, and glibc, once it has seen a block of 16 MB given back, keeps up to 32 MB of free memory in each
 * thread's heap.
 */
export class RowHashes {
  readonly #chunks: Uint32Array[] = [];
  #last = new Uint32Array(0);
  #used = 0;

  add(hash: number): void {
    if (this.#used === this.#last.length) {
      this.#last = new Uint32Array(CHUNK_HASHES);
      this.#chunks.push(this.#last);
      this.#used = 0;
    }
    this.#last[this.#used++] = hash;
  }

  /** The hashes one behind the other, in pieces. */
  *pieces(): Generator<Uint32Array> {
    for (const chunk of this.#chunks) yield chunk === this.#last ? chunk.subarray(0, this.#used) : chunk;
  }
}
