import { assert } from '../../base/assert.js';
import { compareRanges, copyBytes } from '../../base/bytes.js';
import type { Cursor } from '../cursor.js';
import type { Revision } from '../row-key.js';

const EMPTY = new Uint8Array(0);
const FORWARD = 1;
const BACKWARD = -1;
type Direction = typeof FORWARD | typeof BACKWARD;

/** One source of a merge. Its key is copied out of the child's views so that comparing stays monomorphic. */
interface Source {
  readonly child: Cursor;
  /** Lower is newer: it goes first among equals. */
  readonly rank: number;
  key: Uint8Array;
  keyStart: number;
  keyLength: number;
  revision: Revision;
  /**
   * Where the child stands relative to the merge's position P: FORWARD: at its first entry behind P (or at P), BACKWARD: at
   * its last entry before P (or at P).
   */
  side: Direction;
  /** Done with the seek that is under way. */
  sought: boolean;
}

type SeekKind = 'seek' | 'seekBefore' | 'seekToFirst' | 'seekToLast';

/**
 * Merges cursors. `#live` holds the sources that have an entry, sorted in the current direction, the merge's position
 * first: there are few sources, so moving the first to its place by binary search costs less than keeping a heap.
 *
 * A call that lacks a block leaves the position as it was, and repeating it moves no child twice: equal entries of other
 * sources are passed before the first source moves, a turn remembers the side of each source, and a seek that has
 * scattered the children keeps a copy of the position that they left.
 */
export abstract class Merge implements Cursor {
  valid = false;
  key: Uint8Array = EMPTY;
  keyStart = 0;
  keyLength = 0;
  revision: Revision = 0;
  value: Uint8Array = EMPTY;
  valueStart = 0;
  valueLength = 0;

  readonly #sources: readonly Source[];
  readonly #live: Source[] = [];
  /** Leading bytes of the children's keys that are not part of the merge's key. */
  readonly #skip: number;
  #direction: Direction = FORWARD;
  /** The second source stands at the same entry as the first. */
  #tied = false;
  /** A turn has begun and lacked a block. */
  #turning = false;
  /** A seek has begun and lacked a block: the children are elsewhere, the fields above keep the position. */
  #scattered = false;
  #seekKind: SeekKind = 'seek';
  #seekKey: Uint8Array = EMPTY;
  #seekRevision: Revision = 0;
  #blocked: Cursor[] = [];

  constructor(children: readonly Cursor[], skip: number) {
    this.#skip = skip;
    this.#sources = children.map((child, rank) => ({
      child,
      rank,
      key: EMPTY,
      keyStart: 0,
      keyLength: 0,
      revision: 0,
      side: FORWARD,
      sought: false,
    }));
  }

  /** `key` as the merge names it, to the child of this rank. */
  protected abstract childKey(key: Uint8Array, rank: number): Uint8Array;

  /** The rank of the source that holds the current entry. */
  get sourceRank(): number {
    assert(this.valid && !this.#scattered, 'the source of no entry');
    return this.#live[0]!.rank;
  }

  seek(key: Uint8Array, revision: Revision): boolean {
    return this.#seekAll('seek', key, revision);
  }

  seekBefore(key: Uint8Array, revision: Revision): boolean {
    return this.#seekAll('seekBefore', key, revision);
  }

  seekToFirst(): boolean {
    return this.#seekAll('seekToFirst', EMPTY, 0);
  }

  seekToLast(): boolean {
    return this.#seekAll('seekToLast', EMPTY, 0);
  }

  next(): boolean {
    return this.#step(FORWARD);
  }

  previous(): boolean {
    return this.#step(BACKWARD);
  }

  async load(): Promise<void> {
    const blocked = this.#blocked;
    this.#blocked = [];
    await Promise.all(blocked.map((child) => child.load()));
  }

  close(): void {
    for (const { child } of this.#sources) child.close();
    this.#live.length = 0;
    this.valid = false;
  }

  #step(direction: Direction): boolean {
    assert(this.valid, 'moving a merge without a position');
    if (this.#blocked.length > 0) this.#blocked = [];
    // Back to the position that an unfinished seek left.
    if (this.#scattered && !this.#seekAll('seek', this.key, this.revision)) return false;
    if ((this.#direction !== direction || this.#turning) && !this.#turn(direction)) return false;
    const live = this.#live;
    while (this.#tied) {
      const second = live[1]!;
      if (!this.#moveChild(second.child, direction)) return false;
      this.#refill(second, 1);
      this.#tied = live.length > 1 && this.#compareEntries(live[0]!, live[1]!) === 0;
    }
    const first = live[0]!;
    if (!this.#moveChild(first.child, direction)) return false;
    this.#refill(first, 0);
    this.#settle();
    return true;
  }

  #moveChild(child: Cursor, direction: Direction): boolean {
    const moved = direction === FORWARD ? child.next() : child.previous();
    if (!moved) this.#blocked.push(child);
    return moved;
  }

  /** Puts the source at `index`, whose child has moved away from the position, where it belongs. Sets `#tied` for index 0. */
  #refill(source: Source, index: number): void {
    const live = this.#live;
    if (!source.child.valid) {
      live.splice(index, 1);
      if (index === 0) this.#tied = live.length > 1 && this.#compareEntries(live[0]!, live[1]!) === 0;
      return;
    }
    this.#read(source);
    let low = index + 1;
    let high = live.length;
    if (low < high) {
      // Mostly the source stays first; the answer then also says whether it is tied.
      const order = this.#compareEntries(source, live[low]!);
      if (index === 0) this.#tied = order === 0;
      if (order < 0 || (order === 0 && source.rank < live[low]!.rank)) return;
      low++;
    }
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#compare(live[middle]!, source) < 0) low = middle + 1;
      else high = middle;
    }
    if (low === index + 1) return;
    for (let i = index; i < low - 1; i++) live[i] = live[i + 1]!;
    live[low - 1] = source;
    if (index === 0) this.#tied = this.#compareEntries(live[0]!, live[1]!) === 0;
  }

  /** Brings every child to the other side of the position. */
  #turn(direction: Direction): boolean {
    this.#turning = true;
    const position = this.key.subarray(this.keyStart, this.keyStart + this.keyLength);
    const first = this.#live[0]!;
    for (const source of this.#sources) {
      if (source === first || source.side === direction) continue;
      const { child } = source;
      const key = this.childKey(position, source.rank);
      const moved = direction === FORWARD ? child.seek(key, this.revision) : child.seekBefore(key, this.revision);
      if (moved) source.side = direction;
      else this.#blocked.push(child);
    }
    if (this.#blocked.length > 0) return false;
    this.#turning = false;
    this.#sort(direction);
    assert(this.#live[0] === first, 'a turn moved the position');
    return true;
  }

  /**
   * Every child seeks, so that what they lack is loaded at once. A repeated call only asks those that were blocked: two children
   * that each need several blocks, evicted in between, would otherwise never be ready in the same round.
   */
  #seekAll(kind: SeekKind, key: Uint8Array, revision: Revision): boolean {
    if (!this.#resumesSeek(kind, key, revision)) this.#scatter(kind, key, revision);
    this.#blocked = [];
    for (const source of this.#sources) {
      if (source.sought) continue;
      if (this.#seekChild(source, kind, key, revision)) source.sought = true;
      else this.#blocked.push(source.child);
    }
    if (this.#blocked.length > 0) return false;
    this.#scattered = false;
    this.#sort(kind === 'seek' || kind === 'seekToFirst' ? FORWARD : BACKWARD);
    this.#settle();
    return true;
  }

  #seekChild({ child, rank }: Source, kind: SeekKind, key: Uint8Array, revision: Revision): boolean {
    switch (kind) {
      case 'seek':
      case 'seekBefore':
        return child[kind](this.childKey(key, rank), revision);
      case 'seekToFirst':
      case 'seekToLast':
        return child[kind]();
    }
  }

  #resumesSeek(kind: SeekKind, key: Uint8Array, revision: Revision): boolean {
    return (
      this.#scattered &&
      this.#seekKind === kind &&
      this.#seekRevision === revision &&
      compareRanges(this.#seekKey, 0, this.#seekKey.length, key, 0, key.length) === 0
    );
  }

  /** Keeps the position, and what is sought, while a seek moves the children. */
  #scatter(kind: SeekKind, key: Uint8Array, revision: Revision): void {
    if (!this.#scattered && this.valid) {
      this.key = copyBytes(this.key, this.keyStart, this.keyLength);
      this.keyStart = 0;
    }
    this.#scattered = true;
    this.#turning = false;
    this.#seekKind = kind;
    this.#seekKey = copyBytes(key);
    this.#seekRevision = revision;
    for (const source of this.#sources) source.sought = false;
  }

  #sort(direction: Direction): void {
    this.#direction = direction;
    const live = this.#live;
    live.length = 0;
    for (const source of this.#sources) {
      source.side = direction;
      if (!source.child.valid) continue;
      this.#read(source);
      live.push(source);
    }
    live.sort((a, b) => this.#compare(a, b));
    this.#tied = live.length > 1 && this.#compareEntries(live[0]!, live[1]!) === 0;
  }

  #read(source: Source): void {
    const { child } = source;
    source.key = child.key;
    source.keyStart = child.keyStart + this.#skip;
    source.keyLength = child.keyLength - this.#skip;
    source.revision = child.revision;
  }

  #settle(): void {
    const first = this.#live[0];
    if (first === undefined) {
      this.valid = false;
      return;
    }
    const { child } = first;
    this.valid = true;
    this.key = first.key;
    this.keyStart = first.keyStart;
    this.keyLength = first.keyLength;
    this.revision = first.revision;
    this.value = child.value;
    this.valueStart = child.valueStart;
    this.valueLength = child.valueLength;
  }

  /** Below 0 when `a` comes first in the current direction, 0 for the same entry. */
  #compareEntries(a: Source, b: Source): number {
    const keys = compareRanges(a.key, a.keyStart, a.keyLength, b.key, b.keyStart, b.keyLength);
    const order = keys !== 0 ? keys : b.revision - a.revision;
    return this.#direction === FORWARD ? order : -order;
  }

  #compare(a: Source, b: Source): number {
    const order = this.#compareEntries(a, b);
    return order !== 0 ? order : a.rank - b.rank;
  }
}
