import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { writeUint32 } from '../../src/base/bytes.js';
import { CairnError } from '../../src/base/errors.js';
import { PEER_HEADER_BYTES, PeerFrameSplitter, encodePeerFrame } from '../../src/codec/peer-frame.js';

const MAX_BODY_BYTES = 1000;

function bodies(splitter: PeerFrameSplitter): Uint8Array[] {
  const found: Uint8Array[] = [];
  while (splitter.next()) found.push(splitter.bytes.slice(splitter.start, splitter.end));
  return found;
}

function codeOf(run: () => unknown): string | undefined {
  try {
    run();
    return undefined;
  } catch (error) {
    if (error instanceof CairnError) return error.code;
    throw error;
  }
}

test('frames come back whole and in order, however the stream is cut', () => {
  const chunks = fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1 });
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 8 }), chunks, (sent, cuts) => {
      const stream = Buffer.concat(sent.map(encodePeerFrame));
      const splitter = new PeerFrameSplitter(MAX_BODY_BYTES);
      const found: Uint8Array[] = [];
      for (let at = 0, i = 0; at < stream.length; i++) {
        const length = cuts[i % cuts.length]!;
        splitter.push(stream.subarray(at, at + length));
        found.push(...bodies(splitter));
        at += length;
      }
      assert.deepEqual(found, sent);
      assert.equal(splitter.taken, sent.length);
      assert.equal(splitter.inFrame, false);
    }),
  );
});

test('every flipped byte of a frame is refused, or leaves the frame incomplete; the frame before it is whole', () => {
  const first = encodePeerFrame(Uint8Array.of(1, 2, 3));
  const second = encodePeerFrame(Uint8Array.from({ length: 60 }, (_, i) => i));
  for (let at = 0; at < second.length; at++) {
    for (const change of [0x01, 0x80, 0xff]) {
      const damaged = second.slice();
      damaged[at]! ^= change;
      const splitter = new PeerFrameSplitter(MAX_BODY_BYTES);
      splitter.push(Buffer.concat([first, damaged]));
      assert.ok(splitter.next());
      let wasFound = false;
      const code = codeOf(() => (wasFound = splitter.next()));
      assert.ok(!wasFound, `byte ${at}`);
      if (code === undefined) assert.ok(at < 4 && splitter.inFrame, `byte ${at}`);
      else assert.equal(code, at < 4 && code === 'too_large' ? 'too_large' : 'corruption');
    }
  }
});

test('a length above the limit is refused when its four bytes are there, also one of 4 GiB', () => {
  for (const length of [MAX_BODY_BYTES + 5, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff]) {
    const head = new Uint8Array(4);
    writeUint32(head, 0, length);
    const splitter = new PeerFrameSplitter(MAX_BODY_BYTES);
    splitter.push(head);
    assert.equal(
      codeOf(() => splitter.next()),
      'too_large',
    );
  }
  const most = new PeerFrameSplitter(MAX_BODY_BYTES);
  most.push(encodePeerFrame(new Uint8Array(MAX_BODY_BYTES)));
  assert.ok(most.next());
});

test('a length without room for the checksum is refused', () => {
  for (let length = 0; length < PEER_HEADER_BYTES - 4; length++) {
    const bytes = new Uint8Array(4 + length);
    writeUint32(bytes, 0, length);
    const splitter = new PeerFrameSplitter(MAX_BODY_BYTES);
    splitter.push(bytes);
    assert.equal(
      codeOf(() => splitter.next()),
      'corruption',
    );
  }
});
