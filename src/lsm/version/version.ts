import { assert } from '../../base/assert.js';
import { compareBytes, compareRanges } from '../../base/bytes.js';
import type { Revision } from '../row-key.js';
import type { TableFile } from './table-file.js';
import type { AddedTable, GroupState, RemovedTable, VersionEdit } from './version-edit.js';

export const MAX_LEVELS = 7;

/**
 * One state of the tree, immutable. Level 0 holds flushed memtables, newest first, overlapping; in each deeper level the
 * tables are in row order and no row is in two of them (LSM rule 7: a compaction never cuts between two versions of
 * a row, so whoever takes a table takes whole rows). A version of a row in a higher level, or in a newer table of level 0,
 * is always newer than one below it.
 */
export interface Version {
  readonly levels: readonly (readonly TableFile[])[];
  /** By level: the last row of the previous compaction from it. */
  readonly pointers: readonly (Uint8Array | undefined)[];
  readonly nextFileNumber: number;
  readonly nextReplicaId: number;
  readonly clockBound: Revision;
  readonly historyFloor: Revision;
  readonly liveReplicas: ReadonlySet<number>;
  readonly groups: ReadonlyMap<number, GroupState>;
}

export const EMPTY_VERSION: Version = {
  levels: Array.from({ length: MAX_LEVELS }, () => []),
  pointers: Array.from({ length: MAX_LEVELS }, () => undefined),
  nextFileNumber: 1,
  nextReplicaId: 1,
  clockBound: 0,
  historyFloor: 0,
  liveReplicas: new Set(),
  groups: new Map(),
};

/** The state after `edit`. Throws an AssertionFailure when the edit contradicts the version. */
export function applyEdit(version: Version, edit: VersionEdit): Version {
  return {
    levels: applyTables(version.levels, edit.added ?? [], edit.removed ?? []),
    pointers: applyPointers(version, edit),
    nextFileNumber: raised('next file number', version.nextFileNumber, edit.nextFileNumber),
    nextReplicaId: raised('next replica id', version.nextReplicaId, edit.nextReplicaId),
    clockBound: Math.max(version.clockBound, edit.clockBound ?? 0),
    historyFloor: raised('history floor', version.historyFloor, edit.historyFloor),
    liveReplicas: applyReplicas(version, edit),
    groups: applyGroups(version, edit),
  };
}

/** The edit that leads from EMPTY_VERSION to `version`: the first record of a rewritten manifest. */
export function snapshotEdit(version: Version): VersionEdit {
  return {
    nextFileNumber: version.nextFileNumber,
    nextReplicaId: version.nextReplicaId,
    clockBound: version.clockBound,
    historyFloor: version.historyFloor,
    createdReplicas: [...version.liveReplicas],
    groups: [...version.groups.values()],
    added: version.levels.flatMap((tables, level) => tables.map((table) => ({ level, table }))),
    pointers: version.pointers.flatMap((row, level) => (row === undefined ? [] : [{ level, row }])),
  };
}

/** Index of the first table of a sorted level whose last row is at or after the row key, or the table count. */
export function findTable(tables: readonly TableFile[], row: Uint8Array, start: number, length: number): number {
  let low = 0;
  let high = tables.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const largest = tables[middle]!.largestRow;
    if (compareRanges(largest, 0, largest.length, row, start, length) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Tables of a sorted level that hold rows in [smallest, largest], both inclusive. */
export function overlapping(
  tables: readonly TableFile[],
  smallest: Uint8Array,
  largest: Uint8Array,
): readonly TableFile[] {
  const first = findTable(tables, smallest, 0, smallest.length);
  let end = first;
  while (end < tables.length && compareBytes(tables[end]!.smallestRow, largest) <= 0) end++;
  return tables.slice(first, end);
}

function applyTables(
  levels: Version['levels'],
  added: readonly AddedTable[],
  removed: readonly RemovedTable[],
): Version['levels'] {
  if (added.length === 0 && removed.length === 0) return levels;
  return levels.map((tables, level) => {
    const gone = new Set(removed.filter((table) => table.level === level).map((table) => table.fileNumber));
    const fresh = added.filter((table) => table.level === level).map((entry) => entry.table);
    if (gone.size === 0 && fresh.length === 0) return tables;
    const kept = tables.filter((table) => !gone.delete(table.fileNumber));
    assert(gone.size === 0, `edit removes tables ${[...gone].join()} that level ${level} does not hold`);
    return level === 0 ? newestFirst([...kept, ...fresh]) : inRowOrder([...kept, ...fresh], level);
  });
}

/** Flushes get their file numbers in the order in which their memtables were filled, so the number is the age. */
function newestFirst(tables: TableFile[]): TableFile[] {
  tables.sort((a, b) => b.fileNumber - a.fileNumber);
  for (let i = 1; i < tables.length; i++) {
    assert(tables[i]!.fileNumber !== tables[i - 1]!.fileNumber, `table ${tables[i]!.fileNumber} is twice in level 0`);
  }
  return tables;
}

function inRowOrder(tables: TableFile[], level: number): TableFile[] {
  tables.sort((a, b) => compareBytes(a.smallestRow, b.smallestRow));
  for (let i = 1; i < tables.length; i++) {
    assert(
      compareBytes(tables[i - 1]!.largestRow, tables[i]!.smallestRow) < 0,
      `tables ${tables[i - 1]!.fileNumber} and ${tables[i]!.fileNumber} of level ${level} hold a row in common`,
    );
  }
  return tables;
}

function applyPointers(version: Version, edit: VersionEdit): Version['pointers'] {
  if (edit.pointers === undefined || edit.pointers.length === 0) return version.pointers;
  const pointers = [...version.pointers];
  for (const { level, row } of edit.pointers) pointers[level] = row;
  return pointers;
}

function raised(what: string, current: number, next: number | undefined): number {
  if (next === undefined) return current;
  assert(next >= current, `${what} goes back from ${current} to ${next}`);
  return next;
}

function applyReplicas(version: Version, edit: VersionEdit): ReadonlySet<number> {
  const created = edit.createdReplicas ?? [];
  const dropped = edit.droppedReplicas ?? [];
  if (created.length === 0 && dropped.length === 0) return version.liveReplicas;
  const live = new Set(version.liveReplicas);
  for (const replicaId of created) {
    assert(!live.has(replicaId), `replica ${replicaId} is created twice`);
    live.add(replicaId);
  }
  for (const replicaId of dropped) assert(live.delete(replicaId), `replica ${replicaId} is dropped but not alive`);
  return live;
}

function applyGroups(version: Version, edit: VersionEdit): ReadonlyMap<number, GroupState> {
  const changed = edit.groups ?? [];
  const removed = edit.removedGroups ?? [];
  if (changed.length === 0 && removed.length === 0) return version.groups;
  const groups = new Map(version.groups);
  for (const state of changed) groups.set(state.groupId, state);
  for (const groupId of removed) groups.delete(groupId);
  return groups;
}
