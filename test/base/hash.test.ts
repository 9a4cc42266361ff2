import assert from 'node:assert/strict';
import { test } from 'node:test';
import { xxHash32 } from '../../src/base/hash.js';

const PUBLISHED: readonly (readonly [string, number])[] = [
  ['', 0x02cc5d05],
  ['a', 0x550d7456],
  ['abc', 0x32d153ff],
  ['Nobody inspects the spammish repetition', 0xe2293b2f],
];

test('xxHash32 gives the published values, at any offset', () => {
  for (const [text, expected] of PUBLISHED) {
    const bytes = Buffer.from(`##${text}##`);
    assert.equal(xxHash32(bytes, 2, bytes.length - 4).toString(16), expected.toString(16), JSON.stringify(text));
  }
});
