import assert from 'node:assert/strict';
import { test } from 'node:test';
import { placeTables } from '../../../src/engine/snapshot/place-tables.js';
import { pickCompaction } from '../../../src/lsm/compaction/picker.js';
import { applyEdit } from '../../../src/lsm/version/version.js';
import { tableOf, versionOf } from '../../lsm/version/table-files.js';

const LIMITS = { level0Tables: 4, levelBaseBytes: 1000, levelFactor: 10 };
/** Two tables of replica 5. */
const ADDED = [tableOf(20, 0, 9, 300, 5), tableOf(21, 10, 19, 300, 5)];

test('the first data of a tree goes into level 1', () => {
  assert.equal(placeTables(versionOf([]), ADDED, LIMITS), 1);
});

test('a snapshot goes beside the bulk of the data, into the deepest level in use', () => {
  const version = versionOf([[tableOf(9, 0, 50)], [tableOf(3, 0, 5)], [], [tableOf(1, 0, 5, 50_000)]]);
  assert.equal(placeTables(version, ADDED, LIMITS), 3);
});

test('when the level would want a compaction then, it goes one deeper, so no byte of it is copied', () => {
  const version = versionOf([[], [tableOf(3, 0, 5, 500)]]);
  const level = placeTables(version, ADDED, LIMITS);
  assert.equal(level, 2);
  const after = applyEdit(version, { added: ADDED.map((table) => ({ level, table })) });
  assert.equal(pickCompaction(after, LIMITS), null);
});

test('LSM rule 7: a level whose tables span the range is passed over, deeper first, then higher, at last level 0', () => {
  // From replica 1 to replica 9, across the range of replica 5.
  const spanning = { ...tableOf(3, 0, 5), largestRow: tableOf(4, 0, 5, 100, 9).largestRow };
  assert.equal(placeTables(versionOf([[], [spanning]]), ADDED, LIMITS), 2);
  assert.equal(placeTables(versionOf([[], [], [], [], [], [], [spanning]]), ADDED, LIMITS), 5);
  const everywhere = [1, 2, 3, 4, 5, 6].map((fileNumber) => [{ ...spanning, fileNumber }]);
  assert.equal(placeTables(versionOf([[], ...everywhere]), ADDED, LIMITS), 0);
});
