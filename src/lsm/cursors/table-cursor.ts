import { assert } from '../../base/assert.js';
import type { Cursor } from '../cursor.js';
import type { Revision } from '../row-key.js';
import type { Block } from '../table/block.js';
import { BlockCursor } from '../table/block-cursor.js';
import type { TableReader } from '../table/table-reader.js';

/** A position in one table. */
export class TableCursor implements Cursor {
  readonly table: TableReader;
  #current = new BlockCursor();
  /** Seeks try here, so that a seek that lacks a block leaves the position as it was. */
  #spare = new BlockCursor();
  #blockIndex = -1;
  /** The block that the last call lacked. */
  #wanted = -1;
  /** Blocks loaded for a call that has not succeeded yet: an eviction must not make it start over for ever. */
  readonly #held = new Map<number, Block>();

  constructor(table: TableReader) {
    this.table = table;
  }

  get valid(): boolean {
    return this.#current.valid;
  }
  get key(): Uint8Array {
    return this.#current.key;
  }
  get keyStart(): number {
    return this.#current.keyStart;
  }
  get keyLength(): number {
    return this.#current.keyLength;
  }
  get revision(): Revision {
    return this.#current.revision;
  }
  get value(): Uint8Array {
    return this.#current.value;
  }
  get valueStart(): number {
    return this.#current.valueStart;
  }
  get valueLength(): number {
    return this.#current.valueLength;
  }

  get isFirst(): boolean {
    return this.#blockIndex === 0 && this.#current.isFirst;
  }

  get isLast(): boolean {
    return this.#blockIndex === this.table.blockCount - 1 && this.#current.isLast;
  }

  seek(rowKey: Uint8Array, revision: Revision): boolean {
    const index = this.table.meta.index.find(rowKey, 0, rowKey.length, revision);
    if (index < 0) return this.seekToFirst();
    const block = this.#block(index);
    if (block === undefined) return false;
    this.#spare.reset(block);
    this.#spare.seek(rowKey, 0, rowKey.length, revision);
    if (this.#spare.valid) return this.#take(index);
    return index + 1 < this.table.blockCount ? this.#moveToFirstOf(index + 1) : this.#leave();
  }

  seekBefore(rowKey: Uint8Array, revision: Revision): boolean {
    const index = this.table.meta.index.find(rowKey, 0, rowKey.length, revision);
    if (index < 0) return this.#leave();
    const block = this.#block(index);
    if (block === undefined) return false;
    this.#spare.reset(block);
    this.#spare.seekBefore(rowKey, 0, rowKey.length, revision);
    if (this.#spare.valid) return this.#take(index);
    return index > 0 ? this.#moveToLastOf(index - 1) : this.#leave();
  }

  seekToFirst(): boolean {
    return this.#moveToFirstOf(0);
  }

  seekToLast(): boolean {
    return this.#moveToLastOf(this.table.blockCount - 1);
  }

  next(): boolean {
    assert(this.#current.valid, 'next of a cursor without a position');
    if (this.#current.next()) return true;
    const index = this.#blockIndex + 1;
    return index < this.table.blockCount ? this.#moveToFirstOf(index) : this.#leave();
  }

  previous(): boolean {
    assert(this.#current.valid, 'previous of a cursor without a position');
    if (this.#current.previous()) return true;
    const index = this.#blockIndex - 1;
    return index >= 0 ? this.#moveToLastOf(index) : this.#leave();
  }

  async load(): Promise<void> {
    const wanted = this.#wanted;
    if (wanted < 0) return;
    this.#held.set(wanted, await this.table.loadBlock(wanted));
  }

  close(): void {
    this.#leave();
    this.#current.reset(undefined);
    this.#spare.reset(undefined);
  }

  #block(index: number): Block | undefined {
    const near = index === this.#blockIndex ? this.#current.block : undefined;
    const block = near ?? this.#held.get(index) ?? this.table.cachedBlock(index);
    if (block === undefined) this.#wanted = index;
    return block;
  }

  #moveToFirstOf(index: number): boolean {
    const block = this.#block(index);
    if (block === undefined) return false;
    this.#spare.reset(block);
    this.#spare.seekToFirst();
    return this.#take(index);
  }

  #moveToLastOf(index: number): boolean {
    const block = this.#block(index);
    if (block === undefined) return false;
    this.#spare.reset(block);
    this.#spare.seekToLast();
    return this.#take(index);
  }

  #take(index: number): boolean {
    const old = this.#current;
    this.#current = this.#spare;
    this.#spare = old;
    old.reset(undefined);
    this.#blockIndex = index;
    this.#release();
    return true;
  }

  #leave(): boolean {
    this.#current.valid = false;
    this.#release();
    return true;
  }

  #release(): void {
    this.#wanted = -1;
    if (this.#held.size > 0) this.#held.clear();
  }
}
