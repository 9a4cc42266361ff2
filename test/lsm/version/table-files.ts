import type { TableFile } from '../../../src/lsm/version/table-file.js';
import { EMPTY_VERSION, MAX_LEVELS, type Version } from '../../../src/lsm/version/version.js';

/** A row key of a replica with a number as its user key. */
export function rowOf(number: number, replicaId = 1): Uint8Array {
  return Uint8Array.of(0, 0, 0, replicaId, number >>> 8, number);
}

export function tableOf(fileNumber: number, from: number, to: number, sizeBytes = 100, replicaId = 1): TableFile {
  return {
    fileNumber,
    sizeBytes,
    entryCount: to - from + 1,
    smallestRow: rowOf(from, replicaId),
    largestRow: rowOf(to, replicaId),
    smallestRevision: fileNumber,
    largestRevision: fileNumber + 10,
  };
}

/** A version with these tables by level. */
export function versionOf(levels: readonly (readonly TableFile[])[], changes: Partial<Version> = {}): Version {
  return {
    ...EMPTY_VERSION,
    liveReplicas: new Set([1]),
    ...changes,
    levels: Array.from({ length: MAX_LEVELS }, (_, level) => levels[level] ?? []),
  };
}
