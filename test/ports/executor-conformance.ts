import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CairnError } from '../../src/base/errors.js';
import type { Executor } from '../../src/ports/executor.js';
import type { ConformanceJobs } from './executor-jobs.js';
import { inWorld, type PortWorld } from './port-world.js';

/** What every executor must do; `name` says which one is tried. */
export function executorConformance(
  name: string,
  make: () => PortWorld<Executor<ConformanceJobs>> | Promise<PortWorld<Executor<ConformanceJobs>>>,
): void {
  type World = PortWorld<Executor<ConformanceJobs>>;
  const check = (
    behaviour: string,
    body: (executor: Executor<ConformanceJobs>, world: World) => Promise<void>,
  ): void => {
    void test(`${name}: ${behaviour}`, () =>
      inWorld<Executor<ConformanceJobs>, World>(make, (world) => body(world.port, world)));
  };

  check('a job gets its input and gives its output', async (executor, world) => {
    const input = { text: 'ä', bytes: new Uint8Array([1, 2]), list: [1, null, { deep: true }] };
    assert.deepEqual(await world.settle(executor.run('echo', input, 'background')), input);
  });

  check('inputs and outputs are copies', async (executor, world) => {
    const input = { list: [1] };
    const output = executor.run('echo', input, 'background');
    input.list.push(2);
    assert.deepEqual(await world.settle(output), { list: [1] });
  });

  check('shared memory is not copied', async (executor, world) => {
    const shared = new SharedArrayBuffer(4);
    assert.equal(await world.settle(executor.run('increment', { shared }, 'urgent')), 4);
    assert.deepEqual([...new Uint8Array(shared)], [1, 1, 1, 1]);
  });

  check("a job's own error keeps its code and message", async (executor, world) => {
    const outcome = executor.run('fail', { message: 'block 7: expected 1, found 2' }, 'background');
    await assert.rejects(world.settle(outcome), (error) => {
      const { code, message } = error as CairnError;
      return code === 'corruption' && message === 'block 7: expected 1, found 2';
    });
  });

  check('an executor goes on after a job that failed', async (executor, world) => {
    await assert.rejects(world.settle(executor.run('fail', { message: 'x' }, 'background')));
    assert.equal(await world.settle(executor.run('echo', 5, 'background')), 5);
  });

  check('more jobs than workers all end', async (executor, world) => {
    const inputs = Array.from({ length: 20 }, (_, i) => i);
    const jobs = inputs.map((i) => executor.run('echo', i, i % 3 === 0 ? 'urgent' : 'background'));
    assert.deepEqual(await world.settle(Promise.all(jobs)), inputs);
  });

  check('a closed executor refuses jobs as unavailable', async (executor, world) => {
    await world.settle(executor.close());
    await assert.rejects(
      world.settle(executor.run('echo', 1, 'background')),
      (error) => error instanceof CairnError && error.code === 'unavailable',
    );
  });
}
