import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RandomCluster, type Counters } from './random-cluster.js';

const SEEDS = Number(process.env.CAIRN_TEST_SEEDS ?? 600);
const FIRST = Number(process.env.CAIRN_TEST_FIRST_SEED ?? 1);
const STEPS = 2500;
/** What all seeds together must have reached. */
const REACHED = [
  'proposal',
  'election',
  'crash',
  'restart',
  'partition',
  'truncation',
  'load',
  'transfer',
  'joint change',
  'learner change',
  'lost tail',
  'repaired',
  'repaired by an answer',
  'snapshot streamed',
  'snapshot install',
  'snapshot log_has_it',
  'snapshot stale',
  'read answered',
  'read refused',
];

test('random clusters keep every promise under crashes, lost messages, membership changes and snapshots', () => {
  const reached: Counters = {};
  for (let seed = FIRST; seed < FIRST + SEEDS; seed++) {
    const cluster = new RandomCluster(seed);
    try {
      cluster.run(STEPS);
    } catch (error) {
      throw new Error(`seed ${seed}: ${String(error)} ${cluster.describe()}`, { cause: error });
    }
    for (const [name, count] of Object.entries(cluster.counters)) reached[name] = (reached[name] ?? 0) + count;
  }
  if (process.env.CAIRN_TEST_VERBOSE === '1') process.stdout.write(`${JSON.stringify(reached, null, 1)}\n`);
  if (SEEDS >= 100) for (const name of REACHED) assert.ok((reached[name] ?? 0) > 0, `${name} was reached`);
});
