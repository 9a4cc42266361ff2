const CHUNK_HASHES = 256 * 1024;
const CHUNK_BYTES = CHUNK_HASHES * Uint32Array.BYTES_PER_ELEMENT;

/**
 * The hashes of a table's rows, which its filter is made of when their number is known; two million small rows fit into a table. The chunks
 * are resizable buffers, because V8 maps those from the system and gives them back when they are collected. Ordinary ones come from malloc:
 * of an array that doubled up to 16 MB, and of chunks of 64 KB between other blocks, 15 MB stayed with the thread's heap.
 */
export class RowHashes {
  readonly #chunks: Uint32Array[] = [];
  #last = new Uint32Array(0);
  #used = 0;

  add(hash: number): void {
    if (this.#used === this.#last.length) {
      // Never resized, so its views have their length for good, as those of other buffers.
      this.#last = new Uint32Array(new ArrayBuffer(CHUNK_BYTES, { maxByteLength: CHUNK_BYTES }), 0, CHUNK_HASHES);
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
