import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { CairnError } from '../../src/base/errors.js';
import {
  decodeRequest,
  decodeResponse,
  encodeRequestFrame,
  encodeResponseFrame,
  errorFromWire,
  errorToWire,
} from '../../src/codec/client-protocol.js';
import { FRAME_HEADER_BYTES } from '../../src/codec/frame.js';

function isProtocolError(error: unknown): boolean {
  return error instanceof CairnError && error.code === 'protocol_error';
}

test('64-bit fields are numbers, 0 when absent', () => {
  const frame = encodeResponseFrame({
    id: 1,
    multiGet: { revision: Number.MAX_SAFE_INTEGER, versions: [{}, { revision: 2 ** 40 }] },
  });
  const answer = decodeResponse(frame, FRAME_HEADER_BYTES, frame.length).multiGet!;
  assert.equal(answer.revision, Number.MAX_SAFE_INTEGER);
  assert.deepEqual(
    answer.versions!.map((version) => version.revision),
    [0, 2 ** 40],
  );
});

test('lists of 64-bit fields are numbers', () => {
  const revisions = [0, 1, 2 ** 52, Number.MAX_SAFE_INTEGER];
  const frame = encodeRequestFrame({ id: 1, delete: { key: Uint8Array.of(1), condition: { revisions } } });
  assert.deepEqual(decodeRequest(frame, FRAME_HEADER_BYTES, frame.length).delete!.condition!.revisions, revisions);
});

test('a 64-bit field of 2^53 or more is a protocol error, never rounded', () => {
  const frame = encodeRequestFrame({ id: 1, get: { key: Uint8Array.of(1), at: 1 } });
  frame[frame.length - 2] = 0x20;
  assert.throws(() => decodeRequest(frame, FRAME_HEADER_BYTES, frame.length), isProtocolError);
});

test('unknown fields are skipped and not kept', () => {
  // Field 1 = 9, then the unknown fields 31 (varint) and 30 (bytes).
  const message = Uint8Array.of(0x08, 9, 0xf8, 0x01, 5, 0xf2, 0x01, 2, 1, 2);
  const request = decodeRequest(message, 0, message.length);
  assert.equal(request.id, 9);
  assert.equal(request.body, undefined);
  assert.deepEqual(Object.keys(request), ['id']);
});

test('any bytes are a message or a protocol error', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      for (const decode of [decodeRequest, decodeResponse]) {
        try {
          decode(bytes, 0, bytes.length);
        } catch (error) {
          assert.ok(isProtocolError(error), String(error));
        }
      }
    }),
    { numRuns: 2000 },
  );
});

test('an error goes over the wire with its code, message and extra members', () => {
  const extra = { currentRevision: 0, maxKeys: 2 ** 50, drained: false, text: '' };
  const frame = encodeResponseFrame({
    id: 1,
    error: errorToWire(new CairnError('precondition_failed', 'no', { extra })),
  });
  const error = errorFromWire(decodeResponse(frame, FRAME_HEADER_BYTES, frame.length).error!);
  assert.deepEqual([error.code, error.message, error.extra], ['precondition_failed', 'no', extra]);
});
