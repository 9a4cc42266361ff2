import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '../../src/base/prng.js';
import { SimMachine } from '../sim/sim-machine.js';
import { SimNode } from './sim-node.js';

test('a start that fails leaves nothing behind that writes to the directory', async () => {
  const machine = SimMachine.first(new Prng(1));
  const first = await SimNode.start(machine, { tuning: { level0: { compactionTables: 100 } } });
  for (const key of ['a', 'b', 'c']) {
    await first.run(first.put(key, `"${'.'.repeat(10_000)}"`));
    await first.run(first.node.engine.flush());
  }
  await first.run(first.node.close());
  for (const path of machine.disk.paths()) if (/\/log\/.*\.log$/.test(path)) machine.disk.flipBit(path, 3, 1);

  const next = machine.restart(new Prng(2));
  const started = SimNode.start(next, { tuning: { level0: { compactionTables: 1 } } });
  await assert.rejects(started, { code: 'corruption' });
  const { mutationCount } = next.disk;
  await next.scheduler.runFor(60_000);
  assert.equal(next.disk.mutationCount, mutationCount);
});

test('Raft rule 14: a node starts again and again on a disk that stays full: reads work, writes get disk_full, nothing is lost', async () => {
  let machine = SimMachine.first(new Prng(1));
  let node = await SimNode.start(machine, { logSegmentSizeBytes: 128 * 1024 });
  // The log makes its spare and its reserve.
  await machine.scheduler.runFor(1000);
  fill(machine);
  const keys: string[] = [];
  for (let i = 100, refusals = 0; refusals < 3; i++) {
    const { code } = await node.run(node.put(`key:${i}`, `"${'.'.repeat(4000)}"`));
    if (code === 'ok') keys.push(`key:${i}`);
    else refusals += Number(code === 'disk_full');
    await machine.scheduler.runFor(20);
  }
  assert.ok(keys.length > 10, `only ${keys.length} keys`);
  for (let start = 0; start < 12; start++) {
    const chance = new Prng(start);
    // Others take what this node gives back.
    fill(machine);
    machine = start % 3 === 0 ? machine.crash(chance) : machine.restart(chance);
    fill(machine);
    node = await SimNode.start(machine, { logSegmentSizeBytes: 128 * 1024 });
    assert.deepEqual(await node.run(node.scan()), keys, `start ${start}`);
    assert.equal((await node.run(node.put('new', '1'))).code, 'disk_full');
    await machine.scheduler.runFor(3000);
    assert.equal((await node.run(node.put('new', '1'))).code, 'disk_full');
    assert.notEqual(await node.run(node.get(keys[start % keys.length]!)), null);
    if (start % 3 === 1) await node.run(node.node.close());
  }
  machine.disk.capacityBytes = Infinity;
  await machine.scheduler.runFor(10_000);
  assert.equal((await node.run(node.put('new', '1'))).code, 'ok');
  assert.deepEqual(await node.run(node.scan()), [...keys, 'new']);
});

/** No byte is left for anybody. */
function fill({ disk }: SimMachine): void {
  disk.capacityBytes = disk.paths().reduce((bytes, path) => {
    const file = disk.blocking.open(path, 'read');
    const size = file.size();
    file.close();
    return bytes + size;
  }, 0);
}

test('Raft rule 7: the tokens of a life are not those of the life before, also when that wrote nothing', async () => {
  let machine = SimMachine.first(new Prng(1));
  const seen: number[] = [];
  for (let start = 0; start < 20; start++) {
    const { node } = await SimNode.start(machine, { members: ['n1', 'n2', 'n3'] });
    const { readToken } = node.host;
    assert.ok(Number.isSafeInteger(readToken) && readToken > 0);
    assert.ok(
      seen.every((other) => Math.abs(other - readToken) > 1e6),
      'a life may use as many',
    );
    seen.push(readToken);
    machine = machine.crash(new Prng(start));
  }
});
