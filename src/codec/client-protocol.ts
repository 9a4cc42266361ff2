import protobuf from 'protobufjs/minimal.js';
import { CairnError, type ErrorCode } from '../base/errors.js';
import { FRAME_HEADER_BYTES, writeFrameHeader } from './frame.js';
import { cairn } from './generated/client.js';

/** Names and limits of the client protocol. What they mean to a user: proto/README.md. */
export const PROTOCOL_MAGIC = 0x4e52_4943;
export const PROTOCOL_MAJOR = 1;
export const PROTOCOL_MINOR = 1;
export const DEFAULT_MAX_FRAME_BYTES = 17 << 20;
/** Before the hello is accepted. */
export const MAX_HELLO_BYTES = 64 << 10;
/** Answers that concern the whole connection carry this id; requests never do. */
export const CONNECTION_ID = 0;
export const MAX_REQUEST_ID = 0xffff_ffff;
const NO_BYTES = new Uint8Array(0);

export const wire: typeof cairn.client.v1 = cairn.client.v1;
export type RequestFields = cairn.client.v1.Request.$Properties;
export type ResponseFields = cairn.client.v1.Response.$Properties;
export type Request = cairn.client.v1.Request;
export type Response = cairn.client.v1.Response;
export type ErrorFields = cairn.client.v1.Error.$Properties;

/**
 * Reads 64-bit fields as numbers and refuses those above 2^53 - 1: protobufjs would make objects of them when the
 * library `long` is installed. Unknown fields are dropped instead of kept.
 */
class Uint53Reader extends protobuf.Reader {
  constructor(bytes: Uint8Array) {
    super(bytes);
    this.discardUnknown = true;
  }

  override fixed64(): never {
    // The base class declares Long; the generated code (--force-number) expects a number.
    return this.#uint53() as never;
  }

  override fixed64s(values: never[] = []): never[] {
    const end = this.uint32() + this.pos;
    if (end > this.len) throw new RangeError(`expected a list that ends by ${this.len}, found ${end}`);
    while (this.pos < end) values.push(this.fixed64());
    if (this.pos !== end) throw new RangeError('expected a list of 8-byte integers, found a part of one');
    return values;
  }

  #uint53(): number {
    const low = this.fixed32();
    const high = this.fixed32();
    if (high >= 0x20_0000) throw new RangeError(`expected an integer below 2^53, found ${high} * 2^32 + ${low}`);
    return high * 0x1_0000_0000 + low;
  }
}

function decode<T>(type: { decode(reader: protobuf.Reader): T }, bytes: Uint8Array, start: number, end: number): T {
  try {
    return type.decode(new Uint53Reader(bytes.subarray(start, end)));
  } catch (error) {
    throw new CairnError('protocol_error', `expected a protobuf message in the frame: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

/** Throws `protocol_error`. Byte fields are views of `bytes`. */
export function decodeRequest(bytes: Uint8Array, start: number, end: number): Request {
  return decode(wire.Request, bytes, start, end);
}

/** Throws `protocol_error`. Byte fields are views of `bytes`. */
export function decodeResponse(bytes: Uint8Array, start: number, end: number): Response {
  return decode(wire.Response, bytes, start, end);
}

function frame(writer: protobuf.Writer): Uint8Array {
  const frameBytes = new Uint8Array(FRAME_HEADER_BYTES + writer.len);
  writeFrameHeader(frameBytes, 0, writer.len);
  frameBytes.set(writer.finish(), FRAME_HEADER_BYTES);
  return frameBytes;
}

/** A whole frame with its length in front. */
export function encodeRequestFrame(request: RequestFields): Uint8Array {
  return frame(wire.Request.encode(request));
}

export interface ForwardHeader {
  readonly timeLimitMs: number;
  /** An encoded InstantRequest instead of requests; empty: none. */
  readonly instant: Uint8Array;
}

/** What stands in front of requests that one node sends on to another. Throws `protocol_error`. */
export function decodeForwardHeader(bytes: Uint8Array, start: number, end: number): ForwardHeader {
  const { timeLimitMs, instant } = decode(wire.ForwardHeader, bytes, start, end);
  return { timeLimitMs: timeLimitMs ?? 0, instant: instant ?? NO_BYTES };
}

/** A whole frame with its length in front. */
export function encodeForwardHeaderFrame(timeLimitMs: number, instant: Uint8Array = NO_BYTES): Uint8Array {
  return frame(wire.ForwardHeader.encode({ timeLimitMs, instant }));
}

/** A whole frame with its length in front. */
export function encodeResponseFrame(response: ResponseFields): Uint8Array {
  return frame(wire.Response.encode(response));
}

export function errorToWire(error: CairnError): ErrorFields {
  const extra = Object.entries(error.extra ?? {}).map(([name, value]) =>
    typeof value === 'number'
      ? { name, number: value }
      : typeof value === 'boolean'
        ? { name, flag: value }
        : { name, text: value },
  );
  return { code: error.code, message: error.message, extra };
}

/** A newer server may send a code that this version does not know: it is kept as it came. */
export function errorFromWire(fields: ErrorFields): CairnError {
  const extra: Record<string, string | number | boolean> = {};
  for (const { name, text, number, flag } of fields.extra ?? []) {
    const value = text ?? number ?? flag;
    if (name && value !== undefined && value !== null) extra[name] = value;
  }
  return new CairnError((fields.code || 'internal') as ErrorCode, fields.message ?? '', { extra });
}
