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

test('Raft rule 16: a live replica that no flush has covered keeps its entries in the log; a dropped one does not', async () => {
  const node = await SimNode.start(SimMachine.first(new Prng(1)), { memtableSizeBytes: 64 * 1024 });
  const { engine, log } = node.node;
  const fill = async (): Promise<void> => {
    for (let i = 0; i < 30; i++) await node.run(node.put(`key:${i}`, `"${'.'.repeat(8000)}"`));
    await node.run(engine.flush());
    await node.machine.scheduler.runFor(1000);
  };
  // As a group that joins this node: its replica is durable, its entries are in the log, and no flush knows of it.
  const replicaId = await node.run(engine.createReplica(500));
  const at = log.reserveEntry(500, replicaId, 1, 1, 1, 1, 10);
  log.bytes.fill(7, at, at + 10);
  await node.run(log.whenDurable(log.seal()));
  await fill();
  assert.deepEqual(
    log.pinning((_group, id) => engine.flushedIndexes().get(id) ?? Infinity).map((range) => range.replicaId),
    [replicaId],
  );
  const { segmentCount } = log;
  assert.ok(segmentCount > 3, `${segmentCount} segments`);
  await node.run(engine.dropReplica(replicaId));
  await fill();
  assert.ok(log.segmentCount < 3, `${log.segmentCount} segments are left`);
});
