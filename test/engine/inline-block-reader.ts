import { ReadLoop } from '../../src/engine/block-reader/read-loop.js';
import { SharedSlots, WORD_ASLEEP } from '../../src/engine/block-reader/shared-slots.js';
import type { BlockReaderJob, BlockReaderThread } from '../../src/ports/block-reader-thread.js';
import type { SyncDisk } from '../../src/ports/disk.js';

/** The reader's loop in this thread: it runs in a microtask after each wake-up. */
export class InlineBlockReader implements BlockReaderThread {
  onProgress: () => void = () => {};
  onEnd: () => void = () => {};
  /** False: requests wait. */
  answers = true;
  answered = 0;
  readonly #disk: SyncDisk;
  #loop: ReadLoop | null = null;

  constructor(disk: SyncDisk) {
    this.#disk = disk;
  }

  start(job: BlockReaderJob): void {
    // Asleep for ever, so that each request wakes it.
    Atomics.store(new SharedSlots(job.slots).words, WORD_ASLEEP, 1);
    this.#loop = new ReadLoop(
      job,
      this.#disk,
      () => 0,
      () => queueMicrotask(() => this.onProgress()),
    );
  }

  wake(): void {
    queueMicrotask(() => {
      while (this.answers && this.#loop?.step() === true) this.answered++;
    });
  }

  hold(_needed: boolean): void {}

  die(): void {
    this.#loop?.close();
    this.#loop = null;
    this.onEnd();
  }

  stop(): Promise<void> {
    if (this.#loop !== null) this.die();
    return Promise.resolve();
  }
}
