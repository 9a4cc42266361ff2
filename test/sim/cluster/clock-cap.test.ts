import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '../../../src/base/prng.js';
import { REVISIONS_PER_MS, revisionAtMs } from '../../../src/replica/revision-clock.js';
import type { Outcome } from '../checkers/operation.js';
import { Scheduler } from '../ports/scheduler.js';
import { Reached } from './reached.js';
import { SimCluster, type Host } from './sim-cluster.js';
import { drawSwarm } from './swarm.js';

const DAY_MS = 86_400_000;
const GROUPS = 4;

/** Three nodes, the clock of the first a day ahead; the watch of the cluster checks each revision too. */
class World {
  readonly prng = new Prng(1);
  readonly scheduler = new Scheduler(this.prng);
  readonly cluster: SimCluster;
  readonly fast: Host;

  constructor() {
    const swarm = { ...drawSwarm(this.prng), nodes: 3 as const, groups: GROUPS, faults: new Set<never>() };
    this.cluster = new SimCluster({
      scheduler: this.scheduler,
      prng: this.prng.fork(),
      swarm,
      reached: new Reached(),
    });
    this.fast = this.cluster.hosts[0]!;
    this.fast.machine.clock.jumpWall(DAY_MS);
    this.cluster.clocks.look();
  }

  /** Every group has a leader, and the fast node, when it runs, leads some. */
  async whole(): Promise<void> {
    const { cluster, fast } = this;
    const leads = (): boolean =>
      fast.isDown || fast.running?.node.host.groups.some(({ isServing }) => isServing) === true;
    assert.ok(await this.scheduler.runUntil(() => cluster.isWhole && leads(), 20_000));
  }

  /** Writes to all groups; how far ahead of the right clocks the highest revision is. */
  async writtenAheadMs(): Promise<number> {
    let highest = 0;
    for (let i = 0; i < 30; i++) {
      let outcome: Outcome = { kind: 'failed' };
      // The node that is asked may be down.
      while (outcome.kind !== 'written') {
        outcome = await this.scheduler.run(this.cluster.client().put(`key-${i}`, `v${i}`, null), 10_000);
      }
      highest = Math.max(highest, outcome.revision);
    }
    return (highest - revisionAtMs(this.cluster.hosts[1]!.machine.clock.wallMs())) / REVISIONS_PER_MS;
  }

  async start(host: Host): Promise<void> {
    await this.scheduler.run(this.cluster.start(host), 10_000);
  }
}

test('Raft rule 20: a node with a clock a day ahead does not drag the cluster, leading or not, before and after it crashed', async () => {
  const world = new World();
  const { cluster, fast, scheduler } = world;
  await scheduler.run(cluster.startAll(), 10_000);
  await world.whole();
  assert.ok((await world.writtenAheadMs()) <= 501, 'it leads some groups');
  cluster.kill(fast, 'power-loss');
  await world.whole();
  assert.ok((await world.writtenAheadMs()) <= 501, 'others lead what it led');
  await world.start(fast);
  await world.whole();
  // A life that crashed leaves its durable bound to the next one, up to 3 s ahead.
  assert.ok((await world.writtenAheadMs()) <= 3501, 'it leads again');
  for (const host of cluster.hosts.slice(1)) {
    cluster.kill(host, 'power-loss');
    await world.start(host);
    await world.whole();
  }
  assert.ok((await world.writtenAheadMs()) <= 3501 * 2, 'all have begun anew');
  cluster.stopAll();
});
