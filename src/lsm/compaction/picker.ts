import { compareBytes } from '../../base/bytes.js';
import { REPLICA_ID_BYTES, readReplicaId } from '../row-key.js';
import { tablesOverlap, totalBytes, type TableFile } from '../version/table-file.js';
import { MAX_LEVELS, overlapping, type Version } from '../version/version.js';

export interface CompactionLimits {
  /** Level 0 is compacted from this many tables on. */
  readonly level0Tables: number;
  /** Size that level 1 may reach; each deeper level may be `levelFactor` times larger. */
  readonly levelBaseBytes: number;
  readonly levelFactor: number;
}

export interface Compaction {
  readonly level: number;
  readonly outputLevel: number;
  /** Tables of `level`, for level 0 newest first. */
  readonly inputs: readonly TableFile[];
  /** Tables of `outputLevel` that share rows with the inputs. */
  readonly outputInputs: readonly TableFile[];
  /** Nothing to merge with: the inputs change their level in the manifest, and no byte is copied. */
  readonly trivialMove: boolean;
}

/** The most urgent compaction, or null when every level is within its limit. A pure function of the version. */
export function pickCompaction(version: Version, limits: CompactionLimits): Compaction | null {
  let level = -1;
  let best = 1;
  for (let candidate = 0; candidate < MAX_LEVELS - 1; candidate++) {
    const score = levelScore(version, candidate, limits);
    if (score >= best && (level === -1 || score > best)) {
      level = candidate;
      best = score;
    }
  }
  if (level === -1) return null;
  return level === 0 ? planLevel0(version) : planLevel(version, level, [nextTable(version, level)]);
}

/** 1 and above: the level wants a compaction. */
export function levelScore(version: Version, level: number, limits: CompactionLimits): number {
  const tables = version.levels[level]!;
  if (level === 0) return tables.length / limits.level0Tables;
  return totalBytes(tables) / (limits.levelBaseBytes * limits.levelFactor ** (level - 1));
}

/** Bytes above the levels' limits: what compaction still has to move. */
export function compactionDebtBytes(version: Version, limits: CompactionLimits): number {
  let debt = 0;
  for (let level = 0; level < MAX_LEVELS - 1; level++) {
    const excess = 1 - 1 / Math.max(1, levelScore(version, level, limits));
    debt += totalBytes(version.levels[level]!) * excess;
  }
  return debt;
}

/** For a full compaction: the next step that moves a level down, or null when the level is empty. */
export function pickFromLevel(version: Version, level: number): Compaction | null {
  if (version.levels[level]!.length === 0 || level >= MAX_LEVELS - 1) return null;
  const step = level === 0 ? planLevel0(version) : planLevel(version, level, [version.levels[level]![0]!]);
  return { ...step, trivialMove: false };
}

/** For a full compaction: writes one table of a level again, without what may be dropped by now. */
export function planRewrite(level: number, table: TableFile): Compaction {
  return { level, outputLevel: level, inputs: [table], outputInputs: [], trivialMove: false };
}

/** One table of a level below 0 goes a level down. */
export function planDown(version: Version, level: number, table: TableFile): Compaction {
  return planLevel(version, level, [table]);
}

/** Tables that hold only rows of dropped replicas: they can go without being read. */
export function deadTables(version: Version): { level: number; table: TableFile }[] {
  const live = [...version.liveReplicas].sort((a, b) => a - b);
  const dead: { level: number; table: TableFile }[] = [];
  version.levels.forEach((tables, level) => {
    for (const table of tables) if (!holdsLiveRows(table, live)) dead.push({ level, table });
  });
  return dead;
}

function holdsLiveRows(table: TableFile, live: readonly number[]): boolean {
  const first = rowReplica(table.smallestRow);
  const last = rowReplica(table.largestRow);
  return live.some((replicaId) => replicaId >= first && replicaId <= last);
}

function rowReplica(row: Uint8Array): number {
  return row.length < REPLICA_ID_BYTES ? 0 : readReplicaId(row, 0);
}

/**
 * All of level 0 at once. Taking only a part would need the oldest ones of every overlapping set, or an old version would stay
 * above a newer one.
 */
function planLevel0(version: Version): Compaction {
  return plan(version, 0, 1, version.levels[0]!);
}

function planLevel(version: Version, level: number, inputs: readonly TableFile[]): Compaction {
  return plan(version, level, level + 1, inputs);
}

function plan(version: Version, level: number, outputLevel: number, inputs: readonly TableFile[]): Compaction {
  let smallest = inputs[0]!.smallestRow;
  let largest = inputs[0]!.largestRow;
  for (const table of inputs) {
    if (compareBytes(table.smallestRow, smallest) < 0) smallest = table.smallestRow;
    if (compareBytes(table.largestRow, largest) > 0) largest = table.largestRow;
  }
  const outputInputs = overlapping(version.levels[outputLevel]!, smallest, largest);
  return { level, outputLevel, inputs, outputInputs, trivialMove: outputInputs.length === 0 && disjoint(inputs) };
}

function disjoint(tables: readonly TableFile[]): boolean {
  if (tables.length === 1) return true;
  const sorted = [...tables].sort((a, b) => compareBytes(a.smallestRow, b.smallestRow));
  return sorted.every((table, i) => i === 0 || !tablesOverlap(sorted[i - 1]!, table));
}

/** Round robin over the rows of a level, so that every part of the key space moves down in turn. */
function nextTable(version: Version, level: number): TableFile {
  const tables = version.levels[level]!;
  const pointer = version.pointers[level];
  if (pointer === undefined) return tables[0]!;
  return tables.find((table) => compareBytes(table.smallestRow, pointer) > 0) ?? tables[0]!;
}
