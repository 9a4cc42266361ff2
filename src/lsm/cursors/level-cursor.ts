import { assert } from '../../base/assert.js';
import { compareRanges } from '../../base/bytes.js';
import type { Cursor } from '../cursor.js';
import type { Revision } from '../row-key.js';
import type { TableReader } from '../table/table-reader.js';
import { TableCursor } from './table-cursor.js';

const EMPTY = new Uint8Array(0);

/** Tables of one level, sorted and without overlap, read as one run. A table's cursor is made when it is reached. */
export class LevelCursor implements Cursor {
  readonly #tables: readonly TableReader[];
  #current: TableCursor | undefined;
  #tableIndex = -1;
  /** A cursor on another table that a call is moving to. It becomes current when it has its position. */
  #arriving: TableCursor | undefined;
  #arrivingIndex = -1;
  #blocked: TableCursor | undefined;

  constructor(tables: readonly TableReader[]) {
    this.#tables = tables;
  }

  get valid(): boolean {
    return this.#current !== undefined && this.#current.valid;
  }
  get key(): Uint8Array {
    return this.#current === undefined ? EMPTY : this.#current.key;
  }
  get keyStart(): number {
    return this.#current === undefined ? 0 : this.#current.keyStart;
  }
  get keyLength(): number {
    return this.#current === undefined ? 0 : this.#current.keyLength;
  }
  get revision(): Revision {
    return this.#current === undefined ? 0 : this.#current.revision;
  }
  get value(): Uint8Array {
    return this.#current === undefined ? EMPTY : this.#current.value;
  }
  get valueStart(): number {
    return this.#current === undefined ? 0 : this.#current.valueStart;
  }
  get valueLength(): number {
    return this.#current === undefined ? 0 : this.#current.valueLength;
  }

  seek(rowKey: Uint8Array, revision: Revision): boolean {
    // The first table whose last entry is at or after the target.
    let low = 0;
    let high = this.#tables.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const table = this.#tables[middle]!;
      if (order(table.largestRowKey, table.largestRevision, rowKey, revision) < 0) low = middle + 1;
      else high = middle;
    }
    if (low === this.#tables.length) return this.#leave();
    const cursor = this.#cursorOn(low);
    return this.#arrive(cursor, low, cursor.seek(rowKey, revision));
  }

  seekBefore(rowKey: Uint8Array, revision: Revision): boolean {
    // The last table whose first entry is before the target.
    let low = 0;
    let high = this.#tables.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const table = this.#tables[middle]!;
      if (order(table.smallestRowKey, table.smallestRevision, rowKey, revision) < 0) low = middle + 1;
      else high = middle;
    }
    if (low === 0) return this.#leave();
    const cursor = this.#cursorOn(low - 1);
    return this.#arrive(cursor, low - 1, cursor.seekBefore(rowKey, revision));
  }

  seekToFirst(): boolean {
    return this.#tables.length === 0 ? this.#leave() : this.#moveToFirstOf(0);
  }

  seekToLast(): boolean {
    return this.#tables.length === 0 ? this.#leave() : this.#moveToLastOf(this.#tables.length - 1);
  }

  next(): boolean {
    const current = this.#positioned();
    // Asked before moving: a cursor that ran off its table could not come back if the next table's block is missing.
    if (!current.isLast) return this.#arrive(current, this.#tableIndex, current.next());
    const index = this.#tableIndex + 1;
    return index < this.#tables.length ? this.#moveToFirstOf(index) : this.#leave();
  }

  previous(): boolean {
    const current = this.#positioned();
    if (!current.isFirst) return this.#arrive(current, this.#tableIndex, current.previous());
    const index = this.#tableIndex - 1;
    return index >= 0 ? this.#moveToLastOf(index) : this.#leave();
  }

  async load(): Promise<void> {
    await this.#blocked?.load();
  }

  close(): void {
    this.#current?.close();
    this.#arriving?.close();
    this.#current = undefined;
    this.#arriving = undefined;
    this.#blocked = undefined;
    this.#tableIndex = -1;
  }

  #positioned(): TableCursor {
    assert(this.#current !== undefined && this.#current.valid, 'moving a level cursor without a position');
    return this.#current;
  }

  #moveToFirstOf(index: number): boolean {
    const cursor = this.#cursorOn(index);
    return this.#arrive(cursor, index, cursor.seekToFirst());
  }

  #moveToLastOf(index: number): boolean {
    const cursor = this.#cursorOn(index);
    return this.#arrive(cursor, index, cursor.seekToLast());
  }

  #cursorOn(index: number): TableCursor {
    if (this.#current !== undefined && this.#tableIndex === index) return this.#current;
    if (this.#arriving === undefined || this.#arrivingIndex !== index) {
      this.#arriving?.close();
      this.#arriving = new TableCursor(this.#tables[index]!);
      this.#arrivingIndex = index;
    }
    return this.#arriving;
  }

  #arrive(cursor: TableCursor, index: number, moved: boolean): boolean {
    if (!moved) {
      this.#blocked = cursor;
      return false;
    }
    this.#blocked = undefined;
    if (cursor !== this.#current) {
      this.#current?.close();
      this.#current = cursor;
      this.#tableIndex = index;
      this.#arriving = undefined;
    } else if (this.#arriving !== undefined) {
      this.#arriving.close();
      this.#arriving = undefined;
    }
    return true;
  }

  #leave(): boolean {
    this.close();
    return true;
  }
}

/** Cursor order of two positions. */
function order(a: Uint8Array, aRevision: Revision, b: Uint8Array, bRevision: Revision): number {
  const rows = compareRanges(a, 0, a.length, b, 0, b.length);
  return rows !== 0 ? rows : bRevision - aRevision;
}
