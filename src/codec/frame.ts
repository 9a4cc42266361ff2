import { readUint32, writeUint32 } from '../base/bytes.js';
import { CairnError } from '../base/errors.js';

/**
 * Frames of the client protocol: u32 little-endian length, then that many bytes of one protobuf message
 * (proto/README.md).
 */
export const FRAME_HEADER_BYTES = 4;

const NO_BYTES = new Uint8Array(0);
const FIRST_BUFFER_BYTES = 4096;

export function writeFrameHeader(target: Uint8Array, offset: number, messageBytes: number): void {
  writeUint32(target, offset, messageBytes);
}

/**
 * Finds frames in a stream of chunks. A frame that lies in one chunk is shown in place; only one that crosses a chunk
 * boundary is copied, into a buffer that grows with what has really come, so a declared length alone costs no memory.
 */
export class FrameSplitter {
  /** A longer declared length is refused before anything is allocated. May be raised between frames. */
  maxFrameBytes: number;
  /** The frame that `next` found: `bytes[start .. end)`. Views stay valid; no later call writes there. */
  bytes: Uint8Array = NO_BYTES;
  start = 0;
  end = 0;

  #chunk: Uint8Array = NO_BYTES;
  #at = 0;
  readonly #waiting: Uint8Array[] = [];
  #partial: Uint8Array | null = null;
  #partialLength = 0;

  constructor(maxFrameBytes: number) {
    this.maxFrameBytes = maxFrameBytes;
  }

  /** True while the beginning of a frame has come and its end has not. */
  get inFrame(): boolean {
    return this.#partial !== null;
  }

  push(chunk: Uint8Array): void {
    // A plain array even over a Buffer: `slice` of a Buffer is a view, and one class of arrays keeps the readers fast.
    const bytes = new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.length);
    if (this.#at === this.#chunk.length && this.#waiting.length === 0) {
      this.#chunk = bytes;
      this.#at = 0;
    } else {
      this.#waiting.push(bytes);
    }
  }

  /** False when the next frame has not come completely. Throws `too_large` for a declared length over the limit. */
  next(): boolean {
    do {
      if (this.#partial === null ? this.#nextInPlace() : this.#nextAcrossChunks()) return true;
    } while (this.#nextChunk());
    return false;
  }

  #nextInPlace(): boolean {
    const chunk = this.#chunk;
    const at = this.#at;
    const available = chunk.length - at;
    if (available >= FRAME_HEADER_BYTES) {
      const length = readUint32(chunk, at);
      this.#check(length);
      if (available >= FRAME_HEADER_BYTES + length) {
        this.#show(chunk, at + FRAME_HEADER_BYTES, length);
        this.#at = at + FRAME_HEADER_BYTES + length;
        return true;
      }
    }
    if (available > 0) {
      this.#partial = new Uint8Array(Math.max(available * 2, FIRST_BUFFER_BYTES));
      this.#partialLength = 0;
      this.#collect(available);
    }
    return false;
  }

  #nextAcrossChunks(): boolean {
    const available = this.#chunk.length - this.#at;
    if (this.#partialLength < FRAME_HEADER_BYTES) {
      this.#collect(Math.min(available, FRAME_HEADER_BYTES - this.#partialLength));
      if (this.#partialLength < FRAME_HEADER_BYTES) return false;
    }
    const length = readUint32(this.#partial!, 0);
    this.#check(length);
    const needed = FRAME_HEADER_BYTES + length - this.#partialLength;
    this.#collect(Math.min(needed, this.#chunk.length - this.#at));
    if (this.#partialLength < FRAME_HEADER_BYTES + length) return false;
    this.#show(this.#partial!, FRAME_HEADER_BYTES, length);
    this.#partial = null;
    return true;
  }

  #nextChunk(): boolean {
    if (this.#at < this.#chunk.length) return true;
    const chunk = this.#waiting.shift();
    this.#chunk = chunk ?? NO_BYTES;
    this.#at = 0;
    return chunk !== undefined;
  }

  #collect(count: number): void {
    const total = this.#partialLength + count;
    if (total > this.#partial!.length) {
      const grown = new Uint8Array(
        Math.min(Math.max(total, this.#partial!.length * 2), this.maxFrameBytes + FRAME_HEADER_BYTES),
      );
      grown.set(this.#partial!.subarray(0, this.#partialLength));
      this.#partial = grown;
    }
    this.#partial!.set(this.#chunk.subarray(this.#at, this.#at + count), this.#partialLength);
    this.#partialLength = total;
    this.#at += count;
  }

  #check(length: number): void {
    if (length <= this.maxFrameBytes) return;
    throw new CairnError(
      'too_large',
      `expected a frame of at most ${this.maxFrameBytes} bytes, found a length of ${length}`,
      {
        extra: { maxFrameBytes: this.maxFrameBytes },
      },
    );
  }

  #show(bytes: Uint8Array, start: number, length: number): void {
    this.bytes = bytes;
    this.start = start;
    this.end = start + length;
  }
}
