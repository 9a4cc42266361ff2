import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DiskError } from '../../../src/ports/disk.js';
import { append, indexes, type Life, World } from './harness.js';

async function fillUntilRefused(world: World, life: Life, first: number): Promise<number> {
  let index = first;
  while (append(life.log, 1, index, 500)) {
    life.log.release(await world.durably(life));
    await world.settle();
    index++;
  }
  return index;
}

test('Raft rule 14: an I/O error on the log is final: no retry, nothing more is acknowledged', async () => {
  for (const code of ['EIO', 'EROFS']) {
    const world = new World(1);
    const life = world.start();
    await world.settle();
    append(life.log, 1, 1);
    await world.durably(life);
    world.disk.inject({ operation: 'write', path: /\.log$/, code });
    append(life.log, 1, 2);
    const lost = life.log.whenDurable(life.log.seal());
    await assert.rejects(world.scheduler.run(lost), (error) => error instanceof DiskError && error.code === code);
    const writes = world.disk.operationCount('write');
    assert.equal(life.failures.length, 1);
    assert.equal(life.durable(), 1);
    assert.equal(append(life.log, 1, 3), false);
    assert.equal(life.log.admission, 'failed');
    life.log.seal();
    await world.scheduler.runFor(5000);
    assert.equal(world.disk.operationCount('write'), writes);
    assert.equal(life.durable(), 1);
    await world.close(life);
  }
});

test('Raft rule 14: a failed directory sync while a segment is begun is final', async () => {
  const world = new World(2);
  const life = world.start();
  await world.settle();
  world.disk.inject({ operation: 'syncDirectory', code: 'EIO' });
  for (let index = 1; life.failures.length === 0; index++) {
    append(life.log, 1, index, 900);
    life.log.seal();
    await world.settle();
    life.log.release(life.log.durableSequence);
    assert.ok(index < 20);
  }
  assert.equal(life.failures.length, 1);
});

test('Rule 16: a log thread that dies ends the log and loses nothing that was acknowledged', async () => {
  const world = new World(3);
  const life = world.start();
  append(life.log, 1, 1);
  await world.durably(life);
  append(life.log, 1, 2);
  life.log.seal();
  life.writer.kill();
  await world.settle();
  assert.match(String(life.failures[0]), /thread ended by itself/);
  assert.equal(life.durable(), 1);
  await world.close(life);
  world.kill();
  assert.equal(indexes(world.start().entries)[0], 1);
});

test('Raft rule 14: a full disk refuses entries before they are taken, keeps room for hard states, and recovers by itself', async () => {
  // The current segment, one spare, the reserve of the same size, and not one more.
  const world = new World(4, { capacityBytes: 4 * 8192 - 1 });
  const life = world.start();
  await world.settle();
  const next = await fillUntilRefused(world, life, 1);
  assert.equal(life.log.refusal, 'disk_full');
  assert.equal(life.log.admission, 'disk_full');
  assert.deepEqual(life.failures, []);
  assert.ok(life.log.appendHardState(1, 1, 4, 2, next), 'to step down');
  await world.durably(life);
  // All that was taken is there after a crash on the full disk, which takes the reserve.
  const probe = new World(5, { capacityBytes: world.disk.capacityBytes });
  probe.disk = world.disk.crashImage(probe.prng);
  const recovered = probe.start();
  assert.deepEqual(
    indexes(recovered.entries),
    Array.from({ length: next - 1 }, (_, i) => i + 1),
  );
  assert.equal(recovered.hardStates.length, 1);
  // Space returns.
  world.disk.capacityBytes = Infinity;
  await world.scheduler.runFor(1500);
  assert.equal(life.log.admission, 'open');
  assert.ok(append(life.log, 1, next, 500));
  await world.durably(life);
});

test('a full disk: space that the log itself gives back is used at once', async () => {
  const world = new World(6, { capacityBytes: 4 * 8192 - 1 });
  const life = world.start();
  await world.settle();
  const next = await fillUntilRefused(world, life, 1);
  assert.equal(await world.scheduler.run(life.log.releaseBefore(() => next - 1)), 1);
  await world.scheduler.runFor(200);
  assert.equal(life.log.admission, 'open');
  assert.ok(append(life.log, 1, next, 500));
});

test('a file system without space for a write to an allocated file stalls the log until there is space; nothing is lost', async () => {
  const world = new World(7);
  const life = world.start();
  await world.settle();
  append(life.log, 1, 1);
  await world.durably(life);
  world.disk.inject({ operation: 'write', path: /\.log$/, code: 'ENOSPC', times: 3 });
  append(life.log, 1, 2);
  const sequence = life.log.seal();
  await world.scheduler.runFor(1500);
  assert.equal(life.log.admission, 'disk_full');
  assert.equal(append(life.log, 1, 3), false);
  assert.equal(life.durable(), 1);
  await world.scheduler.runFor(3000);
  assert.equal(life.durable(), sequence);
  assert.equal(life.log.admission, 'open');
  assert.deepEqual(life.failures, []);
  world.crash();
  assert.deepEqual(indexes(world.start().entries), [1, 2]);
});

test('a segment that can not be begun for lack of space is begun when there is some', async () => {
  for (const operation of ['open', 'write', 'rename'] as const) {
    const world = new World(8);
    const life = world.start();
    await world.settle();
    // Spares are complete by now, so only the log's writer still does this.
    let index = 1;
    while (life.log.segmentCount < 2) {
      append(life.log, 1, index++, 900);
      if (life.log.segmentCount === 2) {
        world.disk.inject({ operation, path: /\.spare$/, code: 'ENOSPC', times: 2 });
      }
      const durable = life.log.whenDurable(life.log.seal());
      await world.scheduler.run(durable);
      life.log.release(life.log.durableSequence);
    }
    assert.deepEqual(life.failures, [], operation);
    world.crash();
    assert.equal(world.start().entries.length, index - 1, operation);
  }
});

test('close on a full disk ends with an error instead of waiting for space', async () => {
  const world = new World(9);
  const life = world.start();
  await world.settle();
  world.disk.inject({ operation: 'write', path: /\.log$/, code: 'ENOSPC', times: Infinity });
  append(life.log, 1, 1);
  life.log.seal();
  await world.scheduler.runFor(100);
  await assert.rejects(world.close(life), /disk is full/);
});

test('short writes and reads are looped (Log rule 13)', async () => {
  const world = new World(10, { shortTransferProbability: 0.7 });
  const life = world.start();
  for (let index = 1; index <= 10; index++) {
    append(life.log, 1, index, 300);
    life.log.release(await world.durably(life));
    await world.settle();
  }
  world.crash();
  assert.equal(world.start().entries.length, 10);
});

/** A log on a full disk, whose last segment has no room left even for a clock bound. */
async function logWithoutRoom(seed: number): Promise<{ world: World; life: Life; last: number }> {
  const world = new World(seed, { capacityBytes: 4 * 8192 - 1 });
  const life = world.start();
  await world.settle();
  const next = await fillUntilRefused(world, life, 1);
  for (let bound = 1; ; bound++) {
    life.log.appendClockBound(1e6 + bound);
    life.log.seal();
    const sequence = life.log.boundSequence;
    await world.settle();
    life.log.release(life.log.durableSequence);
    if (life.log.durableSequence < sequence) break;
    assert.ok(bound < 100, 'the last segment never fills');
  }
  return { world, life, last: next - 1 };
}

test('a log that has no room for the last clock bound closes nevertheless', async () => {
  const { world, life, last } = await logWithoutRoom(20);
  let isClosed = false;
  const closed = life.log.close().then(() => void (isClosed = true));
  await world.scheduler.runFor(5000);
  assert.ok(isClosed, 'it waits for a record that never comes');
  await closed;
  world.kill();
  const recovered = world.start();
  assert.equal(recovered.entries.length, last);
});

test('Raft rule 16: a clock bound that has no room does not keep segments from being given back', async () => {
  const { world, life, last } = await logWithoutRoom(21);
  let given = 0;
  void life.log.releaseBefore(() => last).then((count) => void (given = count));
  await world.scheduler.runFor(5000);
  assert.ok(given > 0, 'it waits for the space that it would give');
  assert.equal(life.log.admission, 'open');
});

test('LSM rule 13: no file descriptor for the next segment ends the log with a message that says so; nothing is lost', async () => {
  const world = new World(22);
  const life = world.start();
  await world.settle();
  world.disk.inject({ operation: 'open', path: /\.spare$/, code: 'EMFILE' });
  let acknowledged = 0;
  for (let index = 1; life.failures.length === 0; index++) {
    append(life.log, 1, index, 900);
    const sequence = life.log.seal();
    await world.settle();
    if (life.durable() >= sequence) acknowledged = index;
    life.log.release(life.log.durableSequence);
    assert.ok(index < 40);
  }
  const [error] = life.failures;
  assert.ok(error instanceof DiskError && error.code === 'EMFILE');
  assert.match(error.message, /spare: EMFILE \(.*ulimit -n\)/);
  assert.equal(life.log.admission, 'failed');
  world.kill();
  const recovered = indexes(world.start().entries);
  assert.ok(acknowledged > 0 && recovered.length >= acknowledged, `${recovered.length} of ${acknowledged}`);
});
