import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { writeUint32 } from '../../../src/base/bytes.js';
import { CorruptionError } from '../../../src/base/errors.js';
import { decodeBlock, encodeBlock, placedChecksum } from '../../../src/lsm/table/block-codec.js';
import { COMPRESSION_LZ4, COMPRESSION_NONE } from '../../../src/lsm/table/format.js';
import { RUNS } from '../table-fixtures.js';

function compressionOf(stored: Uint8Array): number {
  return stored[stored.length - 5]!;
}

function seal(stored: Uint8Array, fileNumber: number, offset: number): Uint8Array {
  const end = stored.length - 4;
  writeUint32(stored, end, placedChecksum(fileNumber, offset, stored.subarray(0, end)));
  return stored;
}

test('what was encoded comes back, for any place beyond 4 GiB too', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 1, maxLength: 300 }),
      fc.nat(400),
      fc.boolean(),
      fc.maxSafeNat(),
      fc.maxSafeNat(),
      (noise, repeats, compress, fileNumber, offset) => {
        const raw = new Uint8Array(noise.length + repeats).fill(7);
        raw.set(noise);
        const stored = encodeBlock(fileNumber, offset, raw, compress);
        assert.deepEqual(Buffer.from(decodeBlock(fileNumber, offset, stored)), Buffer.from(raw));
      },
    ),
    { numRuns: RUNS * 5 },
  );
});

test('a block that LZ4 shrinks by less than an eighth is stored as it is', () => {
  const noise = new Uint8Array(2000);
  for (let i = 0, state = 1; i < noise.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    noise[i] = state >>> 24;
  }
  assert.equal(compressionOf(encodeBlock(1, 0, noise, true)), COMPRESSION_NONE);
  assert.equal(compressionOf(encodeBlock(1, 0, new Uint8Array(2000), true)), COMPRESSION_LZ4);
  assert.equal(compressionOf(encodeBlock(1, 0, new Uint8Array(2000), false)), COMPRESSION_NONE);
});

test('LSM rule 11: a block with a wrong checksum is refused before it is decompressed', () => {
  const stored = encodeBlock(1, 0, new Uint8Array(2000), true);
  // A declared size that the decompressor would refuse with another message.
  writeUint32(stored, 0, 0xffff_ffff);
  assert.throws(
    () => decodeBlock(1, 0, stored),
    (error) => error instanceof CorruptionError && /CRC32C/.test(error.message),
  );
});

test('LSM rule 11: a declared size above the cap, or not what comes out, is refused', () => {
  for (const declared of [0, 1, 1999, 2001, 2500, 0x7fff_ffff, 0xffff_ffff]) {
    const stored = encodeBlock(1, 0, new Uint8Array(2000), true);
    writeUint32(stored, 0, declared);
    seal(stored, 1, 0);
    assert.throws(() => decodeBlock(1, 0, stored), CorruptionError, `declared ${declared}`);
  }
});

test('an unknown compression is refused', () => {
  const stored = encodeBlock(1, 0, new Uint8Array(50), false);
  stored[50] = 9;
  assert.throws(() => decodeBlock(1, 0, seal(stored, 1, 0)), /known compression/);
});

test('LSM rule 11: random bytes under a good checksum never pass as a compressed block of another size', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 5, maxLength: 80 }), fc.nat(2000), (payload, declared) => {
      const stored = new Uint8Array(payload.length + 9);
      writeUint32(stored, 0, declared);
      stored.set(payload, 4);
      stored[payload.length + 4] = COMPRESSION_LZ4;
      seal(stored, 3, 4);
      try {
        assert.equal(decodeBlock(3, 4, stored).length, declared);
      } catch (error) {
        assert.ok(error instanceof CorruptionError);
      }
    }),
    { numRuns: RUNS * 10 },
  );
});
