import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { pickGarbage } from '../../../src/lsm/compaction/garbage.js';
import { LATEST } from '../../../src/lsm/row-key.js';
import type { TableFile } from '../../../src/lsm/version/table-file.js';
import { applyEdit, type Version } from '../../../src/lsm/version/version.js';
import { tableOf, versionOf } from '../version/table-files.js';

const LIMITS = { share: 0.25, age: 1000 };
const FLOOR = 10_000;

interface Garbage {
  readonly entryCount: number;
  readonly rowCount: number;
  readonly tombstoneCount: number;
  readonly earliestGarbageRevision: number;
}

const CLEAN: Garbage = { entryCount: 100, rowCount: 100, tombstoneCount: 0, earliestGarbageRevision: LATEST };
const OLD: Garbage = { ...CLEAN, earliestGarbageRevision: FLOOR - 1000 };
const FRESH: Garbage = { ...CLEAN, earliestGarbageRevision: FLOOR - 999 };
const MUCH: Garbage = { ...FRESH, tombstoneCount: 20, rowCount: 95 };

function pick(version: Version, garbage: ReadonlyMap<number, Garbage>): ReturnType<typeof pickGarbage> {
  return pickGarbage(version, ({ fileNumber }) => garbage.get(fileNumber) ?? CLEAN, FLOOR, LIMITS);
}

test('a table with old garbage, or with much of it, and nothing below is written again where it is', () => {
  const version = versionOf([[], [tableOf(1, 1, 9)], [tableOf(2, 20, 29)]]);
  for (const garbage of [OLD, MUCH]) {
    const picked = pick(version, new Map([[1, garbage]]));
    assert.deepEqual(
      [picked?.level, picked?.outputLevel, picked?.inputs.map((table) => table.fileNumber), picked?.trivialMove],
      [1, 1, [1], false],
    );
  }
});

test('little fresh garbage, and what the floor has not passed, stay', () => {
  const version = versionOf([[], [tableOf(1, 1, 9)]]);
  assert.equal(pick(version, new Map()), null);
  assert.equal(pick(version, new Map([[1, FRESH]])), null);
  assert.equal(pick(version, new Map([[1, { ...MUCH, earliestGarbageRevision: FLOOR + 1 }]])), null);
  // Some of what is counted may be above the floor.
  const recent = { ...tableOf(1, 1, 9), largestRevision: FLOOR + 1 };
  assert.equal(pick(versionOf([[], [recent]]), new Map([[1, MUCH]])), null);
});

test('LSM rule 6: garbage above tables that may hold older versions goes a level down', () => {
  const version = versionOf([[], [tableOf(1, 1, 9)], [tableOf(2, 10, 12)], [tableOf(3, 5, 6)]]);
  const picked = pick(version, new Map([[1, OLD]]))!;
  assert.deepEqual([picked.level, picked.outputLevel, picked.trivialMove], [1, 2, true]);
  const level0 = versionOf([[tableOf(9, 1, 5), tableOf(8, 3, 9)], [tableOf(2, 1, 2)]]);
  assert.deepEqual(
    pick(level0, new Map([[8, OLD]]))?.inputs.map((table) => table.fileNumber),
    [9, 8],
  );
});

test('the oldest garbage goes first', () => {
  const version = versionOf([[], [tableOf(1, 1, 2), tableOf(2, 3, 4)], [tableOf(3, 5, 6)]]);
  const older = { ...OLD, earliestGarbageRevision: 7 };
  assert.equal(pick(version, new Map([[1, OLD], [3, older]]))?.inputs[0]?.fileNumber, 3); // prettier-ignore
});

/** What a merge does with garbage at this floor: without tables below it is gone, with some it stays. */
function step(version: Version, garbage: Map<number, Garbage>, nextFile: number): Version | null {
  const picked = pick(version, garbage);
  if (picked === null) return null;
  const { level, outputLevel, inputs, outputInputs, trivialMove } = picked;
  const all = [...inputs, ...outputInputs];
  if (!trivialMove && level === outputLevel) garbage.set(inputs[0]!.fileNumber, CLEAN);
  const merged = all.map((table, i): TableFile => ({
    ...table,
    fileNumber: trivialMove ? table.fileNumber : nextFile + i,
  }));
  // Any of the outputs may hold the garbage of any input.
  const worst = all.map((table) => garbage.get(table.fileNumber) ?? CLEAN);
  const kept = worst.reduce((a, b) => (b.earliestGarbageRevision < a.earliestGarbageRevision ? b : a));
  const whole = rangeOf(merged);
  const output = trivialMove ? merged : [whole];
  for (const table of output) garbage.set(table.fileNumber, kept);
  return applyEdit(version, {
    removed: [
      ...inputs.map(({ fileNumber }) => ({ level, fileNumber })),
      ...outputInputs.map(({ fileNumber }) => ({ level: outputLevel, fileNumber })),
    ],
    added: output.map((table) => ({ level: outputLevel, table })),
  });
}

function rangeOf(tables: readonly TableFile[]): TableFile {
  const sorted = [...tables].sort((a, b) => Buffer.compare(a.smallestRow, b.smallestRow));
  const last = [...tables].sort((a, b) => Buffer.compare(a.largestRow, b.largestRow)).at(-1)!;
  return { ...sorted[0]!, largestRow: last.largestRow };
}

test('steps for garbage end: none is repeated without getting on', () => {
  const level = (file: number): fc.Arbitrary<TableFile[]> =>
    fc.uniqueArray(fc.nat(60), { maxLength: 12 }).map((cuts) => {
      const ends = cuts.sort((a, b) => a - b);
      return Array.from({ length: ends.length >> 1 }, (_, i) => tableOf(file + i, ends[2 * i]!, ends[2 * i + 1]!));
    });
  const kinds = fc.array(fc.constantFrom(CLEAN, OLD, FRESH, MUCH), { minLength: 60, maxLength: 60 });
  fc.assert(
    fc.property(level(100), level(200), level(300), level(400), kinds, (l1, l2, l3, l4, garbage) => {
      let version: Version | null = versionOf([[], l1, l2, l3, l4]);
      const all = new Map(version.levels.flat().map((table, i) => [table.fileNumber, garbage[i % 60]!]));
      let steps = 0;
      for (; version !== null; steps++) {
        assert.ok(steps < 200, 'it never ends');
        version = step(version, all, 1000 + 50 * steps);
      }
    }),
  );
});
