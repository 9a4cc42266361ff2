import { assert } from '../../base/assert.js';
import { compareRanges, copyBytes } from '../../base/bytes.js';
import type { Cursor } from '../cursor.js';
import { isAbsentAt } from '../record.js';
import { LATEST, MAX_ROW_KEY_BYTES, type Revision } from '../row-key.js';
import type { StepBudget } from './step-budget.js';

export interface VisibleOptions {
  /** First row key that may be seen. */
  readonly lower?: Uint8Array;
  /** First row key that may no longer be seen. */
  readonly upper?: Uint8Array;
  /** Only versions at or below it count. */
  readonly atRevision: Revision;
  /**
   * The revision at which expiry is judged; `atRevision` when left out. A version newer than it is judged at its own
   * revision (a read of the latest state passes LATEST above and its ReadIndex round's time here).
   */
  readonly expiryAt?: Revision;
  /** Shared by the cursors of a scan; without it a call passes as many entries as it must. */
  readonly budget?: StepBudget;
}

const EMPTY = new Uint8Array(0);
/** So many entries of one row are passed one by one; then a seek is cheaper. */
const STEPS_BEFORE_SEEK = 8;

type Operation = 'none' | 'next' | 'previous' | 'seek' | 'seekBefore' | 'seekToFirst' | 'seekToLast';
/** What the child does before its entry is looked at. */
type Move = 'stay' | 'step' | 'seek' | 'seekBefore';
/** Where the child stands after a completed call: at the current entry, or at the last entry of an earlier row. */
type Standing = 'at' | 'before' | 'unknown';

/** Most keys are short, and a scan has two of these for each partition. */
const FIRST_KEY_BYTES = 64;

class RowKeyBuffer {
  bytes = new Uint8Array(FIRST_KEY_BYTES);
  length = 0;

  take(cursor: Cursor): void {
    const { key, keyStart, keyLength } = cursor;
    if (keyLength > this.bytes.length) this.bytes = new Uint8Array(MAX_ROW_KEY_BYTES);
    const bytes = this.bytes;
    for (let i = 0; i < keyLength; i++) bytes[i] = key[keyStart + i]!;
    this.length = keyLength;
  }

  equals(cursor: Cursor): boolean {
    const length = this.length;
    if (cursor.keyLength !== length) return false;
    const { key, keyStart } = cursor;
    const bytes = this.bytes;
    // From the back: neighbours differ there.
    for (let i = length - 1; i >= 0; i--) if (bytes[i] !== key[keyStart + i]) return false;
    return true;
  }

  view(): Uint8Array {
    return this.bytes.subarray(0, this.length);
  }
}

/**
 * What a reader at a revision sees of a child cursor: for each row the newest version at or below it, if that is neither a
 * tombstone nor expired (LSM rule 17: an older version is never uncovered).
 *
 * Each call is a small machine over the child (`#move`, then look). When the child lacks a block, or the budget of steps is
 * used up, the machine stops where it is and the repeated call goes on from there, while the fields below keep describing the old position.
 * The views on values outlive the child's moves: tables' blocks and memtables' arenas do not change while a cursor is open.
 */
export class VisibleCursor implements Cursor {
  valid = false;
  key: Uint8Array = EMPTY;
  readonly keyStart = 0;
  keyLength = 0;
  revision: Revision = 0;
  value: Uint8Array = EMPTY;
  valueStart = 0;
  valueLength = 0;

  readonly #child: Cursor;
  readonly #lower: Uint8Array | undefined;
  readonly #upper: Uint8Array | undefined;
  readonly #at: Revision;
  readonly #expiryAt: Revision;
  readonly #budget: StepBudget | null;
  /** The last call ended because no step was left. */
  #isTired = false;

  /** The row of the current entry, and the row that the running call looks at. They swap when it completes. */
  #current = new RowKeyBuffer();
  #looking = new RowKeyBuffer();
  #standing: Standing = 'unknown';

  #operation: Operation = 'none';
  #move: Move = 'stay';
  #seekKey: Uint8Array = EMPTY;
  #seekRevision: Revision = 0;
  /** What `seek` or `seekBefore` was called with. */
  #targetKey: Uint8Array = EMPTY;
  #targetRevision: Revision = LATEST;
  /** Forward: entries of this row are passed. */
  #passing: RowKeyBuffer | undefined;
  #steps = 0;
  /** Backward: the row in `#looking` has begun; the newest version of it so far that counts, if any. */
  #inRow = false;
  #found = false;
  #foundRevision: Revision = 0;
  #foundValue: Uint8Array = EMPTY;
  #foundStart = 0;
  #foundLength = 0;

  constructor(child: Cursor, options: VisibleOptions) {
    assert(options.upper === undefined || options.upper.length > 0, 'an empty upper bound');
    this.#child = child;
    this.#lower = options.lower;
    this.#upper = options.upper;
    this.#at = options.atRevision;
    this.#expiryAt = options.expiryAt ?? options.atRevision;
    this.#budget = options.budget ?? null;
  }

  seek(rowKey: Uint8Array, revision: Revision): boolean {
    if (!this.#resumes('seek', rowKey, revision)) {
      this.#begin('seek', rowKey, revision);
      const lower = this.#lower;
      this.#seekChild('seek', lower !== undefined && less(rowKey, lower) ? lower : this.#targetKey, LATEST);
    }
    return this.#forward();
  }

  seekBefore(rowKey: Uint8Array, revision: Revision): boolean {
    if (!this.#resumes('seekBefore', rowKey, revision)) {
      this.#begin('seekBefore', rowKey, revision);
      const upper = this.#upper;
      // At the bound itself too: newer versions of that row are before the target, and behind the bound.
      if (upper !== undefined && !less(rowKey, upper)) this.#seekChild('seekBefore', upper, LATEST);
      // The row's own visible version may be newer than `revision`: then it is before the target, so look at all.
      else this.#seekChild('seekBefore', this.#targetKey, revision === LATEST ? LATEST : 0);
    }
    return this.#backward();
  }

  seekToFirst(): boolean {
    if (this.#operation !== 'seekToFirst') {
      this.#begin('seekToFirst', EMPTY, LATEST);
      this.#seekChild('seek', this.#lower ?? EMPTY, LATEST);
    }
    return this.#forward();
  }

  seekToLast(): boolean {
    if (this.#operation !== 'seekToLast') {
      this.#begin('seekToLast', EMPTY, LATEST);
      this.#seekChild('seekBefore', this.#upper ?? EMPTY, LATEST);
    }
    return this.#backward();
  }

  next(): boolean {
    if (this.#operation !== 'next') {
      assert(this.valid, 'next of a cursor without a position');
      const standing = this.#standing;
      this.#begin('next', EMPTY, LATEST);
      this.#passing = this.#current;
      if (standing === 'at') this.#move = 'step';
      else this.#seekChild('seek', this.#current.view(), 0);
    }
    return this.#forward();
  }

  previous(): boolean {
    if (this.#operation !== 'previous') {
      assert(this.valid, 'previous of a cursor without a position');
      const standing = this.#standing;
      this.#begin('previous', EMPTY, LATEST);
      if (standing === 'before') this.#move = 'stay';
      else this.#seekChild('seekBefore', this.#current.view(), LATEST);
    }
    return this.#backward();
  }

  load(): Promise<void> {
    if (!this.#isTired) return this.#child.load();
    this.#isTired = false;
    this.#budget?.refill();
    return Promise.resolve();
  }

  close(): void {
    this.#child.close();
    this.valid = false;
    this.#operation = 'none';
  }

  #resumes(operation: Operation, rowKey: Uint8Array, revision: Revision): boolean {
    if (this.#operation !== operation || this.#targetRevision !== revision) return false;
    const target = this.#targetKey;
    return compareRanges(target, 0, target.length, rowKey, 0, rowKey.length) === 0;
  }

  #begin(operation: Operation, rowKey: Uint8Array, revision: Revision): void {
    this.#operation = operation;
    this.#standing = 'unknown';
    this.#targetKey = rowKey.length === 0 ? EMPTY : copyBytes(rowKey);
    this.#targetRevision = revision;
    this.#passing = undefined;
    this.#steps = 0;
    this.#inRow = false;
    this.#found = false;
  }

  #seekChild(move: 'seek' | 'seekBefore', key: Uint8Array, revision: Revision): void {
    this.#move = move;
    this.#seekKey = key;
    this.#seekRevision = revision;
  }

  /** Asked before each move but a call's first, so that every call gets on. */
  #mustRest(): boolean {
    if (this.#budget === null || this.#budget.take()) return false;
    this.#isTired = true;
    return true;
  }

  /** Carries out the pending move; false when it lacks a block. */
  #moveChild(step: 'next' | 'previous'): boolean {
    const child = this.#child;
    switch (this.#move) {
      case 'stay':
        return true;
      case 'step':
        if (!(step === 'next' ? child.next() : child.previous())) return false;
        break;
      case 'seek': {
        // An empty key stands for no bound.
        const key = this.#seekKey;
        if (!(key.length === 0 ? child.seekToFirst() : child.seek(key, this.#seekRevision))) return false;
        break;
      }
      case 'seekBefore': {
        const key = this.#seekKey;
        if (!(key.length === 0 ? child.seekToLast() : child.seekBefore(key, this.#seekRevision))) return false;
        break;
      }
    }
    this.#move = 'stay';
    return true;
  }

  #forward(): boolean {
    const child = this.#child;
    const upper = this.#upper;
    this.#isTired = false;
    for (let isFirst = true; ; isFirst = false) {
      if (!isFirst && this.#mustRest()) return false;
      if (!this.#moveChild('next')) return false;
      if (!child.valid) return this.#leave();
      if (this.#passing !== undefined) {
        if (this.#passing.equals(child)) {
          if (++this.#steps === STEPS_BEFORE_SEEK) this.#seekChild('seek', this.#passing.view(), 0);
          else this.#move = 'step';
          continue;
        }
        this.#passing = undefined;
        this.#steps = 0;
      }
      if (
        upper !== undefined &&
        compareRanges(child.key, child.keyStart, child.keyLength, upper, 0, upper.length) >= 0
      ) {
        return this.#leave();
      }
      if (child.revision > this.#at) {
        this.#move = 'step';
        if (++this.#steps === STEPS_BEFORE_SEEK) {
          this.#steps = 0;
          this.#looking.take(child);
          this.#seekChild('seek', this.#looking.view(), this.#at);
        }
        continue;
      }
      if (this.#isAbsent(child.value, child.valueStart, child.revision) || this.#isBeforeTarget()) {
        this.#looking.take(child);
        this.#passing = this.#looking;
        this.#steps = 0;
        this.#move = 'step';
        continue;
      }
      this.#looking.take(child);
      this.#arrive('at', child.revision, child.value, child.valueStart, child.valueLength);
      return true;
    }
  }

  #backward(): boolean {
    const child = this.#child;
    const lower = this.#lower;
    this.#isTired = false;
    for (let isFirst = true; ; isFirst = false) {
      if (!isFirst && this.#mustRest()) return false;
      if (!this.#moveChild('previous')) return false;
      if (this.#inRow) {
        if (child.valid && this.#looking.equals(child)) {
          this.#lookAtOlder();
          continue;
        }
        this.#inRow = false;
        if (this.#found && !this.#isAbsent(this.#foundValue, this.#foundStart, this.#foundRevision)) {
          this.#arrive('before', this.#foundRevision, this.#foundValue, this.#foundStart, this.#foundLength);
          return true;
        }
      }
      if (
        !child.valid ||
        (lower !== undefined && compareRanges(child.key, child.keyStart, child.keyLength, lower, 0, lower.length) < 0)
      ) {
        return this.#leave();
      }
      this.#looking.take(child);
      this.#inRow = true;
      this.#found = false;
      this.#steps = 0;
      this.#lookAtOlder();
    }
  }

  /** Backward a row's versions come oldest first: the last one at or below the revision counts. */
  #lookAtOlder(): void {
    const child = this.#child;
    this.#move = 'step';
    if (child.revision <= this.#at && !(this.#operation === 'seekBefore' && this.#isAtOrBehindTarget())) {
      this.#found = true;
      this.#foundRevision = child.revision;
      this.#foundValue = child.value;
      this.#foundStart = child.valueStart;
      this.#foundLength = child.valueLength;
    }
    this.#steps++;
    if (this.#steps < STEPS_BEFORE_SEEK) return;
    // A long row: to the version that counts at once, then out of the row. Versions still to come are newer than this one.
    if (this.#steps === STEPS_BEFORE_SEEK && child.revision <= this.#at) {
      this.#seekChild('seek', this.#looking.view(), this.#at);
    } else {
      this.#seekChild('seekBefore', this.#looking.view(), LATEST);
    }
  }

  /** A version that `seek` must not land on, because it is newer than the target in the target's own row. */
  #isBeforeTarget(): boolean {
    if (this.#operation !== 'seek' || this.#child.revision <= this.#targetRevision) return false;
    return this.#compareToTarget() === 0;
  }

  #isAtOrBehindTarget(): boolean {
    return this.#child.revision <= this.#targetRevision && this.#compareToTarget() === 0;
  }

  #compareToTarget(): number {
    const child = this.#child;
    const target = this.#targetKey;
    return compareRanges(child.key, child.keyStart, child.keyLength, target, 0, target.length);
  }

  #isAbsent(record: Uint8Array, start: number, revision: Revision): boolean {
    return isAbsentAt(record, start, revision > this.#expiryAt ? revision : this.#expiryAt);
  }

  #arrive(standing: Standing, revision: Revision, value: Uint8Array, start: number, length: number): void {
    const row = this.#looking;
    this.#looking = this.#current;
    this.#current = row;
    this.key = row.bytes;
    this.keyLength = row.length;
    this.revision = revision;
    this.value = value;
    this.valueStart = start;
    this.valueLength = length;
    this.valid = true;
    this.#standing = standing;
    this.#operation = 'none';
  }

  #leave(): boolean {
    this.valid = false;
    this.#standing = 'unknown';
    this.#operation = 'none';
    return true;
  }
}

function less(a: Uint8Array, b: Uint8Array): boolean {
  return compareRanges(a, 0, a.length, b, 0, b.length) < 0;
}
