import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RowHashes } from '../../../src/lsm/table/row-hashes.js';

const CHUNK = 256 * 1024;

test('hashes come back in their order, however many there are', () => {
  for (const count of [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 7]) {
    const hashes = new RowHashes();
    const expected = Array.from({ length: count }, (_, i) => Math.imul(i, 0x9e3779b1) >>> 0);
    for (const hash of expected) hashes.add(hash);
    assert.deepEqual(
      [...hashes.pieces()].flatMap((piece) => [...piece]),
      expected,
    );
  }
});
