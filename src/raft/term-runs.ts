import { assert } from '../base/assert.js';

/** In place of a term: the index lies outside of the log. */
export const UNKNOWN_TERM = -1;

/**
 * The term of every index of a log, as runs of equal terms: a log changes its term only with its leader, so a few pairs tell
 * the terms of millions of entries whose payloads are no longer in memory.
 */
export class TermRuns {
  /** The last index before the runs, and its term. */
  #baseIndex: number;
  #baseTerm: number;
  #firsts: number[] = [];
  #terms: number[] = [];
  #lastIndex: number;

  constructor(baseIndex: number, baseTerm: number) {
    this.#baseIndex = baseIndex;
    this.#baseTerm = baseTerm;
    this.#lastIndex = baseIndex;
  }

  get baseIndex(): number {
    return this.#baseIndex;
  }

  get lastIndex(): number {
    return this.#lastIndex;
  }

  get lastTerm(): number {
    return this.#terms.length === 0 ? this.#baseTerm : this.#terms[this.#terms.length - 1]!;
  }

  get runCount(): number {
    return this.#terms.length;
  }

  /** Adds the indexes behind the last one, up to `lastIndex`, all of one term. */
  extend(lastIndex: number, term: number): void {
    assert(lastIndex > this.#lastIndex, `a log grows: from ${this.#lastIndex} to ${lastIndex}`);
    assert(term >= this.lastTerm, `terms in a log never descend: ${term} behind ${this.lastTerm}`);
    if (this.#terms.length === 0 || term !== this.lastTerm) {
      this.#firsts.push(this.#lastIndex + 1);
      this.#terms.push(term);
    }
    this.#lastIndex = lastIndex;
  }

  /** The term at `index`; UNKNOWN_TERM before the base and behind the end. Most questions are about the newest run. */
  at(index: number): number {
    if (index > this.#lastIndex || index < this.#baseIndex) return UNKNOWN_TERM;
    for (let i = this.#firsts.length - 1; i >= 0; i--) if (index >= this.#firsts[i]!) return this.#terms[i]!;
    return this.#baseTerm;
  }

  /** The highest index at or below `index` whose term is not above `term`; the base when there is none. */
  highestAtOrBelow(index: number, term: number): number {
    let end = Math.min(index, this.#lastIndex);
    for (let i = this.#firsts.length - 1; i >= 0 && end > this.#baseIndex; i--) {
      const first = this.#firsts[i]!;
      if (first > end) continue;
      if (this.#terms[i]! <= term) return end;
      end = first - 1;
    }
    return Math.max(end, this.#baseIndex);
  }

  /** Drops the indexes from `index` on. */
  truncateFrom(index: number): void {
    assert(index > this.#baseIndex && index <= this.#lastIndex, `truncation at ${index} inside of the log`);
    while (this.#firsts.length > 0 && this.#firsts[this.#firsts.length - 1]! >= index) {
      this.#firsts.pop();
      this.#terms.pop();
    }
    this.#lastIndex = index - 1;
  }

  /** Drops the indexes up to `index`, which becomes the base. */
  compactTo(index: number): void {
    assert(index >= this.#baseIndex && index <= this.#lastIndex, `compaction to ${index} inside of the log`);
    const term = this.at(index);
    let dropped = 0;
    while (dropped + 1 < this.#firsts.length && this.#firsts[dropped + 1]! <= index + 1) dropped++;
    if (index === this.#lastIndex) dropped = this.#firsts.length;
    this.#firsts.splice(0, dropped);
    this.#terms.splice(0, dropped);
    if (this.#firsts.length > 0 && this.#firsts[0]! <= index) this.#firsts[0] = index + 1;
    this.#baseIndex = index;
    this.#baseTerm = term;
  }
}
