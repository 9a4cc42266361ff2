import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '../../src/base/prng.js';
import { REVISIONS_PER_MS, revisionAtMs } from '../../src/replica/revision-clock.js';
import { SimNode } from '../cluster/sim-node.js';
import { SimMachine } from '../sim/sim-machine.js';

const HOUR_MS = 3_600_000;

/** A key that has expired by its partition's last revision, but not by the wall clock, which was set back. */
async function nodeWithClockSetBack(): Promise<SimNode> {
  const machine = SimMachine.first(new Prng(1));
  const node = await SimNode.start(machine);
  await node.run(node.put('timed', '1', { ttlSeconds: 60 }));
  machine.clock.jumpWall(HOUR_MS);
  await node.run(node.put('other', '1'));
  machine.clock.jumpWall(-HOUR_MS);
  return node;
}

test('Raft rule 8: a key that a failed condition called expired stays expired, also with the wall clock set back', async () => {
  const node = await nodeWithClockSetBack();
  const { code } = await node.run(node.put('timed', '2', { condition: { exists: true } }));
  assert.equal(code, 'precondition_failed');
  assert.equal(await node.run(node.get('timed')), null);
});

test('Raft rule 8: so does one that a delete did not find', async () => {
  const node = await nodeWithClockSetBack();
  assert.equal((await node.run(node.delete('timed'))).deleted, false);
  assert.equal(await node.run(node.get('timed')), null);
});

test('Raft rule 8: so does one that a batch with other writes did not find', async () => {
  const node = await nodeWithClockSetBack();
  const results = await node.run(
    node.batch([
      { kind: 'delete', key: Buffer.from('timed') },
      { kind: 'put', key: Buffer.from('more'), value: Buffer.from('1'), contentType: '', ttlSeconds: 0 },
    ]),
  );
  assert.deepEqual(
    results.map(({ error, deleted }) => [error, deleted]),
    [
      [null, false],
      [null, false],
    ],
  );
  assert.equal(await node.run(node.get('timed')), null);
});

test('CORRECTNESS.md, promise 2: a read that finds a key expired waits for a write from before: none that found it is answered later', async () => {
  const machine = SimMachine.first(new Prng(1));
  const node = await SimNode.start(machine);
  const { revision } = await node.run(node.put('timed', '1', { ttlSeconds: 60 }));
  const written = node.put('timed', '2', { condition: { revisions: [revision] } });
  machine.clock.jumpWall(HOUR_MS);
  assert.equal(await node.run(node.get('timed')), '2');
  assert.equal((await node.run(written)).code, 'ok');
});

test('a read of a key that expired before all writes on their way waits for none of them', async () => {
  const machine = SimMachine.first(new Prng(1));
  const node = await SimNode.start(machine);
  await node.run(node.put('timed', '1', { ttlSeconds: 60 }));
  machine.clock.jumpWall(HOUR_MS);
  await node.run(node.put('other', '1'));
  const writing = node.put('other', '2');
  const key = Buffer.from('timed');
  assert.equal(node.service.tryGet(key, 0, key.length), 'absent');
  assert.equal((await node.run(writing)).code, 'ok');
});

test('a batch is answered after the call, also when it has nothing to write', async () => {
  const node = await SimNode.start(SimMachine.first(new Prng(1)));
  let answered = 0;
  node.service.batch([{ kind: 'delete', key: Buffer.from('missing') }], () => void answered++);
  assert.equal(answered, 0);
  await node.machine.scheduler.runFor(20);
  assert.equal(answered, 1);
});

test('a read that waits for the disk judges expiry at its start: the key was never absent', async () => {
  const machine = SimMachine.first(new Prng(1));
  const first = await SimNode.start(machine);
  await first.run(first.put('timed', '1', { ttlSeconds: 60 }));
  await first.run(first.node.engine.flush());
  await first.run(first.node.close());
  const next = machine.restart(new Prng(2));
  const node = await SimNode.start(next);
  const key = Buffer.from('timed');
  assert.equal(node.service.tryGet(key, 0, key.length), 'blocked', 'its block is not in memory');
  const read = node.get('timed');
  const written = node.put('timed', '2');
  next.clock.jumpWall(HOUR_MS);
  assert.equal(await node.run(read), '1');
  assert.equal((await node.run(written)).code, 'ok');
});

test('LSM rule 17: a ttl that is counted while the wall clock was set back ends in time, and for good', async () => {
  const machine = SimMachine.first(new Prng(1));
  const node = await SimNode.start(machine);
  await node.run(node.put('before', '1', { ttlSeconds: 60 }));
  machine.clock.jumpWall(-24 * HOUR_MS);
  await node.run(node.put('after', '1', { ttlSeconds: 60 }));
  await machine.scheduler.runFor(50_000);
  assert.equal(await node.run(node.get('before')), '1');
  assert.equal(await node.run(node.get('after')), '1');
  // Time that is ahead goes on a sixteenth slower.
  await machine.scheduler.runFor(15_000);
  assert.equal(await node.run(node.get('before')), null);
  assert.equal(await node.run(node.get('after')), null);
  assert.deepEqual(await node.run(node.scan()), []);
});

test('Raft rule 20: a clean restart goes on at the instant of the end, a crash at the durable bound above it', async () => {
  for (const isClean of [true, false]) {
    const machine = SimMachine.first(new Prng(1));
    const node = await SimNode.start(machine);
    const { revision } = await node.run(node.put('key', '1'));
    await node.run(node.node.engine.flush());
    const before = node.node.revisionClock.now();
    if (isClean) await node.run(node.node.close());
    const wallMs = machine.clock.wallMs();
    const next = machine.restart(new Prng(2));
    next.clock.jumpWall(wallMs - next.clock.wallMs());
    const again = await SimNode.start(next);
    const ahead = again.node.revisionClock.now() - revisionAtMs(next.clock.wallMs());
    if (isClean) assert.ok(ahead < 5 * REVISIONS_PER_MS, `${ahead / REVISIONS_PER_MS} ms ahead`);
    else assert.ok(ahead > 1000 * REVISIONS_PER_MS, `${ahead / REVISIONS_PER_MS} ms ahead`);
    assert.ok(again.node.revisionClock.now() >= before);
    assert.ok((await again.run(again.put('key', '2'))).revision > revision);
  }
});
