import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { CairnError } from '../../src/base/errors.js';
import { PEER_HEADER_BYTES } from '../../src/codec/peer-frame.js';
import { FrameReader } from '../../src/cluster/peers/frame-reader.js';
import { decodeInstantRequest, encodeInstantRequest } from '../../src/codec/instant-protocol.js';
import { decodePeerFrame, encodePeerFields, MAX_PEER_REVISION } from '../../src/codec/peer-protocol.js';

test('integers up to 2^53 - 1 come back as numbers, from varints and fixed fields', () => {
  fc.assert(
    fc.property(fc.maxSafeInteger().map(Math.abs), (value) => {
      const clock = Math.min(value, MAX_PEER_REVISION);
      const frame = encodePeerFields({ messages: [{ type: 1, group: value, clock }], ping: { id: value } });
      const read = decodePeerFrame(frame, PEER_HEADER_BYTES, frame.length);
      assert.equal(read.messages[0]!.group, value);
      assert.equal(read.messages[0]!.clock, clock);
      assert.equal(read.ping!.id, value);
    }),
  );
});

test('integers from 2^53 on are refused', () => {
  // 2^53 as the id of a ping, and as the clock of heartbeats.
  const varint = Uint8Array.of(0x32, 9, 0x08, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10);
  const fixed = Uint8Array.of(0x12, 9, 0x11, 0, 0, 0, 0, 0, 0, 0x20, 0);
  for (const body of [varint, fixed]) {
    assert.throws(() => decodePeerFrame(body, 0, body.length), { code: 'protocol_error' });
  }
});

test('Raft rule 20: a revision or clock near the last one is refused, in a message and in a request for an instant', () => {
  const tooLate = MAX_PEER_REVISION + 1;
  const body = encodePeerFields({ messages: [{ type: 1, clock: tooLate }] });
  assert.throws(() => decodePeerFrame(body, PEER_HEADER_BYTES, body.length), { code: 'protocol_error' });
  const reader = new FrameReader();
  assert.throws(() => reader.read(body, PEER_HEADER_BYTES, body.length), { code: 'protocol_error' });
  const request = { step: 'reach', hold: 0, holdMs: 0, partitions: [0] } as const;
  const asked = (revision: number): number =>
    decodeInstantRequest(encodeInstantRequest({ ...request, revision })).revision;
  assert.equal(asked(MAX_PEER_REVISION), MAX_PEER_REVISION);
  assert.throws(() => asked(tooLate), { code: 'protocol_error' });
});

test('any bytes are read or refused with protocol_error', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
      try {
        decodePeerFrame(bytes, 0, bytes.length);
      } catch (error) {
        assert.ok(error instanceof CairnError && error.code === 'protocol_error');
      }
    }),
    { numRuns: 500 },
  );
});
