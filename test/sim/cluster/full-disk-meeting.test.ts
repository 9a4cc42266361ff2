import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '../../../src/base/prng.js';
import { Scheduler } from '../ports/scheduler.js';
import { Reached } from './reached.js';
import { SimCluster } from './sim-cluster.js';
import { drawSwarm } from './swarm.js';

test('a node whose disk is full when it meets the others goes on, and meets them when there is space', async () => {
  const prng = new Prng(1);
  const scheduler = new Scheduler(prng);
  const swarm = { ...drawSwarm(prng), nodes: 3 as const, network: 'streams' as const, faults: new Set<never>() };
  const cluster = new SimCluster({ scheduler, prng: prng.fork(), swarm, reached: new Reached() });
  const [host] = cluster.hosts;
  const { disk } = host!.machine;
  for (let nth = 1; nth <= 50; nth++) disk.inject({ operation: 'write', code: 'ENOSPC', path: /peers\.json/, nth });
  await scheduler.run(cluster.startAll(), 10_000);
  await scheduler.runFor(2000);
  // A new cluster begins when everybody has met everybody.
  assert.equal(cluster.isWhole, false);
  assert.ok(host!.running !== null);
  disk.heal();
  assert.ok(await scheduler.runUntil(() => cluster.isWhole, 10_000));
  cluster.stopAll();
});
