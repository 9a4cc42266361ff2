import { readUint32 } from '../../base/bytes.js';
import { CairnError } from '../../base/errors.js';
import { encodeForwardHeaderFrame } from '../../codec/client-protocol.js';
import { FRAME_HEADER_BYTES } from '../../codec/frame.js';

/**
 * The body of one request between nodes: frames as in the client protocol (proto/README.md), first a ForwardHeader, then Requests
 * with the ids 1, 2, 3, ... Its answer: a Response frame for each id in any order; or a single one with id 0 that
 * carries the error with which all of them were refused, nothing executed.
 */
export function encodeEnvelope(timeLimitMs: number, requests: readonly Uint8Array[]): Uint8Array {
  return joinFrames([encodeForwardHeaderFrame(timeLimitMs), ...requests]);
}

export function joinFrames(frames: readonly Uint8Array[]): Uint8Array {
  // Plain arrays all the way: the readers of frames stay with one class of arrays.
  let length = 0;
  for (const frame of frames) length += frame.length;
  const body = new Uint8Array(length);
  let at = 0;
  for (const frame of frames) {
    body.set(frame, at);
    at += frame.length;
  }
  return body;
}

/** Walks over the frames of a body: `start` and `end` are those of the message that `next` found. */
export class FrameWalk {
  readonly bytes: Uint8Array;
  start = 0;
  end = 0;

  constructor(bytes: Uint8Array) {
    this.bytes = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  /** False at the end of the body. Throws `protocol_error` when a frame is cut. */
  next(): boolean {
    const at = this.end;
    const left = this.bytes.length - at;
    if (left === 0) return false;
    const length = left < FRAME_HEADER_BYTES ? Infinity : readUint32(this.bytes, at);
    if (length > left - FRAME_HEADER_BYTES) {
      throw new CairnError('protocol_error', `expected a whole frame in the last ${left} bytes, found a part of one`);
    }
    this.start = at + FRAME_HEADER_BYTES;
    this.end = this.start + length;
    return true;
  }
}
