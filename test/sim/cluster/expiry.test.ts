import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { plantMutations } from '../../../src/base/mutations.js';
import { Prng } from '../../../src/base/prng.js';
import { revisionToMs } from '../../../src/replica/revision-clock.js';
import { PLAIN_PUT, type PutOptions } from '../../../src/server/service.js';
import { Scheduler } from '../ports/scheduler.js';
import { Reached } from './reached.js';
import { SimCluster, type Host } from './sim-cluster.js';
import { drawSwarm } from './swarm.js';

const SEEDS = 4;
const LIMIT_MS = 60_000;
const SLOW_LOG_MS = 200;
const KEY = Buffer.from('timed');

afterEach(() => plantMutations([]));

function put({ running }: Host, options: Partial<PutOptions>): Promise<number> {
  return new Promise((resolve, reject) => {
    running!.service.put(KEY, 0, KEY.length, Buffer.from('1'), { ...PLAIN_PUT, ...options }, (error, revision) =>
      error === null ? resolve(revision) : reject(error),
    );
  });
}

/** A key expires while a write that found it is on its way: what reads through all nodes say before and after the answer to that write. */
async function readsAroundExpiry(seed: number): Promise<{ readonly before: string[]; readonly after: string[] }> {
  const prng = new Prng(seed);
  const scheduler = new Scheduler(prng);
  const swarm = { ...drawSwarm(prng), nodes: 3 as const, groups: 1, faults: new Set<never>() };
  const cluster = new SimCluster({ scheduler, prng, swarm, reached: new Reached() });
  await scheduler.run(cluster.startAll(), LIMIT_MS);
  assert.ok(await scheduler.runUntil(() => cluster.isWhole, LIMIT_MS));
  const leader = cluster.leaderOf(0)!;
  const first = await scheduler.run(put(leader, { ttlSeconds: 1 }), LIMIT_MS);
  const expiresAtMs = revisionToMs(first) + 1000;
  const leftMs = (): number => expiresAtMs - revisionToMs(leader.running!.node.revisionClock.now());
  assert.ok(await scheduler.runUntil(() => leftMs() <= 3, LIMIT_MS));
  for (const host of cluster.hosts) host.logWriteMs = SLOW_LOG_MS;
  const before: string[] = [];
  const after: string[] = [];
  let isWritten = false;
  const writing = put(leader, { condition: { revisions: [first] } }).then(() => (isWritten = true));
  assert.ok(await scheduler.runUntil(() => leftMs() < -1, LIMIT_MS));
  assert.ok(!isWritten);
  const reads = cluster.names.map(async (name) => {
    const { kind } = await cluster.client(name).get('timed');
    (isWritten ? after : before).push(kind);
  });
  await scheduler.run(Promise.all([...reads, writing]), LIMIT_MS);
  cluster.stopAll();
  return { before, after };
}

test('CORRECTNESS.md, promise 2: a read that finds a key expired waits for the writes from before: none that found it is answered later', async () => {
  let seen = 0;
  for (let seed = 1; seed <= SEEDS; seed++) {
    plantMutations([]);
    const { before, after } = await readsAroundExpiry(seed);
    const kinds = [...before, ...after];
    assert.deepEqual(kinds, ['found', 'found', 'found'], `seed ${seed}`);
    plantMutations(['server-expired-before-decided']);
    if ((await readsAroundExpiry(seed)).before.includes('absent')) seen++;
  }
  assert.ok(seen > 0, 'the planted bug is seen');
});
