import protobuf from 'protobufjs/minimal.js';
import { CairnError } from '../base/errors.js';
import { cairn } from './generated/peer.js';
import { encodePeerFrame } from './peer-frame.js';

/** Names and limits of the protocol between nodes, and its rare frames. The hot ones: cluster/peers/. See cluster/PEER-PROTOCOL.md. */
export const PEER_MAGIC = 0x504e_5243;
export const PEER_MAJOR = 1;
export const PEER_MINOR = 0;
/** Of a frame's body, until the hello is accepted. */
export const MAX_PEER_HELLO_BYTES = 16 << 10;
/** More messages, heartbeats, entries, requests and answers in one frame are refused: each costs memory however short it is. */
export const MAX_FRAME_ITEMS = 1 << 18;
/**
 * Of the revisions and clocks in all messages, which are the fields of type fixed64. Who relies on an instant gives later revisions only;
 * a year is left for them below 2^53, so that no peer can make a node end, now or when it starts again (Raft rule 20).
 */
export const MAX_PEER_REVISION: number = Number.MAX_SAFE_INTEGER - 365 * 86_400_000 * 4096;

export const peerWire: typeof cairn.peer.v1 = cairn.peer.v1;
export type PeerFrameFields = cairn.peer.v1.PeerFrame.$Properties;
export type PeerFrame = cairn.peer.v1.PeerFrame;
export type HelloFields = cairn.peer.v1.Hello.$Properties;
export type SnapshotFields = cairn.peer.v1.Snapshot.$Properties;

/** Field key on the wire: number * 8 + wire type. Shared by the hand-written encoder and decoder; the numbers are those of proto/peer.proto. */
export const TAG = {
  frame: {
    messages: 0x0a,
    heartbeats: 0x12,
    heartbeatReplies: 0x1a,
    requests: 0x22,
    answers: 0x2a,
    ping: 0x32,
    pong: 0x3a,
    bulkChunk: 0x5a,
  },
  message: {
    type: 0x08,
    group: 0x10,
    from: 0x18,
    to: 0x20,
    term: 0x28,
    index: 0x30,
    logTerm: 0x38,
    commit: 0x40,
    token: 0x48,
    clock: 0x51,
    hintIndex: 0x58,
    entries: 0x62,
    refused: 0x68,
    granted: 0x70,
    pre: 0x78,
    transfer: 0x80,
    lost: 0x88,
    snapshot: 0x92,
  },
  entry: { term: 0x08, kind: 0x10, revision: 0x19, data: 0x22 },
  heartbeats: { token: 0x08, clock: 0x11, confirmedClock: 0x19, rows: 0x22 },
  heartbeatReplies: { token: 0x08, clock: 0x11, rows: 0x1a },
  request: { id: 0x08, body: 0x12, timeoutMs: 0x18 },
  answer: { id: 0x08, body: 0x12, status: 0x18 },
  ping: { id: 0x08 },
  bulkChunk: { data: 0x0a },
} as const;

/** Reads 64-bit fields as numbers and refuses those above 2^53 - 1, also when the library `long` is installed. Drops unknown fields. */
class PeerReader extends protobuf.Reader {
  constructor(bytes: Uint8Array) {
    super(bytes);
    this.discardUnknown = true;
  }

  // The base class declares Long; the generated code (--force-number) expects numbers.
  override uint64(): never {
    let value = 0;
    let scale = 1;
    for (let i = 0; i < 8; i++) {
      if (this.pos >= this.len) throw new RangeError('expected the rest of a varint, found the end');
      const byte = this.buf[this.pos++]!;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return checked(value) as never;
      scale *= 0x80;
    }
    throw new RangeError('expected an integer below 2^53, found a longer one');
  }

  override fixed64(): never {
    const low = this.fixed32();
    const value = this.fixed32() * 0x1_0000_0000 + low;
    if (value > MAX_PEER_REVISION)
      throw new RangeError(`expected at most revision ${MAX_PEER_REVISION}, found ${value}`);
    return value as never;
  }
}

function checked(value: number): number {
  if (value > Number.MAX_SAFE_INTEGER) throw new RangeError(`expected an integer below 2^53, found ${value}`);
  return value;
}

function decode<T>(type: { decode(reader: protobuf.Reader): T }, bytes: Uint8Array, start: number, end: number): T {
  try {
    return type.decode(new PeerReader(bytes.subarray(start, end)));
  } catch (error) {
    throw new CairnError('protocol_error', `expected a protobuf message in the frame: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

/** The body of a frame, by the generated code. Throws `protocol_error`. Byte fields are views of `bytes`. */
export function decodePeerFrame(bytes: Uint8Array, start: number, end: number): PeerFrame {
  return decode(peerWire.PeerFrame, bytes, start, end);
}

/** What travels as an opaque body. Throws `protocol_error`. */
export function decodePeerMessage<T>(type: { decode(reader: protobuf.Reader): T }, bytes: Uint8Array): T {
  return decode(type, bytes, 0, bytes.length);
}

/** Throws `protocol_error`. */
export function decodeSnapshotFields(bytes: Uint8Array, start: number, end: number): SnapshotFields {
  return decode(peerWire.Snapshot, bytes, start, end);
}

export function encodeSnapshotFields(fields: SnapshotFields): Uint8Array {
  return peerWire.Snapshot.encode(fields).finish();
}

/** A whole frame: header and body. For what is not sent often. */
export function encodePeerFields(fields: PeerFrameFields): Uint8Array {
  return encodePeerFrame(peerWire.PeerFrame.encode(fields).finish());
}
