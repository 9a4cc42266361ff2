import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '../../src/base/prng.js';
import { SimMachine } from '../sim/sim-machine.js';
import { SimNode } from './sim-node.js';

test('a start that fails leaves nothing behind that writes to the directory', async () => {
  const machine = SimMachine.first(new Prng(1));
  const first = await SimNode.start(machine, { tuning: { level0: { compactionTables: 100 } } });
  for (const key of ['a', 'b', 'c']) {
    await first.run(first.put(key, `"${'.'.repeat(10_000)}"`));
    await first.run(first.node.engine.flush());
  }
  await first.run(first.node.close());
  for (const path of machine.disk.paths()) if (/\/log\/.*\.log$/.test(path)) machine.disk.flipBit(path, 3, 1);

  const next = machine.restart(new Prng(2));
  const started = SimNode.start(next, { tuning: { level0: { compactionTables: 1 } } });
  await assert.rejects(started, { code: 'corruption' });
  const { mutationCount } = next.disk;
  await next.scheduler.runFor(60_000);
  assert.equal(next.disk.mutationCount, mutationCount);
});
