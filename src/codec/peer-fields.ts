import { readUint53 } from '../base/bytes.js';
import { CairnError } from '../base/errors.js';
import { MAX_PEER_REVISION } from './peer-protocol.js';

const WIRE_VARINT = 0;
const WIRE_FIXED64 = 1;
const WIRE_BYTES = 2;
const WIRE_FIXED32 = 5;
const NO_BYTES = new Uint8Array(0);
/** Keeps the tags of field numbers from 32 on apart from the first bytes of the others; a multiple of 8, so that the wire type stays. */
const LATE_TAGS = 0x1000;

/** A bounded walk over protobuf fields, in place. Everything throws `protocol_error`. */
export class FieldReader {
  protected bytes: Uint8Array = NO_BYTES;
  protected at = 0;
  protected end = 0;

  /** Reads the length of a message and bounds what follows by its end; returns the outer end, for `leave`. */
  protected enter(): number {
    const outer = this.end;
    const length = this.varint();
    if (length > outer - this.at) throw malformed(`${length} bytes of a message`, `${outer - this.at}`);
    this.end = this.at + length;
    return outer;
  }

  protected leave(outer: number): void {
    this.end = outer;
  }

  /** Field numbers up to 31 are compared by their first byte: the second byte is 1, and is left out of the result. */
  protected tag(): number {
    const bytes = this.bytes;
    const tag = bytes[this.at]!;
    if (tag < 0x80) {
      this.at++;
      return tag;
    }
    if (this.at + 1 < this.end && bytes[this.at + 1] === 1) {
      this.at += 2;
      return tag;
    }
    return this.varint() + LATE_TAGS;
  }

  protected view(): Uint8Array {
    const length = this.varint();
    const start = this.at;
    if (length > this.end - start) throw malformed(`${length} bytes`, `${this.end - start}`);
    this.at = start + length;
    return length === 0 ? NO_BYTES : this.bytes.subarray(start, start + length);
  }

  /** A revision. */
  protected fixed64(): number {
    const at = this.at;
    if (this.end - at < 8) throw malformed('8 bytes of an integer', `${this.end - at}`);
    const value = readUint53(this.bytes, at);
    if (value > MAX_PEER_REVISION) throw malformed(`at most revision ${MAX_PEER_REVISION}`, `${value}`);
    this.at = at + 8;
    return value;
  }

  /** Below 2^53. */
  protected varint(): number {
    const bytes = this.bytes;
    const end = this.end;
    let at = this.at;
    if (at < end) {
      const first = bytes[at]!;
      if (first < 0x80) {
        this.at = at + 1;
        return first;
      }
    }
    let value = 0;
    let scale = 1;
    for (let i = 0; i < 8 && at < end; i++) {
      const byte = bytes[at++]!;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) {
        if (value > Number.MAX_SAFE_INTEGER) break;
        this.at = at;
        return value;
      }
      scale *= 0x80;
    }
    throw malformed('an integer below 2^53', at >= end ? 'a part of one' : 'a larger one');
  }

  /** Moves past a field of a later version. */
  protected skip(tag: number): void {
    const type = tag & 7;
    let bytes = 0;
    if (type === WIRE_FIXED64) bytes = 8;
    else if (type === WIRE_FIXED32) bytes = 4;
    else if (type === WIRE_BYTES) bytes = this.varint();
    else if (type === WIRE_VARINT) {
      // Not a number of ours: it may have up to 10 bytes.
      while (this.at < this.end && this.bytes[this.at]! >= 0x80 && bytes < 10) {
        this.at++;
        bytes++;
      }
      bytes = 1;
    } else throw malformed('a field', `wire type ${type}`);
    if (bytes > this.end - this.at) throw malformed(`${bytes} bytes of a field`, `${this.end - this.at}`);
    this.at += bytes;
  }
}

export function malformed(expected: string, found: string): CairnError {
  return new CairnError('protocol_error', `peer frame: expected ${expected}, found ${found}`);
}
