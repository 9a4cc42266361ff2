import { levelScore, type CompactionLimits } from '../../lsm/compaction/picker.js';
import { totalBytes, type TableFile } from '../../lsm/version/table-file.js';
import { MAX_LEVELS, overlapping, type Version } from '../../lsm/version/version.js';

/**
 * The level for tables in row order whose rows nobody else has, as those of a new replica: no version above or below can be
 * hidden or uncovered, so any level without tables in their range is right.
 *
 * The best one is the deepest level in use, where most of the data is anyway: higher up the tables would be copied once for each
 * level on their way down, further down they would keep tombstones above them alive. When they would take it above
 * its limit, the picker would move them on at once, so they go to the level below. A table that spans their range (it holds rows of
 * replicas before and behind) sends them elsewhere: deeper, else higher, at last to level 0, where tables may overlap.
 */
export function placeTables(version: Version, tables: readonly TableFile[], limits: CompactionLimits): number {
  const bottom = Math.max(
    1,
    version.levels.findLastIndex((level) => level.length > 0),
  );
  for (let level = bottom; level < MAX_LEVELS; level++) {
    if (isFree(version, level, tables) && hasRoom(version, level, tables, limits)) return level;
  }
  for (let level = bottom - 1; level > 0; level--) if (isFree(version, level, tables)) return level;
  return 0;
}

function isFree(version: Version, level: number, tables: readonly TableFile[]): boolean {
  const first = tables[0]!.smallestRow;
  const last = tables.at(-1)!.largestRow;
  return overlapping(version.levels[level]!, first, last).length === 0;
}

/** Below 1 the picker leaves a level alone; the last level has no limit. */
function hasRoom(version: Version, level: number, tables: readonly TableFile[], limits: CompactionLimits): boolean {
  if (level === MAX_LEVELS - 1) return true;
  const limitBytes = limits.levelBaseBytes * limits.levelFactor ** (level - 1);
  return levelScore(version, level, limits) + totalBytes(tables) / limitBytes < 1;
}
