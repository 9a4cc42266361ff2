import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '../../src/base/prng.js';
import { SimMachine } from '../sim/sim-machine.js';
import { SimNode } from './sim-node.js';

test('an entry keeps its place in the ring until it is applied, also when its record is durable before the turn is sealed', async () => {
  // Every turn is sealed 5 ms late.
  const node = await SimNode.start(SimMachine.first(new Prng(1)), { tuning: { level0: { slowTables: 0 } } });
  const values = ['a', 'b', 'c'].map((letter) => `"${letter.repeat(12_000)}"`);
  const written = values.map((value, i) => node.put(`first:${i}`, value));
  // As the log does when it gives segments back.
  node.node.log.seal();
  await node.machine.scheduler.runFor(3);
  const more = ['x', 'y', 'z'].map((letter, i) => node.put(`second:${i}`, `"${letter.repeat(12_000)}"`));
  const answers = await node.run(Promise.all([...written, ...more]));
  assert.deepEqual(
    answers.slice(0, 3).map(({ code }) => code),
    ['ok', 'ok', 'ok'],
  );
  for (const [i, value] of values.entries()) assert.equal(await node.run(node.get(`first:${i}`)), value);
});
