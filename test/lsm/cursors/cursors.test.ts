import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { compareBytes } from '../../../src/base/bytes.js';
import type { Cursor } from '../../../src/lsm/cursor.js';
import { LevelCursor } from '../../../src/lsm/cursors/level-cursor.js';
import { MergingCursor } from '../../../src/lsm/cursors/merging-cursor.js';
import { TableCursor } from '../../../src/lsm/cursors/table-cursor.js';
import { StepBudget } from '../../../src/lsm/cursors/step-budget.js';
import { UserKeyMerge } from '../../../src/lsm/cursors/user-key-merge.js';
import { VisibleCursor } from '../../../src/lsm/cursors/visible-cursor.js';
import { isAbsentAt } from '../../../src/lsm/record.js';
import { LATEST, makeRowKey, type Revision } from '../../../src/lsm/row-key.js';
import type { TableOptions } from '../../../src/lsm/table/table-builder.js';
import { checkCursor } from '../cursor-check.js';
import {
  buildTable,
  calls,
  coins,
  compareEntries,
  entries,
  FlakySource,
  readTable,
  revisions,
  rowKeys,
  RUNS,
  smallBlocks,
  sortEntries,
  type Call,
  type Entry,
} from '../table-fixtures.js';

const odds = fc.constantFrom(0, 0.3, 0.7, 1);
const abandonOdds = fc.constantFrom(0, 0, 0.4);

function tableCursor(sorted: readonly Entry[], options: Partial<TableOptions>, coin: () => boolean): Cursor {
  if (sorted.length === 0) return new LevelCursor([]);
  const { bytes } = buildTable(sorted, options);
  return new TableCursor(readTable(bytes, 7, new FlakySource(bytes, coin)));
}

/** Cuts where no row spans two tables, or anywhere. */
function levelCursor(
  sorted: readonly Entry[],
  pieces: number,
  options: Partial<TableOptions>,
  coin: () => boolean,
): Cursor {
  const size = Math.max(1, Math.ceil(sorted.length / pieces));
  const tables = [];
  for (let at = 0; at < sorted.length; at += size) {
    const { bytes } = buildTable(sorted.slice(at, at + size), options);
    tables.push(readTable(bytes, 7, new FlakySource(bytes, coin)));
  }
  return new LevelCursor(tables);
}

test('a table cursor walks like an array, also when blocks are missing at any time', async () => {
  await fc.assert(
    fc.asyncProperty(
      entries,
      smallBlocks,
      calls(),
      fc.nat(),
      odds,
      abandonOdds,
      async (sorted, options, script, seed, p, q) => {
        await checkCursor(tableCursor(sorted, options, coins(seed, p)), sorted, script, coins(seed + 1, q));
      },
    ),
    { numRuns: RUNS * 4 },
  );
});

test('a level cursor walks tables one behind the other like one array', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.oneof(entries, fc.constant([])),
      fc.integer({ min: 1, max: 6 }),
      smallBlocks,
      calls(),
      fc.nat(),
      odds,
      abandonOdds,
      async (sorted, pieces, options, script, seed, p, q) => {
        const cursor = levelCursor(sorted, pieces, options, coins(seed, p));
        await checkCursor(cursor, sorted, script, coins(seed + 1, q));
      },
    ),
    { numRuns: RUNS * 4 },
  );
});

/** Entries spread over sources; some stand in several, as after a replay. */
const spread = fc
  .tuple(entries, fc.integer({ min: 1, max: 5 }), fc.infiniteStream(fc.nat()))
  .map(([sorted, sourceCount, stream]) => {
    const sources: Entry[][] = Array.from({ length: sourceCount }, () => []);
    for (const entry of sorted) {
      const pick = stream.next().value as number;
      sources[pick % sourceCount]!.push(entry);
      if (pick % 3 === 0) {
        const other = sources[(pick >>> 3) % sourceCount]!;
        if (other.at(-1) !== entry) other.push(entry);
      }
    }
    return { sorted, sources };
  });

test('LSM rule 8: a merging cursor gives each entry once, in order, forward and back, whichever children are blocked', async () => {
  await fc.assert(
    fc.asyncProperty(
      spread,
      smallBlocks,
      calls(),
      fc.nat(),
      odds,
      abandonOdds,
      async (input, options, script, seed, p, q) => {
        const children = input.sources.map((source, i) =>
          i % 2 === 0
            ? tableCursor(source, options, coins(seed + i, p))
            : levelCursor(source, 3, options, coins(seed + i, p)),
        );
        await checkCursor(new MergingCursor(children), input.sorted, script, coins(seed + 9, q));
      },
    ),
    { numRuns: RUNS * 5 },
  );
});

test('LSM rule 8: of an entry that two sources hold, the newest source gives the record', () => {
  const key = makeRowKey(1, Uint8Array.of(5));
  const sources = [[9], [8], [7]].map(([payload]) => [{ key, revision: 4, record: Uint8Array.of(0, payload!) }]);
  const cursor = new MergingCursor(sources.map((source) => tableCursor(source, {}, () => true)));
  for (const start of ['seekToFirst', 'seekToLast'] as const) {
    assert.equal(cursor[start](), true);
    assert.equal(cursor.value[cursor.valueStart + 1], 9);
    assert.equal(start === 'seekToFirst' ? cursor.next() : cursor.previous(), true);
    assert.equal(cursor.valid, false);
  }
});

function visible(
  sorted: readonly Entry[],
  at: Revision,
  expiryAt: Revision,
  lower?: Uint8Array,
  upper?: Uint8Array,
): Entry[] {
  const seen: Entry[] = [];
  let last: Uint8Array | undefined;
  for (const entry of sorted) {
    if (entry.revision > at) continue;
    if (last !== undefined && compareBytes(last, entry.key) === 0) continue;
    last = entry.key;
    if (isAbsentAt(entry.record, 0, Math.max(expiryAt, entry.revision))) continue;
    if (lower !== undefined && compareBytes(entry.key, lower) < 0) continue;
    if (upper !== undefined && compareBytes(entry.key, upper) >= 0) continue;
    seen.push(entry);
  }
  return seen;
}

/** None, or one that is used up all the time. */
function budgetOf(seed: number): { budget?: StepBudget } {
  return seed % 3 === 0 ? {} : { budget: new StepBudget(seed % 4) };
}

const bound = fc.option(rowKeys, { nil: undefined });

test('LSM rule 17: a visible cursor shows of each row the newest version at its revision and never uncovers an older one', async () => {
  await fc.assert(
    fc.asyncProperty(
      entries,
      smallBlocks,
      calls(),
      fc.tuple(fc.oneof(fc.constant(LATEST), revisions), fc.option(revisions, { nil: undefined })),
      fc.tuple(bound, bound),
      fc.tuple(fc.nat(), odds, abandonOdds),
      async (sorted, options, script, [atRevision, expiryAt], [lower, upper], [seed, p, q]) => {
        const child = tableCursor(sorted, options, coins(seed, p));
        const cursor = new VisibleCursor(child, {
          atRevision,
          ...budgetOf(seed),
          ...(expiryAt === undefined ? {} : { expiryAt }),
          ...(lower === undefined ? {} : { lower }),
          ...(upper === undefined ? {} : { upper }),
        });
        const expected = visible(sorted, atRevision, expiryAt ?? atRevision, lower, upper);
        await checkCursor(cursor, expected, script, coins(seed + 1, q));
      },
    ),
    { numRuns: RUNS * 10 },
  );
});

test('LSM rule 17: a seek before an older version of the row at the upper bound does not land on a newer one', async () => {
  // Found by the property above, seed -1711103508.
  const inside = { key: Uint8Array.of(0, 0, 0, 0, 0), revision: 0, record: Uint8Array.of(0) };
  const upper = Uint8Array.of(0, 0, 0, 1, 1);
  const rows = [inside, { key: upper, revision: 2, record: Uint8Array.of(2, 3, 0, 0, 0, 0, 0, 0, 0, 120) }];
  const cursor = new VisibleCursor(
    tableCursor(rows, {}, () => true),
    { atRevision: 2, upper },
  );
  await checkCursor(cursor, [inside], [{ call: 'seekBefore', key: upper, revision: 1 }, { call: 'next' }]);
});

test('a visible cursor over a merge of many sources keeps its position while any of them is blocked', async () => {
  await fc.assert(
    fc.asyncProperty(
      spread,
      smallBlocks,
      calls(),
      revisions,
      fc.nat(),
      odds,
      abandonOdds,
      async (input, options, script, at, seed, p, q) => {
        const children = input.sources.map((source, i) => tableCursor(source, options, coins(seed + i, p)));
        const cursor = new VisibleCursor(new MergingCursor(children), { atRevision: at, ...budgetOf(seed) });
        await checkCursor(cursor, visible(input.sorted, at, at), script, coins(seed + 9, q));
      },
    ),
    { numRuns: RUNS * 4 },
  );
});

test('a merge by user key interleaves the replicas in byte order of the keys without replicaId', async () => {
  const user = fc.uint8Array({ minLength: 1, maxLength: 3 });
  await fc.assert(
    fc.asyncProperty(
      fc.uniqueArray(user, { minLength: 1, maxLength: 60, selector: (key) => Buffer.from(key).toString('hex') }),
      fc.integer({ min: 1, max: 8 }),
      smallBlocks,
      calls(user),
      fc.nat(),
      odds,
      abandonOdds,
      async (users, replicaCount, options, script, seed, p, q) => {
        const replicaIds = Array.from({ length: replicaCount }, (_, i) => 100 - i * 3);
        const rows = users.map((key, i) => ({ key, replica: (key[0]! + key.length) % replicaCount, revision: 10 + i }));
        const record = Uint8Array.of(0, 1);
        const all = sortEntries(
          rows.map(({ key, replica, revision }) => ({ key: makeRowKey(replicaIds[replica]!, key), revision, record })),
        );
        // All replicas lie in one engine: each visible cursor is bounded to its own rows.
        const budget = budgetOf(seed);
        const children = replicaIds.map((replicaId, i) => {
          const child = tableCursor(all, options, coins(seed + i, p));
          const lower = makeRowKey(replicaId, new Uint8Array(0));
          const upper = makeRowKey(replicaId + 1, new Uint8Array(0));
          return new VisibleCursor(child, { lower, upper, atRevision: LATEST, ...budget });
        });
        const expected = rows.map(({ key, revision }) => ({ key, revision, record })).sort(compareEntries);
        await checkCursor(new UserKeyMerge(children, replicaIds), expected, script, coins(seed + 99, q));
      },
    ),
    { numRuns: RUNS * 4 },
  );
});

test('a visible cursor passes rows of many versions at every revision, in both directions', async () => {
  const record = Uint8Array.of(0, 1);
  const versions = Array.from({ length: 60 }, (_, i) => {
    const byte = 1 + Math.floor(i / 20);
    // Row 2 begins at 21, rows 1 and 3 at 1.
    return { key: makeRowKey(1, Uint8Array.of(byte)), revision: (byte === 2 ? 21 : 1) + (i % 20), record };
  });
  const sorted = sortEntries(versions);
  const steps = (first: 'seekToFirst' | 'seekToLast', step: 'next' | 'previous'): Call[] => [
    { call: first },
    ...Array.from({ length: 4 }, (): Call => ({ call: step })),
  ];
  for (let at = 0; at <= 42; at++) {
    for (const script of [steps('seekToFirst', 'next'), steps('seekToLast', 'previous')]) {
      const cursor = new VisibleCursor(tableCursor(sorted, { blockSizeBytes: 64 }, coins(at, 0.5)), { atRevision: at });
      await checkCursor(cursor, visible(sorted, at, at), script);
    }
  }
});

test('promise 6: a call on a visible cursor passes a bounded number of invisible entries, in both directions', async () => {
  const tombstone = Uint8Array.of(1);
  const value = Uint8Array.of(0, 7);
  const count = 5000;
  const row = (i: number): Uint8Array => makeRowKey(1, Uint8Array.of(i >> 8, i & 0xff));
  const entries = Array.from({ length: count }, (_, i) => ({ key: row(i), revision: 1, record: tombstone }));
  entries[0]!.record = value;
  entries[count - 1]!.record = value;
  for (const [start, step] of [
    ['seekToFirst', 'next'],
    ['seekToLast', 'previous'],
  ] as const) {
    let steps = 0;
    const child = tableCursor(entries, {}, () => true);
    const counting = new Proxy(child, {
      get(target, name) {
        const member: unknown = Reflect.get(target, name, target);
        if (typeof member !== 'function') return member;
        if (name === 'next' || name === 'previous') steps++;
        return member.bind(target) as unknown;
      },
    });
    const cursor = new VisibleCursor(counting, { atRevision: LATEST, budget: new StepBudget(100) });
    while (!cursor[start]()) await cursor.load();
    const first = cursor.revision;
    let calls = 0;
    for (let isDone = false; !isDone; calls++) {
      steps = 0;
      isDone = cursor[step]();
      assert.ok(steps <= 101, `${steps} steps in one call`);
      if (!isDone) await cursor.load();
    }
    assert.equal(cursor.valid, true);
    assert.equal(cursor.revision, first);
    assert.ok(calls >= count / 101, `only ${calls} calls`);
    while (!cursor[step]()) await cursor.load();
    assert.equal(cursor.valid, false);
  }
});
