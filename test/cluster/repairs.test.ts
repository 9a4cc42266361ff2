import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '../../src/base/prng.js';
import { Repairs } from '../../src/cluster/repairs.js';
import type { RaftStart } from '../../src/raft/options.js';
import { SimMachine } from '../sim/sim-machine.js';
import { SimNode } from './sim-node.js';
import { FlippedRecord } from '../sim/cluster/flipped-record.js';

function found(...groups: readonly (readonly [number, number])[]): RaftStart[] {
  return groups.map(([group, repairIndex]) => ({ group, repairIndex }) as RaftStart);
}

function machineWithData(): SimMachine {
  const machine = SimMachine.first(new Prng(1));
  machine.disk.blocking.makeDirectory('/data');
  machine.disk.blocking.syncDirectory('/');
  return machine;
}

test('Raft rule 15: what a start found is remembered after a power loss, until the group is whole', async () => {
  const first = machineWithData();
  assert.equal(Repairs.open(first.disk, '/data', found([1, 0], [2, 30], [3, 7])).count, 2);
  const disk = first.disk.crash(new Prng(2));
  const again = Repairs.open(disk, '/data', found([1, 0], [2, 0], [3, 9]));
  assert.deepEqual([again.indexOf(1), again.indexOf(2), again.indexOf(3)], [0, 30, 9]);
  again.finished((group) => group === 2);
  await first.scheduler.run(again.close());
  const last = Repairs.open(disk.crash(new Prng(3)), '/data', []);
  assert.deepEqual([last.indexOf(2), last.indexOf(3)], [0, 9]);
});

test('a damaged list of repairs is refused', () => {
  const { disk } = machineWithData();
  Repairs.open(disk, '/data', found([2, 30]));
  disk.flipBit('/data/repairs.json', 12, 1);
  assert.throws(() => Repairs.open(disk, '/data', []), /repairs\.json: expected checksum/);
});

/** A life of n1, alone or in a cluster of which nobody else is there; and its log with a flipped bit. */
async function damagedNode(seed: number, options: object): Promise<SimMachine> {
  const machine = SimMachine.first(new Prng(seed));
  const node = await SimNode.start(machine, options);
  for (let i = 0; i < 30; i++) {
    void node.put(`key:${i}`, '1');
    await machine.scheduler.runFor(100);
  }
  const next = machine.next(new Prng(seed), 'exit');
  assert.ok(FlippedRecord.in(next.disk, new Prng(seed)) !== null);
  return next;
}

test('a node alone refuses a damaged log', async () => {
  const machine = await damagedNode(1, {});
  await assert.rejects(SimNode.start(machine, {}), /expected a valid record of segment 1/);
});
