import assert from 'node:assert/strict';
import { test } from 'node:test';
import { crashEverywhere, type CrashScript } from './crash-harness.js';
import { nodeScript, type NodeMemory } from './node-script.js';

/** Thousands in the long runs; a few in the everyday one. */
const SEEDS = Number(process.env['CAIRN_TEST_SEEDS'] ?? 10);
const POINTS = Number(process.env['CAIRN_TEST_POINTS'] ?? 15);
const FIRST_SEED = Number(process.env['CAIRN_TEST_FIRST_SEED'] ?? 1);

test('promises 1 and 2: a whole node keeps its word over a crash at any disk operation and a wall clock that jumps', async () => {
  const reached = new Map<string, number>();
  let current: NodeMemory | undefined;
  const note = (): void => {
    for (const [name, count] of Object.entries(current?.reached ?? {}))
      reached.set(name, (reached.get(name) ?? 0) + count);
  };
  const script: CrashScript<NodeMemory> = {
    ...nodeScript,
    begin(prng) {
      note();
      current = nodeScript.begin(prng);
      return current;
    },
  };
  const report = await crashEverywhere(script, { firstSeed: FIRST_SEED, seeds: SEEDS, pointsPerSeed: POINTS });
  note();
  if (process.env['CAIRN_TEST_VERBOSE'] !== undefined) console.log(report, reached);
  assert.ok(report.secondCrashes > 0, 'some recoveries were stopped as well');
  for (const [name, count] of reached) assert.ok(count > 0, `no run reached ${name}`);
});
