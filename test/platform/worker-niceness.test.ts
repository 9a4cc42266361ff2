import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { getPriority, setPriority } from 'node:os';
import { test } from 'node:test';
import type { EngineJobs } from '../../src/engine/jobs/jobs.js';
import { PiscinaExecutor } from '../../src/platform/piscina-executor.js';

const ARENA_BYTES = 1 << 20;
/** Above that of compactions, which so may only be left as it is: a user without rights can't lower it. */
const NICENESS = 15;

/** Of all threads of this process: the 19th field of `stat`, the 17th behind the name in brackets. */
function nicenessOfThreads(): number[] {
  return readdirSync('/proc/self/task').map((thread) => {
    const text = readFileSync(`/proc/self/task/${thread}/stat`, 'utf8');
    return Number(text.slice(text.lastIndexOf(')') + 2).split(' ')[16]);
  });
}

test('the worker of a process that was started with a high niceness does not lower it', async (t) => {
  if (process.platform !== 'linux') {
    t.diagnostic("niceness is a thread's own on Linux only");
    return;
  }
  // New threads begin with that of the thread that makes them.
  const own = Math.max(NICENESS, getPriority());
  setPriority(own);
  const before = nicenessOfThreads().length;
  const workerUrl = new URL('../../workers/lsm-worker.js', import.meta.url);
  const executor = new PiscinaExecutor<EngineJobs>({ workerUrl, backgroundThreads: 1 });
  t.after(() => executor.close());
  const buffer = new SharedArrayBuffer(ARENA_BYTES);
  await executor.run('prepareArena', { buffer, recycled: true }, 'background');
  const all = nicenessOfThreads();
  assert.ok(all.length > before, 'there is a worker');
  assert.deepEqual(
    all.filter((niceness) => niceness > 0 && niceness < own),
    [],
  );
});
