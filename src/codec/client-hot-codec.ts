import { readUint53, writeUint32, writeUint53 } from '../base/bytes.js';
import { FRAME_HEADER_BYTES } from './frame.js';

/**
 * The four messages that make up nearly all traffic (a plain Get, a plain Put, and their answers), written and read
 * by hand on the wire of proto/client.proto: no objects, bytes in place. The bytes are those of the generated code, which
 * test/codec/client-hot-codec.test.ts compares. A reader here accepts only the usual order of fields and says no to anything
 * else, which then goes to the generated code.
 */
const TAG_ID = 0x08;
const TAG_REQUEST_GET = 0x1a;
const TAG_REQUEST_PUT = 0x22;
const TAG_RESPONSE_GET = 0x22;
const TAG_RESPONSE_PUT = 0x2a;
const TAG_KEY = 0x0a;
const TAG_PUT_VALUE = 0x12;
const TAG_ANSWER_VALUE = 0x0a;
const TAG_ANSWER_REVISION = 0x11;
const TAG_ANSWER_EXPIRES_AT = 0x19;
const TAG_ANSWER_CONTENT_TYPE = 0x22;
const TAG_PUT_ANSWER_REVISION = 0x09;
const UINT64_FIELD_BYTES = 9;
/** Length prefix, id, tag and length of the body, and every field of an answer but its value and content type. */
const MAX_ENVELOPE_BYTES = FRAME_HEADER_BYTES + 6 + 6;
const SHORT_COPY_BYTES = 192;

export const MAX_PUT_ANSWER_FRAME_BYTES = MAX_ENVELOPE_BYTES + UINT64_FIELD_BYTES;

/** Room that is enough for `writeGetAnswerFrame`. */
export function maxGetAnswerFrameBytes(valueBytes: number, contentTypeChars: number): number {
  return MAX_ENVELOPE_BYTES + 6 + valueBytes + 2 * UINT64_FIELD_BYTES + 6 + contentTypeChars;
}

function varintBytes(value: number): number {
  return value < 0x80 ? 1 : value < 0x4000 ? 2 : value < 0x20_0000 ? 3 : value < 0x1000_0000 ? 4 : 5;
}

/** Returns the offset after it. `value` is below 2^32. */
function writeVarint(target: Uint8Array, offset: number, value: number): number {
  let at = offset;
  let rest = value;
  while (rest >= 0x80) {
    target[at++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  target[at++] = rest;
  return at;
}

/** Copies `length` bytes. A loop beats `set` with a new view up to about 200 bytes. */
function copy(target: Uint8Array, at: number, source: Uint8Array, start: number, length: number): void {
  if (length <= SHORT_COPY_BYTES) for (let i = 0; i < length; i++) target[at + i] = source[start + i]!;
  else target.set(source.subarray(start, start + length), at);
}

function bytesFieldBytes(length: number): number {
  return length === 0 ? 0 : 1 + varintBytes(length) + length;
}

/** Length prefix, id, and the tag and length of the body; returns the offset of the body. */
function writeEnvelope(target: Uint8Array, offset: number, id: number, bodyTag: number, bodyBytes: number): number {
  writeUint32(target, offset, 1 + varintBytes(id) + 1 + varintBytes(bodyBytes) + bodyBytes);
  target[offset + FRAME_HEADER_BYTES] = TAG_ID;
  let at = writeVarint(target, offset + FRAME_HEADER_BYTES + 1, id);
  target[at++] = bodyTag;
  at = writeVarint(target, at, bodyBytes);
  return at;
}

function writeBytesField(
  target: Uint8Array,
  offset: number,
  tag: number,
  source: Uint8Array,
  start: number,
  length: number,
): number {
  if (length === 0) return offset;
  target[offset] = tag;
  const at = writeVarint(target, offset + 1, length);
  copy(target, at, source, start, length);
  return at + length;
}

function writeUint53Field(target: Uint8Array, offset: number, tag: number, value: number): number {
  if (value === 0) return offset;
  target[offset] = tag;
  writeUint53(target, offset + 1, value);
  return offset + UINT64_FIELD_BYTES;
}

/** The answer to a Get that found something. `contentType` is ASCII. Returns the offset after the frame. */
export function writeGetAnswerFrame(
  target: Uint8Array,
  offset: number,
  id: number,
  value: Uint8Array,
  valueStart: number,
  valueLength: number,
  revision: number,
  expiresAtMs: number,
  contentType: string,
): number {
  const bodyBytes =
    bytesFieldBytes(valueLength) +
    (revision === 0 ? 0 : UINT64_FIELD_BYTES) +
    (expiresAtMs === 0 ? 0 : UINT64_FIELD_BYTES) +
    bytesFieldBytes(contentType.length);
  let at = writeEnvelope(target, offset, id, TAG_RESPONSE_GET, bodyBytes);
  at = writeBytesField(target, at, TAG_ANSWER_VALUE, value, valueStart, valueLength);
  at = writeUint53Field(target, at, TAG_ANSWER_REVISION, revision);
  at = writeUint53Field(target, at, TAG_ANSWER_EXPIRES_AT, expiresAtMs);
  if (contentType !== '') {
    target[at] = TAG_ANSWER_CONTENT_TYPE;
    at = writeVarint(target, at + 1, contentType.length);
    for (let i = 0; i < contentType.length; i++) target[at++] = contentType.charCodeAt(i);
  }
  return at;
}

/** The answer to a Get that found nothing. */
export function writeAbsentAnswerFrame(target: Uint8Array, offset: number, id: number): number {
  return writeEnvelope(target, offset, id, TAG_RESPONSE_GET, 0);
}

export function writePutAnswerFrame(target: Uint8Array, offset: number, id: number, revision: number): number {
  const at = writeEnvelope(target, offset, id, TAG_RESPONSE_PUT, revision === 0 ? 0 : UINT64_FIELD_BYTES);
  return writeUint53Field(target, at, TAG_PUT_ANSWER_REVISION, revision);
}

/** Exact size of the frame that `writeGetFrame` or `writePutFrame` makes. `valueLength` 0 stands for a Get. */
export function requestFrameBytes(id: number, keyLength: number, valueLength: number): number {
  const bodyBytes = bytesFieldBytes(keyLength) + bytesFieldBytes(valueLength);
  return FRAME_HEADER_BYTES + 1 + varintBytes(id) + 1 + varintBytes(bodyBytes) + bodyBytes;
}

export function writeGetFrame(target: Uint8Array, offset: number, id: number, key: Uint8Array): number {
  const at = writeEnvelope(target, offset, id, TAG_REQUEST_GET, bytesFieldBytes(key.length));
  return writeBytesField(target, at, TAG_KEY, key, 0, key.length);
}

/** A Put of JSON without conditions and ttl. */
export function writePutFrame(
  target: Uint8Array,
  offset: number,
  id: number,
  key: Uint8Array,
  value: Uint8Array,
): number {
  const bodyBytes = bytesFieldBytes(key.length) + bytesFieldBytes(value.length);
  let at = writeEnvelope(target, offset, id, TAG_REQUEST_PUT, bodyBytes);
  at = writeBytesField(target, at, TAG_KEY, key, 0, key.length);
  return writeBytesField(target, at, TAG_PUT_VALUE, value, 0, value.length);
}

/** What the two readers below share: a position in one message. */
class HotReader {
  id = 0;
  protected bytes: Uint8Array = new Uint8Array(0);
  protected at = 0;
  protected end = 0;

  /** Below 2^32, or -1 when it is cut, longer than 5 bytes or larger. */
  protected varint(): number {
    const bytes = this.bytes;
    let at = this.at;
    let value = 0;
    let scale = 1;
    for (let i = 0; i < 5 && at < this.end; i++) {
      const byte = bytes[at++]!;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) {
        this.at = at;
        return value <= 0xffff_ffff ? value : -1;
      }
      scale *= 128;
    }
    return -1;
  }

  /** Reads the id and the head of a body that reaches to the end of the message; returns the body's tag or -1. */
  protected envelope(bytes: Uint8Array, start: number, end: number): number {
    this.bytes = bytes;
    this.at = start + 1;
    this.end = end;
    if (end - start < 4 || bytes[start] !== TAG_ID) return -1;
    this.id = this.varint();
    if (this.id <= 0 || this.at >= end) return -1;
    const tag = bytes[this.at++]!;
    const length = this.varint();
    return length >= 0 && this.at + length === end ? tag : -1;
  }

  /** Moves past the length of a bytes field; returns the length, or -1 when the field does not fit. */
  protected bytesField(tag: number): number {
    if (this.at >= this.end || this.bytes[this.at] !== tag) return -1;
    this.at++;
    const length = this.varint();
    return length >= 0 && length <= this.end - this.at ? length : -1;
  }
}

/** Reads plain Gets and Puts in place. */
export class HotRequestReader extends HotReader {
  keyStart = 0;
  keyLength = 0;
  valueStart = 0;
  valueLength = 0;

  /** 'other' means: not one of these, or not in the usual order; nothing is known then. */
  read(bytes: Uint8Array, start: number, end: number): 'get' | 'put' | 'other' {
    const tag = this.envelope(bytes, start, end);
    if (tag !== TAG_REQUEST_GET && tag !== TAG_REQUEST_PUT) return 'other';
    this.keyLength = this.bytesField(TAG_KEY);
    if (this.keyLength < 0) return 'other';
    this.keyStart = this.at;
    this.at += this.keyLength;
    if (tag === TAG_REQUEST_GET) return this.at === end ? 'get' : 'other';
    this.valueLength = this.bytesField(TAG_PUT_VALUE);
    if (this.valueLength < 0) return 'other';
    this.valueStart = this.at;
    return this.at + this.valueLength === end ? 'put' : 'other';
  }
}

/** Reads the answers to Gets of JSON without expiry, and to Puts, in place. */
export class HotResponseReader extends HotReader {
  valueStart = 0;
  valueLength = 0;
  /** 0 in the answer to a Get: absent. */
  revision = 0;

  read(bytes: Uint8Array, start: number, end: number): 'get' | 'put' | 'other' {
    const tag = this.envelope(bytes, start, end);
    if (tag === TAG_RESPONSE_PUT) return this.#uint53(TAG_PUT_ANSWER_REVISION) && this.at === end ? 'put' : 'other';
    if (tag !== TAG_RESPONSE_GET) return 'other';
    this.valueStart = this.at;
    this.valueLength = 0;
    this.revision = 0;
    if (this.at === end) return 'get';
    this.valueLength = this.bytesField(TAG_ANSWER_VALUE);
    if (this.valueLength < 0) return 'other';
    this.valueStart = this.at;
    this.at += this.valueLength;
    return this.#uint53(TAG_ANSWER_REVISION) && this.at === end ? 'get' : 'other';
  }

  #uint53(tag: number): boolean {
    if (this.end - this.at < UINT64_FIELD_BYTES || this.bytes[this.at] !== tag) return false;
    this.revision = readUint53(this.bytes, this.at + 1);
    this.at += UINT64_FIELD_BYTES;
    return this.revision <= Number.MAX_SAFE_INTEGER;
  }
}
