import { assert, AssertionFailure } from '../../base/assert.js';
import { MAX_USER_KEY_BYTES, REPLICA_ID_BYTES, type Revision } from '../row-key.js';
import { Arena } from './arena.js';
import { HashIndex } from './hash-index.js';
import {
  arenaWords,
  AT_ENTRY_TAIL,
  AT_MAGIC,
  AT_MAX_REVISION,
  AT_MIN_REVISION,
  AT_NODE_HEAD,
  AT_ROWS,
  AT_STATE,
  AT_VERSIONS,
  entriesStart,
  FIRST_VERSION_WORDS,
  HAS_OLDER,
  LATER_VERSION_WORDS,
  MAGIC,
  MIN_ARENA_BYTES,
  ROW_HEADER_WORDS,
  STATE_ACTIVE,
  STATE_FROZEN,
  STATE_ZEROED,
  WORD_BYTES,
  wordsFor,
} from './layout.js';
import { MemtableCursor } from './memtable-cursor.js';
import { RowTree } from './row-tree.js';
import { jumpLink, recordWord, VersionChains } from './version-chains.js';

const PAGE_BYTES = 4096;
/** Above this, one native copy is faster than a loop over words, in spite of the view that it needs. */
const NATIVE_COPY_BYTES = 256;

/**
 * The newest versions of the rows of all replicas on a node, in one SharedArrayBuffer: see layout.ts.
 *
 * Life: `create` -> inserts and reads on the writer's thread -> `freeze` -> `attach` and reads on any thread ->
 * when no thread reads it any more, `zero` in a worker -> `reset` or `createIn`.
 * A handle is the word number of a version (never 0); it is good until the reset.
 */
export class Memtable {
  readonly buffer: SharedArrayBuffer;
  readonly bytes: Uint8Array;
  /** @internal For tests that look at the tree's nodes. */
  readonly arena: Arena;
  /** @internal */
  readonly tree: RowTree;
  readonly #words: Int32Array;
  readonly #index: HashIndex;
  readonly #chains: VersionChains;
  #frozen = false;
  #rowCount = 0;
  #versionCount = 0;
  #minRevision: Revision = 0;
  #maxRevision: Revision = 0;

  private constructor(buffer: SharedArrayBuffer) {
    this.arena = new Arena(buffer);
    this.buffer = buffer;
    this.bytes = this.arena.bytes;
    this.#words = this.arena.words;
    this.#index = new HashIndex(this.arena);
    this.tree = new RowTree(this.arena);
    this.#chains = new VersionChains(this.arena.words);
  }

  /** An empty memtable in a new arena. See `prefault` for its page faults. */
  static create(sizeBytes: number): Memtable {
    return Memtable.createIn(new SharedArrayBuffer(sizeBytes));
  }

  /** An empty memtable in a buffer that is new or was zeroed by `Memtable.zero`. */
  static createIn(buffer: SharedArrayBuffer): Memtable {
    const memtable = new Memtable(buffer);
    memtable.#activate();
    return memtable;
  }

  /** A frozen memtable, read on this thread too. */
  static attach(buffer: SharedArrayBuffer): Memtable {
    const memtable = new Memtable(buffer);
    memtable.#restore();
    return memtable;
  }

  /**
   * Makes a frozen memtable's buffer ready for `createIn` or `reset`, on any thread; nobody may read it any more. Only
   * the header and the hash index are cleared (6% of the buffer): nothing else is read before it is written.
   */
  static zero(buffer: SharedArrayBuffer): void {
    const words = new Int32Array(buffer, 0, arenaWords(buffer));
    const state = Atomics.load(words, AT_STATE);
    assert(state !== STATE_ACTIVE, 'zeroing a memtable: expected it frozen, found its writer active');
    words.fill(0, AT_STATE + 1, entriesStart(words.length));
    Atomics.store(words, AT_STATE, STATE_ZEROED);
  }

  /**
   * Touches every page of a new buffer, on any thread and at any time: it adds 0 atomically, so it may run while the
   * writer is at work already (a fresh arena of 100 MB costs the first thread to touch it 75 ms).
   */
  static prefault(buffer: SharedArrayBuffer): void {
    const words = new Int32Array(buffer, 0, arenaWords(buffer));
    for (let at = 0; at < words.length; at += PAGE_BYTES / WORD_BYTES) Atomics.add(words, at, 0);
  }

  /** The smallest `sizeBytes` with which an entry of these sizes fits into an empty memtable. */
  static minSizeBytes(keyLength: number, recordLength: number): number {
    const entry = wordsFor(REPLICA_ID_BYTES + keyLength) + wordsFor(recordLength);
    // The index takes 1/16.
    return MIN_ARENA_BYTES + Math.ceil((entry * WORD_BYTES * 16) / 15);
  }

  /**
   * Adds a version. False when it does not fit; nothing has changed then. `key` is the user's key and `hash` its
   * xxHash32. A row's revisions must ascend; a version that is already there is a replay and stays as it is.
   */
  insert(
    replicaId: number,
    key: Uint8Array,
    keyStart: number,
    keyLength: number,
    hash: number,
    revision: Revision,
    record: Uint8Array,
    recordStart: number,
    recordLength: number,
  ): boolean {
    assert(!this.#frozen, 'insert into a frozen memtable');
    // Messages are only built when they are needed: this is a hot path.
    if (!(keyLength > 0 && keyLength <= MAX_USER_KEY_BYTES)) refuse('key length', '1 to 4096 bytes', keyLength);
    if (!(Number.isSafeInteger(revision) && revision >= 0)) refuse('revision', '0 to 2^53 - 1', revision);
    const { arena } = this;
    const words = this.#words;
    arena.search.load(replicaId, key, keyStart, keyLength);
    const found = this.#index.find(hash);
    const recordWords = wordsFor(recordLength);
    let version: number;
    if (found !== 0) {
      const newest = words[found]!;
      const newestRevision = this.#chains.revision(newest);
      if (revision <= newestRevision) {
        const replayed = this.#chains.find(newest, revision);
        if (replayed !== 0 && this.#chains.revision(replayed) === revision) return true;
        refuse('a new revision of a row', `above ${newestRevision}`, revision);
      }
      if (LATER_VERSION_WORDS + recordWords > arena.freeWords) return false;
      version = arena.entryTail;
      words[version + 3] = newest;
      words[version + 4] = jumpLink(words, newest);
      words[version + 5] = this.#chains.depth(newest) + 1;
      words[found] = version;
    } else {
      const rowWords = ROW_HEADER_WORDS + wordsFor(REPLICA_ID_BYTES + keyLength);
      const needed = rowWords + FIRST_VERSION_WORDS + recordWords + this.tree.reservedWords;
      if (needed > arena.freeWords || this.#rowCount >= this.#index.capacity) return false;
      const row = arena.entryTail;
      version = row + rowWords;
      words[row] = version;
      arena.search.writeRow(words, row);
      this.#index.add(row);
      this.tree.insert(row);
      this.#rowCount++;
    }
    words[version] = revision;
    words[version + 1] = Math.floor(revision / 0x1_0000_0000) | (found === 0 ? 0 : HAS_OLDER);
    words[version + 2] = recordLength;
    const first = recordWord(words, version);
    arena.entryTail = first + recordWords;
    this.#copyRecord(first, record, recordStart, recordLength);
    if (this.#versionCount++ === 0 || revision < this.#minRevision) this.#minRevision = revision;
    if (revision > this.#maxRevision) this.#maxRevision = revision;
    return true;
  }

  /** Handle of the key's newest version that is not above `at`, or 0. Tombstones and expired versions are versions. */
  find(replicaId: number, key: Uint8Array, keyStart: number, keyLength: number, hash: number, at: Revision): number {
    if (keyLength > MAX_USER_KEY_BYTES) return 0;
    this.arena.search.load(replicaId, key, keyStart, keyLength);
    const row = this.#index.find(hash);
    return row === 0 ? 0 : this.#chains.find(this.#words[row]!, at);
  }

  revisionAt(handle: number): Revision {
    return this.#chains.revision(handle);
  }

  /** The record is `bytes[recordStart(handle) .. + recordLength(handle))`. */
  recordStart(handle: number): number {
    return recordWord(this.#words, handle) * WORD_BYTES;
  }

  recordLength(handle: number): number {
    return this.#words[handle + 2]!;
  }

  /** A cursor over all versions. It never blocks and stays right when versions are inserted between its calls. */
  cursor(): MemtableCursor {
    return new MemtableCursor(this.arena, this.tree, this.#chains);
  }

  /** Ends inserts and publishes the contents to other threads: send them `buffer` and `attach` there. */
  freeze(): void {
    assert(!this.#frozen, 'freezing a memtable: it is frozen already');
    const words = this.#words;
    words[AT_MAGIC] = MAGIC;
    words[AT_ENTRY_TAIL] = this.arena.entryTail;
    words[AT_NODE_HEAD] = this.arena.nodeHead;
    words[AT_ROWS] = this.#rowCount;
    words[AT_VERSIONS] = this.#versionCount;
    writeRevision(words, AT_MIN_REVISION, this.#minRevision);
    writeRevision(words, AT_MAX_REVISION, this.#maxRevision);
    this.tree.save();
    this.#frozen = true;
    Atomics.store(words, AT_STATE, STATE_FROZEN);
  }

  /** Empties the memtable for its writer; quick after `Memtable.zero` in a worker. Handles and cursors are void. */
  reset(): void {
    const state = Atomics.load(this.#words, AT_STATE);
    if (state === STATE_ACTIVE) this.freeze();
    if (state !== STATE_ZEROED) Memtable.zero(this.buffer);
    this.arena.clear();
    this.tree.clear();
    this.#rowCount = 0;
    this.#versionCount = 0;
    this.#minRevision = 0;
    this.#maxRevision = 0;
    this.#activate();
  }

  get frozen(): boolean {
    return this.#frozen;
  }

  get sizeBytes(): number {
    return this.buffer.byteLength;
  }

  /** Bytes taken by entries and tree nodes; the header and the hash index are fixed and not counted. */
  get usedBytes(): number {
    return this.arena.usedWords * WORD_BYTES;
  }

  get rowCount(): number {
    return this.#rowCount;
  }

  get versionCount(): number {
    return this.#versionCount;
  }

  /** The lowest revision, 0 when empty. */
  get minRevision(): Revision {
    return this.#minRevision;
  }

  /** The highest revision, 0 when empty. */
  get maxRevision(): Revision {
    return this.#maxRevision;
  }

  #activate(): void {
    const found = Atomics.compareExchange(this.#words, AT_STATE, STATE_ZEROED, STATE_ACTIVE);
    assert(found === STATE_ZEROED, `memtable buffer: expected it zeroed, found state ${found}`);
    this.#frozen = false;
  }

  #restore(): void {
    const words = this.#words;
    const state = Atomics.load(words, AT_STATE);
    assert(state === STATE_FROZEN, `attaching a memtable: expected it frozen, found state ${state}`);
    assert(words[AT_MAGIC] === MAGIC, `memtable buffer: expected magic ${MAGIC}, found ${words[AT_MAGIC]}`);
    this.arena.entryTail = words[AT_ENTRY_TAIL]!;
    this.arena.nodeHead = words[AT_NODE_HEAD]!;
    this.#rowCount = words[AT_ROWS]!;
    this.#versionCount = words[AT_VERSIONS]!;
    this.#minRevision = readRevision(words, AT_MIN_REVISION);
    this.#maxRevision = readRevision(words, AT_MAX_REVISION);
    this.tree.restore();
    this.#frozen = true;
  }

  #copyRecord(first: number, record: Uint8Array, start: number, length: number): void {
    if (length > NATIVE_COPY_BYTES) {
      this.bytes.set(record.subarray(start, start + length), first * WORD_BYTES);
      return;
    }
    const words = this.#words;
    let word = first;
    let at = start;
    for (const end = start + (length & ~3); at < end; at += 4) {
      words[word++] = record[at]! | (record[at + 1]! << 8) | (record[at + 2]! << 16) | (record[at + 3]! << 24);
    }
    const rest = length & 3;
    if (rest === 0) return;
    let tail = record[at]!;
    if (rest > 1) tail |= record[at + 1]! << 8;
    if (rest > 2) tail |= record[at + 2]! << 16;
    words[word] = tail;
  }
}

function refuse(what: string, expected: string, found: number): never {
  throw new AssertionFailure(`${what}: expected ${expected}, found ${found}`);
}

function writeRevision(words: Int32Array, at: number, revision: Revision): void {
  words[at] = revision;
  words[at + 1] = Math.floor(revision / 0x1_0000_0000);
}

function readRevision(words: Int32Array, at: number): Revision {
  return words[at + 1]! * 0x1_0000_0000 + (words[at]! >>> 0);
}
