import { assert } from '../../../src/base/assert.js';

export interface LogEntry {
  readonly index: number;
  readonly term: number;
  /** Of the entry's bytes. */
  readonly hash: number;
}

/** The terms of one member's log, behind the point up to which it was compacted. */
export class LogMirror {
  #base: { readonly index: number; readonly term: number };
  #terms: number[];

  constructor(base = { index: 0, term: 0 }, terms: readonly number[] = []) {
    this.#base = base;
    this.#terms = [...terms];
  }

  get lastIndex(): number {
    return this.#base.index + this.#terms.length;
  }

  /** Undefined beside the log; the term of the point where it begins is known. */
  termAt(index: number): number | undefined {
    return index === this.#base.index ? this.#base.term : this.#terms[index - this.#base.index - 1];
  }

  /** The log was compacted to this index or further: what it held there is known no more. */
  isCompacted(index: number): boolean {
    return index < this.#base.index;
  }

  append({ index, term }: LogEntry): void {
    assert(index === this.lastIndex + 1, `expected entry ${this.lastIndex + 1}, found ${index}`);
    this.#terms.push(term);
  }

  truncate(fromIndex: number): void {
    this.#terms.length = Math.max(0, Math.min(this.#terms.length, fromIndex - this.#base.index - 1));
  }

  compact(index: number): void {
    if (index <= this.#base.index) return;
    const term = this.termAt(index);
    assert(term !== undefined, `compacts to ${index}, the log ends at ${this.lastIndex}`);
    this.#terms = this.#terms.slice(index - this.#base.index);
    this.#base = { index, term };
  }

  copy(): LogMirror {
    return new LogMirror(this.#base, this.#terms);
  }
}
