import { CorruptionError } from '../base/errors.js';

/**
 * LEB128: 7 bits a byte, lowest first, the top bit set on all but the last. Values are integers in [0, 2^53). Bit operators
 * only see 32 bits, so larger values go by multiplication.
 */
export const MAX_VARINT_BYTES = 8;

export function varintBytes(value: number): number {
  let bytes = 1;
  for (let rest = value; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes++;
  return bytes;
}

/** Writes `value` and returns the offset behind it. */
export function writeVarint(target: Uint8Array, offset: number, value: number): number {
  let at = offset;
  let rest = value;
  while (rest >= 0x8000_0000) {
    target[at++] = (rest % 0x80) | 0x80;
    rest = Math.floor(rest / 0x80);
  }
  while (rest >= 0x80) {
    target[at++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  target[at++] = rest;
  return at;
}

/** A bounded walk over encoded fields. Every overrun is a CorruptionError that names `where`. */
export class VarintReader {
  readonly bytes: Uint8Array;
  readonly end: number;
  readonly where: string;
  at: number;

  constructor(bytes: Uint8Array, start: number, end: number, where: string) {
    this.bytes = bytes;
    this.at = start;
    this.end = end;
    this.where = where;
  }

  varint(): number {
    let value = 0;
    let scale = 1;
    for (let i = 0; i < MAX_VARINT_BYTES; i++) {
      if (this.at >= this.end) throw new CorruptionError(this.where, 'the rest of a varint', 'the end');
      const byte = this.bytes[this.at++]!;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) {
        if (value > Number.MAX_SAFE_INTEGER) break;
        return value;
      }
      scale *= 0x80;
    }
    throw new CorruptionError(this.where, 'a varint below 2^53', 'a larger one');
  }

  /** Skips `length` bytes and returns where they start. */
  skip(length: number): number {
    const start = this.at;
    if (length > this.end - start) {
      throw new CorruptionError(this.where, `${length} more bytes`, `${this.end - start}`);
    }
    this.at = start + length;
    return start;
  }
}
