import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CairnError } from '../../src/base/errors.js';
import { Prng } from '../../src/base/prng.js';
import { Freshness, type Confirmed } from '../../src/server/freshness.js';
import { Scheduler } from '../sim/ports/scheduler.js';
import { SimClock } from '../sim/ports/sim-clock.js';

const GROUPS = [{ partition: 0 }, { partition: 1 }, { partition: 2 }];

/** Rounds take `roundMs`; without a quorum they fail after as long. */
class World {
  readonly scheduler = new Scheduler(new Prng(1));
  readonly clock = new SimClock(this.scheduler);
  readonly groups = GROUPS;
  readonly rounds: number[] = [];
  roundMs = 10;
  hasQuorum = true;
  instant = 1000;
  readonly freshness = new Freshness(this, this.clock);

  async linearize({ partition }: { readonly partition: number }): Promise<number> {
    this.rounds.push(partition);
    const instant = this.instant++;
    await this.scheduler.sleep(this.roundMs);
    if (!this.hasQuorum) throw new CairnError('not_leader', 'nobody leads');
    return instant;
  }

  /** One stale read: its bound when it was answered, and how long that took. */
  async read(partition = 0): Promise<{ stalenessMs: number; tookMs: number; confirmed: Confirmed }> {
    const startedMs = this.scheduler.nowMs;
    const confirmed = await this.scheduler.run(this.freshness.last(GROUPS[partition]!), 10_000);
    const stalenessMs = this.freshness.stalenessMs(confirmed);
    return { stalenessMs, tookMs: this.scheduler.nowMs - startedMs, confirmed };
  }

  wait(ms: number): Promise<void> {
    return this.scheduler.runFor(ms);
  }
}

test('the age of a state counts from when its round was asked for, not from when it was confirmed', async () => {
  const world = new World();
  await world.scheduler.run(world.freshness.pass(GROUPS[0]!), 1000);
  assert.equal((await world.read()).stalenessMs, 10);
});

test('a stale read does not wait while it is known how old the state can be', async () => {
  const world = new World();
  await world.scheduler.run(world.freshness.pass(GROUPS[0]!), 1000);
  await world.wait(1500);
  const { stalenessMs, tookMs } = await world.read();
  assert.deepEqual([stalenessMs, tookMs], [1510, 0]);
  await world.wait(20);
  assert.equal((await world.read()).stalenessMs, 20, 'it started a round for the next one');
});

test('stale reads in quick succession share a round, and one confirms all groups', async () => {
  const world = new World();
  await world.read();
  assert.deepEqual(world.rounds.toSorted(), [0, 1, 2]);
  for (let i = 0; i < 50; i++) await world.read();
  assert.equal(world.rounds.length, 3);
  await world.wait(150);
  for (let i = 0; i < 50; i++) await world.read();
  assert.deepEqual(world.rounds.slice(3), [0]);
});

test('nobody reads stale data: no rounds', async () => {
  const world = new World();
  await world.read();
  await world.wait(600_000);
  assert.equal(world.rounds.length, 3);
});

test('the first stale read after a long time waits for its round, for a moment', async () => {
  const world = new World();
  await world.read();
  await world.wait(600_000);
  assert.deepEqual((await world.read()).stalenessMs, 10);
  await world.wait(600_000);
  world.roundMs = 5000;
  const { stalenessMs, tookMs } = await world.read();
  assert.equal(tookMs, 250);
  assert.ok(stalenessMs > 600_000);
});

test('without a quorum stale reads go on, with a bound that grows, and try again now and then', async () => {
  const world = new World();
  await world.read();
  world.hasQuorum = false;
  await world.wait(3000);
  for (let i = 1; i <= 20; i++) {
    const { stalenessMs } = await world.read();
    assert.ok(stalenessMs >= 3000);
    await world.wait(10);
  }
  assert.ok(world.rounds.length < 15, `${world.rounds.length} rounds`);
  world.hasQuorum = true;
  await world.wait(200);
  await world.read();
  await world.wait(20);
  assert.ok((await world.read()).stalenessMs <= 40);
});

test('while nothing was confirmed since the start, a stale read waits for the first round and fails with it', async () => {
  const world = new World();
  assert.equal((await world.read()).stalenessMs, 10);
  const other = new World();
  other.hasQuorum = false;
  await assert.rejects(other.read(), { code: 'not_leader' });
});

test('a round that was asked for earlier and confirmed later does not make the state older', async () => {
  const world = new World();
  world.roundMs = 500;
  const slow = world.freshness.pass(GROUPS[0]!);
  await world.wait(100);
  world.roundMs = 10;
  await world.scheduler.run(world.freshness.pass(GROUPS[0]!), 1000);
  const { confirmed } = await world.read();
  await world.scheduler.run(slow, 1000);
  assert.deepEqual((await world.read()).confirmed, confirmed);
});
