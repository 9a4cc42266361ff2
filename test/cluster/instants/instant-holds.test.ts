import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { CairnError } from '../../../src/base/errors.js';
import { plantMutations } from '../../../src/base/mutations.js';
import { InstantHolds } from '../../../src/cluster/instants/instant-holds.js';
import { HOLD_ENDED, NO_FIELDS } from '../../../src/cluster/instants/instant-round.js';
import type { InstantAnswer, InstantRequest } from '../../../src/codec/instant-protocol.js';
import type { Clock } from '../../../src/ports/clock.js';
import type { Group } from '../../../src/replica/group.js';
import { REVISIONS_PER_MS } from '../../../src/replica/revision-clock.js';

const HOLD_MS = 50;
const TRUSTED = 1_000_000;

afterEach(() => plantMutations([]));

/** One group's core, as far as holds look at it: a log of revisions of which the first `commitIndex` are committed. */
class FakeGroup {
  readonly partition: number;
  readonly log: number[] = [100, 200];
  commitIndex = 2;
  held = Infinity;
  isServing = true;
  term = 3;
  role = 'leader';
  latestRead = 0;

  constructor(partition: number) {
    this.partition = partition;
  }

  get raft(): this {
    return this;
  }

  get latestInstant(): number {
    return Math.max(this.latestRead, ...this.log);
  }

  indexToCommit(revision: number): number {
    return this.log.filter((each) => each <= revision).length;
  }
}

class World {
  readonly groups = [new FakeGroup(0), new FakeGroup(1)];
  readonly timers: { readonly atMs: number; readonly callback: () => void; isCancelled: boolean }[] = [];
  readonly waiting: { readonly group: FakeGroup; readonly index: number; readonly done: () => void }[] = [];
  readonly rounds: { readonly group: FakeGroup; readonly done: (error?: CairnError) => void }[] = [];
  relied = 0;
  now = 5000;
  elapsedMs = 0;
  readonly holds: InstantHolds;

  constructor(readToken = 0) {
    const clock = {
      monotonicMs: () => this.elapsedMs,
      setTimer: (delayMs: number, callback: () => void) => {
        const timer = { atMs: delayMs, callback, isCancelled: false };
        this.timers.push(timer);
        return { cancel: () => (timer.isCancelled = true) };
      },
    } as unknown as Clock;
    const fake = (group: Group): FakeGroup => group as unknown as FakeGroup;
    this.holds = new InstantHolds(
      {
        groups: this.groups as unknown as Group[],
        now: () => this.now,
        get latestTrusted() {
          return this.now() + TRUSTED;
        },
        readToken,
        rely: (instant) => {
          this.relied = Math.max(this.relied, instant);
          return null;
        },
        notServing: () => new CairnError('not_leader', 'another node leads'),
        holdCommit: (group, revision) => void (fake(group).held = revision),
        whenLifted: () => null,
        whenReached: (group, index) =>
          fake(group).commitIndex >= index
            ? null
            : new Promise((done) => void this.waiting.push({ group: fake(group), index, done })),
        linearize: (group) =>
          new Promise((resolve, reject) => {
            const done = (error?: CairnError): void => (error === undefined ? resolve(Infinity) : reject(error));
            this.rounds.push({ group: fake(group), done });
          }),
      },
      clock,
    );
  }

  ask(fields: Partial<InstantRequest> & Pick<InstantRequest, 'step'>): Promise<InstantAnswer> {
    return this.holds.handle({ ...NO_FIELDS, ...fields });
  }

  raise(revision: number, partitions = [0, 1]): Promise<InstantAnswer> {
    return this.ask({ step: 'raise', revision, holdMs: HOLD_MS, partitions });
  }

  get held(): number[] {
    return this.groups.map(({ held }) => held);
  }

  /** What was proposed commits as far as it may. */
  commit(): void {
    for (const group of this.groups) {
      group.commitIndex = group.log.filter((revision) => revision <= group.held).length;
    }
    for (const each of this.waiting.splice(0)) {
      if (each.group.commitIndex >= each.index) each.done();
      else this.waiting.push(each);
    }
  }

  timeIsOver(): void {
    for (const { callback, isCancelled } of this.timers.splice(0)) if (!isCancelled) callback();
  }

  confirm(hold: number): Promise<InstantAnswer> {
    setImmediate(() => {
      for (const { done } of this.rounds.splice(0)) done();
    });
    return this.ask({ step: 'confirm', hold });
  }
}

test('Raft rule 22: a raise holds above its instant, and is answered when everything below is committed', async () => {
  const world = new World();
  world.groups[0]!.log.push(300);
  let answer: InstantAnswer | null = null;
  void world.raise(400).then((given) => (answer = given));
  assert.deepEqual(world.held, [400, 400]);
  assert.equal(world.relied, 400, 'later revisions lie above it');
  await new Promise(setImmediate);
  assert.equal(answer, null);
  world.commit();
  await new Promise(setImmediate);
  assert.deepEqual(answer, { hold: 1, revision: 400, settled: true, indexes: [] });
});

test('Raft rule 22: a raise below what was written or read is answered at once, with the instant that it holds', async () => {
  const world = new World();
  world.groups[0]!.log.push(500);
  world.groups[1]!.latestRead = 700;
  const { hold, revision, settled } = await world.raise(400);
  assert.deepEqual([revision, settled, world.held], [700, false, [700, 700]]);
  const lifted = world.ask({ step: 'lift', hold, revision: 900 });
  assert.deepEqual(world.held, [900, 900]);
  world.commit();
  assert.equal((await lifted).settled, true);
});

test('a confirmed hold is let go, and tells where the instant lies in each log', async () => {
  const world = new World();
  const { hold } = await world.raise(400);
  world.groups[1]!.log.push(410);
  world.commit();
  world.elapsedMs += 3;
  const { indexes } = await world.confirm(hold);
  assert.deepEqual(indexes, [2, 2]);
  assert.deepEqual(world.held, [Infinity, Infinity]);
  assert.equal(world.holds.count, 0);
  assert.equal(world.holds.heldMs, 3);
});

test('Raft rule 22: a hold that has ended by itself is not confirmed', async () => {
  const world = new World();
  const { hold } = await world.raise(400);
  assert.equal(world.timers[0]!.atMs, HOLD_MS);
  world.timeIsOver();
  assert.deepEqual(world.held, [Infinity, Infinity]);
  await assert.rejects(world.confirm(hold), { code: HOLD_ENDED });
});

test('a raise that waits for a commit which does not come ends with its hold', async () => {
  const world = new World();
  world.groups[0]!.log.push(300);
  const answer = world.raise(400);
  world.timeIsOver();
  await assert.rejects(answer, { code: HOLD_ENDED });
  assert.equal(world.holds.count, 0);
});

test('Raft rule 22: a hold of an earlier term is not confirmed, and holds nothing in a later one', async () => {
  const world = new World();
  const { hold } = await world.raise(400);
  const other = await world.raise(450);
  world.groups[1]!.term = 4;
  await assert.rejects(world.confirm(hold), { code: 'unavailable' });
  assert.deepEqual(world.held, [450, Infinity]);
  await assert.rejects(world.ask({ step: 'lift', hold: other.hold, revision: 500 }), { code: 'unavailable' });
  assert.deepEqual(world.held, [Infinity, Infinity]);
});

test('Raft rule 7: a confirmation waits for the round of every group', async () => {
  const world = new World();
  const { hold } = await world.raise(400);
  const answer = world.ask({ step: 'confirm', hold });
  await new Promise(setImmediate);
  assert.deepEqual(
    world.rounds.map(({ group }) => group.partition),
    [0, 1],
  );
  world.rounds[0]!.done();
  world.rounds[1]!.done(new CairnError('not_leader', 'another node leads'));
  await assert.rejects(answer, { code: 'not_leader' });
});

test('several scans hold at a time: the lowest instant counts, whoever lets go first', async () => {
  const world = new World();
  const low = await world.raise(400);
  const high = await world.raise(600, [1]);
  assert.deepEqual(world.held, [400, 400]);
  await world.ask({ step: 'release', hold: low.hold });
  assert.deepEqual(world.held, [Infinity, 600]);
  await world.ask({ step: 'release', hold: high.hold });
  await world.ask({ step: 'release', hold: high.hold });
  assert.deepEqual(world.held, [Infinity, Infinity]);
});

test('a node that does not lead all of the partitions holds none', async () => {
  const world = new World();
  world.groups[1]!.isServing = false;
  await assert.rejects(world.raise(400), { code: 'not_leader' });
  await assert.rejects(world.raise(400, [7]), { code: 'protocol_error' });
  await assert.rejects(world.raise(400, []), { code: 'protocol_error' });
  assert.deepEqual([world.held, world.holds.count], [[Infinity, Infinity], 0]);
});

test('a read of the past waits for what is written below it, and binds the clock, without a hold', async () => {
  const world = new World();
  world.groups[0]!.log.push(300);
  let answer: InstantAnswer | null = null;
  void world.ask({ step: 'reach', revision: 350, partitions: [0, 1] }).then((given) => (answer = given));
  assert.deepEqual([world.relied, world.held], [350, [Infinity, Infinity]]);
  for (const { done } of world.rounds.splice(0)) done();
  await new Promise(setImmediate);
  assert.equal(answer, null);
  world.commit();
  await new Promise(setImmediate);
  assert.deepEqual((answer as InstantAnswer | null)?.indexes, [3, 2]);
});

test('Raft rule 20: an instant far ahead of the clocks is refused, and nothing is bound or held by it', async () => {
  const world = new World();
  const ahead = world.now + TRUSTED + 1;
  await assert.rejects(world.raise(ahead), { code: 'unavailable' });
  await assert.rejects(world.ask({ step: 'reach', revision: ahead, partitions: [0] }), { code: 'unavailable' });
  const { hold } = await world.raise(400);
  await assert.rejects(world.ask({ step: 'lift', hold, revision: ahead }), { code: 'unavailable' });
  assert.deepEqual([world.relied, world.held], [400, [400, 400]]);
});

test('Raft rule 22: what was meant for a hold of an earlier life of the node touches none of this one', async () => {
  const earlier = await new World(1000).raise(400);
  const world = new World(2000);
  const { hold } = await world.raise(500);
  await assert.rejects(world.confirm(earlier.hold), { code: HOLD_ENDED });
  await world.ask({ step: 'release', hold: earlier.hold });
  assert.deepEqual(world.held, [500, 500]);
  assert.notEqual(hold, earlier.hold);
});

test('a scan through a node whose time is far behind is at the time of the leaders', async () => {
  const world = new World();
  world.now = 10_000 * REVISIONS_PER_MS;
  const { revision } = await world.raise(world.now - 1001 * REVISIONS_PER_MS);
  assert.equal(revision, world.now);
  const other = new World();
  other.now = world.now;
  const near = world.now - 999 * REVISIONS_PER_MS;
  assert.equal((await other.raise(near)).revision, near);
});

test('the planted bugs in what leaders do for a scan are seen', async () => {
  plantMutations(['cluster-instant-hold-broken', 'cluster-instant-without-round', 'cluster-instant-unsettled']);
  const world = new World();
  world.groups[0]!.log.push(300);
  const { hold, settled } = await world.raise(400);
  assert.ok(settled, 'before everything below is committed');
  world.timeIsOver();
  const { indexes } = await world.ask({ step: 'confirm', hold });
  assert.deepEqual(indexes, [2, 2], 'after the end of the hold, and without a round');
});
