import { readUint32 } from '../../base/bytes.js';
import { CorruptionError } from '../../base/errors.js';
import { BODY_LENGTH_AT, CHUNK_HEADER_BYTES } from './chunk-format.js';

/** A chunk holds one entry at least, whatever its size: a value and what a batch adds to it. */
const MAX_CHUNK_BYTES = 32 << 20;

/** Puts the chunks of a snapshot together again: on its way to another node the stream is cut anywhere. */
export class ChunkJoiner {
  /** What came behind the last whole chunk. */
  #pieces: Uint8Array[] = [];
  #bytes = 0;

  /** The next bytes of the stream; they must not change any more. */
  push(piece: Uint8Array): void {
    if (piece.length === 0) return;
    this.#pieces.push(piece);
    this.#bytes += piece.length;
  }

  /** The next chunk, or null until more of it has come. Nothing of it was checked. */
  next(): Uint8Array | null {
    if (this.#bytes < CHUNK_HEADER_BYTES) return null;
    if (this.#pieces[0]!.length < CHUNK_HEADER_BYTES) this.#join();
    const bodyBytes = readUint32(this.#pieces[0]!, BODY_LENGTH_AT);
    const length = CHUNK_HEADER_BYTES + bodyBytes;
    if (length > MAX_CHUNK_BYTES) {
      throw new CorruptionError('snapshot', `a chunk of at most ${MAX_CHUNK_BYTES} bytes`, `${length}`);
    }
    if (this.#bytes < length) return null;
    if (this.#pieces[0]!.length < length) this.#join();
    const first = this.#pieces[0]!;
    this.#bytes -= length;
    if (first.length === length) this.#pieces.shift();
    else this.#pieces[0] = first.subarray(length);
    return first.subarray(0, length);
  }

  #join(): void {
    const all = new Uint8Array(this.#bytes);
    let at = 0;
    for (const piece of this.#pieces) {
      all.set(piece, at);
      at += piece.length;
    }
    this.#pieces = [all];
  }
}
