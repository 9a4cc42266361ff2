import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CairnError } from '../../../src/base/errors.js';
import { HOLD_ENDED } from '../../../src/cluster/instants/instant-round.js';
import { Instants } from '../../../src/cluster/instants/instants.js';
import { type InstantAnswer, type InstantRequest, NO_INSTANT_ANSWER } from '../../../src/codec/instant-protocol.js';
import { Prng } from '../../../src/base/prng.js';
import type { Group } from '../../../src/replica/group.js';
import { Scheduler } from '../../sim/ports/scheduler.js';
import { SimClock } from '../../sim/ports/sim-clock.js';

const PARTITIONS = [0, 1, 2, 3];
const REQUEST_TIMEOUT_MS = 10_000;
const NOW = 1000;
const ROUND_TRIP_MS = 1;

interface Asked extends InstantRequest {
  readonly nodeId: string;
  readonly atMs: number;
}

/** Partition p is led by node 1 + p % 3; leaders answer well after 1 ms unless the test says otherwise. */
class World {
  readonly scheduler = new Scheduler(new Prng(1));
  readonly asked: Asked[] = [];
  readonly leaderless = new Set<number>();
  /** What a leader says instead; null: nothing; undefined: as usual. */
  answer: (asked: Asked) => InstantAnswer | CairnError | null | undefined = () => undefined;
  historyFloor = 0;
  /** How long a healthy leader was held in all. */
  heldMs = 0;
  readonly #holds = new Map<number, Asked>();
  readonly instants: Instants;

  constructor() {
    const clock = new SimClock(this.scheduler);
    const floor = (): number => this.historyFloor;
    const ask = (nodeId: string, request: InstantRequest): Promise<InstantAnswer> => this.#ask(nodeId, request);
    this.instants = new Instants({
      nodeId: 'n1',
      clock,
      random: { uint32: () => 2 ** 31, fill: () => undefined },
      requestTimeoutMs: REQUEST_TIMEOUT_MS,
      holds: { handle: (request) => ask('n1', request) },
      ask,
      engine: {
        pinRevision: (revision: number) => ({ revision, release: () => undefined }),
        get historyFloor() {
          return floor();
        },
      },
      host: {
        groups: PARTITIONS.map((partition) => ({ partition })) as unknown as Group[],
        now: () => NOW + Math.floor(this.scheduler.nowMs),
        leaderOf: ({ partition }) => (this.leaderless.has(partition) ? null : `n${1 + (partition % 3)}`),
        notServing: () => new CairnError('not_leader', 'nobody leads'),
        whenReached: () => null,
      },
    });
  }

  async #ask(nodeId: string, request: InstantRequest): Promise<InstantAnswer> {
    const asked = { nodeId, atMs: this.scheduler.nowMs, ...request };
    this.asked.push(asked);
    const said = this.answer(asked);
    await this.scheduler.sleep(ROUND_TRIP_MS);
    if (said === null) return new Promise(() => {});
    if (said instanceof CairnError) throw said;
    return said ?? this.#usual(asked);
  }

  #usual(asked: Asked): InstantAnswer {
    const { step, nodeId, hold, revision } = asked;
    if (step === 'raise') {
      const id = this.asked.indexOf(asked) + 1;
      this.#holds.set(id, asked);
      return { ...NO_INSTANT_ANSWER, hold: id, revision, settled: true };
    }
    const raised = this.#holds.get(hold);
    if ((step === 'release' || step === 'confirm') && raised !== undefined) {
      this.#holds.delete(hold);
      if (nodeId === 'n1') this.heldMs += Math.min(raised.holdMs, this.scheduler.nowMs - raised.atMs);
    }
    const { partitions } = raised ?? asked;
    return { ...NO_INSTANT_ANSWER, settled: true, indexes: partitions.map(() => 1) };
  }

  /** Runs until it is settled. */
  run<T>(promise: Promise<T>): Promise<T> {
    return this.scheduler.run(promise, 2 * REQUEST_TIMEOUT_MS);
  }

  raises(nodeId = 'n1'): Asked[] {
    return this.asked.filter((asked) => asked.step === 'raise' && asked.nodeId === nodeId);
  }
}

const TOO_SHORT = new CairnError(HOLD_ENDED, 'the hold has ended');

test('a partition without a leader keeps nobody from committing, and is no reason to hold the others longer later', async () => {
  const world = new World();
  world.leaderless.add(3);
  const scan = world.instants.take(PARTITIONS);
  await world.scheduler.runFor(600);
  assert.equal(world.asked.length, 0);
  await world.run(world.instants.take([0, 1]));
  world.leaderless.clear();
  await world.run(scan);
  assert.deepEqual(
    world.raises().map(({ holdMs }) => holdMs),
    [50, 50],
  );
});

test('reads of several keys whose shared attempt failed go on together', async () => {
  const world = new World();
  world.answer = () => new CairnError('unavailable', 'lost once');
  const reads = Array.from({ length: 100 }, () => world.instants.take([0, 1, 2]));
  await world.scheduler.runFor(0.5);
  world.answer = () => undefined;
  await world.run(Promise.all(reads));
  assert.ok(world.raises().length <= 4, `${world.raises().length} raises`);
});

test('a leader that says nothing holds the others once, and reads that do not need it go on', async () => {
  const world = new World();
  world.answer = ({ nodeId }) => (nodeId === 'n2' ? null : undefined);
  const scan = world.instants.take(PARTITIONS).catch((error: CairnError) => error);
  await world.scheduler.runFor(3000);
  await world.run(world.instants.take([0, 2]));
  assert.equal(((await world.run(scan)) as CairnError).code, 'unavailable');
  assert.ok(world.heldMs <= 60, `${world.heldMs} ms`);
  assert.ok(world.raises().every(({ holdMs }) => holdMs === 50));
});

test('a hold that was too short is asked for twice as long, half as long after success, and writes rest as long in between', async () => {
  const world = new World();
  world.answer = ({ step, holdMs }) => (step === 'raise' && holdMs < 800 ? TOO_SHORT : undefined);
  await world.run(world.instants.take(PARTITIONS));
  await world.run(world.instants.take(PARTITIONS).catch(() => null));
  const raises = world.raises();
  assert.deepEqual(
    raises.map(({ holdMs }) => holdMs),
    [50, 100, 200, 400, 800, 400, 800],
  );
  raises.slice(1).forEach(({ atMs }, i) => {
    const before = raises[i]!;
    if (before.holdMs < 800) assert.ok(atMs - before.atMs >= before.holdMs, `${before.atMs} to ${atMs}`);
  });
  assert.equal(world.instants.endedHolds, 5);
});

test('attempts that fail side by side count once', async () => {
  const world = new World();
  world.answer = ({ step }) => (step === 'confirm' ? TOO_SHORT : undefined);
  const reads = [[0], [1], [2], [0, 1], [0, 2], [1, 2]].map((partitions) => world.instants.take(partitions));
  await world.scheduler.runFor(12);
  world.answer = () => undefined;
  await world.run(Promise.all(reads));
  assert.ok(Math.max(...world.asked.map(({ holdMs }) => holdMs)) <= 200);
});

test('an answer that makes no sense ends the read at once', async () => {
  const world = new World();
  world.answer = () => new CairnError('protocol_error', 'of another version');
  await assert.rejects(world.run(world.instants.take(PARTITIONS)), { code: 'protocol_error' });
  assert.ok(world.scheduler.nowMs < 10);
});

test('an attempt whose leaders refuse is repeated until the time of a request is over', async () => {
  const world = new World();
  world.answer = () => new CairnError('not_leader', 'another node leads');
  await assert.rejects(world.run(world.instants.take(PARTITIONS)), { code: 'unavailable' });
  assert.ok(world.scheduler.nowMs > 0.9 * REQUEST_TIMEOUT_MS && world.scheduler.nowMs <= REQUEST_TIMEOUT_MS + 1);
});

test('an instant below what a snapshot of another node has left is not read at: the next one is', async () => {
  const world = new World();
  world.answer = ({ step }) => {
    if (step === 'confirm') world.historyFloor = 5000;
    return undefined;
  };
  const { revision } = await world.run(world.instants.take(PARTITIONS));
  assert.equal(world.raises().length, 2);
  assert.ok(world.raises()[0]!.revision < 5000);
  assert.equal(revision, 5000);
});

test('reads that meet expired versions at a time ask once, and later ones of what had expired by then not at all', async () => {
  const world = new World();
  const { instants } = world;
  assert.equal(instants.completeUpTo(1), 0);
  await world.run(Promise.all([instants.complete(1, 900, 950), instants.complete(1, 940, 960)]));
  assert.deepEqual(
    world.asked.map(({ nodeId, step, revision }) => [nodeId, step, revision]),
    [['n2', 'reach', 950]],
  );
  assert.equal(instants.completeUpTo(1), 950);
  await world.run(Promise.all([instants.complete(1, 955, 956), instants.complete(1, 958, 959)]));
  assert.equal(world.asked.length, 3, 'what expired after the first of them is not settled by it');
});
