import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { CorruptionError } from '../../src/base/errors.js';
import { crc32c } from '../../src/codec/crc32c.js';
import { lz4Compress, lz4Decompress } from '../../src/codec/lz4.js';
import { varintBytes, VarintReader, writeVarint } from '../../src/codec/varint.js';

test('CRC32C gives the check values of RFC 3720', () => {
  assert.equal(crc32c(Buffer.from('123456789')), 0xe3069283);
  assert.equal(crc32c(new Uint8Array(32)), 0x8a9136aa);
  assert.equal(crc32c(new Uint8Array(32).fill(0xff)), 0x62a8ab43);
  assert.equal(crc32c(new Uint8Array(0)), 0);
});

test('CRC32C of a whole is that of its parts in turn, short or long, also on shared memory', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(300), (bytes, at) => {
      const shared = new Uint8Array(new SharedArrayBuffer(bytes.length + 3)).subarray(3);
      shared.set(bytes);
      const whole = crc32c(bytes);
      assert.equal(crc32c(bytes.subarray(at), crc32c(bytes.subarray(0, at))), whole);
      assert.equal(crc32c(shared), whole);
    }),
  );
});

test('LZ4 gives back what was compressed, also from shared memory', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 400 }), fc.nat(2000), (noise, zeros) => {
      const bytes = new Uint8Array(new SharedArrayBuffer(noise.length + zeros));
      bytes.set(noise, zeros);
      const packed = lz4Compress(bytes);
      assert.equal(Buffer.compare(lz4Decompress(packed, bytes.length, 'test'), bytes), 0);
      assert.throws(() => lz4Decompress(packed, bytes.length - 1, 'test'), CorruptionError);
    }),
  );
});

test('LZ4 refuses a cut block', () => {
  const packed = lz4Compress(Buffer.from('the same words and the same words and the same words, again'));
  for (let length = 0; length < packed.length; length++) {
    assert.throws(() => lz4Decompress(packed.subarray(0, length), 1000, 'test'), CorruptionError);
  }
});

test('varints of every size come back and are as long as announced', () => {
  fc.assert(
    fc.property(fc.array(fc.oneof(fc.maxSafeNat(), fc.nat(300), fc.nat(0xffff_ffff))), (values) => {
      const bytes = new Uint8Array(values.length * 8);
      let at = 0;
      for (const value of values) {
        const end = writeVarint(bytes, at, value);
        assert.equal(end - at, varintBytes(value));
        at = end;
      }
      const reader = new VarintReader(bytes, 0, at, 'test');
      assert.deepEqual(
        values.map(() => reader.varint()),
        values,
      );
      assert.throws(() => reader.varint(), CorruptionError);
    }),
  );
});

test('a varint above 2^53 is refused', () => {
  assert.throws(() => new VarintReader(new Uint8Array(9).fill(0xff), 0, 9, 'test').varint(), CorruptionError);
});
