import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '../../src/base/prng.js';
import { PeerBindings } from '../../src/cluster/peer-bindings.js';
import { SimMachine } from '../sim/sim-machine.js';

function open(machine: SimMachine, others: readonly string[] = ['n2', 'n3']): PeerBindings {
  const { blocking } = machine.disk;
  if (!blocking.exists('/data')) {
    blocking.makeDirectory('/data');
    blocking.syncDirectory('/');
  }
  return new PeerBindings(blocking, '/data', others);
}

test('Raft rule 11: a name stays bound to the directory that was met first, also over a crash', () => {
  let machine = SimMachine.first(new Prng(1));
  const bindings = open(machine);
  assert.equal(bindings.bind('n2', 'aa'), null);
  assert.equal(bindings.bind('n2', 'aa'), null);
  for (let crash = 0; crash < 10; crash++) {
    machine = machine.crash(new Prng(crash));
    const after = open(machine);
    assert.match(after.bind('n2', 'bb') ?? '', /another data directory before \(incarnation aa, now bb\)/);
    assert.equal(after.bind('n2', 'aa'), null);
  }
});

test('Raft rule 11: a new directory is known when each other member has taken its connection, and remembers that', () => {
  let machine = SimMachine.first(new Prng(2));
  let bindings = open(machine);
  assert.deepEqual(bindings.missing, ['n2', 'n3']);
  assert.equal(bindings.welcomed('n3'), false);
  assert.equal(bindings.welcomed('n3'), false);
  // Who has only called has bound nothing.
  assert.equal(bindings.bind('n2', 'aa'), null);
  assert.equal(bindings.isKnown, false);
  assert.deepEqual(bindings.missing, ['n2']);
  // Another life of the process asks again.
  machine = machine.crash(new Prng(1));
  bindings = open(machine);
  assert.deepEqual(bindings.missing, ['n2', 'n3']);
  assert.equal(bindings.welcomed('n3'), false);
  assert.equal(bindings.welcomed('n2'), true);
  assert.equal(bindings.isKnown, true);
  assert.equal(bindings.welcomed('n2'), false);
  for (let crash = 0; crash < 10; crash++) {
    machine = machine.crash(new Prng(crash));
    const after = open(machine);
    assert.equal(after.isKnown, true);
    assert.deepEqual(after.missing, []);
    assert.match(after.bind('n2', 'bb') ?? '', /another data directory/);
  }
});

test('a flipped bit in peers.json is refused', () => {
  const machine = SimMachine.first(new Prng(3));
  assert.equal(open(machine).bind('n2', 'aa'), null);
  machine.disk.flipBit('/data/peers.json', 5, 0);
  assert.throws(() => open(machine), { code: 'corruption' });
});
