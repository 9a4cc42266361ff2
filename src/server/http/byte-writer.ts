const SHORT = 192;

/** Appends text and bytes to a buffer that grows. The result is a view, valid until the next `reset`. */
export class ByteWriter {
  length = 0;
  #buffer: Buffer;
  readonly #keepBytes: number;

  /** After a bigger answer than `keepBytes` the buffer is given back. */
  constructor(initialBytes: number, keepBytes = Number.MAX_SAFE_INTEGER) {
    this.#buffer = Buffer.allocUnsafe(initialBytes);
    this.#keepBytes = keepBytes;
  }

  reset(): void {
    if (this.#buffer.length > this.#keepBytes) this.#buffer = Buffer.allocUnsafe(this.#keepBytes);
    this.length = 0;
  }

  /** ASCII only. */
  ascii(text: string): void {
    const count = text.length;
    this.#reserve(count);
    const buffer = this.#buffer;
    let at = this.length;
    for (let i = 0; i < count; i++) buffer[at++] = text.charCodeAt(i);
    this.length = at;
  }

  utf8(text: string): void {
    const count = text.length;
    this.#reserve(count * 3);
    const buffer = this.#buffer;
    const start = this.length;
    if (count <= SHORT) {
      let i = 0;
      for (; i < count; i++) {
        const code = text.charCodeAt(i);
        if (code >= 0x80) break;
        buffer[start + i] = code;
      }
      if (i === count) {
        this.length = start + count;
        return;
      }
    }
    this.length = start + buffer.write(text, start, 'utf8');
  }

  /** Copies, so `source` may be shared memory. Short ranges go byte by byte, without a view. */
  bytes(source: Uint8Array, start: number, length: number): void {
    this.#reserve(length);
    const buffer = this.#buffer;
    const at = this.length;
    if (length <= SHORT) for (let i = 0; i < length; i++) buffer[at + i] = source[start + i]!;
    else buffer.set(source.subarray(start, start + length), at);
    this.length = at + length;
  }

  /** An integer in [0, 2^53) in decimal digits. Halves below 10^8 keep the divisions in small integers. */
  integer(value: number): void {
    this.#reserve(16);
    const high = Math.floor(value / 1e8);
    if (high === 0) {
      this.#digits(value, digitCount(value));
      return;
    }
    if (high < 1e8) this.#digits(high, digitCount(high));
    else this.ascii(String(high));
    this.#digits(value - high * 1e8, 8);
  }

  view(): Uint8Array {
    return this.#buffer.subarray(0, this.length);
  }

  #digits(value: number, count: number): void {
    const buffer = this.#buffer;
    let rest = value | 0;
    for (let at = this.length + count - 1; at >= this.length; at--) {
      const quotient = (rest / 10) | 0;
      buffer[at] = 0x30 + rest - quotient * 10;
      rest = quotient;
    }
    this.length += count;
  }

  #reserve(count: number): void {
    const needed = this.length + count;
    if (needed <= this.#buffer.length) return;
    const grown = Buffer.allocUnsafe(Math.max(needed, this.#buffer.length * 2));
    this.#buffer.copy(grown, 0, 0, this.length);
    this.#buffer = grown;
  }
}

function digitCount(value: number): number {
  let count = 1;
  for (let bound = 10; bound <= value; bound *= 10) count++;
  return count;
}
