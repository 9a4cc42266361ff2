import { compareBytes } from '../../base/bytes.js';
import type { Revision } from '../row-key.js';

/** What the tree knows of one table file without opening it. */
export interface TableFile {
  /** Never reused, so caches may use it as a name. */
  readonly fileNumber: number;
  readonly sizeBytes: number;
  readonly entryCount: number;
  /** First and last row key, both inclusive. */
  readonly smallestRow: Uint8Array;
  readonly largestRow: Uint8Array;
  readonly smallestRevision: Revision;
  readonly largestRevision: Revision;
}

export function tablesOverlap(a: TableFile, b: TableFile): boolean {
  return compareBytes(a.smallestRow, b.largestRow) <= 0 && compareBytes(b.smallestRow, a.largestRow) <= 0;
}

export function totalBytes(tables: readonly TableFile[]): number {
  let sum = 0;
  for (const table of tables) sum += table.sizeBytes;
  return sum;
}
