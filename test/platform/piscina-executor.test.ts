import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { CairnError } from '../../src/base/errors.js';
import { PiscinaExecutor } from '../../src/platform/piscina-executor.js';
import { DiskError } from '../../src/ports/disk.js';
import type { TestJobs } from './executor-worker.js';

const executors: PiscinaExecutor<TestJobs>[] = [];
after(() => Promise.all(executors.map((executor) => executor.close())));

function newExecutor(): PiscinaExecutor<TestJobs> {
  const workerUrl = new URL('./executor-worker.js', import.meta.url);
  const executor = new PiscinaExecutor<TestJobs>({ workerUrl, threads: 1 });
  executors.push(executor);
  return executor;
}

test('a job runs in a worker and answers', async () => {
  assert.equal(await newExecutor().run('echo', 'hello', 'background'), 'hello');
});

test('without a number of threads there is at least one', () => {
  const executor = new PiscinaExecutor<TestJobs>({ workerUrl: new URL('./executor-worker.js', import.meta.url) });
  executors.push(executor);
  assert.ok(executor.concurrency >= 1);
});

test('urgent jobs go before waiting background jobs, each in their order', async () => {
  const executor = newExecutor();
  const shared = new SharedArrayBuffer(64);
  const words = new Int32Array(shared);
  const run = (number: number, priority: 'urgent' | 'background'): Promise<null> =>
    executor.run('append', { shared, number }, priority);
  const jobs = [run(1, 'background'), run(2, 'background'), run(3, 'background'), run(4, 'urgent'), run(5, 'urgent')];
  Atomics.store(words, 0, 1);
  Atomics.notify(words, 0);
  await Promise.all(jobs);
  assert.deepEqual([...words.subarray(2, 7)], [1, 4, 5, 2, 3]);
});

test("a job's error keeps its class, code and message", async () => {
  const executor = newExecutor();
  await assert.rejects(executor.run('fail', 'disk', 'urgent'), (error: unknown) => {
    assert.ok(error instanceof DiskError);
    assert.equal(error.code, 'ENOSPC');
    assert.equal(error.path, '/data/a: b.sst');
    assert.equal(error.message, 'write /data/a: b.sst: ENOSPC');
    return true;
  });
  for (const [input, code, message] of [
    ['corruption', 'corruption', 'table 7: expected a checksum, found another'],
    ['cairn', 'too_large', 'a message'],
  ] as const) {
    await assert.rejects(executor.run('fail', input, 'urgent'), (error: unknown) => {
      assert.ok(error instanceof CairnError);
      assert.equal(error.code, code);
      assert.equal(error.message, message);
      return true;
    });
  }
  await assert.rejects(executor.run('fail', 'type', 'urgent'), /a mistake/);
});

test('LSM rule 16: a job whose worker dies is rejected as unavailable, and the next job finds a new worker', async () => {
  const executor = newExecutor();
  await assert.rejects(executor.run('die', null, 'background'), { code: 'unavailable' });
  assert.equal(await executor.run('echo', 'again', 'background'), 'again');
});

test('after close a job is rejected as unavailable', async () => {
  const executor = newExecutor();
  await executor.run('echo', 'hello', 'background');
  await executor.close();
  await assert.rejects(executor.run('echo', 'late', 'urgent'), { code: 'unavailable' });
});
