import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '../../src/base/prng.js';
import { SimMachine } from '../sim/sim-machine.js';
import { SimNode } from './sim-node.js';

test('lonely small writes, whose records fill the log faster than the memtable, flush it and give segments back', async () => {
  const node = await SimNode.start(SimMachine.first(new Prng(1)), { memtableSizeBytes: 64 * 1024 });
  let most = 0;
  for (let i = 0; i < 2000; i++) {
    await node.run(node.put('key', String(i)));
    most = Math.max(most, node.node.log.sizeBytes);
  }
  assert.ok(node.node.engine.stats().flushedTables > 0, 'nothing was flushed');
  assert.ok(most < 8 * 64 * 1024, `the log had ${most} bytes`);
});
