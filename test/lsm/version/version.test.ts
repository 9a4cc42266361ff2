import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { AssertionFailure } from '../../../src/base/assert.js';
import { CorruptionError } from '../../../src/base/errors.js';
import { decodeEdit, encodeEdit } from '../../../src/lsm/version/edit-codec.js';
import { applyEdit, EMPTY_VERSION, findTable, overlapping, snapshotEdit } from '../../../src/lsm/version/version.js';
import type { VersionEdit } from '../../../src/lsm/version/version-edit.js';
import { rowOf, tableOf, versionOf } from './table-files.js';

const number = fc.maxSafeNat();
const id = fc.nat(0xffff_ffff);
const row = fc.uint8Array({ maxLength: 20 });
const level = fc.nat(6);
const table = fc.record({
  fileNumber: number,
  sizeBytes: number,
  entryCount: number,
  smallestRow: row,
  largestRow: row,
  smallestRevision: number,
  largestRevision: number,
});
const group = fc.record({
  groupId: id,
  replicaId: id,
  appliedIndex: number,
  appliedTerm: number,
  revision: number,
  term: number,
  vote: number,
  memberId: number,
  configIndex: number,
  configuration: fc.uint8Array({ maxLength: 300 }),
});
const edit: fc.Arbitrary<VersionEdit> = fc.record({
  nextFileNumber: number,
  nextReplicaId: number,
  clockBound: number,
  historyFloor: number,
  createdReplicas: fc.array(id),
  droppedReplicas: fc.array(id),
  groups: fc.array(group),
  removedGroups: fc.array(id),
  added: fc.array(fc.record({ level, table })),
  removed: fc.array(fc.record({ level, fileNumber: number })),
  pointers: fc.array(fc.record({ level, row })),
});

/** fast-check's records have no prototype. */
function plain(edit: VersionEdit): VersionEdit {
  return structuredClone(edit);
}

test('an edit is read back as it was written', () => {
  fc.assert(fc.property(edit, (written) => assert.deepEqual(decodeEdit(encodeEdit(written), 'test'), plain(written))));
});

test('bytes that are no edit are refused as corruption, and nothing else happens', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
      try {
        decodeEdit(bytes, 'test');
      } catch (error) {
        assert.ok(error instanceof CorruptionError, String(error));
      }
    }),
  );
});

test('a snapshot of a version leads to the same version', () => {
  const version = versionOf(
    [
      [tableOf(9, 0, 50), tableOf(8, 10, 20)],
      [tableOf(3, 0, 5), tableOf(4, 6, 9)],
    ],
    {
      nextFileNumber: 1000,
      nextReplicaId: 2,
      clockBound: 77,
      historyFloor: 55,
      pointers: [undefined, rowOf(5), undefined, undefined, undefined, undefined, undefined],
    },
  );
  assert.deepEqual(applyEdit(EMPTY_VERSION, decodeEdit(encodeEdit(snapshotEdit(version)), 'test')), version);
});

test('LSM rule 8: tables of level 0 are ordered newest first whatever order they come in', () => {
  let version = EMPTY_VERSION;
  for (const fileNumber of [5, 3, 9]) {
    version = applyEdit(version, { added: [{ level: 0, table: tableOf(fileNumber, 0, 9) }] });
  }
  assert.deepEqual(
    version.levels[0]!.map((file) => file.fileNumber),
    [9, 5, 3],
  );
});

test('LSM rule 7: two tables of a deeper level that share a row are refused', () => {
  const version = versionOf([[], [tableOf(1, 0, 5)]]);
  assert.throws(() => applyEdit(version, { added: [{ level: 1, table: tableOf(2, 5, 9) }] }), AssertionFailure);
});

test('removing a table that is not there, or a replica that is not alive, is refused', () => {
  assert.throws(() => applyEdit(EMPTY_VERSION, { removed: [{ level: 1, fileNumber: 7 }] }), AssertionFailure);
  assert.throws(() => applyEdit(EMPTY_VERSION, { droppedReplicas: [7] }), AssertionFailure);
});

test('LSM rules 5 and 17: file numbers, replica ids and the history floor never go back', () => {
  const version = versionOf([], { nextFileNumber: 10, nextReplicaId: 10, historyFloor: 10 });
  assert.throws(() => applyEdit(version, { nextFileNumber: 9 }), AssertionFailure);
  assert.throws(() => applyEdit(version, { nextReplicaId: 9 }), AssertionFailure);
  assert.throws(() => applyEdit(version, { historyFloor: 9 }), AssertionFailure);
});

test('tables of a sorted level are found by row as a linear search finds them', () => {
  const tables = [tableOf(1, 10, 20), tableOf(2, 30, 30), tableOf(3, 31, 60)];
  for (let wanted = 0; wanted < 70; wanted++) {
    const key = rowOf(wanted);
    const expected = tables.findIndex((file) => wanted <= file.largestRow[5]!);
    assert.equal(findTable(tables, key, 0, key.length), expected < 0 ? tables.length : expected);
    const end = wanted + 12;
    const shared = tables.filter((file) => file.largestRow[5]! >= wanted && file.smallestRow[5]! <= end);
    assert.deepEqual(overlapping(tables, key, rowOf(end)), shared);
  }
});
