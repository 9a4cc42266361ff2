import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '../../src/base/prng.js';
import { ClusterClocks } from '../../src/cluster/host/cluster-clocks.js';
import { initialConfiguration } from '../../src/raft/configuration.js';
import { REVISIONS_PER_MS, RevisionClock, revisionToMs } from '../../src/replica/revision-clock.js';
import { Scheduler } from '../sim/ports/scheduler.js';
import { SimClock } from '../sim/ports/sim-clock.js';

const DAY_MS = 86_400_000;

/** Nodes whose clocks are off by `offsetsMs`; the first one's idea of now is looked at. */
class World {
  readonly scheduler = new Scheduler(new Prng(1));
  readonly clocks: SimClock[];
  readonly clusterClocks: ClusterClocks;
  readonly revisions: RevisionClock;

  constructor(...offsetsMs: readonly number[]) {
    this.clocks = offsetsMs.map((offset) => {
      const clock = new SimClock(this.scheduler);
      clock.jumpWall(offset);
      return clock;
    });
    const own = this.clocks[0]!;
    this.revisions = new RevisionClock(own, 0, (ms) => this.clusterClocks.capAt(ms));
    const configuration = initialConfiguration(offsetsMs.map((_, i) => `n${i + 1}`));
    this.clusterClocks = new ClusterClocks([{ raft: { configuration, id: 1 } }], own, this.revisions);
  }

  /** The node answers the first one's leader. */
  hear(node: number): void {
    const clock = new RevisionClock(this.clocks[node - 1]!, 0).wall;
    const message = { group: 1, from: node, to: 1, term: 1, index: 0, clock } as const;
    this.clusterClocks.heard(`n${node}`, { type: 'append_reply', ...message });
  }

  /** How far ahead of true time the first node's idea of now is. */
  get aheadMs(): number {
    return revisionToMs(this.revisions.now()) - this.#trueMs;
  }

  /** How far ahead of true time an instant may be that another node asks for. */
  get trustedMs(): number {
    return revisionToMs(this.clusterClocks.latestTrusted(this.revisions.now())) - this.#trueMs;
  }

  get #trueMs(): number {
    return Date.UTC(2026, 0, 1) + this.scheduler.nowMs;
  }
}

test('Raft rule 20: a clock a day ahead of the others pulls time half a second ahead, not further', async () => {
  const world = new World(DAY_MS, 0, 0);
  world.hear(2);
  world.hear(3);
  assert.equal(world.aheadMs, 500);
  await world.scheduler.runFor(60_000);
  assert.equal(world.aheadMs, 500);
  assert.ok(revisionToMs(world.revisions.next(0, 5, 64)) <= revisionToMs(world.revisions.now()));
});

test('Raft rule 20: another node is trusted a minute ahead of the clocks, also by one whose own is slow, and not step by step', () => {
  for (const own of [0, -DAY_MS]) {
    const world = new World(own, 0, 0);
    world.hear(2);
    world.hear(3);
    assert.equal(world.trustedMs, 60_500);
    world.revisions.raise(world.revisions.now() + 1000 * REVISIONS_PER_MS);
    assert.equal(world.trustedMs, 60_500);
  }
  assert.equal(new World(0).trustedMs, 60_000, 'alone its own clock counts');
});

test('a clock that is right is followed to the millisecond, whatever a minority shows', () => {
  for (const others of [
    [DAY_MS, 0],
    [0, -DAY_MS],
    [DAY_MS, 0, 0, DAY_MS],
  ]) {
    const world = new World(0, ...others);
    for (let node = 2; node <= others.length + 1; node++) world.hear(node);
    assert.equal(world.aheadMs, 0);
  }
});

test('a clock that jumps ahead while the node runs is not followed', async () => {
  const world = new World(0, 0, 0);
  world.hear(2);
  world.hear(3);
  assert.equal(world.aheadMs, 0);
  world.clocks[0]!.jumpWall(DAY_MS);
  assert.ok(world.aheadMs <= 500);
  await world.scheduler.runFor(5000);
  assert.equal(world.aheadMs, 500);
});

test('when most clocks are ahead, they are right', () => {
  const world = new World(DAY_MS, DAY_MS, 0);
  world.hear(2);
  world.hear(3);
  assert.equal(world.aheadMs, DAY_MS);
});

test('a clock that was set right is heard again', () => {
  const world = new World(DAY_MS, DAY_MS, 0);
  world.hear(2);
  world.hear(3);
  world.clocks[1]!.jumpWall(-DAY_MS);
  world.hear(2);
  assert.ok(world.clusterClocks.capAt(world.clocks[0]!.monotonicMs() + 100) < world.revisions.wall);
});

test('a node that has heard from no quorum since its start does not follow its own clock', () => {
  const world = new World(DAY_MS, 0, 0, 0, 0);
  world.revisions.raise(4_000_000);
  assert.equal(world.revisions.now(), 4_000_000);
  world.hear(2);
  assert.equal(world.revisions.now(), 4_000_000);
  world.hear(3);
  assert.equal(world.aheadMs, 500);
});

test('a node alone follows its own clock', () => {
  assert.equal(new World(DAY_MS).aheadMs, DAY_MS);
});

test('Raft rule 20: beyond the cap revisions tick by one from the last one', () => {
  const world = new World(DAY_MS, 0, 0);
  world.hear(2);
  world.hear(3);
  const ahead = world.revisions.now() + 3_600_000 * REVISIONS_PER_MS;
  const first = world.revisions.next(ahead, 5, 64);
  assert.ok(first > ahead && first <= ahead + 64);
  assert.equal(world.revisions.next(first, 5, 64), first + 64);
});
