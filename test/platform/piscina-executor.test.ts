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
  const executor = new PiscinaExecutor<TestJobs>({ workerUrl, backgroundThreads: 1 });
  executors.push(executor);
  return executor;
}

test('a job runs in a worker and answers', async () => {
  assert.equal(await newExecutor().run('echo', 'hello', 'background'), 'hello');
});

test('an urgent job does not wait for background jobs, and these keep their order', async () => {
  const executor = newExecutor();
  const shared = new SharedArrayBuffer(64);
  const words = new Int32Array(shared);
  const jobs = [1, 2, 3].map((number) => executor.run('append', { shared, number }, 'background'));
  assert.equal(await executor.run('echo', 'beside them', 'urgent'), 'beside them');
  assert.equal(words[1], 0);
  Atomics.store(words, 0, 1);
  Atomics.notify(words, 0);
  await Promise.all(jobs);
  assert.deepEqual([...words.subarray(2, 5)], [1, 2, 3]);
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
