import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '../../src/base/prng.js';
import { SimMachine } from '../sim/sim-machine.js';
import { SimNode } from './sim-node.js';

test('an entry keeps its place in the ring until it is applied, also when its record is durable before the turn is sealed', async () => {
  // Every turn is sealed 5 ms late.
  const node = await SimNode.start(SimMachine.first(new Prng(1)), { tuning: { level0: { slowTables: 0 } } });
  const values = ['a', 'b', 'c'].map((letter) => `"${letter.repeat(12_000)}"`);
  const written = values.map((value, i) => node.put(`first:${i}`, value));
  // As the log does when it gives segments back.
  node.node.log.seal();
  await node.machine.scheduler.runFor(3);
  const more = ['x', 'y', 'z'].map((letter, i) => node.put(`second:${i}`, `"${letter.repeat(12_000)}"`));
  const answers = await node.run(Promise.all([...written, ...more]));
  assert.deepEqual(
    answers.slice(0, 3).map(({ code }) => code),
    ['ok', 'ok', 'ok'],
  );
  for (const [i, value] of values.entries()) assert.equal(await node.run(node.get(`first:${i}`)), value);
});

test('a log that can not write answers everything in time: writes as unknown, reads as unavailable; and it recovers', async () => {
  const machine = SimMachine.first(new Prng(1));
  const node = await SimNode.start(machine);
  await node.run(node.put('timed', '1', { ttlSeconds: 1 }));
  machine.disk.inject({ operation: 'write', code: 'ENOSPC', path: /\/log\//, times: Infinity });
  const written = node.put('a', '1');
  const refused = node.put('a', '2', { condition: { absent: true } });
  const scanned = node.scan().catch((error: { code: string }) => error.code);
  assert.equal((await node.run(written, 11_000)).code, 'deadline_exceeded');
  assert.equal((await node.run(refused, 11_000)).code, 'unavailable');
  assert.equal(await node.run(scanned, 11_000), 'unavailable');
  assert.equal(await node.run(node.get('timed'), 11_000), null);
  assert.equal((await node.run(node.put('b', '1'), 11_000)).code, 'disk_full');
  machine.disk.heal();
  await machine.scheduler.runFor(2000);
  assert.equal((await node.run(node.put('b', '1'), 1000)).code, 'ok');
  assert.deepEqual(await node.run(node.scan(), 1000), ['a', 'b']);
});

test('with a full disk, scans and reads of expired keys go on for as long as it lasts', async () => {
  const machine = SimMachine.first(new Prng(1));
  const node = await SimNode.start(machine);
  await node.run(node.put('timed', '1', { ttlSeconds: 1 }));
  machine.disk.capacityBytes = 0;
  const keys = ['timed'];
  for (let i = 10; ; i++) {
    const { code } = await node.run(node.put(`key:${i}`, `"${'.'.repeat(4000)}"`));
    if (code === 'disk_full') break;
    assert.ok(code === 'ok' || code === 'overloaded', code);
    if (code === 'ok') keys.push(`key:${i}`);
    await machine.scheduler.runFor(10);
  }
  for (let minutes = 0; minutes < 10; minutes++) {
    await machine.scheduler.runFor(60_000);
    const found = await node.run(node.get('timed'), 1000);
    const expected = found === null ? keys.slice(1) : keys;
    assert.deepEqual(new Set(await node.run(node.scan(), 1000)), new Set(expected));
  }
  machine.disk.capacityBytes = Infinity;
  await machine.scheduler.runFor(2000);
  assert.equal((await node.run(node.put('after', '1'), 1000)).code, 'ok');
  assert.equal(await node.run(node.get('timed'), 1000), null);
});

test('a node whose log can not write closes with an error instead of waiting for space', async () => {
  const machine = SimMachine.first(new Prng(1));
  const node = await SimNode.start(machine);
  machine.disk.inject({ operation: 'write', code: 'ENOSPC', path: /\/log\//, times: Infinity });
  const written = node.put('a', '1');
  await machine.scheduler.runFor(10);
  await assert.rejects(node.run(node.node.close(), 20_000), { code: 'disk_full' });
  assert.equal((await written).code, 'deadline_exceeded');
});
