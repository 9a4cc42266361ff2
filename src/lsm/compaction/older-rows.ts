import { compareRanges } from '../../base/bytes.js';
import type { TableFile } from '../version/table-file.js';

/** A run of rows, both ends inclusive. */
export interface RowRange {
  readonly smallestRow: Uint8Array;
  readonly largestRow: Uint8Array;
}

/** Whether a row may have versions older than a merge's: below its output, or beside it. */
export interface OlderRows {
  /** Rows must be asked for in ascending order. */
  mayHold(row: Uint8Array, start: number, length: number): boolean;
}

export const ANY_ROW_MAY_BE_OLDER: OlderRows = { mayHold: () => true };

/** The tables of the levels below the output, as ranges. One sorted list per level. */
export class OlderTables implements OlderRows {
  readonly #levels: readonly (readonly RowRange[])[];
  readonly #positions: number[];

  constructor(levels: readonly (readonly RowRange[])[]) {
    this.#levels = levels;
    this.#positions = levels.map(() => 0);
  }

  mayHold(row: Uint8Array, start: number, length: number): boolean {
    let held = false;
    for (let i = 0; i < this.#levels.length; i++) {
      const ranges = this.#levels[i]!;
      let at = this.#positions[i]!;
      while (at < ranges.length && compareTo(ranges[at]!.largestRow, row, start, length) < 0) at++;
      this.#positions[i] = at;
      if (at < ranges.length && compareTo(ranges[at]!.smallestRow, row, start, length) <= 0) held = true;
    }
    return held;
  }
}

export function rangesOf(tables: readonly TableFile[]): RowRange[] {
  return tables.map(({ smallestRow, largestRow }) => ({ smallestRow, largestRow }));
}

function compareTo(bound: Uint8Array, row: Uint8Array, start: number, length: number): number {
  return compareRanges(bound, 0, bound.length, row, start, length);
}
