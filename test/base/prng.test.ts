import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AssertionFailure } from '../../src/base/assert.js';
import { Prng } from '../../src/base/prng.js';

test('below reaches every value under its bound and no other', () => {
  const prng = new Prng(1);
  for (const bound of [1, 2, 7, 100]) {
    const seen = new Set(Array.from({ length: bound * 50 }, () => prng.below(bound)));
    assert.deepEqual(
      [...seen].sort((a, b) => a - b),
      Array.from({ length: bound }, (_, i) => i),
    );
  }
  const top = prng.below(2 ** 32);
  assert.ok(Number.isInteger(top) && top >= 0 && top < 2 ** 32);
});

test('between includes both ends', () => {
  const prng = new Prng(2);
  const seen = new Set(Array.from({ length: 200 }, () => prng.between(-1, 1)));
  assert.deepEqual(
    [...seen].sort((a, b) => a - b),
    [-1, 0, 1],
  );
});

test('chance follows its probability', () => {
  const prng = new Prng(3);
  const hits = (probability: number): number =>
    Array.from({ length: 10_000 }, () => prng.chance(probability)).filter(Boolean).length;
  assert.equal(hits(0), 0);
  assert.equal(hits(1), 10_000);
  assert.ok(Math.abs(hits(0.2) - 2000) < 250);
});

test('pick takes each choice and refuses to pick from none', () => {
  const prng = new Prng(4);
  assert.deepEqual(new Set(Array.from({ length: 100 }, () => prng.pick(['a', 'b']))), new Set(['a', 'b']));
  assert.throws(() => prng.pick([]), AssertionFailure);
});

test('a fork has a sequence of its own that later use of the parent does not change', () => {
  const first = new Prng(5);
  const second = new Prng(5);
  const a = first.fork();
  first.uint32();
  const b = second.fork();
  const words = Array.from({ length: 10 }, () => a.uint32());
  assert.deepEqual(
    words,
    Array.from({ length: 10 }, () => b.uint32()),
  );
  assert.notEqual(words[0], second.uint32());
});

test('a seed that is no integer of 53 bits is refused', () => {
  for (const seed of [-1, 0.5, 2 ** 53, Number.NaN]) assert.throws(() => new Prng(seed), AssertionFailure);
});
