import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { xxHash32 } from '../../../src/base/hash.js';
import { addToBloomFilter, bloomFilterBytes, mayContain, rowHash } from '../../../src/lsm/table/bloom-filter.js';
import { RUNS } from '../table-fixtures.js';

function buildBloomFilter(hashes: Uint32Array, bitsPerRow: number): Uint8Array {
  const filter = new Uint8Array(bloomFilterBytes(hashes.length, bitsPerRow));
  addToBloomFilter(filter, hashes);
  return filter;
}

test('LSM rule 10: a filter has no false negatives', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(0xffff_ffff), { minLength: 1 }), fc.integer({ min: 1, max: 20 }), (hashes, bits) => {
      const filter = buildBloomFilter(Uint32Array.from(hashes), bits);
      for (const hash of hashes) assert.ok(mayContain(filter, hash));
    }),
    { numRuns: RUNS * 5 },
  );
});

test('with 10 bits a row, fewer than 2 of 100 absent rows pass', () => {
  const rows = 20_000;
  const hashOf = (i: number, replicaId: number): number => {
    const key = Buffer.from(`user:${i}`);
    return rowHash(xxHash32(key, 0, key.length), replicaId);
  };
  const hashes = Uint32Array.from({ length: rows }, (_, i) => hashOf(i, i % 64));
  const filter = buildBloomFilter(hashes, 10);
  assert.ok(filter.length <= (rows * 10) / 8 + 32);
  let otherKeys = 0;
  let otherReplicas = 0;
  for (let i = 0; i < rows; i++) {
    if (mayContain(filter, hashOf(rows + i, i % 64))) otherKeys++;
    if (mayContain(filter, hashOf(i, 64 + (i % 64)))) otherReplicas++;
  }
  assert.ok(otherKeys < rows * 0.02, `${otherKeys} of ${rows}`);
  assert.ok(otherReplicas < rows * 0.02, `${otherReplicas} of ${rows}`);
});

test('without a filter every row may be there', () => {
  assert.ok(mayContain(new Uint8Array(0), 12345));
});
