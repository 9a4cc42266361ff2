import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { CairnError } from '../../src/base/errors.js';
import { FRAME_HEADER_BYTES, FrameSplitter, writeFrameHeader } from '../../src/codec/frame.js';

function framed(messages: readonly Uint8Array[]): Uint8Array {
  const total = messages.reduce((sum, message) => sum + FRAME_HEADER_BYTES + message.length, 0);
  const bytes = new Uint8Array(total);
  let at = 0;
  for (const message of messages) {
    writeFrameHeader(bytes, at, message.length);
    bytes.set(message, at + FRAME_HEADER_BYTES);
    at += FRAME_HEADER_BYTES + message.length;
  }
  return bytes;
}

/** Views as they were found, looked at only at the end: a splitter must not write over them. */
function split(splitter: FrameSplitter, chunks: readonly Uint8Array[]): number[][] {
  const views: Uint8Array[] = [];
  for (const chunk of chunks) {
    splitter.push(chunk);
    while (splitter.next()) views.push(splitter.bytes.subarray(splitter.start, splitter.end));
  }
  return views.map((view) => [...view]);
}

test('frames are found whole at every split point', () => {
  const messages = [Uint8Array.of(1), new Uint8Array(0), Uint8Array.of(2, 3, 4, 5, 6), Uint8Array.of(7, 8)];
  const bytes = framed(messages);
  for (let first = 0; first <= bytes.length; first++) {
    for (let second = first; second <= bytes.length; second++) {
      const chunks = [bytes.slice(0, first), bytes.slice(first, second), bytes.slice(second)];
      assert.deepEqual(
        split(new FrameSplitter(100), chunks),
        messages.map((message) => [...message]),
      );
    }
  }
});

test('frames are found whole in any chunks', () => {
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ maxLength: 10_000 }), { maxLength: 8 }),
      fc.array(fc.integer({ min: 1, max: 9000 }), { minLength: 1, maxLength: 12 }),
      (messages, sizes) => {
        const bytes = framed(messages);
        const chunks: Uint8Array[] = [];
        for (let at = 0, i = 0; at < bytes.length; i++) {
          const size = sizes[i % sizes.length]!;
          chunks.push(bytes.slice(at, at + size));
          at += size;
        }
        assert.deepEqual(
          split(new FrameSplitter(10_000), chunks),
          messages.map((message) => [...message]),
        );
      },
    ),
    { numRuns: 100 },
  );
});

test('chunks that come while frames are left unread are kept in order', () => {
  const splitter = new FrameSplitter(100);
  const bytes = framed([Uint8Array.of(1), Uint8Array.of(2), Uint8Array.of(3)]);
  splitter.push(bytes.slice(0, 7));
  splitter.push(bytes.slice(7, 12));
  splitter.push(bytes.slice(12));
  const found: number[] = [];
  while (splitter.next()) found.push(splitter.bytes[splitter.start]!);
  assert.deepEqual(found, [1, 2, 3]);
});

for (const length of [101, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff]) {
  test(`a declared length of ${length} is refused before anything is allocated, whole header or in parts`, () => {
    const header = new Uint8Array(FRAME_HEADER_BYTES);
    writeFrameHeader(header, 0, length);
    for (let cut = 0; cut < FRAME_HEADER_BYTES; cut++) {
      const splitter = new FrameSplitter(100);
      splitter.push(header.slice(0, cut));
      assert.equal(splitter.next(), false);
      splitter.push(header.slice(cut));
      assert.throws(
        () => splitter.next(),
        (error: unknown) =>
          error instanceof CairnError && error.code === 'too_large' && error.message.includes(String(length)),
      );
    }
  });
}

test('a frame is shown only when it is complete, and inFrame says that one has begun', () => {
  const splitter = new FrameSplitter(100);
  assert.equal(splitter.inFrame, false);
  splitter.push(Uint8Array.of(2, 0, 0, 0, 9));
  assert.equal(splitter.next(), false);
  assert.equal(splitter.inFrame, true);
  splitter.push(Uint8Array.of(8));
  assert.equal(splitter.next(), true);
  assert.equal(splitter.inFrame, false);
});
