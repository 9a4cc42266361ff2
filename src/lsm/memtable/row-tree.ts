import type { Arena } from './arena.js';
import { AT_FIRST_LEAF, AT_HEIGHT, AT_LAST_LEAF, AT_ROOT } from './layout.js';
import { commonRowPrefix, rowHead, type SearchKey } from './search-key.js';

/**
 * A B+-tree of rows in the arena, for scans and flushes. Rows are only added, nodes never move or go, so a (leaf, slot)
 * that still names its row is still right.
 *
 *   node   count, prefix (low 16 bits) | slot of the last insert << 16, previous leaf, next leaf,
 *          heads[62], rows[62];  an inner node also children[63]: child i holds rows in [rows[i-1], rows[i])
 *
 * Comparing by following links costs a cache miss per step. So a node knows how many bytes all keys that can come to
 * it share (those which the separators on both sides of it share), and `heads` holds the next 4 bytes of each key as
 * an integer; only where heads tie is the key itself read. The outermost nodes have no separator on one side: the
 * first or the last row of the tree stands in for it, and `#lower` shortens their prefixes when that row changes.
 */
export const SLOTS = 62;
const AT_COUNT = 0;
const AT_PREFIX = 1;
const AT_PREVIOUS = 2;
const AT_NEXT = 3;
const AT_HEADS = 4;
const AT_ROW_LINKS = AT_HEADS + SLOTS;
const AT_CHILDREN = AT_ROW_LINKS + SLOTS;
/** 512 and 768 bytes: whole cache lines. */
export const LEAF_WORDS = 128;
export const INNER_WORDS = 192;
const PREFIX_MASK = 0xffff;
const MAX_HEIGHT = 16;

export class RowTree {
  readonly #arena: Arena;
  readonly #words: Int32Array;
  readonly #search: SearchKey;
  /** Levels of inner nodes. */
  #height = 0;
  #root = 0;
  #firstLeaf = 0;
  #lastLeaf = 0;
  /** The way of the last descent: inner node and child number by level. */
  readonly #pathNode = new Int32Array(MAX_HEIGHT);
  readonly #pathChild = new Int32Array(MAX_HEIGHT);
  /** Where the last `seek` ended; leaf 0 is the end. */
  leaf = 0;
  slot = 0;

  constructor(arena: Arena) {
    this.#arena = arena;
    this.#words = arena.words;
    this.#search = arena.search;
  }

  clear(): void {
    this.#height = 0;
    this.#root = 0;
    this.#firstLeaf = 0;
    this.#lastLeaf = 0;
  }

  save(): void {
    const words = this.#words;
    words[AT_ROOT] = this.#root;
    words[AT_HEIGHT] = this.#height;
    words[AT_FIRST_LEAF] = this.#firstLeaf;
    words[AT_LAST_LEAF] = this.#lastLeaf;
  }

  restore(): void {
    const words = this.#words;
    this.#root = words[AT_ROOT]!;
    this.#height = words[AT_HEIGHT]!;
    this.#firstLeaf = words[AT_FIRST_LEAF]!;
    this.#lastLeaf = words[AT_LAST_LEAF]!;
  }

  get firstLeaf(): number {
    return this.#firstLeaf;
  }

  get lastLeaf(): number {
    return this.#lastLeaf;
  }

  /** Most words that one insert can take: a split of every level and a new root. */
  get reservedWords(): number {
    return LEAF_WORDS + (this.#height + 1) * INNER_WORDS;
  }

  /** Rows in the leaf. */
  count(leaf: number): number {
    return this.#words[leaf + AT_COUNT]!;
  }

  rowAt(leaf: number, slot: number): number {
    return this.#words[leaf + AT_ROW_LINKS + slot]!;
  }

  nextLeaf(leaf: number): number {
    return this.#words[leaf + AT_NEXT]!;
  }

  previousLeaf(leaf: number): number {
    return this.#words[leaf + AT_PREVIOUS]!;
  }

  /** Finds the first row at or after the search key: sets `leaf` and `slot`. */
  seek(): void {
    this.leaf = 0;
    this.slot = 0;
    if (this.#root === 0) return;
    // Outside of the tree's range, the prefixes say nothing about the key.
    if (this.#search.compare(this.#words, this.#lastRow(), 0) > 0) return;
    if (this.#search.compare(this.#words, this.#firstRow(), 0) <= 0) {
      this.leaf = this.#firstLeaf;
      return;
    }
    const leaf = this.#descend();
    const slot = this.#lowerBound(leaf);
    if (slot < this.count(leaf)) {
      this.leaf = leaf;
      this.slot = slot;
    } else {
      this.leaf = this.nextLeaf(leaf);
    }
  }

  /** Adds a row, whose key is also the search key, and which is not in the tree. */
  insert(row: number): void {
    if (this.#root === 0) {
      this.#plant(row);
      return;
    }
    const words = this.#words;
    const last = this.#lastRow();
    if (this.#search.compare(words, last, 0) > 0) {
      this.#append(row, this.#search.commonPrefix(words, last));
      return;
    }
    const first = this.#firstRow();
    if (this.#search.compare(words, first, 0) < 0) {
      this.#prepend(row, this.#search.commonPrefix(words, first));
      return;
    }
    const leaf = this.#descend();
    this.#insertAt(leaf, this.#lowerBound(leaf), row);
  }

  #firstRow(): number {
    return this.#words[this.#firstLeaf + AT_ROW_LINKS]!;
  }

  #lastRow(): number {
    return this.#words[this.#lastLeaf + AT_ROW_LINKS + this.count(this.#lastLeaf) - 1]!;
  }

  #plant(row: number): void {
    const leaf = this.#newNode(LEAF_WORDS, this.#search.length);
    this.#root = leaf;
    this.#firstLeaf = leaf;
    this.#lastLeaf = leaf;
    this.#put(leaf, 0, row);
  }

  /** The row is the new last one and shares `common` bytes with the one before. */
  #append(row: number, common: number): void {
    const words = this.#words;
    const leaf = this.#lastLeaf;
    const count = this.count(leaf);
    // A node's prefix is at least as long as its parent's: when the leaf's holds, all do.
    if (count < SLOTS && (words[leaf + AT_PREFIX]! & PREFIX_MASK) <= common) {
      this.#put(leaf, count, row);
      return;
    }
    let node = this.#root;
    for (let level = this.#height; level > 0; level--) {
      this.#lower(node, common);
      const child = this.count(node);
      this.#pathNode[level] = node;
      this.#pathChild[level] = child;
      node = words[node + AT_CHILDREN + child]!;
    }
    this.#lower(node, common);
    this.#insertAt(node, count, row);
  }

  /** The row is the new first one and shares `common` bytes with the one after. */
  #prepend(row: number, common: number): void {
    const words = this.#words;
    let node = this.#root;
    for (let level = this.#height; level > 0; level--) {
      this.#lower(node, common);
      this.#pathNode[level] = node;
      this.#pathChild[level] = 0;
      node = words[node + AT_CHILDREN]!;
    }
    this.#lower(node, common);
    this.#insertAt(node, 0, row);
  }

  /** From the root to the leaf for the search key, which is within the tree's range; notes the way. */
  #descend(): number {
    const words = this.#words;
    let node = this.#root;
    for (let level = this.#height; level > 0; level--) {
      const child = this.#upperBound(node);
      this.#pathNode[level] = node;
      this.#pathChild[level] = child;
      node = words[node + AT_CHILDREN + child]!;
    }
    return node;
  }

  /** The number of rows in the node that are at or before the search key. */
  #upperBound(node: number): number {
    const words = this.#words;
    const prefix = words[node + AT_PREFIX]! & PREFIX_MASK;
    const head = this.#search.head(prefix);
    let from = node + AT_HEADS;
    let to = from + words[node + AT_COUNT]!;
    while (from < to) {
      const middle = (from + to) >>> 1;
      const found = words[middle]!;
      if (found < head || (found === head && this.#search.compare(words, words[middle + SLOTS]!, prefix) >= 0)) {
        from = middle + 1;
      } else {
        to = middle;
      }
    }
    return from - node - AT_HEADS;
  }

  /** The number of rows in the node that are before the search key. */
  #lowerBound(node: number): number {
    const words = this.#words;
    const prefix = words[node + AT_PREFIX]! & PREFIX_MASK;
    const head = this.#search.head(prefix);
    let from = node + AT_HEADS;
    let to = from + words[node + AT_COUNT]!;
    while (from < to) {
      const middle = (from + to) >>> 1;
      const found = words[middle]!;
      if (found < head || (found === head && this.#search.compare(words, words[middle + SLOTS]!, prefix) > 0)) {
        from = middle + 1;
      } else {
        to = middle;
      }
    }
    return from - node - AT_HEADS;
  }

  /** Puts a row into the leaf at the end of the noted way, and splits what is full. */
  #insertAt(leaf: number, slot: number, row: number): void {
    const words = this.#words;
    if (this.count(leaf) < SLOTS) {
      this.#put(leaf, slot, row);
      return;
    }
    // Rows that come in order (each right behind the one before) would leave every leaf half full. Splitting behind them
    // gives the run a leaf to itself, which it fills, also when many replicas have such runs.
    const inOrder = slot === (words[leaf + AT_PREFIX]! >>> 16) + 1;
    const middle = inOrder ? slot : SLOTS >>> 1;
    const right = this.#newNode(LEAF_WORDS, words[leaf + AT_PREFIX]!);
    const next = this.nextLeaf(leaf);
    words[right + AT_PREVIOUS] = leaf;
    words[right + AT_NEXT] = next;
    words[leaf + AT_NEXT] = right;
    if (next === 0) this.#lastLeaf = right;
    else words[next + AT_PREVIOUS] = right;
    this.#moveRows(leaf, middle, right);
    if (slot <= middle && middle < SLOTS) this.#put(leaf, slot, row);
    else this.#put(right, slot - middle, row);
    this.#insertSeparator(words[right + AT_ROW_LINKS]!, leaf, right);
  }

  /** Hangs `right`, split off `left` at `separator`, into the parents on the noted way. */
  #insertSeparator(separator: number, left: number, right: number): void {
    const words = this.#words;
    const treeFirst = this.#firstRow();
    const treeLast = this.#lastRow();
    for (let level = 1; ; level++) {
      // The separators beside a node on a higher level are outside of those on a lower one, or the same.
      const low = this.#separatorBefore(level);
      const high = this.#separatorAfter(level);
      this.#setPrefix(left, commonRowPrefix(words, low === 0 ? treeFirst : low, separator));
      this.#setPrefix(right, commonRowPrefix(words, separator, high === 0 ? treeLast : high));
      if (level > this.#height) {
        this.#growRoot(separator, left, right, commonRowPrefix(words, treeFirst, treeLast));
        return;
      }
      const parent = this.#pathNode[level]!;
      const child = this.#pathChild[level]!;
      const count = this.count(parent);
      if (count < SLOTS) {
        this.#putChild(parent, child, separator, right);
        return;
      }
      const middle = child === count ? count - 1 : SLOTS >>> 1;
      const raised = words[parent + AT_ROW_LINKS + middle]!;
      const sibling = this.#newNode(INNER_WORDS, words[parent + AT_PREFIX]!);
      this.#moveRows(parent, middle + 1, sibling);
      for (let i = middle + 1; i <= count; i++) {
        words[sibling + AT_CHILDREN + i - middle - 1] = words[parent + AT_CHILDREN + i]!;
      }
      words[parent + AT_COUNT] = middle;
      if (child <= middle) this.#putChild(parent, child, separator, right);
      else this.#putChild(sibling, child - middle - 1, separator, right);
      separator = raised;
      left = parent;
      right = sibling;
    }
  }

  /** The closest separator before the noted node of `level` - 1, or 0. */
  #separatorBefore(level: number): number {
    for (let above = level; above <= this.#height; above++) {
      const child = this.#pathChild[above]!;
      if (child > 0) return this.#words[this.#pathNode[above]! + AT_ROW_LINKS + child - 1]!;
    }
    return 0;
  }

  #separatorAfter(level: number): number {
    for (let above = level; above <= this.#height; above++) {
      const child = this.#pathChild[above]!;
      const node = this.#pathNode[above]!;
      if (child < this.count(node)) return this.#words[node + AT_ROW_LINKS + child]!;
    }
    return 0;
  }

  #growRoot(separator: number, left: number, right: number, prefix: number): void {
    const root = this.#newNode(INNER_WORDS, prefix);
    this.#words[root + AT_CHILDREN] = left;
    this.#putChild(root, 0, separator, right);
    this.#root = root;
    this.#height++;
  }

  #newNode(size: number, prefix: number): number {
    const node = this.#arena.allocateNode(size);
    const words = this.#words;
    words[node + AT_COUNT] = 0;
    words[node + AT_PREFIX] = prefix & PREFIX_MASK;
    words[node + AT_PREVIOUS] = 0;
    words[node + AT_NEXT] = 0;
    return node;
  }

  #put(node: number, slot: number, row: number): void {
    const words = this.#words;
    const count = words[node + AT_COUNT]!;
    const prefix = words[node + AT_PREFIX]! & PREFIX_MASK;
    const at = node + AT_HEADS + slot;
    for (let i = node + AT_HEADS + count; i > at; i--) {
      words[i] = words[i - 1]!;
      words[i + SLOTS] = words[i + SLOTS - 1]!;
    }
    words[at] = rowHead(words, row, prefix);
    words[at + SLOTS] = row;
    words[node + AT_COUNT] = count + 1;
    words[node + AT_PREFIX] = prefix | (slot << 16);
  }

  #putChild(node: number, slot: number, separator: number, right: number): void {
    const words = this.#words;
    const first = node + AT_CHILDREN + slot + 1;
    for (let i = node + AT_CHILDREN + this.count(node) + 1; i > first; i--) words[i] = words[i - 1]!;
    words[first] = right;
    this.#put(node, slot, separator);
  }

  /** Moves the rows from slot `from` on to the start of an empty node with the same prefix. */
  #moveRows(source: number, from: number, target: number): void {
    const words = this.#words;
    const moved = words[source + AT_COUNT]! - from;
    for (let i = 0; i < moved; i++) {
      words[target + AT_HEADS + i] = words[source + AT_HEADS + from + i]!;
      words[target + AT_ROW_LINKS + i] = words[source + AT_ROW_LINKS + from + i]!;
    }
    words[source + AT_COUNT] = from;
    words[target + AT_COUNT] = moved;
  }

  #lower(node: number, prefix: number): void {
    if ((this.#words[node + AT_PREFIX]! & PREFIX_MASK) > prefix) this.#setPrefix(node, prefix);
  }

  /** Gives a node a prefix, and its rows the heads behind it. */
  #setPrefix(node: number, prefix: number): void {
    const words = this.#words;
    const old = words[node + AT_PREFIX]!;
    if ((old & PREFIX_MASK) === prefix) return;
    words[node + AT_PREFIX] = (old & ~PREFIX_MASK) | prefix;
    const end = node + AT_HEADS + words[node + AT_COUNT]!;
    for (let at = node + AT_HEADS; at < end; at++) words[at] = rowHead(words, words[at + SLOTS]!, prefix);
  }
}
