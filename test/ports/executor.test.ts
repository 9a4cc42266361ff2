import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '../../src/base/prng.js';
import { PiscinaExecutor } from '../../src/platform/piscina-executor.js';
import { Scheduler } from '../sim/ports/scheduler.js';
import { SimExecutor, WorkerKilled, type JobFunctions } from '../sim/ports/sim-executor.js';
import { executorConformance } from './executor-conformance.js';
import { conformanceFunctions, type ConformanceJobs } from './executor-jobs.js';
import { untilReal } from './port-world.js';

function simExecutor(seed: number) {
  const prng = new Prng(seed);
  const scheduler = new Scheduler(prng);
  const functions = conformanceFunctions as JobFunctions<ConformanceJobs>;
  return { scheduler, executor: new SimExecutor<ConformanceJobs>({ scheduler, prng, functions }) };
}

executorConformance('the simulated executor', () => {
  const { scheduler, executor } = simExecutor(1);
  return {
    port: executor,
    settle: (promise) => scheduler.run(promise),
    until: async (condition) => assert.ok(await scheduler.runUntil(condition)),
    close: async () => {},
  };
});

function realExecutor(backgroundThreads: number): PiscinaExecutor<ConformanceJobs> {
  return new PiscinaExecutor({ workerUrl: new URL('./conformance-worker.js', import.meta.url), backgroundThreads });
}

executorConformance('the real executor', () => {
  const executor = realExecutor(2);
  return {
    port: executor,
    settle: (promise) => promise,
    until: untilReal,
    close: () => executor.close(),
  };
});

test('LSM rule 16: the real executor reports a worker that died as unavailable, and goes on with another', async () => {
  const executor = realExecutor(1);
  try {
    await assert.rejects(executor.run('die', null, 'background'), { code: 'unavailable' });
    assert.equal(await executor.run('echo', 1, 'background'), 1);
  } finally {
    await executor.close();
  }
});

type OneJob = { work: { input: number; output: number } };

function oneWorker(work: (input: number) => number | Promise<number>) {
  const prng = new Prng(2);
  const scheduler = new Scheduler(prng);
  const executor = new SimExecutor<OneJob>({ scheduler, prng, functions: { work } });
  return { scheduler, executor };
}

test('an urgent job does not wait for background jobs, and each priority keeps its order', async () => {
  let endFirst = (_output: number): void => {};
  const order: number[] = [];
  const { scheduler, executor } = oneWorker((input) => {
    order.push(input);
    return input > 1 ? input : new Promise<number>((resolve) => (endFirst = resolve));
  });
  const background = Promise.all([executor.run('work', 1, 'background'), executor.run('work', 2, 'background')]);
  await scheduler.run(Promise.all([executor.run('work', 3, 'urgent'), executor.run('work', 4, 'urgent')]));
  assert.deepEqual(
    order.filter((input) => input !== 1),
    [3, 4],
  );
  await scheduler.runUntil(() => order.includes(1));
  endFirst(1);
  await scheduler.run(background);
  assert.deepEqual(
    order.filter((input) => input !== 3 && input !== 4),
    [1, 2],
  );
});

test('LSM rule 16: a worker killed before, after or within a job is reported as unavailable', async () => {
  let ran = 0;
  const { scheduler, executor } = oneWorker((input) => {
    ran++;
    if (input === 3) throw new WorkerKilled();
    return input;
  });
  for (const [input, ranThen] of [
    [1, 0],
    [2, 1],
    [3, 2],
  ] as const) {
    if (input === 1) executor.killNext('before');
    if (input === 2) executor.killNext('after');
    await assert.rejects(scheduler.run(executor.run('work', input, 'background')), { code: 'unavailable' });
    assert.equal(ran, ranThen);
  }
  assert.equal(await scheduler.run(executor.run('work', 4, 'background')), 4);
});

test('close refuses waiting jobs and waits for the running one', async () => {
  const { scheduler, executor } = oneWorker((input) => input);
  const running = executor.run('work', 1, 'background');
  const waiting = executor.run('work', 2, 'background');
  const refused = assert.rejects(waiting, { code: 'unavailable' });
  let runningEnded = false;
  void running.then(() => {
    runningEnded = true;
  });
  await scheduler.run(executor.close());
  assert.equal(runningEnded, true);
  await refused;
});

test('nothing settles any more after a stop', async () => {
  const { scheduler, executor } = oneWorker((input) => input);
  let settled = false;
  void executor.run('work', 1, 'background').then(() => {
    settled = true;
  });
  executor.stop();
  await scheduler.runFor(1000);
  assert.equal(settled, false);
});
