import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { CairnError } from '../../../src/base/errors.js';
import { PEER_HEADER_BYTES, PeerFrameSplitter } from '../../../src/codec/peer-frame.js';
import { TAG, decodePeerFrame, encodePeerFields, peerWire } from '../../../src/codec/peer-protocol.js';
import { FrameBuilder } from '../../../src/cluster/peers/frame-builder.js';
import { FrameReader } from '../../../src/cluster/peers/frame-reader.js';
import { HeartbeatPacker, unzigzag } from '../../../src/cluster/peers/heartbeat-packer.js';
import { writeMessage } from '../../../src/cluster/peers/message-writer.js';
import type { HeartbeatMessage, HeartbeatReply, Message } from '../../../src/raft/message.js';
import { anyMessage, append, heartbeat } from './messages.js';

type Fields = peerWireMessage;
type peerWireMessage = NonNullable<Parameters<typeof encodePeerFields>[0]['messages']>[number];
const { RaftMessageType } = peerWire;

/** Writes as a link does: heartbeats behind all others. */
function bodyOf(messages: readonly Message[]): Uint8Array {
  const frame = new FrameBuilder();
  const packer = new HeartbeatPacker();
  for (const message of messages) {
    if (message.type === 'heartbeat' || message.type === 'heartbeat_reply') packer.add(message);
    else assert.ok(writeMessage(frame, message, Infinity));
  }
  packer.writeTo(frame);
  const bytes = frame.take();
  if (bytes === null) return new Uint8Array(0);
  const splitter = new PeerFrameSplitter(Infinity);
  splitter.push(bytes);
  assert.ok(splitter.next(), 'the frame is whole and its checksum right');
  return splitter.bytes.slice(splitter.start, splitter.end);
}

function read(body: Uint8Array): FrameReader {
  const reader = new FrameReader();
  reader.read(body, 0, body.length);
  return reader;
}

function isHeartbeat(message: Message): message is HeartbeatMessage | HeartbeatReply {
  return message.type === 'heartbeat' || message.type === 'heartbeat_reply';
}

/** The slow oracle: the message as fields of the generated code. */
function fieldsOf(message: Exclude<Message, HeartbeatMessage | HeartbeatReply>): Fields {
  const { group, from, to, term } = message;
  const shared = { group, from, to, term };
  switch (message.type) {
    case 'append':
      return {
        ...shared,
        type: RaftMessageType.APPEND,
        index: message.prevIndex,
        logTerm: message.prevTerm,
        commit: message.commit,
        entries: message.entries.map((entry) => ({
          term: entry.term,
          kind: ['normal', 'noop', 'config'].indexOf(entry.kind),
          revision: entry.revision,
          data: entry.data,
        })),
      };
    case 'append_reply':
      return { ...shared, type: RaftMessageType.APPEND_REPLY, index: message.index, clock: message.clock };
    case 'append_reject':
      return {
        ...shared,
        type: RaftMessageType.APPEND_REJECT,
        index: message.rejectedIndex,
        hintIndex: message.hintIndex,
        logTerm: message.hintTerm,
        lost: message.lost,
        clock: message.clock,
      };
    case 'commit':
      return { ...shared, type: RaftMessageType.COMMIT, commit: message.commit };
    case 'vote':
      return {
        ...shared,
        type: RaftMessageType.VOTE,
        index: message.lastIndex,
        logTerm: message.lastTerm,
        pre: message.pre,
        transfer: message.transfer,
      };
    case 'vote_reply':
      return {
        ...shared,
        type: RaftMessageType.VOTE_REPLY,
        clock: message.clock,
        granted: message.granted,
        pre: message.pre,
      };
    case 'timeout_now':
      return { ...shared, type: RaftMessageType.TIMEOUT_NOW };
    case 'read':
      return { ...shared, type: RaftMessageType.READ, token: message.token };
    case 'read_reply':
      return {
        ...shared,
        type: RaftMessageType.READ_REPLY,
        token: message.token,
        index: message.index,
        clock: message.clock,
        refused: message.refused,
      };
    case 'snapshot': {
      const { configuration, ...rest } = message.snapshot;
      const roles = ['none', 'learner', 'voter'];
      const members = configuration.members.map((member) => ({ ...member, incoming: roles.indexOf(member.incoming) }));
      return { ...shared, type: RaftMessageType.SNAPSHOT, snapshot: { ...rest, members, joint: configuration.joint } };
    }
    case 'repair':
      return { ...shared, type: RaftMessageType.REPAIR, token: message.token };
    case 'repair_reply':
      return { ...shared, type: RaftMessageType.REPAIR_REPLY, token: message.token, index: message.lastIndex };
    case 'term_notice':
      return { ...shared, type: RaftMessageType.TERM_NOTICE };
  }
}

/** What the generated code reads, without what stands at its default. */
function plain(value: unknown): unknown {
  return JSON.parse(
    JSON.stringify(value, (_, field: unknown) => {
      if (field instanceof Uint8Array) return Buffer.from(field).toString('hex') || undefined;
      return field === 0 || field === false || field === '' || (Array.isArray(field) && field.length === 0)
        ? undefined
        : field;
    }),
  );
}

test('what is written by hand and what the generated code writes are read alike, by hand and by the generated code', () => {
  fc.assert(
    fc.property(fc.array(anyMessage, { maxLength: 12 }), (messages) => {
      const single = messages.filter((message) => !isHeartbeat(message));
      const fields = single.map((message) => fieldsOf(message as never));
      const body = bodyOf(single);
      const generated = encodePeerFields({ messages: fields }).subarray(PEER_HEADER_BYTES);
      assert.deepEqual(plain(decodePeerFrame(body, 0, body.length)), plain({ messages: fields }));
      assert.deepEqual(read(body).messages, single);
      assert.deepEqual(read(generated).messages, single);
    }),
    { numRuns: 200 },
  );
});

test('all messages of a frame come back, heartbeats behind the others, each kind in its order', () => {
  fc.assert(
    fc.property(fc.array(anyMessage, { maxLength: 30 }), (messages) => {
      const expected = [
        ...messages.filter((message) => !isHeartbeat(message)),
        ...messages.filter(({ type }) => type === 'heartbeat'),
        ...messages.filter(({ type }) => type === 'heartbeat_reply'),
      ];
      assert.deepEqual(read(bodyOf(messages)).messages, expected);
    }),
    { numRuns: 200 },
  );
});

test('packed heartbeats are what proto/peer.proto says, as the generated code reads them', () => {
  fc.assert(
    fc.property(fc.array(anyMessage, { maxLength: 30 }), (messages) => {
      const heartbeats = messages.filter(isHeartbeat);
      const body = bodyOf(heartbeats);
      const frame = decodePeerFrame(body, 0, body.length);
      const found: Message[] = [];
      for (const { token = 0, clock = 0, confirmedClock = 0, rows = [] } of frame.heartbeats ?? []) {
        for (let i = 0; i < rows!.length; i += 7) {
          const [group, from, to, term, commit, above, confirmedAbove] = rows!.slice(i, i + 7);
          found.push({
            type: 'heartbeat',
            group: group!,
            from: from!,
            to: to!,
            term: term!,
            commit: commit!,
            token: token!,
            clock: clock! + unzigzag(above!),
            confirmedClock: confirmedClock! + unzigzag(confirmedAbove!),
          });
        }
      }
      for (const { token = 0, clock = 0, rows = [] } of frame.heartbeatReplies ?? []) {
        for (let i = 0; i < rows!.length; i += 6) {
          const [group, from, to, term, index, above] = rows!.slice(i, i + 6);
          found.push({
            type: 'heartbeat_reply',
            group: group!,
            from: from!,
            to: to!,
            term: term!,
            token: token!,
            index: index!,
            clock: clock! + unzigzag(above!),
          });
        }
      }
      const expected = [
        ...heartbeats.filter(({ type }) => type === 'heartbeat'),
        ...heartbeats.filter(({ type }) => type === 'heartbeat_reply'),
      ];
      assert.deepEqual(found, expected);
    }),
    { numRuns: 200 },
  );
});

test('the heartbeats of 64 groups in one round take less than 16 bytes each', () => {
  const beats = Array.from({ length: 64 }, (_, group) => ({ ...heartbeat(group, 9000), term: 12, commit: 3_000_000 }));
  assert.ok(bodyOf(beats).length < 64 * 16);
});

test('an append that does not fit into the room is not written', () => {
  const frame = new FrameBuilder();
  assert.equal(writeMessage(frame, append(1, 5000), 5000), false);
  assert.equal(frame.pendingBytes, 0);
  assert.equal(frame.take(), null);
  assert.ok(writeMessage(frame, append(1, 5000), 6000));
});

test('frames that were taken keep their bytes while later ones are written', () => {
  const frame = new FrameBuilder();
  const taken: { bytes: Uint8Array; copy: Buffer }[] = [];
  for (let i = 1; i < 300; i++) {
    writeMessage(frame, append(i, (i * 37) % 3000), Infinity);
    const bytes = frame.take()!;
    taken.push({ bytes, copy: Buffer.from(bytes) });
  }
  for (const { bytes, copy } of taken) assert.ok(copy.equals(bytes));
});

test('the bytes of entries are views of the frame', () => {
  const body = bodyOf([append(1, 100)]);
  const [message] = read(body).messages;
  assert.ok(message!.type === 'append' && message.entries[0]!.data.buffer === body.buffer);
});

test('fields, message types and frame items of a later version are skipped, without harm to the rest', () => {
  const unknown = [
    // Number 30 as a varint of ten bytes, 31 as 8 bytes, 200 as bytes, 201 as 4 bytes.
    [0xf0, 1, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1],
    [0xf9, 1, 1, 2, 3, 4, 5, 6, 7, 8],
    [0xc2, 12, 3, 1, 2, 3],
    [0xcd, 12, 1, 2, 3, 4],
  ];
  const inside = (body: Uint8Array): number[] => {
    assert.ok(body[1]! < 0x80);
    return [body[0]!, body[1]! + unknown.flat().length, ...unknown.flat(), ...body.subarray(2)];
  };
  const messages: Message[] = [append(7, 5), heartbeat(3), { ...heartbeat(3), type: 'term_notice' } as never];
  const notice: Message = { type: 'term_notice', group: 1, from: 2, to: 3, term: 4 };
  messages[2] = notice;
  const later = encodePeerFields({ messages: [{ type: 99 as never, group: 1 }] }).subarray(PEER_HEADER_BYTES);
  const body = Uint8Array.from([
    ...unknown.flat(),
    ...inside(bodyOf([messages[0]!])),
    ...later,
    ...inside(bodyOf([messages[1]!])),
    ...unknown.flat(),
    ...inside(bodyOf([notice])),
  ]);
  const reader = read(body);
  assert.deepEqual(reader.messages, messages);
  assert.equal(reader.unknownMessages, 1);
});

test('any bytes are read or refused with protocol_error, never anything else', () => {
  fc.assert(
    fc.property(
      fc.array(anyMessage, { minLength: 1, maxLength: 3 }),
      fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 4 }),
      fc.nat(),
      (messages, changes, cut) => {
        const body = bodyOf(messages);
        for (const [place, byte] of changes) body[place % body.length] = byte;
        for (const bytes of [body, body.subarray(0, cut % body.length)]) {
          try {
            read(bytes);
          } catch (error) {
            assert.ok(error instanceof CairnError && error.code === 'protocol_error', String(error));
          }
        }
      },
    ),
    { numRuns: 1000 },
  );
});

test('whatever is read from damaged bytes holds only integers below 2^53', () => {
  const check = (value: unknown): void => {
    if (typeof value === 'number') assert.ok(Number.isSafeInteger(value) && value >= 0, String(value));
    else if (typeof value === 'object' && value !== null && !(value instanceof Uint8Array)) {
      Object.values(value).forEach(check);
    }
  };
  fc.assert(
    fc.property(anyMessage, fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 6 }), (message, changes) => {
      const body = bodyOf([message]);
      for (const [place, byte] of changes) body[place % body.length] = byte;
      const reader = new FrameReader();
      try {
        reader.read(body, 0, body.length);
      } catch {
        // Refused.
      }
      check(reader.messages);
    }),
    { numRuns: 1000 },
  );
});

test('more items in a frame than allowed are refused', () => {
  const empty = [TAG.frame.messages, 0];
  const body = new Uint8Array(2 * ((1 << 18) + 1));
  for (let at = 0; at < body.length; at += 2) body.set(empty, at);
  assert.throws(() => read(body), { code: 'protocol_error' });
});

test('a snapshot whose configuration makes no sense is refused', () => {
  const member = (id: number, outgoing: boolean): object => ({ id, nodeId: `n${id}`, incoming: 2, outgoing });
  const cases = [
    { joint: true, members: [member(1, false)] },
    { joint: false, members: [member(1, true)] },
    { joint: false, members: [member(1, false), member(1, false)] },
    { joint: false, members: [{ id: 1, nodeId: 'a', incoming: 9 as never }] },
  ];
  for (const snapshot of cases) {
    const frame = encodePeerFields({ messages: [{ type: RaftMessageType.SNAPSHOT, snapshot }] });
    assert.throws(() => read(frame.subarray(PEER_HEADER_BYTES)), { code: 'protocol_error' });
  }
  const without = encodePeerFields({ messages: [{ type: RaftMessageType.SNAPSHOT }] });
  assert.throws(() => read(without.subarray(PEER_HEADER_BYTES)), { code: 'protocol_error' });
});
