import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NodeRandom } from '../../src/platform/node-random.js';
import { SimRandom } from '../sim/ports/sim-random.js';
import { randomConformance } from './random-conformance.js';

randomConformance('the real generator', () => new NodeRandom());
randomConformance('the simulated generator', () => new SimRandom(42));

test('the simulated generator repeats its sequence for the same seed only', () => {
  const sequence = (seed: number): number[] => {
    const random = new SimRandom(seed);
    return Array.from({ length: 100 }, () => random.uint32());
  };
  assert.deepEqual(sequence(7), sequence(7));
  assert.notDeepEqual(sequence(7), sequence(8));
  assert.notDeepEqual(sequence(7), sequence(7 + 2 ** 32));
});
