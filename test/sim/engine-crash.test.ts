import assert from 'node:assert/strict';
import { test } from 'node:test';
import { crashEverywhere, type CrashScript } from './crash-harness.js';
import { storeScript, type StoreMemory } from './store-script.js';

/** Thousands in the long runs; a few in the everyday one. */
const SEEDS = Number(process.env['CAIRN_TEST_SEEDS'] ?? 10);
const POINTS = Number(process.env['CAIRN_TEST_POINTS'] ?? 20);
const FIRST_SEED = Number(process.env['CAIRN_TEST_FIRST_SEED'] ?? 1);

test('promise 1: every acknowledged write survives a crash at any disk operation, and nothing else appears', async () => {
  const reached = { flushes: 0, compactions: 0, releasedSegments: 0 };
  let current: StoreMemory | undefined;
  const note = (): void => {
    if (current === undefined) return;
    for (const name of ['flushes', 'compactions', 'releasedSegments'] as const) reached[name] += current.reached[name];
  };
  const script: CrashScript<StoreMemory> = {
    ...storeScript,
    begin(prng) {
      note();
      current = storeScript.begin(prng);
      return current;
    },
  };
  const report = await crashEverywhere(script, { firstSeed: FIRST_SEED, seeds: SEEDS, pointsPerSeed: POINTS });
  note();
  if (process.env['CAIRN_TEST_VERBOSE'] !== undefined) console.log(report, reached);
  assert.ok(report.secondCrashes > 0, 'some recoveries were stopped as well');
  for (const operation of ['create', 'write', 'sync', 'rename', 'remove', 'syncDirectory'] as const) {
    assert.ok(report.byOperation.has(operation), `no crash at any ${operation}`);
  }
  for (const [name, count] of Object.entries(reached)) assert.ok(count > 0, `no run reached ${name}`);
});
