import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Prng } from '../../../src/base/prng.js';
import { readUint32, writeUint32 } from '../../../src/base/bytes.js';
import { PowerLoss } from '../../sim/ports/power-loss.js';
import { type Life, testSeeds, World } from './harness.js';

const REPLICAS = 4;

interface Appended {
  readonly number: number;
  readonly replicaId: number;
  readonly index: number;
  readonly payload: Uint8Array;
  sequence: number;
}

const reached = {
  torn: 0,
  crashInRecovery: 0,
  givenBack: 0,
  rotated: 0,
  refused: 0,
  killed: 0,
  cleanEnd: 0,
  batchedWrites: 0,
};

/** What the log was given and what it promised, over any number of lives. */
class Model {
  readonly prng: Prng;
  readonly world: World;
  /** By number; those that a crash took are cut off. */
  entries: Appended[] = [];
  /** All below it may be gone. */
  flushed = 0;
  /** All below it must be there. */
  acknowledged = 0;
  #sealed = 0;
  #nextIndex = Array.from<number>({ length: REPLICAS }).fill(1);
  /** Commit index of each group's hard states: rises by one with each. */
  #commits = Array.from<number>({ length: REPLICAS }).fill(0);
  #commitSequences: { group: number; commit: number; sequence: number }[] = [];
  #safeCommits = Array.from<number>({ length: REPLICAS }).fill(0);
  #bound = 0;
  #safeBound = 0;
  #boundSequences: { bound: number; sequence: number }[] = [];

  constructor(world: World) {
    this.world = world;
    this.prng = world.prng.fork();
  }

  /** The recovered entries are a run of what was given, which reaches from a released segment's end to beyond all acknowledged. */
  recover(life: Life): void {
    const numbers = life.entries.map((entry) => readUint32(entry.payload, 0));
    const first = numbers[0] ?? this.entries.length;
    for (const [i, number] of numbers.entries()) {
      assert.equal(number, first + i, 'in the order in which they were appended, without a gap');
      const given = this.entries[number]!;
      assert.ok(given !== undefined, 'nothing that was never appended');
      const found = life.entries[i]!;
      assert.deepEqual(
        [found.group, found.replicaId, found.term, found.index, found.revision, found.kind],
        [given.replicaId % 3, given.replicaId, 7, given.index, 1e12 + number, number & 0xff],
      );
      assert.deepEqual(found.payload, given.payload);
    }
    const end = numbers.length === 0 ? Math.max(this.acknowledged, this.flushed) : first + numbers.length;
    if (numbers.length === 0) assert.ok(this.flushed >= this.acknowledged, 'no acknowledged entry is gone');
    assert.ok(first <= this.flushed || numbers.length === 0, `entry ${this.flushed} is gone, the first is ${first}`);
    assert.ok(end >= this.acknowledged, `entry ${this.acknowledged - 1} was acknowledged, the last is ${end - 1}`);
    this.entries.length = end;
    this.acknowledged = end;
    this.#sealed = end;
    this.#nextIndex.fill(1);
    for (const entry of this.entries) this.#nextIndex[entry.replicaId] = entry.index + 1;
    for (let group = 0; group < REPLICAS; group++) {
      const commit = life.log.recovered.hardStates.get(group)?.commit ?? 0;
      assert.ok(commit >= this.#safeCommits[group]!, `hard state ${this.#safeCommits[group]} is gone, found ${commit}`);
      assert.ok(commit <= this.#commits[group]!);
      const delivered = life.hardStates.findLast((state) => state.group === group)?.commit ?? 0;
      assert.equal(delivered, commit);
      this.#commits[group] = this.#safeCommits[group] = commit;
    }
    assert.ok(life.log.clockBound >= this.#safeBound && life.log.clockBound <= this.#bound);
    this.#bound = this.#safeBound = life.log.clockBound;
    this.#commitSequences = [];
    this.#boundSequences = [];
  }

  append(life: Life): void {
    for (let count = this.prng.between(1, 8); count > 0; count--) {
      const number = this.entries.length;
      const replicaId = this.prng.below(REPLICAS);
      const length = this.prng.chance(0.1) ? 1000 : this.prng.between(4, 300);
      const index = this.#nextIndex[replicaId]!;
      const { log } = life;
      const at = log.reserveEntry(replicaId % 3, replicaId, 7, index, 1e12 + number, number & 0xff, length);
      if (at < 0) {
        reached.refused++;
        break;
      }
      const payload = new Uint8Array(length);
      this.prng.fill(payload);
      writeUint32(payload, 0, number);
      log.bytes.set(payload, at);
      this.entries.push({ number, replicaId, index, payload, sequence: Infinity });
      this.#nextIndex[replicaId] = index + 1;
    }
    if (this.prng.chance(0.2)) {
      const group = this.prng.below(REPLICAS);
      if (life.log.appendHardState(group, group, 7, 1, this.#commits[group]! + 1)) {
        const commit = ++this.#commits[group]!;
        this.#commitSequences.push({ group, commit, sequence: Infinity });
      }
    }
    if (this.prng.chance(0.1)) {
      life.log.appendClockBound(++this.#bound);
      this.#boundSequences.push({ bound: this.#bound, sequence: Infinity });
    }
  }

  seal(life: Life): void {
    const sequence = life.log.seal();
    for (; this.#sealed < this.entries.length; this.#sealed++) this.entries[this.#sealed]!.sequence = sequence;
    for (const item of this.#commitSequences) if (item.sequence === Infinity) item.sequence = sequence;
    const { boundSequence } = life.log;
    for (const item of this.#boundSequences) if (item.sequence === Infinity) item.sequence = boundSequence;
  }

  durable(sequence: number): void {
    while (this.acknowledged < this.#sealed && this.entries[this.acknowledged]!.sequence <= sequence) {
      this.acknowledged++;
    }
    for (const item of this.#commitSequences) {
      if (item.sequence <= sequence)
        this.#safeCommits[item.group] = Math.max(this.#safeCommits[item.group]!, item.commit);
    }
    for (const item of this.#boundSequences) {
      if (item.sequence <= sequence) this.#safeBound = Math.max(this.#safeBound, item.bound);
    }
  }

  /** What a clean end leaves in place of the bound. */
  lowerBound(): number {
    this.#bound = this.#safeBound = this.prng.between(0, this.#bound);
    this.#boundSequences = [];
    return this.#bound;
  }

  /** Flushes a part of what is acknowledged, then gives segments back. */
  giveBack(life: Life): void {
    this.flushed = this.prng.between(this.flushed, Math.max(this.flushed, this.acknowledged));
    const flushedIndex = new Map<number, number>();
    for (const entry of this.entries.slice(0, this.flushed)) flushedIndex.set(entry.replicaId, entry.index);
    life.log
      .releaseBefore((_group, replicaId) => flushedIndex.get(replicaId) ?? 0)
      .then(
        (count) => (reached.givenBack += count),
        () => undefined,
      );
  }
}

/** Starts until a start is not interrupted. */
function start(model: Model, onDurable: (sequence: number) => void): Life {
  for (;;) {
    const { world, prng } = model;
    if (prng.chance(0.3)) crashAt(world, prng.between(1, 30));
    try {
      const life = world.start({
        onDurable,
        onWrite: (_ms, _bytes, records) => (reached.batchedWrites += +(records > 1)),
      });
      world.disk.onOperation = undefined;
      model.recover(life);
      if (life.log.recovered.tornBytes > 0) reached.torn++;
      return life;
    } catch (error) {
      if (!(error instanceof PowerLoss)) throw error;
      reached.crashInRecovery++;
      world.crash();
    }
  }
}

/** Switches the machine off in the middle of the operation that is so many ahead. */
function crashAt(world: World, operations: number): void {
  const { disk } = world;
  let left = operations;
  disk.onOperation = () => {
    if (--left === 0) disk.powerOff();
  };
}

async function run(seed: number): Promise<void> {
  const world = new World(seed, { shortTransferProbability: seed % 3 === 0 ? 0.1 : 0 });
  const model = new Model(world);
  for (let lives = 4; lives > 0; lives--) {
    const { prng } = model;
    const life = start(model, (sequence) => model.durable(sequence));
    const segments = life.log.segmentCount;
    if (prng.chance(0.7)) crashAt(world, prng.between(1, 250));
    for (let steps = prng.between(1, 60); steps > 0 && !world.disk.isOff; steps--) {
      model.append(life);
      if (prng.chance(0.9)) model.seal(life);
      if (prng.chance(0.6)) await world.scheduler.runFor(prng.unit() * 6);
      if (prng.chance(0.8)) life.log.release(life.log.durableSequence);
      if (prng.chance(0.15)) model.giveBack(life);
    }
    reached.rotated += Math.max(0, life.log.segmentCount - segments);
    assert.deepEqual(life.failures, []);
    life.clock.stop();
    if (world.disk.isOff || prng.chance(0.5)) {
      world.crash();
    } else {
      world.kill();
      reached.killed++;
    }
  }
  const last = start(model, (sequence) => model.durable(sequence));
  model.append(last);
  model.seal(last);
  await world.scheduler.run(last.log.close(() => model.lowerBound()));
  reached.cleanEnd++;
  assert.equal(model.acknowledged, model.entries.length, 'a clean end leaves nothing unacknowledged');
  last.clock.stop();
  world.crash();
  const next = start(model, (sequence) => model.durable(sequence));
  model.append(next);
  model.seal(next);
  await world.scheduler.runFor(model.prng.unit() * 3);
  next.clock.stop();
  world.crash();
  start(model, () => undefined);
}

test('Log rules 1 to 3: whatever a crash leaves, each durable record is recovered in order and nothing is invented', async () => {
  for (const seed of testSeeds(150)) {
    try {
      await run(seed);
    } catch (error) {
      throw new Error(`seed ${seed}: ${error instanceof Error ? error.stack : String(error)}`, { cause: error });
    }
  }
  for (const [name, count] of Object.entries(reached)) assert.ok(count > 0, `${name} was never reached`);
});
