import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { CairnError } from '../../src/base/errors.js';
import { PEER_HEADER_BYTES } from '../../src/codec/peer-frame.js';
import { decodePeerFrame, encodePeerFields } from '../../src/codec/peer-protocol.js';

test('integers up to 2^53 - 1 come back as numbers, from varints and fixed fields', () => {
  fc.assert(
    fc.property(fc.maxSafeInteger().map(Math.abs), (value) => {
      const frame = encodePeerFields({ messages: [{ type: 1, group: value, clock: value }], ping: { id: value } });
      const read = decodePeerFrame(frame, PEER_HEADER_BYTES, frame.length);
      assert.equal(read.messages[0]!.group, value);
      assert.equal(read.messages[0]!.clock, value);
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
