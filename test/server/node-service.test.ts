import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '../../src/base/prng.js';
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
