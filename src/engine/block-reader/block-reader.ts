import { copyBytes } from '../../base/bytes.js';
import type { Revision } from '../../lsm/row-key.js';
import type { BlockHandle } from '../../lsm/table/format.js';
import type { BlockReaderThread } from '../../ports/block-reader-thread.js';
import {
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
  OPERATION_READ,
  OPERATION_SEARCH,
  SharedSlots,
  SLOT_BYTES,
  SLOT_COUNT,
  WORD_ANSWERS,
  WORD_ASLEEP,
  WORD_READ_MICROS,
  WORD_TOLD,
} from './shared-slots.js';

export { ANSWER_ABSENT, ANSWER_BEFORE, ANSWER_FAILED } from './shared-slots.js';

/** Some slots are left to `forget`. */
const READ_SLOTS = SLOT_COUNT - 32;
/**
 * The thread reads one block after the other. So it takes only what it will have read in this time: all that comes while blocks are in
 * the page cache, a few when the disk has to be waited for; the others go through libuv, several at a time.
 */
const QUEUE_MICROS = 2000;

/** Who waits for an answer. Called once, must not throw. */
export interface BlockWaiter {
  /** `room`: the first `answer` bytes are the block or the record, until this returns; an `answer` below 0 says why there is none. */
  blockAnswered(answer: number, room: Uint8Array, revision: Revision): void;
}

const EMPTY = new Uint8Array(0);

/**
 * Blocks by way of a thread of their own: it reads, checks and decompresses, and searches the block for a row if it is asked to;
 * this side copies the result out. One message wakes this thread for all that is ready.
 *
 * Measured at 64 reads under way, 4 KiB stored and 8 KiB decoded, from the page cache: see bench/micro/engine.ts and
 * src/ARCHITECTURE.md. Through libuv each read costs the main thread a queue operation, a wake-up and the decompression.
 */
export class BlockReader {
  readonly #slots = new SharedSlots();
  readonly #thread: BlockReaderThread;
  readonly #free: number[] = Array.from({ length: SLOT_COUNT }, (_, slot) => slot);
  readonly #waiting: (BlockWaiter | null)[] = Array.from({ length: SLOT_COUNT }, () => null);
  readonly #forgotten: number[] = [];
  #reading = 0;
  #answered = 0;
  #ended = false;
  #turnPending = false;
  /** The reader was told, or told us, that answers are looked for without another message. */
  #looking = false;
  readonly #defer: (callback: () => void) => void;
  /**
   * Once for all requests of a loop turn: a wake-up for each took 13% of the main thread's time. While answers come, each turn looks
   * for more, so that no message is needed for them.
   */
  readonly #turn = (): void => {
    this.#turnPending = false;
    if (Atomics.load(this.#slots.words, WORD_ASLEEP) === 1) this.#thread.wake();
    if (this.#looking) this.#takeAnswers();
  };

  /** `defer` calls back at the end of the loop turn. */
  constructor(thread: BlockReaderThread, tablesDirectory: string, defer: (callback: () => void) => void) {
    this.#thread = thread;
    this.#defer = defer;
    thread.onProgress = () => this.#takeAnswers();
    thread.onEnd = () => this.#end();
    thread.start({ slots: this.#slots.buffer, tablesDirectory });
  }

  /**
   * The decoded bytes of a block. Null when the reader is busy or gone; resolves to null when it could not do it. In both
   * cases `Disk` is to be asked.
   */
  read(fileNumber: number, handle: BlockHandle): Promise<Uint8Array | null> | null {
    if (!this.#takes(handle)) return null;
    return new Promise((resolve) => {
      this.#submit(this.#fill(OPERATION_READ, fileNumber, handle), {
        blockAnswered: (answer, room) => resolve(answer < 0 ? null : copyBytes(room, 0, answer)),
      });
    });
  }

  /**
   * The record of the newest version of `row` at or below `revision`, if the block has it. False when the reader is busy or gone:
   * then `waiter` is not called.
   */
  search(fileNumber: number, handle: BlockHandle, row: Uint8Array, revision: Revision, waiter: BlockWaiter): boolean {
    if (!this.#takes(handle)) return false;
    const slot = this.#fill(OPERATION_SEARCH, fileNumber, handle);
    const { words, rooms } = this.#slots;
    const at = this.#slots.at(slot);
    rooms[slot]!.set(row);
    words[at + AT_ROW_LENGTH] = row.length;
    words[at + AT_REVISION_LOW] = revision;
    words[at + AT_REVISION_HIGH] = Math.floor(revision / 0x1_0000_0000);
    this.#submit(slot, waiter);
    return true;
  }

  /** The file is about to be removed: closes it, so that its space is given back. */
  forget(fileNumber: number): void {
    if (this.#ended) return;
    if (this.#free.length === 0) this.#forgotten.push(fileNumber);
    else this.#submit(this.#fill(OPERATION_FORGET, fileNumber, { offset: 0, sizeBytes: 0 }), null);
  }

  async close(): Promise<void> {
    await this.#thread.stop();
    this.#end();
  }

  #takes(handle: BlockHandle): boolean {
    // A compaction that replaced many tables may have taken every slot to forget them.
    if (this.#ended || this.#free.length === 0 || handle.sizeBytes > SLOT_BYTES) return false;
    if (this.#reading >= READ_SLOTS) return false;
    return this.#reading * this.#slots.words[WORD_READ_MICROS]! <= QUEUE_MICROS;
  }

  /** A free slot with this request in it. */
  #fill(operation: number, fileNumber: number, handle: BlockHandle): number {
    const slot = this.#free.pop()!;
    const { words } = this.#slots;
    const at = this.#slots.at(slot);
    words[at + AT_OPERATION] = operation;
    words[at + AT_FILE_LOW] = fileNumber;
    words[at + AT_FILE_HIGH] = Math.floor(fileNumber / 0x1_0000_0000);
    words[at + AT_OFFSET_LOW] = handle.offset;
    words[at + AT_OFFSET_HIGH] = Math.floor(handle.offset / 0x1_0000_0000);
    words[at + AT_SIZE] = handle.sizeBytes;
    return slot;
  }

  #submit(slot: number, waiter: BlockWaiter | null): void {
    this.#waiting[slot] = waiter;
    if (waiter !== null && this.#reading++ === 0) this.#thread.hold(true);
    this.#slots.publishRequest(slot);
    this.#deferTurn();
  }

  #deferTurn(): void {
    if (this.#turnPending) return;
    this.#turnPending = true;
    this.#defer(this.#turn);
  }

  #takeAnswers(): void {
    const { words } = this.#slots;
    this.#looking = true;
    if (!this.#takeSome()) {
      // Before the last look: an answer that comes later is told of again.
      Atomics.store(words, WORD_TOLD, 0);
      if (!this.#takeSome()) {
        this.#looking = false;
        return;
      }
      Atomics.store(words, WORD_TOLD, 1);
    }
    this.#deferTurn();
  }

  /** False when there are no answers. */
  #takeSome(): boolean {
    const { words, rooms } = this.#slots;
    if (Atomics.load(words, WORD_ANSWERS) === this.#answered) return false;
    while (Atomics.load(words, WORD_ANSWERS) !== this.#answered) {
      const slot = this.#slots.answer(this.#answered);
      this.#answered = (this.#answered + 1) | 0;
      const waiter = this.#waiting[slot]!;
      if (waiter !== null) {
        const at = this.#slots.at(slot);
        const revision = words[at + AT_REVISION_HIGH]! * 0x1_0000_0000 + (words[at + AT_REVISION_LOW]! >>> 0);
        this.#waiting[slot] = null;
        if (--this.#reading === 0) this.#thread.hold(false);
        waiter.blockAnswered(words[at + AT_ANSWER]!, rooms[slot]!, revision);
      }
      this.#free.push(slot);
    }
    while (this.#forgotten.length > 0 && this.#free.length > 0) this.forget(this.#forgotten.pop()!);
    return true;
  }

  #end(): void {
    if (this.#ended) return;
    this.#ended = true;
    const waiting = this.#waiting.filter((waiter) => waiter !== null);
    this.#waiting.fill(null);
    for (const waiter of waiting) waiter.blockAnswered(ANSWER_FAILED, EMPTY, 0);
  }
}
