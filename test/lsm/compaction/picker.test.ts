import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { compareBytes } from '../../../src/base/bytes.js';
import { deadTables, levelScore, pickCompaction, pickFromLevel } from '../../../src/lsm/compaction/picker.js';
import { tablesOverlap, type TableFile } from '../../../src/lsm/version/table-file.js';
import { applyEdit, MAX_LEVELS, type Version } from '../../../src/lsm/version/version.js';
import { rowOf, tableOf, versionOf } from '../version/table-files.js';

const LIMITS = { level0Tables: 4, levelBaseBytes: 1000, levelFactor: 10 };

/** A level without overlap: cuts of the row numbers, taken in pairs. */
function sortedLevel(firstFile: number): fc.Arbitrary<TableFile[]> {
  return fc
    .tuple(fc.uniqueArray(fc.nat(500), { maxLength: 40 }), fc.integer({ min: 50, max: 2000 }))
    .map(([cuts, sizeBytes]) => {
      const ends = cuts.sort((a, b) => a - b);
      const tables: TableFile[] = [];
      for (let i = 0; i + 1 < ends.length; i += 2) {
        tables.push(tableOf(firstFile + i, ends[i]!, ends[i + 1]!, sizeBytes));
      }
      return tables;
    });
}

const level0 = fc
  .array(fc.tuple(fc.nat(500), fc.nat(500)), { maxLength: 8 })
  .map((ranges) => ranges.map(([a, b], i) => tableOf(9000 - i, Math.min(a, b), Math.max(a, b))));

const version: fc.Arbitrary<Version> = fc
  .tuple(level0, sortedLevel(1000), sortedLevel(2000), sortedLevel(3000), fc.nat(500))
  .map(([l0, l1, l2, l3, pointer]) => versionOf([l0, l1, l2, l3], { pointers: [undefined, rowOf(pointer)] }));

function covers(tables: readonly TableFile[]): { smallest: Uint8Array; largest: Uint8Array } {
  const smallest = tables.map((table) => table.smallestRow).sort(compareBytes)[0]!;
  const largest = tables
    .map((table) => table.largestRow)
    .sort(compareBytes)
    .at(-1)!;
  return { smallest, largest };
}

test('LSM rule 7: a compaction takes every table of the output level that shares a row with its inputs', () => {
  fc.assert(
    fc.property(version, (v) => {
      for (const picked of [pickCompaction(v, LIMITS), ...[0, 1, 2].map((level) => pickFromLevel(v, level))]) {
        if (picked === null) continue;
        const { smallest, largest } = covers(picked.inputs);
        const taken = new Set(picked.outputInputs);
        for (const table of v.levels[picked.outputLevel]!) {
          const apart = compareBytes(table.largestRow, smallest) < 0 || compareBytes(table.smallestRow, largest) > 0;
          assert.equal(taken.has(table), !apart);
        }
      }
    }),
  );
});

test('LSM rule 8: a compaction of level 0 leaves no older table there', () => {
  fc.assert(
    fc.property(version, (v) => {
      const picked = pickCompaction(v, LIMITS);
      if (picked?.level === 0) assert.deepEqual(picked.inputs, v.levels[0]);
    }),
  );
});

test('a trivial move leads to a sound version', () => {
  fc.assert(
    fc.property(version, (v) => {
      const picked = pickCompaction(v, LIMITS);
      if (picked === null || !picked.trivialMove) return;
      const { inputs, level, outputLevel } = picked;
      const moved = applyEdit(v, {
        removed: inputs.map(({ fileNumber }) => ({ level, fileNumber })),
        added: inputs.map((table) => ({ level: outputLevel, table })),
      });
      assert.equal(moved.levels.flat().length, v.levels.flat().length);
    }),
  );
});

test('something is picked exactly when a level is at its limit, and the fullest level goes first', () => {
  fc.assert(
    fc.property(version, (v) => {
      const scores = Array.from({ length: MAX_LEVELS - 1 }, (_, level) => levelScore(v, level, LIMITS));
      const picked = pickCompaction(v, LIMITS);
      assert.equal(picked === null, Math.max(...scores) < 1);
      if (picked !== null) assert.equal(scores[picked.level], Math.max(...scores));
    }),
  );
});

test('the same version gives the same compaction', () => {
  fc.assert(
    fc.property(version, (v) => {
      assert.deepEqual(pickCompaction(v, LIMITS), pickCompaction(structuredClone(v), LIMITS));
    }),
    { numRuns: 20 },
  );
});

test('a level is compacted round robin over its rows', () => {
  const tables = Array.from({ length: 12 }, (_, i) => tableOf(100 + i, i * 10, i * 10 + 9));
  const below = [tableOf(1, 0, 500)];
  let v = versionOf([[], tables, below]);
  const starts: number[] = [];
  for (let i = 0; i < 13; i++) {
    const picked = pickCompaction(v, LIMITS);
    assert.ok(picked !== null);
    starts.push(picked.inputs[0]!.fileNumber);
    v = { ...v, pointers: [undefined, picked.inputs[0]!.largestRow] };
  }
  assert.deepEqual(starts, [...tables.map((table) => table.fileNumber), 100]);
});

test('tables that hold only rows of dropped replicas are dead, others are not', () => {
  const mixed = { ...tableOf(4, 0, 1), smallestRow: rowOf(1, 1), largestRow: rowOf(1, 9) };
  const v = versionOf([[tableOf(3, 0, 5, 100, 2)], [tableOf(1, 0, 5, 100, 1), tableOf(2, 0, 5, 100, 7)], [mixed]]);
  assert.deepEqual(
    deadTables(v).map(({ level, table }) => [level, table.fileNumber]),
    [
      [0, 3],
      [1, 2],
    ],
  );
});

test('overlap is judged by bytes with both ends inclusive', () => {
  assert.ok(tablesOverlap(tableOf(1, 0, 5), tableOf(2, 5, 9)));
  assert.ok(!tablesOverlap(tableOf(1, 0, 5), tableOf(2, 6, 9)));
});
