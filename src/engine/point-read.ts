import { compareRanges, copyBytes } from '../base/bytes.js';
import type { Block } from '../lsm/table/block.js';
import { ABSENT, FOUND, type FindResult, type TableReader } from '../lsm/table/table-reader.js';
import type { Revision } from '../lsm/row-key.js';
import { findTable } from '../lsm/version/version.js';
import type { TreeView } from './tree/version-set.js';

/** Where a point read left what it found: a view that is valid until the next call on the engine. */
export class Hit {
  bytes: Uint8Array = new Uint8Array(0);
  start = 0;
  length = 0;
  revision: Revision = 0;

  takeFrom(table: TableReader): void {
    this.bytes = table.foundRecord;
    this.start = table.foundStart;
    this.length = table.foundLength;
    this.revision = table.foundRevision;
  }
}

/**
 * The newest version of a row at or below `at`, from filters and cached blocks alone. Sources are asked from the newest to the
 * oldest, and the first that has such a version has the newest one (version.ts), so nothing is compared. No allocation.
 */
export function lookupTables(
  view: TreeView,
  row: Uint8Array,
  rowLength: number,
  hash: number,
  at: Revision,
  hit: Hit,
): FindResult {
  for (const { file, reader } of view.levels[0]!) {
    if (file.smallestRevision > at || !reader.coversRow(row, 0, rowLength)) continue;
    const found = reader.find(row, 0, rowLength, hash, at);
    if (found === FOUND) hit.takeFrom(reader);
    if (found !== ABSENT) return found;
  }
  for (let level = 1; level < view.levels.length; level++) {
    const reader = tableFor(view, level, row, rowLength, at);
    if (reader === null) continue;
    const found = reader.find(row, 0, rowLength, hash, at);
    if (found === FOUND) hit.takeFrom(reader);
    if (found !== ABSENT) return found;
  }
  return ABSENT;
}

/** A version that outlives the call that found it. */
export interface FoundRecord {
  /** A copy. */
  readonly record: Uint8Array;
  readonly revision: Revision;
}

/** As `lookupTables`, fetching the blocks that are missing. The view must stay pinned until this settles. */
export async function readTables(
  view: TreeView,
  row: Uint8Array,
  hash: number,
  at: Revision,
): Promise<FoundRecord | null> {
  for (const reader of candidates(view, row, at)) {
    let held: Block | undefined;
    let heldIndex = -1;
    for (;;) {
      const found = reader.find(row, 0, row.length, hash, at, held, heldIndex);
      // Taken before the next await: other reads use the same reader.
      if (found === FOUND) return takeCopy(reader);
      if (found === ABSENT) break;
      heldIndex = reader.blockedOn;
      held = await reader.loadBlock(heldIndex);
    }
  }
  return null;
}

function* candidates(view: TreeView, row: Uint8Array, at: Revision): Generator<TableReader> {
  for (const { file, reader } of view.levels[0]!) {
    if (file.smallestRevision <= at && reader.coversRow(row, 0, row.length)) yield reader;
  }
  for (let level = 1; level < view.levels.length; level++) {
    const reader = tableFor(view, level, row, row.length, at);
    if (reader !== null) yield reader;
  }
}

function takeCopy(reader: TableReader): FoundRecord {
  const { foundRecord, foundStart, foundLength } = reader;
  return { record: copyBytes(foundRecord, foundStart, foundLength), revision: reader.foundRevision };
}

/** The only table of a sorted level that may hold the row. */
function tableFor(view: TreeView, level: number, row: Uint8Array, rowLength: number, at: Revision): TableReader | null {
  const files = view.version.levels[level]!;
  if (files.length === 0) return null;
  const index = findTable(files, row, 0, rowLength);
  if (index === files.length) return null;
  const { smallestRow, smallestRevision } = files[index]!;
  if (smallestRevision > at || compareRanges(smallestRow, 0, smallestRow.length, row, 0, rowLength) > 0) return null;
  return view.levels[level]![index]!.reader;
}
