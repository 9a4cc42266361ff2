import { parentPort, workerData } from 'node:worker_threads';
import { assert } from '../src/base/assert.js';
import { ReadLoop } from '../src/engine/block-reader/read-loop.js';
import { SharedSlots, WORD_ASLEEP, WORD_REQUESTS, WORD_STOP } from '../src/engine/block-reader/shared-slots.js';
import { NodeSyncDisk } from '../src/platform/node-disk.js';
import type { BlockReaderJob } from '../src/ports/block-reader-thread.js';

/** Sleeps while there is nothing to read; ends when it is told to. */
function run(job: BlockReaderJob, tell: () => void): void {
  const { words } = new SharedSlots(job.slots);
  const loop = new ReadLoop(job, new NodeSyncDisk(), () => performance.now(), tell);
  while (Atomics.load(words, WORD_STOP) === 0) {
    if (loop.step()) continue;
    // Said before the requests are counted once more: whoever publishes one after that wakes this thread.
    Atomics.store(words, WORD_ASLEEP, 1);
    const requests = Atomics.load(words, WORD_REQUESTS);
    if (!loop.step()) Atomics.wait(words, WORD_REQUESTS, requests);
    Atomics.store(words, WORD_ASLEEP, 0);
  }
  loop.close();
}

const port = parentPort;
assert(port !== null, 'workers/block-reader.ts runs in a worker thread');
run(workerData as BlockReaderJob, () => port.postMessage(null));
