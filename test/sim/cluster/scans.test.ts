import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { plantMutations } from '../../../src/base/mutations.js';
import { Prng } from '../../../src/base/prng.js';
import { REVISIONS_PER_MS } from '../../../src/replica/revision-clock.js';
import { PLAIN_PUT } from '../../../src/server/service.js';
import { Scheduler } from '../ports/scheduler.js';
import type { ScanOutcome } from './cluster-client.js';
import { Reached } from './reached.js';
import { SimCluster, type Host } from './sim-cluster.js';
import { drawSwarm } from './swarm.js';

const SEEDS = 3;
const RANGE = { startKey: '', endKey: null, at: null, pageLimit: 100 } as const;
const LIMIT_MS = 60_000;
const SETTLING_MS = 2_000;

afterEach(() => plantMutations([]));

class World {
  readonly scheduler: Scheduler;
  readonly cluster: SimCluster;

  constructor(seed: number, groups: number) {
    const prng = new Prng(seed);
    this.scheduler = new Scheduler(prng);
    const drawn = drawSwarm(prng);
    const limits = { ...drawn.limits, historyWindowMs: 600_000 };
    const swarm = { ...drawn, nodes: 3 as const, groups, faults: new Set<never>(), limits };
    this.cluster = new SimCluster({ scheduler: this.scheduler, prng, swarm, reached: new Reached() });
  }

  async start(): Promise<void> {
    await this.scheduler.run(this.cluster.startAll(), LIMIT_MS);
    assert.ok(await this.scheduler.runUntil(() => this.cluster.isWhole, LIMIT_MS));
    // Leadership is where it belongs then, and stays.
    await this.scheduler.runFor(SETTLING_MS);
    assert.ok(this.cluster.isWhole);
  }
}

/** What a scan through a leader that is cut off, and does not notice, says after the next leader has answered a write. */
async function scanThroughOldLeader(seed: number): Promise<ScanOutcome> {
  const world = new World(seed, 1);
  await world.start();
  const { cluster, scheduler } = world;
  const old = cluster.leaderOf(0)!;
  const others = cluster.names.filter((name) => name !== old.name);
  for (const other of others) {
    cluster.network.cut(old.name, other);
    cluster.network.cut(other, old.name);
  }
  const leads = ({ name, running }: Host): boolean => {
    return name !== old.name && running?.node.host.groups[0]!.isServing === true;
  };
  assert.ok(await scheduler.runUntil(() => cluster.hosts.some(leads), LIMIT_MS));
  const next = cluster.hosts.find(leads)!;
  const { kind } = await scheduler.run(cluster.client(next.name).put('key', 'new', null), LIMIT_MS);
  assert.equal(kind, 'written');
  const outcome = await scheduler.run(cluster.client(old.name).scan(RANGE), LIMIT_MS);
  cluster.stopAll();
  return outcome;
}

test('Raft rule 22: a leader that is cut off confirms no scan, so that none misses what the next one has answered', async () => {
  for (let seed = 1; seed <= SEEDS; seed++) {
    plantMutations(['raft-check-quorum-skipped']);
    assert.equal((await scanThroughOldLeader(seed)).kind, 'failed', `seed ${seed}`);
    plantMutations(['raft-check-quorum-skipped', 'cluster-instant-without-round']);
    const outcome = await scanThroughOldLeader(seed);
    assert.ok(outcome.kind === 'snapshot' && outcome.items.length === 0, 'without its round it misses the write');
  }
});

test('scans through all nodes at once, beside writes, find their instants without getting into a circle', async () => {
  const world = new World(5, 8);
  await world.start();
  const { cluster, scheduler } = world;
  const untilMs = scheduler.nowMs + 400;
  let scans = 0;
  let writes = 0;
  const scanner = async (node: string): Promise<void> => {
    while (scheduler.nowMs < untilMs) {
      const { kind } = await cluster.client(node).scan(RANGE);
      assert.equal(kind, 'snapshot');
      scans++;
    }
  };
  const writer = async (number: number): Promise<void> => {
    for (let i = 0; scheduler.nowMs < untilMs; i++) {
      const outcome = await cluster.client().put(`key:${number}:${i % 10}`, String(i), null);
      if (outcome.kind === 'written') writes++;
    }
  };
  const scanners = cluster.names.flatMap((name) => [scanner(name), scanner(name)]);
  const writers = Array.from({ length: 6 }, (_, number) => writer(number));
  await scheduler.run(Promise.all([...scanners, ...writers]), LIMIT_MS);
  const failed = cluster.hosts.reduce((sum, { running }) => sum + running!.instants.failedRounds, 0);
  cluster.stopAll();
  assert.ok(scans > 60 && writes > 60, `${scans} scans and ${writes} writes in 400 ms`);
  assert.ok(failed < scans / 20, `${failed} attempts failed`);
});

test('Raft rule 22: what has expired after the instant that a scan holds is there for reads, and no write says otherwise', async () => {
  const world = new World(3, 1);
  await world.start();
  const { cluster, scheduler } = world;
  const { service, node } = cluster.leaderOf(0)!.running!;
  const [group] = node.host.groups;
  const key = Buffer.from('key');
  await scheduler.run(
    new Promise<void>((resolve) =>
      service.put(key, 0, key.length, Buffer.from('1'), { ...PLAIN_PUT, ttlSeconds: 0.05 }, () => resolve()),
    ),
    LIMIT_MS,
  );
  node.host.holdCommit(group!, group!.raft.latestInstant);
  await scheduler.runFor(100);
  const held = await scheduler.run(service.get(key, { at: 0 }), LIMIT_MS);
  assert.notEqual(held, null);
  let answer: string | null = null;
  service.delete(key, null, (error, _revision, deleted) => (answer = error?.code ?? `deleted: ${deleted}`));
  await scheduler.runFor(100);
  assert.equal(answer, null, 'the answer waits as a write would');
  node.host.holdCommit(group!, Infinity);
  await scheduler.runFor(100);
  assert.equal(answer, 'deleted: false');
  assert.equal(await scheduler.run(service.get(key, { at: 0 }), LIMIT_MS), null);
  cluster.stopAll();
});

test('a revision of a leader whose clock is ahead is no future for other nodes, and what was made sure of once needs nobody', async () => {
  const world = new World(7, 1);
  await world.start();
  const { cluster, scheduler } = world;
  const leader = cluster.leaderOf(0)!;
  leader.machine.clock.jumpWall(400);
  await scheduler.runFor(300);
  const written = await scheduler.run(cluster.client(leader.name).put('key', 'new', null), LIMIT_MS);
  const at = written.kind === 'written' ? written.revision : 0;
  const [other, third] = cluster.hosts.filter(({ name }) => name !== leader.name);
  const { service, node } = other!.running!;
  assert.ok(at > node.host.now(), `${at} is ahead of ${node.host.now()}`);
  const key = Buffer.from('key');
  assert.equal((await scheduler.run(service.get(key, { at }), LIMIT_MS))?.revision, at);
  assert.equal(await scheduler.run(service.get(key, { at: at - 1 }), LIMIT_MS), null);
  const tomorrow = at + 86_400_000 * REVISIONS_PER_MS;
  await assert.rejects(scheduler.run(service.get(key, { at: tomorrow }), LIMIT_MS), { code: 'invalid_request' });
  const scan = { startKey: key, endKey: null, reverse: false, keysOnly: false, at };
  for (const host of [leader, third!]) {
    cluster.network.cut(host.name, other!.name);
    cluster.network.cut(other!.name, host.name);
  }
  const pages = await scheduler.run(service.openScan(scan), LIMIT_MS);
  assert.equal((await scheduler.run(pages.next(10, 1000), LIMIT_MS)).length, 1);
  pages.close();
  cluster.stopAll();
});
