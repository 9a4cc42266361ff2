import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  HotRequestReader,
  HotResponseReader,
  MAX_PUT_ANSWER_FRAME_BYTES,
  maxGetAnswerFrameBytes,
  requestFrameBytes,
  writeAbsentAnswerFrame,
  writeGetAnswerFrame,
  writeGetFrame,
  writePutAnswerFrame,
  writePutFrame,
} from '../../src/codec/client-hot-codec.js';
import {
  MAX_REQUEST_ID,
  type RequestFields,
  type ResponseFields,
  decodeRequest,
  decodeResponse,
  encodeRequestFrame,
  encodeResponseFrame,
} from '../../src/codec/client-protocol.js';
import { FRAME_HEADER_BYTES } from '../../src/codec/frame.js';

const ids = fc.oneof(
  fc.integer({ min: 1, max: 300 }),
  fc.integer({ min: 1, max: MAX_REQUEST_ID }),
  fc.constant(MAX_REQUEST_ID),
);
const keys = fc.uint8Array({ minLength: 1, maxLength: 300 });
const values = fc.oneof(
  fc.uint8Array({ minLength: 1, maxLength: 300 }),
  fc.uint8Array({ minLength: 16_000, maxLength: 17_000 }),
);
const uint53 = fc.oneof(fc.integer({ min: 0, max: 5 }), fc.maxSafeInteger().map(Math.abs));
const contentTypes = fc.oneof(fc.constant(''), fc.stringMatching(/^[ -~]{1,255}$/));

/** Writes at an odd place of dirty memory. */
function written(room: number, write: (target: Uint8Array, offset: number) => number): Uint8Array {
  const target = new Uint8Array(room + 10).fill(0xee);
  const end = write(target, 5);
  assert.ok(end - 5 <= room, `wrote ${end - 5} bytes into ${room}`);
  assert.deepEqual(
    [...target.subarray(end)],
    Array.from({ length: room + 10 - end }, () => 0xee),
  );
  return target.slice(5, end);
}

function hotRequest(frame: Uint8Array): { kind: string; id: number; key: Uint8Array; value: Uint8Array } {
  const reader = new HotRequestReader();
  const kind = reader.read(frame, FRAME_HEADER_BYTES, frame.length);
  const { id, keyStart, keyLength, valueStart, valueLength } = reader;
  return {
    kind,
    id,
    key: frame.slice(keyStart, keyStart + keyLength),
    value: frame.slice(valueStart, valueStart + valueLength),
  };
}

test('a Get is written as by the generated code, in the size foretold, and read back', () => {
  fc.assert(
    fc.property(ids, keys, (id, key) => {
      const frame = written(requestFrameBytes(id, key.length, 0), (target, offset) =>
        writeGetFrame(target, offset, id, key),
      );
      assert.equal(frame.length, requestFrameBytes(id, key.length, 0));
      assert.deepEqual(frame, encodeRequestFrame({ id, get: { key } }));
      const read = hotRequest(frame);
      assert.deepEqual([read.kind, read.id, read.key], ['get', id, key]);
    }),
  );
});

test('a Put is written as by the generated code, in the size foretold, and read back', () => {
  fc.assert(
    fc.property(ids, keys, values, (id, key, value) => {
      const size = requestFrameBytes(id, key.length, value.length);
      const frame = written(size, (target, offset) => writePutFrame(target, offset, id, key, value));
      assert.equal(frame.length, size);
      assert.deepEqual(frame, encodeRequestFrame({ id, put: { key, value } }));
      assert.deepEqual(hotRequest(frame), { kind: 'put', id, key, value });
    }),
  );
});

test('the answer to a Get is written as by the generated code', () => {
  fc.assert(
    fc.property(
      ids,
      fc.oneof(fc.constant(new Uint8Array(0)), values),
      uint53,
      uint53,
      contentTypes,
      (id, value, revision, expiresAtMs, contentType) => {
        const room = maxGetAnswerFrameBytes(value.length, contentType.length);
        const frame = written(room, (target, offset) =>
          writeGetAnswerFrame(target, offset, id, value, 0, value.length, revision, expiresAtMs, contentType),
        );
        assert.deepEqual(frame, encodeResponseFrame({ id, get: { value, revision, expiresAtMs, contentType } }));
      },
    ),
  );
});

test('the answers "absent" and to a Put are written as by the generated code', () => {
  fc.assert(
    fc.property(ids, uint53, (id, revision) => {
      const absent = written(MAX_PUT_ANSWER_FRAME_BYTES, (target, offset) =>
        writeAbsentAnswerFrame(target, offset, id),
      );
      assert.deepEqual(absent, encodeResponseFrame({ id, get: {} }));
      const put = written(MAX_PUT_ANSWER_FRAME_BYTES, (target, offset) =>
        writePutAnswerFrame(target, offset, id, revision),
      );
      assert.deepEqual(put, encodeResponseFrame({ id, put: { revision } }));
    }),
  );
});

test('whatever the hot reader accepts as an answer is what the generated code reads', () => {
  fc.assert(
    fc.property(ids, values, uint53, uint53, contentTypes, (id, value, revision, expiresAtMs, contentType) => {
      const answers: ResponseFields[] = [
        { id, get: { value, revision, expiresAtMs, contentType } },
        { id, get: { value, revision } },
        { id, get: {} },
        { id, put: { revision } },
        { id, ping: {} },
        { id, delete: { revision, deleted: true } },
      ];
      for (const answer of answers) checkResponse(encodeResponseFrame(answer));
    }),
  );
});

function checkResponse(frame: Uint8Array): void {
  const reader = new HotResponseReader();
  const kind = reader.read(frame, FRAME_HEADER_BYTES, frame.length);
  if (kind === 'other') return;
  const slow = decodeResponse(frame, FRAME_HEADER_BYTES, frame.length);
  assert.equal(reader.id, slow.id);
  assert.equal(slow.body, kind);
  assert.equal(reader.revision, slow[kind]!.revision);
  if (kind === 'put') return;
  assert.deepEqual(
    frame.slice(reader.valueStart, reader.valueStart + reader.valueLength),
    Uint8Array.from(slow.get!.value!),
  );
  assert.deepEqual([slow.get!.contentType, slow.get!.expiresAtMs], ['', 0]);
}

test('whatever the hot reader accepts as a request is what the generated code reads, also from damaged bytes', () => {
  fc.assert(
    fc.property(
      ids,
      keys,
      fc.uint8Array({ minLength: 0, maxLength: 40 }),
      fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 3 }),
      (id, key, value, changes) => {
        const requests: RequestFields[] = [
          { id, get: { key } },
          { id, put: { key, value } },
          { id, put: { key, value, ttlSeconds: 5 } },
          { id, get: { key, at: 7 } },
        ];
        for (const request of requests) {
          const frame = encodeRequestFrame(request);
          for (const [place, byte] of changes) {
            frame[FRAME_HEADER_BYTES + (place % (frame.length - FRAME_HEADER_BYTES))] = byte;
          }
          const hot = hotRequest(frame);
          if (hot.kind === 'other') continue;
          const slow = decodeRequest(frame, FRAME_HEADER_BYTES, frame.length);
          assert.equal(slow.body, hot.kind);
          assert.equal(slow.id, hot.id);
          const fields =
            hot.kind === 'get'
              ? { key: slow.get!.key!, value: hot.value }
              : { key: slow.put!.key!, value: slow.put!.value! };
          assert.deepEqual([hot.key, hot.value], [Uint8Array.from(fields.key), Uint8Array.from(fields.value)]);
        }
      },
    ),
    { numRuns: 500 },
  );
});

test('plain requests are read by the hot reader, others are left to the generated code', () => {
  const key = Uint8Array.of(1);
  const kindOf = (request: RequestFields): string => hotRequest(encodeRequestFrame(request)).kind;
  assert.equal(kindOf({ id: 1, get: { key } }), 'get');
  assert.equal(kindOf({ id: 1, put: { key, value: key } }), 'put');
  assert.equal(kindOf({ id: 1, put: { key, value: key, contentType: 'a/b' } }), 'other');
  assert.equal(kindOf({ id: 1, put: { key, value: key, condition: { exists: true } } }), 'other');
  assert.equal(kindOf({ get: { key } }), 'other');
  assert.equal(kindOf({ id: 1, ping: {} }), 'other');
});
