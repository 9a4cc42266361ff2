import { arenaWords, entriesStart } from './layout.js';
import { SearchKey } from './search-key.js';

/** The buffer's two views and the two ends of its free space; see layout.ts. Written by one thread. */
export class Arena {
  readonly buffer: SharedArrayBuffer;
  readonly bytes: Uint8Array;
  readonly words: Int32Array;
  readonly search: SearchKey = new SearchKey();
  readonly start: number;
  readonly end: number;
  /** First free word above the entries. */
  entryTail: number;
  /** Lowest word of the nodes. */
  nodeHead: number;
  /** Counts resets, so that a cursor from before one is noticed. */
  generation = 0;

  constructor(buffer: SharedArrayBuffer) {
    const words = arenaWords(buffer);
    this.buffer = buffer;
    this.bytes = new Uint8Array(buffer);
    this.words = new Int32Array(buffer, 0, words);
    this.start = entriesStart(words);
    // Nodes end on a cache line.
    this.end = words - (words % 16);
    this.entryTail = this.start;
    this.nodeHead = this.end;
  }

  clear(): void {
    this.generation++;
    this.entryTail = this.start;
    this.nodeHead = this.end;
  }

  get freeWords(): number {
    return this.nodeHead - this.entryTail;
  }

  get usedWords(): number {
    return this.entryTail - this.start + (this.end - this.nodeHead);
  }

  allocateNode(words: number): number {
    this.nodeHead -= words;
    return this.nodeHead;
  }
}
