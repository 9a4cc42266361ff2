import { assert } from '../../base/assert.js';
import { TAG } from '../../codec/peer-protocol.js';
import { writeVarint } from '../../codec/varint.js';
import type { HeartbeatMessage, HeartbeatReply } from '../../raft/message.js';
import type { FrameBuilder } from './frame-builder.js';
import { writeFixed, writeNumber } from './message-writer.js';

/** A difference of clocks that zigzag keeps below 2^53. Larger ones begin a new batch. */
const MAX_DIFFERENCE = 2 ** 51;
/** A row has at most 7 numbers of 8 bytes; the head of a batch two tags, two lengths, one varint and two fixed numbers. */
export const MAX_ROW_BYTES = 56;
const MAX_HEAD_BYTES = 48;
const MAX_ROWS = 4096;

/**
 * Collects the heartbeats and replies that go to one node in one loop turn. They leave at the end of the frame: all groups that
 * ask for the same round are one item with a row of small numbers each, about 12 bytes instead of 40.
 */
export class HeartbeatPacker {
  readonly #heartbeats: HeartbeatMessage[] = [];
  readonly #replies: HeartbeatReply[] = [];

  /** What `writeTo` writes at most, about. */
  get maxBytes(): number {
    return (this.#heartbeats.length + this.#replies.length) * MAX_ROW_BYTES;
  }

  add(message: HeartbeatMessage | HeartbeatReply): void {
    if (message.type === 'heartbeat') this.#heartbeats.push(message);
    else this.#replies.push(message);
  }

  writeTo(frame: FrameBuilder): void {
    const heartbeats = this.#heartbeats;
    for (let from = 0; from < heartbeats.length;) from = writeHeartbeats(frame, heartbeats, from);
    const replies = this.#replies;
    for (let from = 0; from < replies.length;) from = writeReplies(frame, replies, from);
    this.clear();
  }

  clear(): void {
    this.#heartbeats.length = 0;
    this.#replies.length = 0;
  }
}

/** The rows go to a scratch first, since their length stands in front of them. */
const scratch = new Uint8Array(MAX_ROWS * MAX_ROW_BYTES);

/** Writes those from `from` on that fit together; returns the next one. */
function writeHeartbeats(frame: FrameBuilder, heartbeats: readonly HeartbeatMessage[], from: number): number {
  const { token, clock, confirmedClock } = heartbeats[from]!;
  let length = 0;
  let at = from;
  for (; at < heartbeats.length && at - from < MAX_ROWS; at++) {
    const row = heartbeats[at]!;
    const above = row.clock - clock;
    const confirmedAbove = row.confirmedClock - confirmedClock;
    if (row.token !== token || !isSmall(above) || !isSmall(confirmedAbove)) break;
    length = writeVarint(scratch, length, row.group);
    length = writeVarint(scratch, length, row.from);
    length = writeVarint(scratch, length, row.to);
    length = writeVarint(scratch, length, row.term);
    length = writeVarint(scratch, length, row.commit);
    length = writeVarint(scratch, length, zigzag(above));
    length = writeVarint(scratch, length, zigzag(confirmedAbove));
  }
  const T = TAG.heartbeats;
  writeBatch(frame, TAG.frame.heartbeats, T.rows, at - from, length, (bytes, offset) => {
    const next = writeFixed(bytes, writeNumber(bytes, offset, T.token, token), T.clock, clock);
    return writeFixed(bytes, next, T.confirmedClock, confirmedClock);
  });
  return at;
}

function writeReplies(frame: FrameBuilder, replies: readonly HeartbeatReply[], from: number): number {
  const { token, clock } = replies[from]!;
  let length = 0;
  let at = from;
  for (; at < replies.length && at - from < MAX_ROWS; at++) {
    const row = replies[at]!;
    const above = row.clock - clock;
    if (row.token !== token || !isSmall(above)) break;
    length = writeVarint(scratch, length, row.group);
    length = writeVarint(scratch, length, row.from);
    length = writeVarint(scratch, length, row.to);
    length = writeVarint(scratch, length, row.term);
    length = writeVarint(scratch, length, row.index);
    length = writeVarint(scratch, length, zigzag(above));
  }
  const T = TAG.heartbeatReplies;
  writeBatch(frame, TAG.frame.heartbeatReplies, T.rows, at - from, length, (bytes, offset) =>
    writeFixed(bytes, writeNumber(bytes, offset, T.token, token), T.clock, clock),
  );
  return at;
}

const head = new Uint8Array(MAX_HEAD_BYTES);

function writeBatch(
  frame: FrameBuilder,
  tag: number,
  rowsTag: number,
  rows: number,
  rowsBytes: number,
  writeHead: (bytes: Uint8Array, offset: number) => number,
): void {
  assert(rows > 0, 'the first heartbeat of a batch is in it');
  let headBytes = writeHead(head, 0);
  head[headBytes] = rowsTag;
  headBytes = writeVarint(head, headBytes + 1, rowsBytes);
  frame.items += rows;
  frame.reserve(MAX_HEAD_BYTES + headBytes + rowsBytes);
  const { bytes } = frame;
  bytes[frame.at] = tag;
  const at = writeVarint(bytes, frame.at + 1, headBytes + rowsBytes);
  bytes.set(head.subarray(0, headBytes), at);
  bytes.set(scratch.subarray(0, rowsBytes), at + headBytes);
  frame.at = at + headBytes + rowsBytes;
}

function isSmall(difference: number): boolean {
  return difference > -MAX_DIFFERENCE && difference < MAX_DIFFERENCE;
}

function zigzag(difference: number): number {
  return difference >= 0 ? 2 * difference : -2 * difference - 1;
}

/** The inverse of `zigzag`. */
export function unzigzag(value: number): number {
  return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
}
