import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { compareBytes } from '../../../src/base/bytes.js';
import { CorruptionError } from '../../../src/base/errors.js';
import {
  CHUNK_HEADER_BYTES,
  ChunkReader,
  ChunkWriter,
  readChunkHeader,
} from '../../../src/engine/snapshot/chunk-format.js';
import { ChunkJoiner } from '../../../src/engine/snapshot/chunk-joiner.js';

interface Entry {
  readonly key: Uint8Array;
  readonly revision: number;
  readonly record: Uint8Array;
}

/** Chunks of these entries, which are in order. */
function chunksOf(entries: readonly Entry[], targetBytes: number): Uint8Array[] {
  const writer = new ChunkWriter(targetBytes);
  const chunks: Uint8Array[] = [];
  let last: Uint8Array | null = null;
  for (const { key, revision, record } of entries) {
    if (!writer.hasRoom(key.length, record.length)) chunks.push(writer.seal(false));
    const sameRow = last !== null && compareBytes(last, key) === 0;
    writer.add(key, 0, key.length, sameRow, revision, record, 0, record.length);
    last = key;
  }
  chunks.push(writer.seal(true));
  return chunks;
}

function entriesOf(chunks: readonly Uint8Array[]): Entry[] {
  const reader = new ChunkReader(Buffer.concat(chunks));
  const entries: Entry[] = [];
  while (reader.next()) {
    const { bytes, keyStart, keyLength, revision, recordStart, recordLength } = reader;
    const key = Uint8Array.from(bytes.subarray(keyStart, keyStart + keyLength));
    const record = Uint8Array.from(bytes.subarray(recordStart, recordStart + recordLength));
    entries.push({ key, revision, record });
  }
  return entries;
}

const entries = fc
  .array(
    fc.record({
      key: fc.uint8Array({ minLength: 1, maxLength: 3 }),
      revision: fc.maxSafeNat(),
      record: fc.uint8Array({ maxLength: 40 }).map((payload) => Uint8Array.of(0, ...payload)),
    }),
  )
  .map((all) => all.map(({ key, revision, record }): Entry => ({ key: Uint8Array.from(key), revision, record })))
  .map((all) => all.sort((a, b) => compareBytes(a.key, b.key) || b.revision - a.revision));

test('entries are read back as they were written, whatever the size of the chunks', () => {
  fc.assert(
    fc.property(entries, fc.integer({ min: CHUNK_HEADER_BYTES, max: 400 }), (written, targetBytes) => {
      const chunks = chunksOf(written, targetBytes);
      let checksum = 0;
      let last: Uint8Array | null = null;
      for (const [i, chunk] of chunks.entries()) {
        const header = readChunkHeader(chunk, i, checksum);
        checksum = header.checksum;
        assert.equal(header.isLast, i === chunks.length - 1);
        const inside = entriesOf([chunk]);
        assert.equal(header.entryCount, inside.length);
        if (inside.length === 0) continue;
        assert.equal(header.continuesRow, last !== null && compareBytes(last, inside[0]!.key) === 0);
        last = inside.at(-1)!.key;
      }
      assert.deepEqual(entriesOf(chunks), written);
    }),
  );
});

const SMALL = chunksOf(
  ['a', 'a', 'b', 'c'].map((key, i) => ({
    key: Uint8Array.from(Buffer.from(key)),
    revision: 100 - i,
    record: Uint8Array.of(0, i),
  })),
  40,
);

test('byte sweep: a chunk with any one bit flipped, or with any end cut off, is a CorruptionError', () => {
  let checksum = 0;
  for (const [i, chunk] of SMALL.entries()) {
    for (let bit = 0; bit < 8 * chunk.length; bit++) {
      const bytes = chunk.slice();
      bytes[bit >>> 3]! ^= 1 << (bit & 7);
      assert.throws(() => readChunkHeader(bytes, i, checksum), CorruptionError, `chunk ${i}, bit ${bit}`);
    }
    for (let length = 0; length < chunk.length; length++) {
      assert.throws(() => readChunkHeader(chunk.subarray(0, length), i, checksum), CorruptionError, `cut to ${length}`);
    }
    checksum = readChunkHeader(chunk, i, checksum).checksum;
  }
});

test('a chunk that is lost, repeated, out of order or of another stream is a CorruptionError', () => {
  assert.ok(SMALL.length >= 3);
  const first = readChunkHeader(SMALL[0]!, 0, 0).checksum;
  assert.throws(() => readChunkHeader(SMALL[2]!, 1, first), CorruptionError);
  assert.throws(() => readChunkHeader(SMALL[0]!, 1, first), CorruptionError);
  assert.throws(() => readChunkHeader(SMALL[1]!, 0, 0), CorruptionError);
  const other = chunksOf([{ key: Uint8Array.of(1), revision: 1, record: Uint8Array.of(0) }], 21);
  assert.throws(() => readChunkHeader(SMALL[1]!, 1, readChunkHeader(other[0]!, 0, 0).checksum), CorruptionError);
});

test('entries that no writer makes are a CorruptionError, and nothing else happens', () => {
  const sealed = (body: readonly number[], entryCount: number): Uint8Array => {
    const bytes = Uint8Array.of(...new Uint8Array(CHUNK_HEADER_BYTES), ...body);
    bytes[8] = entryCount;
    bytes[12] = body.length;
    return bytes;
  };
  fc.assert(
    fc.property(fc.array(fc.nat(255), { maxLength: 60 }), fc.nat(4), (body, entryCount) => {
      try {
        entriesOf([sealed(body, entryCount)]);
      } catch (error) {
        assert.ok(error instanceof CorruptionError, String(error));
      }
    }),
  );
  assert.throws(() => entriesOf([sealed([0, 5, 1, 0], 1)]), CorruptionError, 'no key before');
  assert.throws(() => entriesOf([sealed([1, 97, 5, 0], 1)]), CorruptionError, 'a record without bytes');
  assert.throws(() => entriesOf([sealed([1, 97, 5, 1, 64], 1)]), CorruptionError, 'an unknown flag of a record');
  assert.throws(() => entriesOf([sealed([1, 97, 5, 1, 0, 9], 1)]), CorruptionError, 'more than its entries');
});

test('a stream that is cut anywhere gives the same chunks', () => {
  fc.assert(
    fc.property(
      entries,
      fc.integer({ min: CHUNK_HEADER_BYTES, max: 400 }),
      fc.array(fc.integer({ min: 0, max: 300 })),
      (written, targetBytes, cuts) => {
        const chunks = chunksOf(written, targetBytes);
        const stream = Uint8Array.from(Buffer.concat(chunks));
        const joiner = new ChunkJoiner();
        const joined: Uint8Array[] = [];
        let at = 0;
        for (const length of [...cuts, stream.length]) {
          joiner.push(stream.slice(at, at + length));
          at += length;
          for (let chunk = joiner.next(); chunk !== null; chunk = joiner.next()) joined.push(chunk);
        }
        assert.deepEqual(
          joined.map((chunk) => Buffer.from(chunk).toString('hex')),
          chunks.map((chunk) => Buffer.from(chunk).toString('hex')),
        );
      },
    ),
  );
});

test('a chunk that says to be longer than any is refused before memory is taken for it', () => {
  const joiner = new ChunkJoiner();
  joiner.push(new Uint8Array(CHUNK_HEADER_BYTES).fill(0xff));
  assert.throws(() => joiner.next(), CorruptionError);
});
