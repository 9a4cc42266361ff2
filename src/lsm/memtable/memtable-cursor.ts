import { assert } from '../../base/assert.js';
import type { Cursor } from '../cursor.js';
import type { Revision } from '../row-key.js';
import type { Arena } from './arena.js';
import { ROW_HEADER_WORDS, WORD_BYTES } from './layout.js';
import type { RowTree } from './row-tree.js';
import { recordWord, type VersionChains } from './version-chains.js';

/**
 * Walks rows in the tree and versions in their chains. Rows and versions never move; only the row's place in the tree
 * (leaf, slot) can change by an insert between two calls, and then it no longer names the row and is looked up again.
 */
export class MemtableCursor implements Cursor {
  valid = false;
  readonly key: Uint8Array;
  keyStart = 0;
  keyLength = 0;
  revision: Revision = 0;
  readonly value: Uint8Array;
  valueStart = 0;
  valueLength = 0;

  readonly #arena: Arena;
  readonly #words: Int32Array;
  readonly #tree: RowTree;
  readonly #chains: VersionChains;
  readonly #generation: number;
  #leaf = 0;
  #slot = 0;
  #row = 0;
  #version = 0;

  constructor(arena: Arena, tree: RowTree, chains: VersionChains) {
    this.#arena = arena;
    this.#words = arena.words;
    this.#tree = tree;
    this.#chains = chains;
    this.#generation = arena.generation;
    this.key = arena.bytes;
    this.value = arena.bytes;
  }

  seek(rowKey: Uint8Array, revision: Revision): boolean {
    this.#checkGeneration();
    const equal = this.#seekRow(rowKey);
    if (this.#row === 0) return this.#end();
    const newest = this.#words[this.#row]!;
    if (!equal) return this.#show(newest);
    const version = this.#chains.find(newest, revision);
    return version === 0 ? this.#showNextRow() : this.#show(version);
  }

  seekBefore(rowKey: Uint8Array, revision: Revision): boolean {
    this.#checkGeneration();
    const equal = this.#seekRow(rowKey);
    if (this.#row === 0) return this.seekToLast();
    if (!equal) return this.#showPreviousRow();
    const version = this.#chains.find(this.#words[this.#row]!, revision);
    if (version === 0) return this.#show(this.#chains.oldest(this.#row));
    const newer = this.#chains.newer(this.#row, version);
    return newer === 0 ? this.#showPreviousRow() : this.#show(newer);
  }

  seekToFirst(): boolean {
    this.#checkGeneration();
    const leaf = this.#tree.firstLeaf;
    if (leaf === 0) return this.#end();
    this.#place(leaf, 0);
    return this.#show(this.#words[this.#row]!);
  }

  seekToLast(): boolean {
    this.#checkGeneration();
    const leaf = this.#tree.lastLeaf;
    if (leaf === 0) return this.#end();
    this.#place(leaf, this.#tree.count(leaf) - 1);
    return this.#show(this.#chains.oldest(this.#row));
  }

  next(): boolean {
    assert(this.valid, 'next on a cursor without an entry');
    this.#checkGeneration();
    const older = this.#chains.older(this.#version);
    return older === 0 ? this.#showNextRow() : this.#show(older);
  }

  previous(): boolean {
    assert(this.valid, 'previous on a cursor without an entry');
    this.#checkGeneration();
    const newer = this.#chains.newer(this.#row, this.#version);
    return newer === 0 ? this.#showPreviousRow() : this.#show(newer);
  }

  load(): Promise<void> {
    return Promise.resolve();
  }

  close(): void {
    this.#end();
  }

  #checkGeneration(): void {
    assert(this.#generation === this.#arena.generation, 'cursor of a memtable that has been reset since');
  }

  /** Places at the first row at or after the key (row 0: there is none), and says whether it is equal. */
  #seekRow(rowKey: Uint8Array): boolean {
    const { search } = this.#arena;
    search.loadRowKey(rowKey);
    this.#tree.seek();
    if (this.#tree.leaf === 0) {
      this.#row = 0;
      return false;
    }
    this.#place(this.#tree.leaf, this.#tree.slot);
    return search.equals(this.#words, this.#row);
  }

  #place(leaf: number, slot: number): void {
    this.#leaf = leaf;
    this.#slot = slot;
    this.#row = this.#tree.rowAt(leaf, slot);
  }

  /** Looks the row's place up again when inserts have moved it. */
  #refresh(): void {
    if (this.#slot < this.#tree.count(this.#leaf) && this.#tree.rowAt(this.#leaf, this.#slot) === this.#row) return;
    this.#arena.search.loadRow(this.#words, this.#row);
    this.#tree.seek();
    this.#place(this.#tree.leaf, this.#tree.slot);
  }

  #showNextRow(): boolean {
    this.#refresh();
    if (this.#slot + 1 < this.#tree.count(this.#leaf)) {
      this.#place(this.#leaf, this.#slot + 1);
    } else {
      const next = this.#tree.nextLeaf(this.#leaf);
      if (next === 0) return this.#end();
      this.#place(next, 0);
    }
    return this.#show(this.#words[this.#row]!);
  }

  #showPreviousRow(): boolean {
    this.#refresh();
    if (this.#slot > 0) {
      this.#place(this.#leaf, this.#slot - 1);
    } else {
      const previous = this.#tree.previousLeaf(this.#leaf);
      if (previous === 0) return this.#end();
      this.#place(previous, this.#tree.count(previous) - 1);
    }
    return this.#show(this.#chains.oldest(this.#row));
  }

  #show(version: number): boolean {
    const words = this.#words;
    const row = this.#row;
    this.#version = version;
    this.valid = true;
    this.keyStart = (row + ROW_HEADER_WORDS) * WORD_BYTES;
    this.keyLength = words[row + 1]!;
    this.revision = this.#chains.revision(version);
    this.valueStart = recordWord(words, version) * WORD_BYTES;
    this.valueLength = words[version + 2]!;
    return true;
  }

  #end(): boolean {
    this.valid = false;
    return true;
  }
}
