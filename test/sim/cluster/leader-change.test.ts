import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CairnError } from '../../../src/base/errors.js';
import { Prng } from '../../../src/base/prng.js';
import { PLAIN_PUT } from '../../../src/server/service.js';
import { Scheduler } from '../ports/scheduler.js';
import { Reached } from './reached.js';
import { SimCluster, type Host } from './sim-cluster.js';
import { drawSwarm } from './swarm.js';

const DAY_MS = 86_400_000;
const KEY = Buffer.from('key');
/** As SimCluster gives it to its nodes, and how often they look. */
const REQUEST_TIMEOUT_MS = 2000;
const DEADLINE_CHECK_MS = 500;

interface Written {
  readonly error: CairnError | null;
  readonly revision: number;
}

/** Three nodes with one group. The cluster's watch checks each step of their cores. */
class World {
  readonly scheduler: Scheduler;
  readonly cluster: SimCluster;

  constructor(seed: number, offsetsMs: readonly number[] = [0, 0, 0]) {
    const prng = new Prng(seed);
    this.scheduler = new Scheduler(prng);
    const swarm = { ...drawSwarm(prng), nodes: 3 as const, groups: 1, faults: new Set<never>() };
    const { scheduler } = this;
    this.cluster = new SimCluster({ scheduler, prng: prng.fork(), swarm, reached: new Reached() });
    for (const [i, { machine }] of this.cluster.hosts.entries()) machine.clock.jumpWall(offsetsMs[i]!);
    this.cluster.clocks.look();
  }

  async start(): Promise<void> {
    await this.scheduler.run(this.cluster.startAll(), 10_000);
    await this.leader();
  }

  async leader(): Promise<Host> {
    assert.ok(await this.scheduler.runUntil(() => this.cluster.isWhole, 20_000), 'the group has a leader');
    return this.cluster.leaderOf(0)!;
  }

  put(host: Host, value: string, ttlSeconds = 0): Promise<Written> {
    return new Promise((resolve) =>
      host.running!.service.put(
        KEY,
        0,
        KEY.length,
        Buffer.from(`"${value}"`),
        { ...PLAIN_PUT, ttlSeconds },
        (error, revision) => resolve({ error, revision }),
      ),
    );
  }

  /** Through whoever leads, until one takes it. */
  async write(value: string, ttlSeconds = 0): Promise<number> {
    for (;;) {
      const { error, revision } = await this.scheduler.run(this.put(await this.leader(), value, ttlSeconds), 10_000);
      if (error === null) return revision;
      await this.scheduler.runFor(50);
    }
  }

  async read(host: Host): Promise<string | null> {
    for (;;) {
      try {
        const version = await this.scheduler.run(host.running!.service.get(KEY, { at: 0 }), 10_000);
        return version === null ? null : (JSON.parse(Buffer.from(version.value).toString()) as string);
      } catch (error) {
        // There is no leader at this moment.
        if (!(error instanceof CairnError)) throw error;
        await this.scheduler.runFor(50);
      }
    }
  }

  /** The leader's power fails, and it comes back while another one leads. */
  async replaceLeader(): Promise<void> {
    const { cluster } = this;
    const old = await this.leader();
    cluster.kill(old, 'power-loss');
    await this.leader();
    await this.scheduler.run(cluster.start(old), 10_000);
  }

  isolate(host: Host): () => void {
    const { network, names } = this.cluster;
    for (const name of names) {
      if (name === host.name) continue;
      network.cut(host.name, name);
      network.cut(name, host.name);
    }
    return () => network.healAll();
  }
}

test('Promise 3: a leader without its quorum says "unknown" at the deadline; what comes of the write is the same for everybody', async () => {
  for (let seed = 1; seed <= 5; seed++) {
    const world = new World(seed);
    await world.start();
    await world.write('before');
    const old = await world.leader();
    const heal = world.isolate(old);
    const startedMs = world.scheduler.nowMs;
    const { error } = await world.scheduler.run(world.put(old, 'lost?'), 10_000);
    const tookMs = world.scheduler.nowMs - startedMs;
    assert.deepEqual([error?.code, error?.extra?.['outcome']], ['deadline_exceeded', 'unknown']);
    assert.ok(tookMs >= REQUEST_TIMEOUT_MS && tookMs <= REQUEST_TIMEOUT_MS + 2 * DEADLINE_CHECK_MS, `${tookMs} ms`);
    const refused = await world.scheduler.run(world.put(old, 'refused'), 10_000);
    // It has seen by now that nobody answers it; where it would send the write on, it tries until the deadline.
    const refusal = world.cluster.network.streams === null ? 'not_leader' : 'unavailable';
    assert.equal(refused.error?.code, refusal);
    heal();
    await world.scheduler.runFor(3000);
    const values = [];
    for (const host of world.cluster.hosts) values.push(await world.read(host));
    assert.equal(new Set(values).size, 1, JSON.stringify(values));
    assert.ok(values[0] === 'before' || values[0] === 'lost?', values[0]!);
    world.cluster.stopAll();
  }
});

test('Raft rule 20: revisions rise over changes of leaders whose clocks are a day apart, and none is given twice', async () => {
  const world = new World(2, [0, DAY_MS, -DAY_MS]);
  await world.start();
  let last = 0;
  const leaders = new Set<string>();
  for (let round = 0; round < 8; round++) {
    for (let i = 0; i < 5; i++) {
      const revision = await world.write(`${round}.${i}`);
      assert.ok(revision > last, `round ${round}: ${revision} after ${last}`);
      last = revision;
    }
    leaders.add((await world.leader()).name);
    await world.replaceLeader();
  }
  assert.ok(leaders.size > 1);
  world.cluster.stopAll();
});

test('Raft rule 20: what has expired stays so under a next leader whose clock is behind', async () => {
  for (let seed = 1; seed <= 4; seed++) {
    const world = new World(seed);
    await world.start();
    await world.write('short', 1);
    await world.scheduler.runFor(1500);
    const old = await world.leader();
    for (const host of world.cluster.hosts) assert.equal(await world.read(host), null);
    for (const host of world.cluster.hosts) if (host !== old) host.machine.clock.jumpWall(-DAY_MS);
    world.cluster.kill(old, 'power-loss');
    const next = await world.leader();
    for (let i = 0; i < 10; i++) {
      assert.equal(await world.read(next), null);
      await world.scheduler.runFor(100);
    }
    world.cluster.stopAll();
  }
});
