import { PEER_HEADER_BYTES, writePeerHeader } from '../../codec/peer-frame.js';

const SLAB_BYTES = 64 << 10;
/** With less room than this left a new frame begins in a new slab. */
const LEAST_ROOM_BYTES = 4 << 10;

/**
 * The frame of one connection that is being filled. Items are written straight to their place, so what they hold is copied
 * once. Frames that were taken belong to the network and are never written again; the next one follows them in the slab.
 */
export class FrameBuilder {
  bytes: Uint8Array = new Uint8Array(0);
  /** Where the next item begins. */
  at = 0;
  /** Items in the frame, entries included. */
  items = 0;
  #start = 0;

  /** Header and body of what was not taken. */
  get pendingBytes(): number {
    return this.at - this.#start;
  }

  /** Makes sure that `size` bytes fit at `at`. */
  reserve(size: number): void {
    const isFirst = this.at === this.#start;
    const needed = isFirst ? PEER_HEADER_BYTES + Math.max(size, LEAST_ROOM_BYTES) : size;
    if (this.bytes.length - this.at < needed) {
      const pending = this.pendingBytes;
      const slab = Buffer.allocUnsafeSlow(Math.max(SLAB_BYTES, 2 * pending, pending + needed));
      slab.set(this.bytes.subarray(this.#start, this.at));
      // A plain array even over a Buffer: one class of arrays keeps the writers fast.
      this.bytes = new Uint8Array(slab.buffer);
      this.#start = 0;
      this.at = pending;
    }
    if (isFirst) this.at += PEER_HEADER_BYTES;
  }

  /** The finished frame, or null when there is nothing in it. */
  take(): Uint8Array | null {
    if (this.at === this.#start) return null;
    const frame = this.bytes.subarray(this.#start, this.at);
    writePeerHeader(this.bytes, this.#start, this.at);
    this.#start = this.at;
    this.items = 0;
    return frame;
  }

  /** Forgets what was not taken. */
  clear(): void {
    this.bytes = new Uint8Array(0);
    this.at = 0;
    this.items = 0;
    this.#start = 0;
  }
}
