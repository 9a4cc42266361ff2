import assert from 'node:assert/strict';
import { test } from 'node:test';
import { append, DIRECTORY, indexes, World } from './harness.js';

test('nothing is called durable before it is on the disk', async () => {
  const world = new World(1);
  const life = world.start();
  append(life.log, 1, 1);
  const sequence = life.log.seal();
  assert.equal(life.durable(), 0);
  await world.scheduler.run(life.log.whenDurable(sequence));
  assert.equal(life.durable(), sequence);
  world.crash();
  assert.deepEqual(indexes(world.start().entries), [1]);
});

test('records that wait while a write is under way go to disk in one write', async () => {
  const world = new World(2);
  const writes: number[] = [];
  const life = world.start({ onWrite: (_ms, _bytes, records) => writes.push(records) });
  for (let index = 1; index <= 5; index++) {
    append(life.log, 1, index);
    life.log.seal();
  }
  await world.settle();
  assert.deepEqual(writes, [5]);
});

test('the ring wraps: many times its size passes through it unchanged', async () => {
  const world = new World(3);
  const life = world.start({ segmentBytes: 64 * 1024 });
  for (let index = 1; index <= 60; index++) {
    assert.ok(append(life.log, 1, index, 1 + ((index * 37) % 1000)), `entry ${index}`);
    life.log.release(await world.durably(life));
  }
  world.crash();
  const { entries } = world.start({ segmentBytes: 64 * 1024 });
  assert.deepEqual(
    entries.map((entry) => [entry.index, entry.payload.length, new Set(entry.payload).size]),
    Array.from({ length: 60 }, (_, i) => [i + 1, 1 + (((i + 1) * 37) % 1000), 1]),
  );
});

test('a full ring refuses entries, takes hard states, and takes entries again after a release', async () => {
  const world = new World(4);
  const life = world.start({ segmentBytes: 64 * 1024 });
  let index = 0;
  while (append(life.log, 1, index + 1, 900)) index++;
  assert.equal(life.log.refusal, 'overloaded');
  assert.equal(life.log.admission, 'overloaded');
  assert.ok(life.log.appendHardState(1, 1, 2, 1, 1));
  const sequence = await world.durably(life);
  assert.equal(append(life.log, 1, index + 1, 900), false, 'durable entries keep their space until they are released');
  life.log.release(sequence);
  assert.equal(life.log.admission, 'open');
  assert.ok(append(life.log, 1, index + 1, 900));
  await world.durably(life);
  world.crash();
  assert.equal(world.start({ segmentBytes: 64 * 1024 }).entries.length, index + 1);
});

test('payloads stay as they are in the ring until their record is released', async () => {
  const world = new World(5);
  const life = world.start();
  const at = life.log.reserveEntry(1, 1, 1, 1, 1, 0, 300);
  life.log.bytes.fill(7, at, at + 300);
  await world.durably(life);
  for (let index = 2; append(life.log, 1, index, 900); index++) await world.durably(life);
  assert.deepEqual(new Set(life.log.bytes.subarray(at, at + 300)), new Set([7]));
});

test('Raft rule 20: a clock bound is there after a crash once its sequence was durable, without any entry', async () => {
  const world = new World(6);
  const life = world.start();
  life.log.appendClockBound(123_456);
  await world.durably(life);
  world.crash();
  const second = world.start();
  assert.equal(second.log.clockBound, 123_456);
  second.clock.stop();
  world.crash();
  assert.equal(world.start().log.clockBound, 123_456, 'also when nothing was written in between');
});

test('a clock bound that finds no room waits for another record, and holds nothing else up', async () => {
  const world = new World(6);
  const life = world.start({ segmentBytes: 64 * 1024 });
  for (let index = 1; append(life.log, 1, index, 900); index++);
  while (life.log.appendHardState(1, 1, 2, 1, 1));
  const entries = life.log.seal();
  life.log.appendClockBound(123_456);
  assert.equal(life.log.seal(), entries);
  assert.equal(life.log.boundSequence, entries + 1);
  await world.scheduler.run(life.log.whenDurable(entries));
  // The promised record is written as soon as there is room.
  life.log.release(entries);
  await world.scheduler.run(life.log.whenDurable(entries + 1));
  world.crash();
  const second = world.start({ segmentBytes: 64 * 1024 });
  assert.equal(second.log.clockBound, 123_456);
  second.clock.stop();
});

test('Raft rule 16: a segment stays while any replica has an unflushed entry in it', async () => {
  const world = new World(7);
  const life = world.start();
  append(life.log, 9, 1, 100, 3);
  await world.durably(life);
  let index = 0;
  while (life.log.segmentCount < 3) {
    await world.settle();
    append(life.log, 1, ++index, 900);
    life.log.release(await world.durably(life));
  }
  const flushed = (_group: number, replicaId: number): number => (replicaId === 9 ? 0 : index);
  assert.equal(await world.scheduler.run(life.log.releaseBefore(flushed)), 0);
  assert.deepEqual(life.log.pinning(flushed), [{ group: 3, replicaId: 9, maxIndex: 1 }]);
  // The replica is gone.
  const dead = (_group: number, replicaId: number): number => (replicaId === 9 ? Infinity : index);
  assert.equal(await world.scheduler.run(life.log.releaseBefore(dead)), 2);
  await world.settle();
  assert.equal(life.log.segmentCount, 1);
});

test('Raft rule 11: the newest hard state of a group outlives the segment that held it', async () => {
  const world = new World(8);
  const life = world.start();
  life.log.appendHardState(5, 5, 3, 2, 17);
  let index = 0;
  while (life.log.segmentCount < 3) {
    await world.settle();
    append(life.log, 1, ++index, 900);
    life.log.release(await world.durably(life));
  }
  assert.equal(await world.scheduler.run(life.log.releaseBefore(() => Infinity)), 2);
  await world.settle();
  assert.equal(world.disk.blocking.exists(`${DIRECTORY}/000001.log`), false);
  world.crash();
  const { hardStates } = world.start();
  assert.deepEqual(hardStates, [{ group: 5, replicaId: 5, term: 3, vote: 2, commit: 17 }]);
});

test('released segments become spares, and no more of them than are wanted', async () => {
  const world = new World(9);
  const life = world.start({ maxSpareCount: 2 });
  let index = 0;
  while (life.log.segmentCount < 6) {
    await world.settle();
    append(life.log, 1, ++index, 900);
    life.log.release(await world.durably(life));
  }
  await world.settle();
  const created = world.disk.operationCount('create');
  await world.scheduler.run(life.log.releaseBefore(() => Infinity));
  await world.settle();
  assert.equal(life.log.statistics.spareCount, 2);
  assert.equal(world.disk.paths().filter((path) => path.endsWith('.spare')).length, 2);
  while (life.log.segmentCount < 2) {
    append(life.log, 1, ++index, 900);
    life.log.release(await world.durably(life));
  }
  await world.settle();
  assert.equal(world.disk.operationCount('create'), created, 'no new file was made');
});

test('restarts without writes do not take more space', async () => {
  const world = new World(10);
  for (let i = 0; i < 12; i++) {
    const life = world.start();
    await world.settle();
    await world.close(life);
    world.kill();
  }
  const life = world.start();
  assert.ok(life.log.sizeBytes < 8192 + 13 * 1024, `${life.log.sizeBytes} bytes`);
  await world.scheduler.run(life.log.releaseBefore(() => 0));
  await world.settle();
  assert.equal(life.log.segmentCount, 1);
});

test('a log beyond its bound warns', async () => {
  const world = new World(11);
  const life = world.start({ sizeBoundBytes: 10_000 });
  let index = 0;
  while (life.log.segmentCount < 2) {
    await world.settle();
    append(life.log, 1, ++index, 900);
    life.log.release(await world.durably(life));
  }
  assert.deepEqual(life.warnings, ["the log's segments have 16384 bytes, expected at most 10000"]);
});
