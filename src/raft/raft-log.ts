import { assert } from '../base/assert.js';
import { entryBytes, type Entry } from './entry.js';
import { TermRuns } from './term-runs.js';

/** All indexes up to `lastIndex` behind the previous run's (or the base's) have this term. */
export interface TermRun {
  readonly lastIndex: number;
  readonly term: number;
}

export interface LogStart {
  /** The last index that the log does not hold any more (it is in the state machine's data), and its term. 0 for a new log. */
  readonly baseIndex: number;
  readonly baseTerm: number;
  /** The terms of the entries between the base and `entries`: on disk, not in memory. */
  readonly runs: readonly TermRun[];
  /** Of the last entry before `entries`. */
  readonly revision: number;
  /** Everything above the applied index, without a gap. */
  readonly entries: readonly Entry[];
}

/** Heads of the array that are gone before it is copied. */
const SLACK = 1024;

/**
 * A group's log as Raft sees it: the terms of all entries since the last compaction, and the newest entries themselves. What
 * was applied may be released from memory; the host reads it from disk again when a slow follower needs it.
 */
export class RaftLog {
  #runs: TermRuns;
  /** `#entries[#head]` is the first entry in memory. */
  #entries: (Entry | undefined)[] = [];
  #head = 0;
  /** Of the entry before the first one in memory. */
  #boundaryRevision: number;
  #bytesInMemory = 0;

  constructor(start: LogStart) {
    this.#runs = new TermRuns(start.baseIndex, start.baseTerm);
    for (const { lastIndex, term } of start.runs) this.#runs.extend(lastIndex, term);
    this.#boundaryRevision = start.revision;
    for (const entry of start.entries) this.append(entry);
  }

  /** The last index that is not in the log any more. Its term is known. */
  get baseIndex(): number {
    return this.#runs.baseIndex;
  }

  get lastIndex(): number {
    return this.#runs.lastIndex;
  }

  get lastTerm(): number {
    return this.#runs.lastTerm;
  }

  get lastRevision(): number {
    const count = this.#entries.length;
    return count === this.#head ? this.#boundaryRevision : this.#entries[count - 1]!.revision;
  }

  /** The first index whose entry is in memory; `lastIndex + 1` when none is. */
  get memoryFirst(): number {
    return this.#runs.lastIndex - (this.#entries.length - this.#head) + 1;
  }

  get bytesInMemory(): number {
    return this.#bytesInMemory;
  }

  /** UNKNOWN_TERM outside of the log. */
  term(index: number): number {
    return this.#runs.at(index);
  }

  /** An entry that is in memory. */
  entry(index: number): Entry {
    const entry = this.#entries[this.#head + index - this.memoryFirst];
    assert(entry !== undefined && entry.index === index, `entry ${index} is in memory`);
    return entry;
  }

  /** Entries from `from` on, at least one, then as many as fit into `maxBytes`. All must be in memory. */
  slice(from: number, maxBytes: number): Entry[] {
    const start = this.#head + from - this.memoryFirst;
    assert(start >= this.#head, `entry ${from} is in memory`);
    let end = start;
    let bytes = 0;
    while (end < this.#entries.length) {
      bytes += entryBytes(this.#entries[end]!);
      if (bytes > maxBytes && end > start) break;
      end++;
    }
    return this.#entries.slice(start, end) as Entry[];
  }

  append(entry: Entry): void {
    assert(entry.index === this.lastIndex + 1, `entry ${entry.index} comes behind ${this.lastIndex}`);
    assert(entry.revision > this.lastRevision, `revisions of a group ascend: ${entry.revision}, ${this.lastRevision}`);
    this.#runs.extend(entry.index, entry.term);
    this.#entries.push(entry);
    this.#bytesInMemory += entryBytes(entry);
  }

  /** Drops the entries from `index` on; all of them are in memory, as only applied ones are released. */
  truncateFrom(index: number): void {
    const keep = this.#head + index - this.memoryFirst;
    assert(keep >= this.#head, `truncation at ${index} hits entries that were applied`);
    this.#runs.truncateFrom(index);
    for (let i = keep; i < this.#entries.length; i++) this.#bytesInMemory -= entryBytes(this.#entries[i]!);
    this.#entries.length = keep;
  }

  /** Where a follower's log may match one whose entry at `index` has `term`: see TermRuns. */
  highestAtOrBelow(index: number, term: number): number {
    return this.#runs.highestAtOrBelow(index, term);
  }

  /** Lets go of the entries up to `index`, which stay part of the log. */
  releaseTo(index: number): void {
    let first = this.memoryFirst;
    assert(index <= this.lastIndex, `entry ${index} is in the log`);
    for (; first <= index; first++) this.#releaseFirst();
    if (this.#head === this.#entries.length) {
      this.#entries = [];
      this.#head = 0;
    } else if (this.#head >= SLACK && this.#head * 2 >= this.#entries.length) {
      this.#entries = this.#entries.slice(this.#head);
      this.#head = 0;
    }
  }

  /** Lets go of entries up to `index` at most until the rest fits into `budgetBytes`. */
  releaseToBudget(index: number, budgetBytes: number): void {
    if (this.#bytesInMemory <= budgetBytes) return;
    let bytes = this.#bytesInMemory;
    let last = this.memoryFirst - 1;
    while (last < index && bytes > budgetBytes) bytes -= entryBytes(this.entry(++last));
    this.releaseTo(last);
  }

  /** Drops the log up to `index`. */
  compactTo(index: number): void {
    this.releaseTo(index);
    this.#runs.compactTo(index);
  }

  /** Replaces the whole log by a snapshot. */
  reset(index: number, term: number, revision: number): void {
    this.#runs = new TermRuns(index, term);
    this.#entries = [];
    this.#head = 0;
    this.#boundaryRevision = revision;
    this.#bytesInMemory = 0;
  }

  #releaseFirst(): void {
    const entry = this.#entries[this.#head]!;
    this.#boundaryRevision = entry.revision;
    this.#bytesInMemory -= entryBytes(entry);
    this.#entries[this.#head++] = undefined;
  }
}
