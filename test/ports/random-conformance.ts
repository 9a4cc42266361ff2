import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Random } from '../../src/ports/random.js';

/** What every generator must do; `name` says which one is tried. The bounds fail once in 10^9 runs. */
export function randomConformance(name: string, make: () => Random): void {
  test(`${name}: words are integers below 2^32 and each bit is set about half of the time`, () => {
    const random = make();
    const rounds = 20_000;
    const set = Array.from({ length: 32 }, () => 0);
    for (let round = 0; round < rounds; round++) {
      const word = random.uint32();
      assert.ok(Number.isInteger(word) && word >= 0 && word < 2 ** 32);
      for (let bit = 0; bit < 32; bit++) set[bit]! += (word >>> bit) & 1;
    }
    for (const count of set) assert.ok(Math.abs(count - rounds / 2) < 500, `found ${count} of ${rounds}`);
  });

  test(`${name}: words do not repeat`, () => {
    const random = make();
    const seen = new Set(Array.from({ length: 5000 }, () => random.uint32()));
    assert.ok(seen.size > 4990, `found ${seen.size} different ones`);
  });

  test(`${name}: fill reaches every byte of the array and nothing beside it`, () => {
    const random = make();
    for (const length of [0, 1, 3, 4, 5, 16, 4097]) {
      const bytes = new Uint8Array(length + 2);
      const filled = bytes.subarray(1, length + 1);
      const changed = new Uint8Array(length);
      for (let round = 0; round < 8; round++) {
        random.fill(filled);
        filled.forEach((byte, i) => {
          changed[i]! |= byte;
        });
      }
      assert.ok(changed.every((byte) => byte !== 0));
      assert.equal(bytes[0], 0);
      assert.equal(bytes[length + 1], 0);
    }
  });
}
