import { Worker } from 'node:worker_threads';
import { assert } from '../base/assert.js';
import { WORD_REQUESTS, WORD_STOP } from '../engine/block-reader/shared-slots.js';
import type { BlockReaderJob, BlockReaderThread } from '../ports/block-reader-thread.js';
import { SMALL_HEAP } from './worker-heap.js';

/** A block reader's thread in this process; see workers/block-reader.ts. */
export class NodeBlockReaderThread implements BlockReaderThread {
  onProgress: () => void = () => undefined;
  onEnd: () => void = () => undefined;
  readonly #entry: URL;
  #words = new Int32Array(new SharedArrayBuffer(0));
  #worker: Worker | null = null;
  #exited: Promise<void> = Promise.resolve();

  constructor(entry: URL = new URL('../../workers/block-reader.js', import.meta.url)) {
    this.#entry = entry;
  }

  start(job: BlockReaderJob): void {
    assert(this.#worker === null, 'a block reader is started once');
    this.#words = new Int32Array(job.slots);
    const worker = new Worker(this.#entry, { workerData: job, name: 'cairn-block-reader', resourceLimits: SMALL_HEAP });
    this.#worker = worker;
    worker.on('message', () => this.onProgress());
    // Its exit follows, and blocks come through `Disk` from then on.
    worker.on('error', () => undefined);
    this.#exited = new Promise((resolve) => {
      worker.on('exit', () => {
        this.onEnd();
        resolve();
      });
    });
    // A start that is refused further on leaves it behind, and the process has to end all the same. Not before a
    // listener is added: that would take it back.
    worker.unref();
  }

  wake(): void {
    Atomics.notify(this.#words, WORD_REQUESTS);
  }

  hold(needed: boolean): void {
    if (needed) this.#worker?.ref();
    else this.#worker?.unref();
  }

  async stop(): Promise<void> {
    if (this.#worker === null) return;
    Atomics.store(this.#words, WORD_STOP, 1);
    // Ends also a sleep; nothing is lost with the thread.
    this.#worker.ref();
    await this.#worker.terminate();
    await this.#exited;
  }
}
