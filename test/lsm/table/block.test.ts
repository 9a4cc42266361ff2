import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { compareBytes } from '../../../src/base/bytes.js';
import { CorruptionError } from '../../../src/base/errors.js';
import { Block } from '../../../src/lsm/table/block.js';
import { BlockBuilder } from '../../../src/lsm/table/block-builder.js';
import { BlockCursor } from '../../../src/lsm/table/block-cursor.js';
import { BlockSearch } from '../../../src/lsm/table/block-search.js';
import { compareEntries, entries, revisions, rowKeys, RUNS, type Entry } from '../table-fixtures.js';

function build(sorted: readonly Entry[], restartInterval: number): Block {
  const builder = new BlockBuilder(restartInterval, 8);
  for (const { key, revision, record } of sorted) builder.add(key, 0, key.length, revision, record, 0, record.length);
  return new Block(builder.finish().slice(), 'a block');
}

function current(cursor: BlockCursor): string {
  if (!cursor.valid) return 'none';
  const key = Buffer.from(cursor.key).toString('hex', cursor.keyStart, cursor.keyStart + cursor.keyLength);
  const end = cursor.valueStart + cursor.valueLength;
  return `${key} @${cursor.revision} ${Buffer.from(cursor.value).toString('hex', cursor.valueStart, end)}`;
}

function text(entry: Entry | undefined): string {
  if (entry === undefined) return 'none';
  return `${Buffer.from(entry.key).toString('hex')} @${entry.revision} ${Buffer.from(entry.record).toString('hex')}`;
}

const intervals = fc.integer({ min: 1, max: 17 });

test('a block cursor finds the entries on both sides of any target', () => {
  fc.assert(
    fc.property(entries, intervals, fc.array(fc.tuple(rowKeys, revisions)), (sorted, interval, targets) => {
      const cursor = new BlockCursor();
      cursor.reset(build(sorted, interval));
      const own = sorted.map((entry) => [entry.key, entry.revision] as const);
      for (const [key, revision] of [...targets, ...own]) {
        const target = { key, revision, record: key };
        cursor.seek(key, 0, key.length, revision);
        assert.equal(current(cursor), text(sorted.find((entry) => compareEntries(entry, target) >= 0)));
        cursor.seekBefore(key, 0, key.length, revision);
        assert.equal(current(cursor), text(sorted.findLast((entry) => compareEntries(entry, target) < 0)));
      }
    }),
    { numRuns: RUNS * 3 },
  );
});

test('a block cursor may change its direction at every entry', () => {
  fc.assert(
    fc.property(entries, intervals, fc.array(fc.boolean(), { maxLength: 80 }), (sorted, interval, turns) => {
      const cursor = new BlockCursor();
      cursor.reset(build(sorted, interval));
      cursor.seekToFirst();
      let at = 0;
      for (const forward of turns) {
        const moved = forward ? cursor.next() : cursor.previous();
        const to = forward ? at + 1 : at - 1;
        assert.equal(moved, to >= 0 && to < sorted.length);
        if (moved) at = to;
        assert.equal(current(cursor), text(sorted[at]));
        assert.equal(cursor.isFirst, at === 0);
        assert.equal(cursor.isLast, at === sorted.length - 1);
      }
    }),
    { numRuns: RUNS * 5 },
  );
});

test('a search that never rebuilds keys agrees with a plain one', () => {
  fc.assert(
    fc.property(entries, intervals, fc.array(fc.tuple(rowKeys, revisions)), (sorted, interval, targets) => {
      const block = build(sorted, interval);
      const search = new BlockSearch();
      const own = sorted.flatMap(({ key, revision }) => [
        [key, revision] as const,
        [key, Math.max(0, revision - 1)] as const,
      ]);
      for (const [key, revision] of [...targets, ...own]) {
        const expected = sorted.find((entry) => compareEntries(entry, { key, revision, record: key }) >= 0);
        assert.equal(search.seek(block, key, 0, key.length, revision), expected !== undefined);
        if (expected === undefined) continue;
        assert.equal(search.sameRow, compareBytes(expected.key, key) === 0);
        if (search.sameRow) assert.equal(search.entry.revision, expected.revision);
      }
    }),
    { numRuns: RUNS * 5 },
  );
});

test('LSM rule 11: arbitrary bytes as a block give entries or a CorruptionError, never an endless walk', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), fc.integer({ min: 0, max: 4 }), (noise, restarts) => {
      const bytes = new Uint8Array(noise.length + restarts * 4 + 4);
      bytes.set(noise);
      for (let i = 0; i < restarts; i++) bytes[noise.length + i * 4] = (noise[i] ?? 0) % 64;
      bytes[bytes.length - 4] = restarts;
      try {
        const cursor = new BlockCursor();
        cursor.reset(new Block(bytes, 'noise'));
        let steps = 0;
        for (cursor.seekToFirst(); cursor.valid && cursor.next(); steps++) assert.ok(steps < 100);
        for (cursor.seekToLast(); cursor.previous(); steps++) assert.ok(steps < 400);
      } catch (error) {
        assert.ok(error instanceof CorruptionError, String(error));
      }
    }),
    { numRuns: RUNS * 20 },
  );
});
