import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AssertionFailure } from '../../../src/base/assert.js';
import { CairnError, CorruptionError } from '../../../src/base/errors.js';
import { Prng } from '../../../src/base/prng.js';
import type { Engine } from '../../../src/engine/engine.js';
import type { Revision } from '../../../src/lsm/row-key.js';
import { DiskError } from '../../../src/ports/disk.js';
import {
  bytesOf,
  DIRECTORY,
  HastyClock,
  newDisk,
  openHarness,
  putRecord,
  readAt,
  write,
  type Harness,
} from '../engine-harness.js';
import { addChunks, readChunks, stateOf, WrittenReplica, type Version } from './transfer-harness.js';

const SEEDS = Number(process.env['CAIRN_TEST_SEEDS'] ?? 12);
const FIRST_SEED = Number(process.env['CAIRN_TEST_FIRST_SEED'] ?? 1);
const GROUP = 7;
const TABLES = `${DIRECTORY}/tables`;

/** An engine whose replicas are written to at random. */
class World {
  readonly prng: Prng;
  readonly clock = new HastyClock();
  harness!: Harness;
  replicas: WrittenReplica[] = [];
  now: Revision = 1000;

  constructor(prng: Prng) {
    this.prng = prng;
  }

  static async open(prng: Prng, groups: readonly number[]): Promise<World> {
    const world = new World(prng);
    world.harness = await openHarness(newDisk(prng.uint32()), {
      clock: world.clock,
      targetTableSizeBytes: prng.pick([1000, 4000]),
      levelBaseSizeBytes: prng.pick([2000, 20_000]),
      level0: { compactionTables: 2 },
      historyWindowMs: prng.pick([0, 0.02]),
    });
    const ids = await world.engine.createReplicas(groups);
    world.replicas = ids.map((replicaId) => new WrittenReplica(world.engine, replicaId));
    return world;
  }

  get engine(): Engine {
    return this.harness.engine;
  }

  /** Some writes, each an entry, and now and then what moves data about. */
  async work(writes: number): Promise<void> {
    const { prng, harness, engine } = this;
    for (let i = 0; i < writes; i++) {
      this.now += prng.between(1, 4);
      prng.pick(this.replicas).write(prng, this.now, prng.pick([10, 60, 400]));
      harness.now = this.now;
      // A slow reader's cursor gets old.
      if (prng.chance(0.1)) this.clock.nowMs += prng.pick([1, 6, 6000]);
      if (prng.chance(0.05)) await engine.flush();
      if (prng.chance(0.02)) await engine.compact();
    }
  }
}

test('promise 2: a snapshot answers every read at or above its floor on the receiver as on the sender, whatever goes on beside it', async () => {
  let chunkCount = 0;
  for (let seed = FIRST_SEED; seed < FIRST_SEED + SEEDS; seed++) {
    const prng = new Prng(seed);
    const sender = await World.open(prng, [1, GROUP, 9]);
    await sender.work(prng.pick([0, 20, 150]));
    const source = sender.replicas[1]!;
    const floor = Math.max(sender.engine.historyFloor, prng.between(990, sender.now + 10));
    const revision = source.versions.at(-1)?.revision ?? 0;
    const expected = [...source.versions];
    const chunkBytes = prng.pick([64, 300, 2000]);
    const snapshot = sender.engine.openReplicaSnapshot({ replicaId: source.replicaId, floor, revision, chunkBytes });

    const receiver = await World.open(prng, [1, GROUP]);
    await receiver.work(prng.pick([0, 100]));
    const batchBytes = prng.pick([64, 1000, 20_000]);
    const importer = await receiver.engine.beginReplicaImport({ batchBytes });
    const chunks = await readChunks(snapshot, async () => {
      if (prng.chance(0.3)) await sender.work(prng.below(10));
      if (prng.chance(0.3)) await receiver.work(prng.below(10));
    });
    chunkCount += chunks.length;
    await addChunks(importer, chunks);
    const state = stateOf(GROUP, importer, revision);
    await importer.finish(state, { floor });
    const { engine } = receiver;
    assert.deepEqual(engine.groupStates().get(GROUP), state);
    assert.ok(engine.historyFloor >= floor);
    const copy = new WrittenReplica(engine, importer.replicaId, expected);
    const neighbour = receiver.replicas[0]!;
    receiver.now = Math.max(receiver.now, sender.now, floor) + 50;
    await copy.check(engine.historyFloor, receiver.now);
    await neighbour.check(engine.historyFloor, receiver.now);

    // The new replica lives on: it is written to, flushed and compacted like any other.
    receiver.replicas = [neighbour, copy];
    await receiver.work(30);
    await engine.compact();
    await copy.check(engine.historyFloor, receiver.now);
    await neighbour.check(engine.historyFloor, receiver.now);
    assert.deepEqual([...sender.harness.errors, ...receiver.harness.errors], [], `seed ${seed}`);
    await sender.engine.close();
    await engine.close();
  }
  assert.ok(chunkCount > 2 * SEEDS, `only ${chunkCount} chunks`);
});

test('LSM rule 18: a snapshot gives the same bytes whatever writes, flushes and compactions do while it is read', async () => {
  for (let seed = FIRST_SEED; seed < FIRST_SEED + SEEDS; seed++) {
    const prng = new Prng(seed);
    const world = await World.open(prng, [1, GROUP]);
    await world.work(150);
    const source = world.replicas[1]!;
    const floor = world.engine.historyFloor;
    const revision = source.versions.at(-1)?.revision ?? 0;
    const request = { replicaId: source.replicaId, floor, revision, chunkBytes: 200 };
    const slow = world.engine.openReplicaSnapshot(request);
    const fast = await readChunks(world.engine.openReplicaSnapshot(request));
    assert.ok(fast.length > 1);
    assert.deepEqual(await readChunks(slow, () => world.work(10)), fast, `seed ${seed}`);
    await world.engine.close();
  }
});

/** An engine with one replica of some rows, and its snapshot. */
async function smallSnapshot(
  count = 20,
): Promise<{ chunks: Uint8Array[]; revision: Revision; versions: readonly Version[] }> {
  const { engine } = await openHarness();
  const replicaId = await engine.createReplica(GROUP);
  const versions = Array.from({ length: count }, (_, i): Version => ({
    key: bytesOf(`key:${i % 10}`),
    revision: 100 + i,
    record: putRecord(`${i}`),
  }));
  for (const version of versions) write(engine, replicaId, version.key, version.revision, version.record);
  const revision = 100 + count - 1;
  const snapshot = engine.openReplicaSnapshot({ replicaId, floor: 0, revision, chunkBytes: 64 });
  const chunks = await readChunks(snapshot);
  await engine.close();
  return { chunks, revision, versions };
}

test('byte sweep: a damaged stream is refused, the former replica stays, and no file is left', async () => {
  const { chunks } = await smallSnapshot();
  const harness = await openHarness();
  const { engine, disk } = harness;
  const former = await engine.createReplica(GROUP);
  write(engine, former, bytesOf('key:1'), 500, putRecord('former'));
  await engine.flush();
  const files = disk.blocking.list(TABLES);
  for (const [i, chunk] of chunks.entries()) {
    for (let at = 0; at < chunk.length; at++) {
      const importer = await engine.beginReplicaImport({ batchBytes: 100 });
      await addChunks(importer, chunks.slice(0, i));
      const damaged = chunk.slice();
      damaged[at]! ^= 1 << (at % 8);
      await assert.rejects(importer.add(damaged), CorruptionError, `chunk ${i}, byte ${at}`);
      await assert.rejects(importer.finish(stateOf(GROUP, importer, 1), { floor: 0 }), CorruptionError);
      await importer.abort();
    }
  }
  assert.deepEqual(disk.blocking.list(TABLES), files);
  assert.equal(engine.groupStates().get(GROUP)?.replicaId, former);
  assert.ok((await readAt(engine, former, bytesOf('key:1'), 1000)) !== null);
  assert.deepEqual(harness.errors, []);
  await engine.close();
});

test('a stream without its last chunk, and a chunk behind the last one, are refused', async () => {
  const { chunks } = await smallSnapshot();
  const { engine } = await openHarness();
  for (let length = 0; length < chunks.length; length++) {
    const importer = await engine.beginReplicaImport();
    await addChunks(importer, chunks.slice(0, length));
    await assert.rejects(
      importer.finish(stateOf(GROUP, importer, 1), { floor: 0 }),
      CorruptionError,
      `${length} chunks`,
    );
    await importer.abort();
  }
  const importer = await engine.beginReplicaImport();
  await addChunks(importer, chunks);
  await assert.rejects(importer.add(chunks.at(-1)!), CorruptionError);
  await engine.close();
});

test('a snapshot of an empty replica is one chunk and installs a replica without tables', async () => {
  const { chunks } = await smallSnapshot(0);
  assert.equal(chunks.length, 1);
  const { engine, disk } = await openHarness();
  const importer = await engine.beginReplicaImport();
  await addChunks(importer, chunks);
  await importer.finish(stateOf(GROUP, importer, 5), { floor: 0 });
  assert.equal(engine.flushedIndexes().get(importer.replicaId), 100);
  assert.deepEqual(disk.blocking.list(TABLES), []);
  await engine.close();
});

test('Raft rule 12: what an install replaces is dropped in the same edit: state, replica, floor and clock bound', async () => {
  const { chunks, revision } = await smallSnapshot();
  const disk = newDisk();
  const { engine } = await openHarness(disk);
  const former = await engine.createReplica(GROUP);
  const other = await engine.createReplica(8);
  write(engine, former, bytesOf('key:1'), 500, putRecord('former'));
  write(engine, other, bytesOf('key:1'), 501, putRecord('other'));
  await engine.flush();
  const importer = await engine.beginReplicaImport();
  await addChunks(importer, chunks);
  const state = { ...stateOf(GROUP, importer, revision), configuration: Uint8Array.of(1, 0, 0) };
  let isInstalled = false;
  const onInstalled = (): void => {
    isInstalled = true;
    assert.deepEqual(engine.groupStates().get(GROUP), state);
  };
  await importer.finish(state, { floor: 90, clockBound: 7000, onInstalled });
  assert.ok(isInstalled);
  assert.equal(engine.flushedIndexes().has(former), false);

  // Late entries of the former replica harm nobody: a flush leaves them out, and its state does not come back.
  write(engine, former, bytesOf('key:1'), 600, putRecord('late'));
  await engine.flush();
  await engine.compact();
  await engine.close();
  const again = await openHarness(disk);
  assert.deepEqual(again.engine.groupStates().get(GROUP), state);
  assert.equal(again.engine.historyFloor, 90);
  assert.ok(again.engine.recovered.clockBound >= 7000);
  assert.equal(again.engine.recovered.nextReplicaId, importer.replicaId + 1);
  assert.equal((await readAt(again.engine, importer.replicaId, bytesOf('key:1'), 1000))?.revision, 111);
  assert.equal((await readAt(again.engine, other, bytesOf('key:1'), 1000))?.revision, 501);
  assert.equal(await readAt(again.engine, former, bytesOf('key:1'), 1000), null);
  await again.engine.close();
});

test('a state that was captured before an install does not come back with a later flush', async () => {
  const { chunks, revision } = await smallSnapshot();
  const harness = await openHarness();
  const { engine } = harness;
  const former = await engine.createReplica(GROUP);
  const importer = await engine.beginReplicaImport();
  await addChunks(importer, chunks);
  write(engine, former, bytesOf('a'), 10, putRecord('a'));
  harness.captured = { groups: [{ ...stateOf(GROUP, importer, 10), replicaId: former }], clockBound: 0 };
  const state = stateOf(GROUP, importer, revision);
  await importer.finish(state, { floor: 0 });
  await engine.flush();
  assert.deepEqual(engine.groupStates().get(GROUP), state);
  await engine.close();
});

test('LSM rule 5: imports get ids that no replica had or gets, also when they are aborted and after a restart', async () => {
  const disk = newDisk();
  const seen = new Set<number>();
  const note = (replicaId: number): void => {
    assert.ok(!seen.has(replicaId), `replica id ${replicaId} twice`);
    seen.add(replicaId);
  };
  for (let life = 0; life < 3; life++) {
    const { engine } = await openHarness(disk);
    const importers = await Promise.all([engine.beginReplicaImport(), engine.beginReplicaImport()]);
    for (const importer of importers) note(importer.replicaId);
    note(await engine.createReplica(100 + life));
    await importers[0].abort();
    await engine.close();
  }
});

test('LSM rule 7: imports that end in another order than they began, beside writes and compactions, never overlap', async () => {
  for (let seed = FIRST_SEED; seed < FIRST_SEED + SEEDS; seed++) {
    const prng = new Prng(seed);
    const { chunks, revision, versions } = await smallSnapshot(40);
    const world = await World.open(prng, [1]);
    world.now = 2000;
    await world.work(50);
    const waiting = await Promise.all(
      [10, 11, 12, 13].map(async (group) => ({
        group,
        importer: await world.engine.beginReplicaImport({ batchBytes: 200 }),
      })),
    );
    while (waiting.length > 0) {
      const [next] = waiting.splice(prng.below(waiting.length), 1);
      await addChunks(next!.importer, chunks);
      const finished = next!.importer.finish(stateOf(next!.group, next!.importer, revision), { floor: 0 });
      // Level 0 tables span all replicas; a compaction of them is under way when the tables come.
      await world.work(20);
      await finished;
      world.replicas.push(new WrittenReplica(world.engine, next!.importer.replicaId, versions));
    }
    await world.work(40);
    await world.engine.compact();
    assert.deepEqual(world.harness.errors, [], `seed ${seed}`);
    for (const replica of world.replicas) await replica.check(world.engine.historyFloor, world.now);
    await world.engine.close();
  }
});

test('an import goes on beside a halted compaction', async () => {
  const { chunks, revision } = await smallSnapshot();
  const harness = await openHarness();
  const { engine, executor } = harness;
  const replicaId = await engine.createReplica(1);
  for (let i = 0; i < 2; i++) {
    write(engine, replicaId, bytesOf('a'), 10 + i, putRecord('a'));
    await engine.flush();
  }
  executor.beforeJob = (name) => {
    if (name === 'compactionSlice') throw new CorruptionError('a table', 'a good block', 'a bad one');
  };
  await assert.rejects(engine.compact(), CorruptionError);
  const importer = await engine.beginReplicaImport();
  await addChunks(importer, chunks);
  await importer.finish(stateOf(GROUP, importer, revision), { floor: 0 });
  assert.ok((await readAt(engine, importer.replicaId, bytesOf('key:1'), revision)) !== null);
  await engine.close();
});

test('LSM rule 17: an install with a higher floor waits for readers below it and refuses new ones', async () => {
  const { chunks, revision } = await smallSnapshot();
  const { engine } = await openHarness();
  const pin = engine.pinRevision(50);
  const importer = await engine.beginReplicaImport();
  await addChunks(importer, chunks);
  let isDone = false;
  const finished = importer.finish(stateOf(GROUP, importer, revision), { floor: 90 }).then(() => (isDone = true));
  for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
  assert.equal(isDone, false);
  assert.throws(() => engine.pinRevision(89), AssertionFailure);
  await engine.compact();
  pin.release();
  await finished;
  assert.equal(engine.historyFloor, 90);
  await engine.close();
});

test('an import that waits can be aborted, and an engine closes beside imports and snapshots', async () => {
  const { chunks, revision } = await smallSnapshot();
  const disk = newDisk();
  const { engine } = await openHarness(disk);
  const replicaId = await engine.createReplica(1);
  for (let i = 0; i < 100; i++) write(engine, replicaId, bytesOf(`${i}`), 100 + i, putRecord('x'));
  engine.pinRevision(50);
  const waiting = await engine.beginReplicaImport();
  await addChunks(waiting, chunks);
  const finished = waiting.finish(stateOf(GROUP, waiting, revision), { floor: 90 });
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
  await Promise.all([waiting.abort(), assert.rejects(finished, CairnError)]);
  assert.deepEqual(disk.blocking.list(TABLES), []);

  const open = await engine.beginReplicaImport({ batchBytes: 100 });
  await addChunks(open, chunks.slice(0, -1));
  const snapshot = engine.openReplicaSnapshot({ replicaId, floor: 90, revision: 500, chunkBytes: 64 });
  await snapshot.next();
  await engine.close();
  await assert.rejects(snapshot.next(), CairnError);
  await assert.rejects(open.add(chunks.at(-1)!), CairnError);
  assert.deepEqual(disk.blocking.list(TABLES), []);
});

test('a worker that dies is replaced; a full disk ends the import instead of holding writers up', async () => {
  const { chunks, revision } = await smallSnapshot(200);
  const { engine, executor, disk, errors } = await openHarness();
  let deaths = 0;
  executor.beforeJob = (name) => {
    if (name === 'buildSnapshotTable' && deaths++ % 2 === 0) throw new CairnError('unavailable', 'its worker died');
  };
  const importer = await engine.beginReplicaImport({ batchBytes: 300 });
  await addChunks(importer, chunks);
  await importer.finish(stateOf(GROUP, importer, revision), { floor: 0 });
  assert.ok(deaths > 4);
  executor.beforeJob = () => {};
  const files = disk.blocking.list(TABLES);

  const refused = await engine.beginReplicaImport({ batchBytes: 300 });
  disk.inject({ operation: 'write', code: 'ENOSPC', path: /tables/, times: Infinity });
  const isFull = (error: unknown): boolean => error instanceof DiskError && error.code === 'ENOSPC';
  await assert.rejects(addChunks(refused, chunks), isFull);
  assert.equal(engine.pressure, 'none');
  await refused.abort();
  assert.deepEqual(disk.blocking.list(TABLES), files);
  assert.deepEqual(errors, []);
  await engine.close();
});

test('a snapshot of a replica that is dropped while it is read ends with an error, not early', async () => {
  const { engine, disk } = await openHarness();
  const replicaId = await engine.createReplica(GROUP);
  for (let i = 0; i < 100; i++) write(engine, replicaId, bytesOf(`${i}`), 100 + i, putRecord('x'));
  const snapshot = engine.openReplicaSnapshot({ replicaId, floor: 0, revision: 199, chunkBytes: 64 });
  await snapshot.next();
  await engine.dropReplica(replicaId);
  await engine.compact();
  // The reader was slow: its cursor was given up meanwhile.
  await new Promise((resolve) => setImmediate(resolve));
  await assert.rejects(snapshot.next(), { code: 'unavailable' });
  snapshot.close();
  await engine.close();
  assert.ok(disk.blocking.list(TABLES).length <= 1);
});

test('a row whose versions are larger than a batch lands in one table', async () => {
  const sender = await openHarness();
  const replicaId = await sender.engine.createReplica(GROUP);
  const big = 'x'.repeat(300);
  for (let i = 0; i < 60; i++) write(sender.engine, replicaId, bytesOf('hot'), 100 + i, putRecord(`${i}${big}`));
  for (const key of ['a', 'z']) write(sender.engine, replicaId, bytesOf(key), 200, putRecord(key));
  const request = { replicaId, floor: 0, revision: 200, chunkBytes: 1000 };
  const chunks = await readChunks(sender.engine.openReplicaSnapshot(request));
  await sender.engine.close();

  const { engine } = await openHarness();
  const importer = await engine.beginReplicaImport({ batchBytes: 2000 });
  await addChunks(importer, chunks);
  await importer.finish(stateOf(GROUP, importer, 200), { floor: 0 });
  for (let i = 0; i < 60; i++) {
    const found = await readAt(engine, importer.replicaId, bytesOf('hot'), 100 + i);
    assert.equal(Buffer.from(found!.record).toString(), `\0${i}${big}`);
  }
  await engine.compact();
  assert.equal((await readAt(engine, importer.replicaId, bytesOf('z'), 300))?.revision, 200);
  await engine.close();
});
