import { compareRanges } from '../../base/bytes.js';
import type { Cursor } from '../cursor.js';
import { LATEST, MAX_ROW_KEY_BYTES, readReplicaId, REPLICA_ID_BYTES, type Revision } from '../row-key.js';
import { DropRules } from './drop-rules.js';
import type { OlderRows } from './older-rows.js';

/** Where kept versions go: a table builder. */
export interface MergeTarget {
  readonly estimatedBytes: number;
  add(
    key: Uint8Array,
    keyStart: number,
    keyLength: number,
    revision: Revision,
    record: Uint8Array,
    recordStart: number,
    recordLength: number,
  ): void;
}

export interface MergeOptions {
  readonly floor: Revision;
  readonly liveReplicas: ReadonlySet<number>;
  /** Rows that may have older versions outside of the merge. */
  readonly olderRows: OlderRows;
  /** The merge stops at the first row boundary at which the target holds this much. */
  readonly targetBytes: number;
  /** Asked at each row boundary: true stops the merge there. */
  readonly shouldStop: () => boolean;
}

export interface MergeResult {
  /** The last row that was merged, when rows are left behind it. */
  readonly resumeAfter: Uint8Array | null;
  readonly readEntries: number;
  readonly keptEntries: number;
}

/**
 * Merges a positioned cursor that never blocks into the target. It stops between rows only, so all versions of a row land in one
 * table (LSM rule 7). A version that two sources both hold is one version.
 */
export function mergeInto(cursor: Cursor, openTarget: () => MergeTarget, options: MergeOptions): MergeResult {
  const rules = new DropRules(options.floor);
  const row = new Uint8Array(MAX_ROW_KEY_BYTES);
  let rowLength = -1;
  let lastRevision: Revision = LATEST;
  let target: MergeTarget | null = null;
  let readEntries = 0;
  let keptEntries = 0;
  for (; cursor.valid; cursor.next()) {
    const { key, keyStart, keyLength, revision } = cursor;
    const sameRow = rowLength >= 0 && compareRanges(row, 0, rowLength, key, keyStart, keyLength) === 0;
    if (!sameRow) {
      const full = target !== null && target.estimatedBytes >= options.targetBytes;
      if (rowLength >= 0 && (full || options.shouldStop())) {
        return { resumeAfter: row.slice(0, rowLength), readEntries, keptEntries };
      }
      for (let i = 0; i < keyLength; i++) row[i] = key[keyStart + i]!;
      rowLength = keyLength;
      const live = keyLength >= REPLICA_ID_BYTES && options.liveReplicas.has(readReplicaId(key, keyStart));
      rules.startRow(live, options.olderRows.mayHold(key, keyStart, keyLength));
    }
    readEntries++;
    const repeated = sameRow && revision === lastRevision;
    lastRevision = revision;
    if (repeated || !rules.keeps(revision, cursor.value, cursor.valueStart)) continue;
    target ??= openTarget();
    target.add(key, keyStart, keyLength, revision, cursor.value, cursor.valueStart, cursor.valueLength);
    keptEntries++;
  }
  return { resumeAfter: null, readEntries, keptEntries };
}
