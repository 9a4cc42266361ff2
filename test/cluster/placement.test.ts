import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { xxHash32 } from '../../src/base/hash.js';
import { partitionOf, partitionOfRange } from '../../src/cluster/placement.js';

function place(key: string, count = 64): number {
  const bytes = Buffer.from(key);
  return partitionOf(bytes, 0, bytes.length, xxHash32(bytes, 0, bytes.length), count);
}

test('keys with the same hash tag share a partition', () => {
  assert.equal(place('order:{42}:line:1'), place('order:{42}:total'));
  assert.equal(place('{42}'), place('42'));
});

test('only the first opening brace counts, and an empty or open tag is no tag', () => {
  const samples = Array.from({ length: 50 }, (_, i) => String(i));
  assert.ok(
    samples.some((s) => place(`{}${s}`) !== place(`{}x${s}`)),
    'the empty tag does not place',
  );
  assert.ok(
    samples.some((s) => place(`{${s}`) !== place(`{x${s}`)),
    'a tag without its end does not place',
  );
  for (const s of samples) assert.equal(place(`{${s}}{other}`), place(s));
});

test('the partition is in range, and the upper bits of the hash decide so that partitions can split', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', minLength: 1 }), fc.integer({ min: 0, max: 7 }), (key, power) => {
      const count = 2 ** power;
      const partition = place(key, count);
      assert.ok(partition >= 0 && partition < count);
      assert.equal(Math.floor(place(key, count * 2) / 2), partition);
    }),
  );
});

test('partitions get about the same number of keys', () => {
  const counts = Array.from({ length: 64 }, () => 0);
  for (let i = 0; i < 64_000; i++) counts[place(`user:${i}`)]!++;
  assert.ok(Math.min(...counts) > 850 && Math.max(...counts) < 1150, counts.join(' '));
});

test('a range whose keys all begin with one hash tag lies in one partition', () => {
  const only = (start: string, end: string | null): number =>
    partitionOfRange(Buffer.from(start), end === null ? null : Buffer.from(end), 64);
  const tagged = place('order:{42}:total');
  assert.equal(only('order:{42}', 'order:{42~'), tagged, 'the prefix order:{42}');
  assert.equal(only('order:{42}:line:', 'order:{42}:line;'), tagged);
  for (const [start, end] of [
    ['order:{42}:line:', null],
    ['order:{42}:line:', 'order:{43}'],
    ['order:{42}', 'order:{42~a'],
    ['order:{42', 'order:{43'],
    ['order:{}1', 'order:{}2'],
    ['order:', 'order;'],
  ] as const) {
    assert.equal(only(start, end), -1, `${start} to ${end}`);
  }
});

test('where one partition is said to hold a range, it holds every key of it', () => {
  const text = fc.string({ unit: fc.constantFrom('a', 'b', '{', '}', '~', '|'), minLength: 1, maxLength: 8 });
  fc.assert(
    fc.property(text, text, text, (a, b, key) => {
      const [start, end] = [a, b].map((name) => Buffer.from(name)) as [Buffer, Buffer];
      const only = partitionOfRange(start, end, 64);
      const bytes = Buffer.from(key);
      if (only < 0 || Buffer.compare(bytes, start) < 0 || Buffer.compare(bytes, end) >= 0) return;
      assert.equal(place(key), only);
    }),
    { numRuns: 3000 },
  );
});
