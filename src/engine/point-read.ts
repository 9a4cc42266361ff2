import { assert } from '../base/assert.js';
import { compareRanges, copyBytes } from '../base/bytes.js';
import type { Block } from '../lsm/table/block.js';
import { ABSENT, FOUND, type FindResult, type TableReader } from '../lsm/table/table-reader.js';
import type { Revision } from '../lsm/row-key.js';
import { findTable } from '../lsm/version/version.js';
import { ANSWER_ABSENT, ANSWER_BEFORE, type BlockWaiter } from './block-reader/block-reader.js';
import type { TableStore } from './tree/table-store.js';
import type { TreeView, VersionSet } from './tree/version-set.js';

/** Where a point read left what it found: a view that is valid until the next call on the engine. */
export class Hit {
  bytes: Uint8Array = new Uint8Array(0);
  start = 0;
  length = 0;
  revision: Revision = 0;
  /** The table and the number of its block that a BLOCKED look-up needs. */
  blockedTable: TableReader | null = null;
  blockedOn = -1;

  takeFrom(table: TableReader): void {
    this.bytes = table.foundRecord;
    this.start = table.foundStart;
    this.length = table.foundLength;
    this.revision = table.foundRevision;
  }
}

/** Goes through the tables of a view that may hold a row, newest first. */
export class TableWalk {
  view: TreeView;
  #level = 0;
  #index = 0;

  constructor(view: TreeView) {
    this.view = view;
  }

  start(view: TreeView): void {
    this.view = view;
    this.#level = 0;
    this.#index = 0;
  }

  /** Another walk at the same place. */
  copy(): TableWalk {
    const walk = new TableWalk(this.view);
    walk.#level = this.#level;
    walk.#index = this.#index;
    return walk;
  }

  /** Null at the end. */
  next(row: Uint8Array, rowLength: number, at: Revision): TableReader | null {
    const { levels } = this.view;
    const newest = levels[0]!;
    while (this.#level === 0) {
      if (this.#index === newest.length) {
        this.#level = 1;
        break;
      }
      const { file, reader } = newest[this.#index++]!;
      if (file.smallestRevision <= at && reader.coversRow(row, 0, rowLength)) return reader;
    }
    while (this.#level < levels.length) {
      const reader = tableFor(this.view, this.#level++, row, rowLength, at);
      if (reader !== null) return reader;
    }
    return null;
  }
}

/**
 * The newest version of a row at or below `at`, from filters and cached blocks alone. Tables are asked from the newest to the
 * oldest, and the first that has such a version has the newest one (version.ts), so nothing is compared. No allocation. After
 * BLOCKED, `hit` names the block, and `walk` stands behind its table: a PointRead can go on.
 */
export function lookupTables(
  walk: TableWalk,
  row: Uint8Array,
  rowLength: number,
  hash: number,
  at: Revision,
  hit: Hit,
): FindResult {
  for (let table = walk.next(row, rowLength, at); table !== null; table = walk.next(row, rowLength, at)) {
    const found = table.find(row, 0, rowLength, hash, at);
    if (found === ABSENT) continue;
    if (found === FOUND) {
      hit.takeFrom(table);
    } else {
      hit.blockedTable = table;
      hit.blockedOn = table.blockedOn;
    }
    return found;
  }
  return ABSENT;
}

/** A version that outlives the call that found it. */
export interface FoundRecord {
  /** A copy. */
  readonly record: Uint8Array;
  readonly revision: Revision;
}

/** What all point reads of an engine share. */
export interface PointReads {
  readonly store: TableStore;
  readonly versions: VersionSet;
}

/**
 * Goes on with a look-up that was BLOCKED. The block reader's thread searches the block if it can, so that only the record has to be
 * copied; else the block is loaded. An object instead of an async function: a read is one promise.
 */
export class PointRead implements BlockWaiter {
  readonly #shared: PointReads;
  readonly #walk: TableWalk;
  readonly #row: Uint8Array;
  readonly #hash: number;
  readonly #at: Revision;
  readonly #resolve: (found: FoundRecord | null) => void;
  readonly #reject: (error: unknown) => void;
  #table: TableReader;
  #block: number;

  /** Block `block` of `table` is missing; `walk` is behind that table in the current view, which is pinned until the end. */
  constructor(
    shared: PointReads,
    walk: TableWalk,
    table: TableReader,
    block: number,
    row: Uint8Array,
    hash: number,
    at: Revision,
    resolve: (found: FoundRecord | null) => void,
    reject: (error: unknown) => void,
  ) {
    assert(shared.versions.pin() === walk.view, 'a read goes on in an old view');
    this.#shared = shared;
    this.#walk = walk;
    this.#table = table;
    this.#block = block;
    this.#row = row;
    this.#hash = hash;
    this.#at = at;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  start(): void {
    if (!this.#shared.store.search(this.#table, this.#block, this.#row, this.#at, this)) this.#load();
  }

  blockAnswered(answer: number, room: Uint8Array, revision: Revision): void {
    if (answer >= 0) {
      this.#done(room, 0, answer, revision);
      return;
    }
    // The store's own read meets the error, if there is one.
    if (answer !== ANSWER_ABSENT && answer !== ANSWER_BEFORE) this.#load();
    else this.#proceed(answer === ANSWER_BEFORE);
  }

  #load(): void {
    let loading: Promise<Block>;
    try {
      loading = this.#table.loadBlock(this.#block);
    } catch (error) {
      // The engine was closed meanwhile.
      this.#failed(error);
      return;
    }
    loading.then(
      (block) => this.#loaded(block),
      (error: unknown) => this.#failed(error),
    );
  }

  #loaded(block: Block): void {
    try {
      this.#take(this.#table.findFrom(this.#block, this.#row, 0, this.#row.length, this.#at, block));
    } catch (error) {
      this.#failed(error);
    }
  }

  /** The block does not have it. */
  #proceed(before: boolean): void {
    try {
      const { length } = this.#row;
      const goesOn = before && this.#table.rowGoesOn(this.#block, this.#row, 0, length);
      this.#take(goesOn ? this.#table.findFrom(this.#block + 1, this.#row, 0, length, this.#at) : ABSENT);
    } catch (error) {
      this.#failed(error);
    }
  }

  /** `found`: what the table says. */
  #take(found: FindResult): void {
    let result = found;
    while (result === ABSENT) {
      const table = this.#walk.next(this.#row, this.#row.length, this.#at);
      if (table === null) {
        this.#shared.versions.unpin(this.#walk.view);
        this.#resolve(null);
        return;
      }
      this.#table = table;
      result = table.find(this.#row, 0, this.#row.length, this.#hash, this.#at);
    }
    const { foundRecord, foundStart, foundLength, foundRevision, blockedOn } = this.#table;
    if (result === FOUND) {
      this.#done(foundRecord, foundStart, foundLength, foundRevision);
      return;
    }
    this.#block = blockedOn;
    this.start();
  }

  #done(bytes: Uint8Array, start: number, length: number, revision: Revision): void {
    this.#shared.versions.unpin(this.#walk.view);
    this.#resolve({ record: copyBytes(bytes, start, length), revision });
  }

  #failed(error: unknown): void {
    this.#shared.versions.unpin(this.#walk.view);
    this.#reject(error);
  }
}

/** The only table of a sorted level that may hold the row. */
function tableFor(view: TreeView, level: number, row: Uint8Array, rowLength: number, at: Revision): TableReader | null {
  const files = view.version.levels[level]!;
  if (files.length === 0) return null;
  const index = findTable(files, row, 0, rowLength);
  if (index === files.length) return null;
  const { smallestRow, smallestRevision } = files[index]!;
  if (smallestRevision > at || compareRanges(smallestRow, 0, smallestRow.length, row, 0, rowLength) > 0) return null;
  return view.levels[level]![index]!.reader;
}
