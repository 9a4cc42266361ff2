import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '../../../src/base/prng.js';
import { drawFaultPlan } from './fault-plan.js';
import { Reached } from './reached.js';
import { CALLS, drawSwarm, FAULTS } from './swarm.js';

const SWARMS = Array.from({ length: 200 }, (_, seed) => drawSwarm(new Prng(seed)));

test('each seed leaves out about half of the faults, and every fault is in about half of the seeds', () => {
  const mean = SWARMS.reduce((sum, { faults }) => sum + faults.size, 0) / SWARMS.length;
  assert.ok(Math.abs(mean - FAULTS.length / 2) < 1, String(mean));
  for (const fault of FAULTS) {
    const share = SWARMS.filter(({ faults }) => faults.has(fault)).length / SWARMS.length;
    assert.ok(share > 0.35 && share < 0.65, `${fault}: ${share}`);
  }
});

test('every seed reads and writes, and every kind of call is left out by some', () => {
  for (const { workload } of SWARMS) {
    assert.ok(workload.calls.has('put') || workload.calls.has('batch'));
    assert.ok(workload.calls.has('get') || workload.calls.has('scan'));
  }
  for (const call of CALLS) {
    const count = SWARMS.filter(({ workload }) => workload.calls.has(call)).length;
    assert.ok(count > 20 && count < SWARMS.length, call);
  }
});

test("most seeds have the nodes' own transport, many have single messages", () => {
  const streams = SWARMS.filter(({ network }) => network === 'streams').length / SWARMS.length;
  assert.ok(streams > 0.45 && streams < 0.75, String(streams));
});

test('a seed gives the same configuration and the same faults each time', () => {
  const draw = (): unknown => {
    const prng = new Prng(3);
    const swarm = drawSwarm(prng);
    return [swarm, drawFaultPlan(prng, swarm, 10_000)];
  };
  assert.deepEqual(draw(), draw());
});

test('faults come in order, of the kinds that are on, and end with the time that is given', () => {
  let planned = 0;
  for (const [seed, swarm] of SWARMS.entries()) {
    const plan = drawFaultPlan(new Prng(seed), swarm, 20_000);
    planned += plan.length;
    plan.forEach(({ atMs, durationMs, fault, number }, i) => {
      assert.ok(swarm.faults.has(fault));
      assert.ok(atMs >= (plan[i - 1]?.atMs ?? 0) && durationMs >= 0 && atMs + durationMs <= 20_000);
      assert.equal(number, i + 1);
    });
  }
  assert.ok(planned > SWARMS.length);
});

test('no fault on, none planned', () => {
  assert.deepEqual(drawFaultPlan(new Prng(1), { ...SWARMS[0]!, faults: new Set() }, 1000), []);
});

test('a required counter at zero fails the run and is named', () => {
  const reached = new Reached(['elections', 'truncations']);
  reached.count('elections');
  reached.count('anything', 3);
  assert.deepEqual(reached.missing(), ['truncations']);
  assert.throws(() => reached.assertAll(), /never reached: truncations/);
  const other = new Reached();
  other.count('truncations', 2);
  reached.add(other);
  reached.assertAll();
  assert.equal(reached.table(), 'anything     3\nelections    1\ntruncations  2');
});
