import type { Revision } from '../row-key.js';
import type { TableProperties } from '../table/properties.js';
import type { TableFile } from '../version/table-file.js';
import { MAX_LEVELS, overlapping, type Version } from '../version/version.js';
import { pickFromLevel, planDown, planRewrite, type Compaction } from './picker.js';

type Garbage = Pick<TableProperties, 'entryCount' | 'rowCount' | 'tombstoneCount' | 'earliestGarbageRevision'>;

export interface GarbageLimits {
  /** A table is worth writing again when so much of it is tombstones and superseded versions that the floor has passed. */
  readonly share: number;
  /** Or when something in it could have gone for so long, in revisions. */
  readonly age: Revision;
}

/**
 * The compaction for a tree in which no level wants one: without it, what expired or was superseded in a range that nobody
 * writes any more would stay on the disk. Null when nothing is worth it at this history floor.
 *
 * Each step gets on, so repeating them ends. A table with nothing below it is written again where it is, and loses at least the
 * version that its `earliestGarbageRevision` tells of; any other goes a level down. `age` keeps a table whose versions expire one
 * by one from being written for each of them, also after the step.
 */
export function pickGarbage(
  version: Version,
  garbageOf: (table: TableFile) => Garbage,
  floor: Revision,
  limits: GarbageLimits,
): Compaction | null {
  let best: { level: number; table: TableFile; earliest: Revision } | null = null;
  for (const [level, tables] of version.levels.entries()) {
    for (const table of tables) {
      const garbage = garbageOf(table);
      const earliest = garbage.earliestGarbageRevision;
      if (best !== null && earliest >= best.earliest) continue;
      if (isWorthIt(table, garbage, floor, limits)) best = { level, table, earliest };
    }
  }
  if (best === null) return null;
  const { level, table } = best;
  // Its tables overlap each other, so only all of them together can move.
  if (level === 0) return pickFromLevel(version, 0);
  return hasTablesBelow(version, level, table) ? planDown(version, level, table) : planRewrite(level, table);
}

function isWorthIt(table: TableFile, garbage: Garbage, floor: Revision, { share, age }: GarbageLimits): boolean {
  const { entryCount, rowCount, tombstoneCount, earliestGarbageRevision } = garbage;
  if (earliestGarbageRevision > floor) return false;
  if (earliestGarbageRevision <= floor - age) return true;
  return table.largestRevision <= floor && tombstoneCount + entryCount - rowCount >= share * entryCount;
}

function hasTablesBelow(version: Version, level: number, table: TableFile): boolean {
  for (let below = level + 1; below < MAX_LEVELS; below++) {
    if (overlapping(version.levels[below]!, table.smallestRow, table.largestRow).length > 0) return true;
  }
  return false;
}
