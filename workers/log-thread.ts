import { parentPort, workerData } from 'node:worker_threads';
import { assert } from '../src/base/assert.js';
import { ControlArea, WORD_CALLS, WORD_STOP } from '../src/engine/log/shared-area.js';
import { WriteLoop } from '../src/engine/log/write-loop.js';
import { NodeSyncDisk } from '../src/platform/node-disk.js';
import { DiskError } from '../src/ports/disk.js';
import type { LogThreadMessage, LogWriterJob } from '../src/ports/log-writer.js';

const STALL_RETRY_MS = 1000;

/** Sleeps while there is nothing to write; ends when it is told to or after the first error. */
function run(job: LogWriterJob, post: (message: LogThreadMessage) => void): void {
  const words = new ControlArea(job.control).words;
  const loop = new WriteLoop(
    job,
    new NodeSyncDisk(),
    () => performance.now(),
    () => post({ type: 'progress' }),
  );
  for (;;) {
    // Read before the work is looked for: a call in between ends the wait at once.
    const calls = Atomics.load(words, WORD_CALLS);
    const step = loop.step();
    if (step === 'written') continue;
    if (Atomics.load(words, WORD_STOP) !== 0) break;
    Atomics.wait(words, WORD_CALLS, calls, step === 'stalled' ? STALL_RETRY_MS : Infinity);
  }
  loop.close();
}

const port = parentPort;
assert(port !== null, 'workers/log-thread.ts runs in a worker thread');
try {
  run(workerData as LogWriterJob, (message) => port.postMessage(message));
  port.postMessage({ type: 'stopped' } satisfies LogThreadMessage);
} catch (error) {
  // Structured clones of errors lose their code.
  const code = error instanceof DiskError ? error.code : '';
  const path = error instanceof DiskError ? error.path : '';
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  port.postMessage({ type: 'failed', code, path, text } satisfies LogThreadMessage);
}
