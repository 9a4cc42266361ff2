import { Worker } from 'node:worker_threads';
import { assert } from '../base/assert.js';
import { DiskError } from '../ports/disk.js';
import type { LogThreadMessage, LogWriter, LogWriterJob } from '../ports/log-writer.js';
import { SMALL_HEAP } from './worker-heap.js';

/** Words of the control area, as engine/log/shared-area.ts lays it out. */
const WORD_STOP = 2;
const WORD_CALLS = 6;

/**
 * The log's writer on a thread of its own. The thread sleeps in `Atomics.wait`; it answers by a message, one until the
 * main thread has looked. Measured on Node 20 with a synced write in between: message 185 to 193 us, `Atomics.waitAsync`
 * 197 to 231 us, spinning for 100 us before sleeping no better on 2 cores.
 */
export class LogThreadWriter implements LogWriter {
  onProgress: () => void = () => undefined;
  onFailure: (error: Error) => void = () => undefined;
  readonly #entry: URL;
  #worker: Worker | null = null;
  #words = new Int32Array(new SharedArrayBuffer(0));
  #isOver = false;
  #exited: Promise<void> = Promise.resolve();

  constructor(entry: URL = new URL('../../workers/log-thread.js', import.meta.url)) {
    this.#entry = entry;
  }

  start(job: LogWriterJob): void {
    assert(this.#worker === null, 'a log writer is started once');
    this.#words = new Int32Array(job.control);
    const worker = new Worker(this.#entry, { workerData: job, name: 'cairn-log', resourceLimits: SMALL_HEAP });
    this.#worker = worker;
    worker.on('message', (message: LogThreadMessage) => this.#receive(message));
    worker.on('error', (error: Error) => this.#fail(error));
    this.#exited = new Promise((resolve) => {
      worker.on('exit', (code) => {
        this.#fail(new Error(`the log's thread ended by itself, exit code ${code}`));
        resolve();
      });
    });
  }

  wake(): void {
    Atomics.add(this.#words, WORD_CALLS, 1);
    Atomics.notify(this.#words, WORD_CALLS);
  }

  async stop(): Promise<void> {
    if (this.#worker === null) return;
    this.#isOver = true;
    Atomics.store(this.#words, WORD_STOP, 1);
    this.wake();
    await this.#exited;
  }

  #receive(message: LogThreadMessage): void {
    switch (message.type) {
      case 'progress':
        this.onProgress();
        break;
      case 'stopped':
        this.#isOver = true;
        break;
      case 'failed': {
        const cause = new Error(message.text);
        this.#fail(message.code === '' ? cause : new DiskError(message.code, 'write log', message.path, cause));
        break;
      }
    }
  }

  #fail(error: Error): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.onFailure(error);
  }
}
