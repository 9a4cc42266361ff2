const SLAB_BYTES = 64 << 10;

/**
 * Collects the answers of one connection in one loop turn, so that they leave in one write. All connections of a server
 * share the slab: bytes that were taken belong to the network and are never written again, the next answers follow them.
 */
export class AnswerWriter {
  bytes: Uint8Array = Buffer.allocUnsafeSlow(SLAB_BYTES);
  /** Where the next answer begins. */
  at = 0;
  #start = 0;

  get pendingBytes(): number {
    return this.at - this.#start;
  }

  /** Makes sure that `size` bytes fit at `at`. */
  reserve(size: number): void {
    if (this.bytes.length - this.at >= size) return;
    const pending = this.pendingBytes;
    const slab = Buffer.allocUnsafeSlow(Math.max(SLAB_BYTES, 2 * (pending + size)));
    slab.set(this.bytes.subarray(this.#start, this.at));
    this.bytes = slab;
    this.#start = 0;
    this.at = pending;
  }

  append(frame: Uint8Array): void {
    this.reserve(frame.length);
    this.bytes.set(frame, this.at);
    this.at += frame.length;
  }

  take(): Uint8Array {
    const taken = this.bytes.subarray(this.#start, this.at);
    this.#start = this.at;
    return taken;
  }
}
