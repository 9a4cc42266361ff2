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
  AT_SIZE,
  OPERATION_FORGET,
  OPERATION_READ,
  SharedSlots,
  SLOT_BYTES,
  SLOT_COUNT,
  WORD_ANSWERS,
  WORD_ASLEEP,
  WORD_READ_MICROS,
  WORD_TOLD,
} from './shared-slots.js';

/** Some slots are left to `forget`. */
const READ_SLOTS = SLOT_COUNT - 32;
/**
 * The thread reads one block after the other. So it takes only what it will have read in this time: all that comes while blocks are in
 * the page cache, a few when the disk has to be waited for; the others go through libuv, several at a time.
 */
const QUEUE_MICROS = 2000;

/**
 * Blocks by way of a thread of their own: it reads, checks and decompresses; this side copies the result out. One message
 * wakes this thread for all blocks that are ready.
 *
 * Measured at 64 reads under way, 4 KiB stored and 8 KiB decoded, from the page cache: see bench/micro/engine.ts and
 * src/ARCHITECTURE.md. Through libuv each read costs the main thread a queue operation, a wake-up and the decompression.
 */
export class BlockReader {
  readonly #slots = new SharedSlots();
  readonly #thread: BlockReaderThread;
  readonly #free: number[] = Array.from({ length: SLOT_COUNT }, (_, slot) => slot);
  readonly #waiting: (((bytes: Uint8Array | null) => void) | null)[] = Array.from({ length: SLOT_COUNT }, () => null);
  readonly #forgotten: number[] = [];
  #reading = 0;
  #answered = 0;
  #ended = false;
  #wakePending = false;
  readonly #defer: (callback: () => void) => void;
  /** Once for all requests of a loop turn: a wake-up for each took 13% of the main thread's time. */
  readonly #wakeIfAsleep = (): void => {
    this.#wakePending = false;
    if (Atomics.load(this.#slots.words, WORD_ASLEEP) === 1) this.#thread.wake();
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
    // A compaction that replaced many tables may have taken every slot to forget them.
    if (this.#ended || this.#free.length === 0 || handle.sizeBytes > SLOT_BYTES) return null;
    if (this.#reading >= READ_SLOTS || this.#reading * this.#slots.words[WORD_READ_MICROS]! > QUEUE_MICROS) return null;
    if (this.#reading++ === 0) this.#thread.hold(true);
    return new Promise((resolve) => {
      this.#request(OPERATION_READ, fileNumber, handle, resolve);
    });
  }

  /** The file is about to be removed: closes it, so that its space is given back. */
  forget(fileNumber: number): void {
    if (this.#ended) return;
    if (this.#free.length === 0) this.#forgotten.push(fileNumber);
    else this.#request(OPERATION_FORGET, fileNumber, { offset: 0, sizeBytes: 0 }, null);
  }

  async close(): Promise<void> {
    await this.#thread.stop();
    this.#end();
  }

  #request(
    operation: number,
    fileNumber: number,
    handle: BlockHandle,
    resolve: ((bytes: Uint8Array | null) => void) | null,
  ): void {
    const slot = this.#free.pop()!;
    const { words } = this.#slots;
    const at = this.#slots.at(slot);
    words[at + AT_OPERATION] = operation;
    words[at + AT_FILE_LOW] = fileNumber;
    words[at + AT_FILE_HIGH] = Math.floor(fileNumber / 0x1_0000_0000);
    words[at + AT_OFFSET_LOW] = handle.offset;
    words[at + AT_OFFSET_HIGH] = Math.floor(handle.offset / 0x1_0000_0000);
    words[at + AT_SIZE] = handle.sizeBytes;
    this.#waiting[slot] = resolve;
    this.#slots.publishRequest(slot);
    if (this.#wakePending) return;
    this.#wakePending = true;
    this.#defer(this.#wakeIfAsleep);
  }

  #takeAnswers(): void {
    const { words, rooms } = this.#slots;
    // Before the answers are looked at: one that comes later is told of again.
    Atomics.store(words, WORD_TOLD, 0);
    while (Atomics.load(words, WORD_ANSWERS) !== this.#answered) {
      const slot = this.#slots.answer(this.#answered);
      this.#answered = (this.#answered + 1) | 0;
      const resolve = this.#waiting[slot]!;
      const length = words[this.#slots.at(slot) + AT_ANSWER]!;
      const bytes = resolve === null || length === ANSWER_FAILED ? null : rooms[slot]!.slice(0, length);
      this.#waiting[slot] = null;
      this.#free.push(slot);
      if (resolve === null) continue;
      if (--this.#reading === 0) this.#thread.hold(false);
      resolve(bytes);
    }
    while (this.#forgotten.length > 0 && this.#free.length > 0) this.forget(this.#forgotten.pop()!);
  }

  #end(): void {
    if (this.#ended) return;
    this.#ended = true;
    for (const resolve of this.#waiting) resolve?.(null);
    this.#waiting.fill(null);
  }
}
