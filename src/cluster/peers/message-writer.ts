import { unreachable } from '../../base/assert.js';
import { writeUint53 } from '../../base/bytes.js';
import { MAX_FRAME_ITEMS, TAG, encodeSnapshotFields, peerWire } from '../../codec/peer-protocol.js';
import { varintBytes, writeVarint } from '../../codec/varint.js';
import type { Entry } from '../../raft/entry.js';
import type { AppendMessage, HeartbeatMessage, HeartbeatReply, Message, SnapshotMessage } from '../../raft/message.js';
import type { FrameBuilder } from './frame-builder.js';

/** What travels as a RaftMessage of proto/peer.proto; heartbeats travel packed (heartbeat-packer.ts). */
export type SingleMessage = Exclude<Message, HeartbeatMessage | HeartbeatReply>;

const T = TAG.message;
const { RaftMessageType, MemberRole } = peerWire;
export const ENTRY_KINDS: readonly Entry['kind'][] = ['normal', 'noop', 'config'];
export const MEMBER_ROLES = ['none', 'learner', 'voter'] as const;
/** All fields of a message but entries and snapshot: at most 10 integers of 9 bytes and flags. One byte holds this length. */
const MAX_PLAIN_BYTES = 120;
const MAX_LENGTH_BYTES = 5;
/** A loop beats `set` up to about this length. */
const SHORT_COPY_BYTES = 64;

/**
 * Writes the message into the frame, by hand on the wire of proto/peer.proto, so that entries are copied once. False, and nothing is
 * written, when it takes more than `room` bytes.
 */
export function writeMessage(frame: FrameBuilder, message: SingleMessage, room: number): boolean {
  if (message.type === 'append') return writeAppend(frame, message, room);
  if (message.type === 'snapshot') return writeSnapshot(frame, message, room);
  if (room < 2 + MAX_PLAIN_BYTES) return false;
  frame.items++;
  frame.reserve(2 + MAX_PLAIN_BYTES);
  const { bytes } = frame;
  const start = frame.at;
  bytes[start] = TAG.frame.messages;
  const end = writePlain(bytes, start + 2, message);
  bytes[start + 1] = end - start - 2;
  frame.at = end;
  return true;
}

type PlainMessage = Exclude<SingleMessage, AppendMessage | SnapshotMessage>;

function writePlain(bytes: Uint8Array, offset: number, message: PlainMessage): number {
  switch (message.type) {
    case 'append_reply': {
      let at = writeEnvelope(bytes, offset, RaftMessageType.APPEND_REPLY, message);
      at = writeNumber(bytes, at, T.index, message.index);
      return writeFixed(bytes, at, T.clock, message.clock);
    }
    case 'append_reject': {
      let at = writeEnvelope(bytes, offset, RaftMessageType.APPEND_REJECT, message);
      at = writeNumber(bytes, at, T.index, message.rejectedIndex);
      at = writeNumber(bytes, at, T.logTerm, message.hintTerm);
      at = writeFixed(bytes, at, T.clock, message.clock);
      at = writeNumber(bytes, at, T.hintIndex, message.hintIndex);
      return writeLateFlag(bytes, at, T.lost, message.lost);
    }
    case 'commit': {
      const at = writeEnvelope(bytes, offset, RaftMessageType.COMMIT, message);
      return writeNumber(bytes, at, T.commit, message.commit);
    }
    case 'vote': {
      let at = writeEnvelope(bytes, offset, RaftMessageType.VOTE, message);
      at = writeNumber(bytes, at, T.index, message.lastIndex);
      at = writeNumber(bytes, at, T.logTerm, message.lastTerm);
      at = writeNumber(bytes, at, T.pre, message.pre ? 1 : 0);
      return writeLateFlag(bytes, at, T.transfer, message.transfer);
    }
    case 'vote_reply': {
      let at = writeEnvelope(bytes, offset, RaftMessageType.VOTE_REPLY, message);
      at = writeFixed(bytes, at, T.clock, message.clock);
      at = writeNumber(bytes, at, T.granted, message.granted ? 1 : 0);
      return writeNumber(bytes, at, T.pre, message.pre ? 1 : 0);
    }
    case 'timeout_now':
      return writeEnvelope(bytes, offset, RaftMessageType.TIMEOUT_NOW, message);
    case 'read': {
      const at = writeEnvelope(bytes, offset, RaftMessageType.READ, message);
      return writeNumber(bytes, at, T.token, message.token);
    }
    case 'read_reply': {
      let at = writeEnvelope(bytes, offset, RaftMessageType.READ_REPLY, message);
      at = writeNumber(bytes, at, T.index, message.index);
      at = writeNumber(bytes, at, T.token, message.token);
      at = writeFixed(bytes, at, T.clock, message.clock);
      return writeNumber(bytes, at, T.refused, message.refused ? 1 : 0);
    }
    case 'repair': {
      const at = writeEnvelope(bytes, offset, RaftMessageType.REPAIR, message);
      return writeNumber(bytes, at, T.token, message.token);
    }
    case 'repair_reply': {
      let at = writeEnvelope(bytes, offset, RaftMessageType.REPAIR_REPLY, message);
      at = writeNumber(bytes, at, T.index, message.lastIndex);
      return writeNumber(bytes, at, T.token, message.token);
    }
    case 'term_notice':
      return writeEnvelope(bytes, offset, RaftMessageType.TERM_NOTICE, message);
    default:
      return unreachable(message);
  }
}

/** The entries' lengths are known only by looking at each; the fields in front are moved to where the length ends. */
function writeAppend(frame: FrameBuilder, message: AppendMessage, room: number): boolean {
  const { entries } = message;
  let entriesBytes = 0;
  for (let i = 0; i < entries.length; i++) entriesBytes += entryItemBytes(entryBodyBytes(entries[i]!));
  const maxBytes = 1 + MAX_LENGTH_BYTES + MAX_PLAIN_BYTES + entriesBytes;
  if (maxBytes > room || entries.length >= MAX_FRAME_ITEMS / 2) return false;
  frame.items += 1 + entries.length;
  frame.reserve(maxBytes);
  const { bytes } = frame;
  const start = frame.at;
  const plain = start + 1 + MAX_LENGTH_BYTES;
  let at = writeEnvelope(bytes, plain, RaftMessageType.APPEND, message);
  at = writeNumber(bytes, at, T.index, message.prevIndex);
  at = writeNumber(bytes, at, T.logTerm, message.prevTerm);
  at = writeNumber(bytes, at, T.commit, message.commit);
  bytes[start] = TAG.frame.messages;
  const body = writeVarint(bytes, start + 1, at - plain + entriesBytes);
  bytes.copyWithin(body, plain, at);
  at = body + at - plain;
  for (let i = 0; i < entries.length; i++) at = writeEntry(bytes, at, entries[i]!);
  frame.at = at;
  return true;
}

function entryBodyBytes(entry: Entry): number {
  const { length } = entry.data;
  return (
    (entry.term === 0 ? 0 : 1 + varintBytes(entry.term)) +
    (entry.kind === 'normal' ? 0 : 2) +
    (entry.revision === 0 ? 0 : 9) +
    (length === 0 ? 0 : 1 + varintBytes(length) + length)
  );
}

function entryItemBytes(bodyBytes: number): number {
  return 1 + varintBytes(bodyBytes) + bodyBytes;
}

function writeEntry(bytes: Uint8Array, offset: number, entry: Entry): number {
  bytes[offset] = T.entries;
  let at = writeVarint(bytes, offset + 1, entryBodyBytes(entry));
  at = writeNumber(bytes, at, TAG.entry.term, entry.term);
  if (entry.kind !== 'normal') at = writeNumber(bytes, at, TAG.entry.kind, ENTRY_KINDS.indexOf(entry.kind));
  at = writeFixed(bytes, at, TAG.entry.revision, entry.revision);
  return writeBytes(bytes, at, TAG.entry.data, entry.data);
}

function writeSnapshot(frame: FrameBuilder, message: SnapshotMessage, room: number): boolean {
  const { snapshot } = message;
  const { configuration } = snapshot;
  const body = encodeSnapshotFields({
    index: snapshot.index,
    term: snapshot.term,
    revision: snapshot.revision,
    members: configuration.members.map(({ id, nodeId, incoming, outgoing }) => ({
      id,
      nodeId,
      incoming: incoming === 'voter' ? MemberRole.VOTER : incoming === 'learner' ? MemberRole.LEARNER : MemberRole.NONE,
      outgoing,
    })),
    joint: configuration.joint,
    configIndex: snapshot.configIndex,
    floor: snapshot.floor,
  });
  const plain = new Uint8Array(MAX_PLAIN_BYTES);
  const plainBytes = writeEnvelope(plain, 0, RaftMessageType.SNAPSHOT, message);
  const maxBytes = 2 + 2 * MAX_LENGTH_BYTES + plainBytes + 2 + body.length;
  if (maxBytes > room) return false;
  frame.items++;
  frame.reserve(maxBytes);
  const { bytes } = frame;
  bytes[frame.at] = TAG.frame.messages;
  let at = writeVarint(bytes, frame.at + 1, plainBytes + 2 + varintBytes(body.length) + body.length);
  bytes.set(plain.subarray(0, plainBytes), at);
  at += plainBytes;
  bytes[at++] = T.snapshot;
  bytes[at++] = 1;
  at = writeVarint(bytes, at, body.length);
  bytes.set(body, at);
  frame.at = at + body.length;
  return true;
}

function writeEnvelope(bytes: Uint8Array, offset: number, type: number, message: Message): number {
  bytes[offset] = T.type;
  bytes[offset + 1] = type;
  let at = writeNumber(bytes, offset + 2, T.group, message.group);
  at = writeNumber(bytes, at, T.from, message.from);
  at = writeNumber(bytes, at, T.to, message.to);
  return writeNumber(bytes, at, T.term, message.term);
}

/** As proto3 has it, zeros are left out. */
export function writeNumber(bytes: Uint8Array, offset: number, tag: number, value: number): number {
  if (value === 0) return offset;
  bytes[offset] = tag;
  return writeVarint(bytes, offset + 1, value);
}

export function writeFixed(bytes: Uint8Array, offset: number, tag: number, value: number): number {
  if (value === 0) return offset;
  bytes[offset] = tag;
  writeUint53(bytes, offset + 1, value);
  return offset + 9;
}

/** A flag whose field number is above 15: its tag has a second byte, which is 1 up to number 31. */
function writeLateFlag(bytes: Uint8Array, offset: number, tag: number, value: boolean): number {
  if (!value) return offset;
  bytes[offset] = tag;
  bytes[offset + 1] = 1;
  bytes[offset + 2] = 1;
  return offset + 3;
}

export function writeBytes(bytes: Uint8Array, offset: number, tag: number, value: Uint8Array): number {
  const { length } = value;
  if (length === 0) return offset;
  bytes[offset] = tag;
  const at = writeVarint(bytes, offset + 1, length);
  if (length <= SHORT_COPY_BYTES) for (let i = 0; i < length; i++) bytes[at + i] = value[i]!;
  else bytes.set(value, at);
  return at + length;
}
