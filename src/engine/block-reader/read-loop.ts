import { Block } from '../../lsm/table/block.js';
import { decodeBlock } from '../../lsm/table/block-codec.js';
import { BlockSearch } from '../../lsm/table/block-search.js';
import { blockName } from '../../lsm/table/format.js';
import type { BlockReaderJob } from '../../ports/block-reader-thread.js';
import type { SyncDisk, SyncFile } from '../../ports/disk.js';
import { readExactlySync } from '../file-io.js';
import { tableName } from '../tree/table-name.js';
import {
  ANSWER_ABSENT,
  ANSWER_BEFORE,
  ANSWER_FAILED,
  AT_ANSWER,
  AT_FILE_HIGH,
  AT_FILE_LOW,
  AT_OFFSET_HIGH,
  AT_OFFSET_LOW,
  AT_OPERATION,
  AT_REVISION_HIGH,
  AT_REVISION_LOW,
  AT_ROW_LENGTH,
  AT_SIZE,
  OPERATION_FORGET,
  OPERATION_SEARCH,
  SharedSlots,
  SLOT_BYTES,
  WORD_READ_MICROS,
  WORD_REQUESTS,
  WORD_TOLD,
} from './shared-slots.js';

const MAX_OPEN_FILES = 256;
/** Weight of the newest read in the moving average. */
const NEWEST_WEIGHT = 1 / 16;
/** A read that took longer counts as this: the thread may have lost its core meanwhile. */
const MOST_MICROS = 200;

/** What a block reader's thread does, without the waiting: answers published requests in order. */
export class ReadLoop {
  readonly #slots: SharedSlots;
  readonly #directory: string;
  readonly #disk: SyncDisk;
  readonly #nowMs: () => number;
  readonly #tell: () => void;
  /** Oldest first. */
  readonly #files = new Map<number, SyncFile>();
  /** A stored block. Decoded ones are not kept over a step, so they may be views of it. */
  readonly #buffer = new Uint8Array(SLOT_BYTES);
  readonly #search = new BlockSearch();
  /** The next request's number. */
  #next = 0;
  #readMicros = 0;

  /** `tell` makes the main thread look at the answers; it is called once until the main thread has looked. */
  constructor(job: BlockReaderJob, disk: SyncDisk, nowMs: () => number, tell: () => void) {
    this.#slots = new SharedSlots(job.slots);
    this.#directory = job.tablesDirectory;
    this.#disk = disk;
    this.#nowMs = nowMs;
    this.#tell = tell;
  }

  /** Answers one request; false when there is none. */
  step(): boolean {
    const { words } = this.#slots;
    if (Atomics.load(words, WORD_REQUESTS) === this.#next) return false;
    const slot = this.#slots.request(this.#next);
    this.#next = (this.#next + 1) | 0;
    const started = this.#nowMs();
    words[this.#slots.at(slot) + AT_ANSWER] = this.#answer(slot);
    const micros = Math.min(MOST_MICROS, (this.#nowMs() - started) * 1000);
    this.#readMicros += (micros - this.#readMicros) * NEWEST_WEIGHT;
    words[WORD_READ_MICROS] = this.#readMicros;
    this.#slots.publishAnswer(slot);
    if (Atomics.exchange(words, WORD_TOLD, 1) === 0) this.#tell();
    return true;
  }

  close(): void {
    for (const fileNumber of [...this.#files.keys()]) this.#forget(fileNumber);
  }

  #answer(slot: number): number {
    const { words, rooms } = this.#slots;
    const at = this.#slots.at(slot);
    const fileNumber = words[at + AT_FILE_HIGH]! * 0x1_0000_0000 + (words[at + AT_FILE_LOW]! >>> 0);
    const offset = words[at + AT_OFFSET_HIGH]! * 0x1_0000_0000 + (words[at + AT_OFFSET_LOW]! >>> 0);
    const size = words[at + AT_SIZE]!;
    try {
      if (words[at + AT_OPERATION] === OPERATION_FORGET) {
        this.#forget(fileNumber);
        return 0;
      }
      if (size > this.#buffer.length) return ANSWER_FAILED;
      const stored = this.#buffer.subarray(0, size);
      readExactlySync(this.#open(fileNumber), stored, offset);
      const contents = decodeBlock(fileNumber, offset, stored);
      if (contents.length > SLOT_BYTES) return ANSWER_FAILED;
      if (words[at + AT_OPERATION] === OPERATION_SEARCH) {
        return this.#searchBlock(new Block(contents, blockName(fileNumber, offset)), slot);
      }
      rooms[slot]!.set(contents);
      return contents.length;
    } catch {
      // The main thread reads the block by itself and meets the error where it can be told.
      return ANSWER_FAILED;
    }
  }

  #searchBlock(block: Block, slot: number): number {
    const { words, rooms } = this.#slots;
    const at = this.#slots.at(slot);
    const room = rooms[slot]!;
    const revision = words[at + AT_REVISION_HIGH]! * 0x1_0000_0000 + (words[at + AT_REVISION_LOW]! >>> 0);
    if (!this.#search.seek(block, room, 0, words[at + AT_ROW_LENGTH]!, revision)) return ANSWER_BEFORE;
    if (!this.#search.sameRow) return ANSWER_ABSENT;
    const { entry } = this.#search;
    const start = entry.keyAt + entry.unshared;
    room.set(block.bytes.subarray(start, start + entry.valueLength));
    words[at + AT_REVISION_LOW] = entry.revision;
    words[at + AT_REVISION_HIGH] = Math.floor(entry.revision / 0x1_0000_0000);
    return entry.valueLength;
  }

  #open(fileNumber: number): SyncFile {
    const known = this.#files.get(fileNumber);
    if (known !== undefined) return known;
    if (this.#files.size >= MAX_OPEN_FILES) {
      const [oldest] = this.#files.keys();
      if (oldest !== undefined) this.#forget(oldest);
    }
    const file = this.#disk.open(`${this.#directory}/${tableName(fileNumber)}`, 'read');
    this.#files.set(fileNumber, file);
    return file;
  }

  #forget(fileNumber: number): void {
    const file = this.#files.get(fileNumber);
    if (file === undefined) return;
    this.#files.delete(fileNumber);
    file.close();
  }
}
