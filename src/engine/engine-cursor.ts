import { compareBytes } from '../base/bytes.js';
import type { Cursor } from '../lsm/cursor.js';
import { LevelCursor } from '../lsm/cursors/level-cursor.js';
import { MergingCursor } from '../lsm/cursors/merging-cursor.js';
import { TableCursor } from '../lsm/cursors/table-cursor.js';
import type { TableReader } from '../lsm/table/table-reader.js';
import type { HeldMemtable, MemtableSet } from './memtables/memtable-set.js';
import type { OpenTable } from './tree/table-store.js';
import type { VersionSet } from './tree/version-set.js';

/** Rows in [lower, upper); without a bound to the end on that side. */
export interface RowBounds {
  readonly lower?: Uint8Array;
  readonly upper?: Uint8Array;
}

/**
 * All versions in memtables and tables as one run, as of the moment when it was opened, plus what the memtable that was
 * active then still takes. It keeps those memtables and tables until it is closed (LSM rule 9). The bounds only spare it from
 * opening sources; it may also show rows outside of them.
 */
export class EngineCursor extends MergingCursor {
  #release: (() => void) | null;

  private constructor(children: readonly Cursor[], release: () => void) {
    super(children);
    this.#release = release;
  }

  static open(memtables: MemtableSet, versions: VersionSet, bounds: RowBounds): EngineCursor {
    const view = versions.pin();
    const held: HeldMemtable[] = [memtables.active, ...[...memtables.frozen].reverse()];
    for (const memtable of held) memtables.pin(memtable);
    const children: Cursor[] = held.map(({ memtable }) => memtable.cursor());
    view.levels.forEach((tables, level) => {
      const readers = tables.filter((table) => touches(table, bounds)).map((table): TableReader => table.reader);
      if (level === 0) for (const reader of readers) children.push(new TableCursor(reader));
      else if (readers.length > 0) children.push(new LevelCursor(readers));
    });
    return new EngineCursor(children, () => {
      versions.unpin(view);
      for (const memtable of held) memtables.unpin(memtable);
    });
  }

  override close(): void {
    super.close();
    this.#release?.();
    this.#release = null;
  }
}

function touches(table: OpenTable, { lower, upper }: RowBounds): boolean {
  const { smallestRow, largestRow } = table.file;
  if (lower !== undefined && compareBytes(largestRow, lower) < 0) return false;
  return upper === undefined || compareBytes(smallestRow, upper) < 0;
}
