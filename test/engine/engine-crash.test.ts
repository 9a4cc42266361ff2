import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '../../src/base/prng.js';
import { isMutation } from '../sim/ports/sim-disk.js';
import { newDisk } from './engine-harness.js';
import { ModelWorld } from './model-world.js';

const SEEDS = Number(process.env['CAIRN_TEST_SEEDS'] ?? 40);
const GROUPS = 2;
const CRASHES_PER_SEED = 4;

const OPTIONS = {
  memtableSizeBytes: 64 * 1024,
  blockCacheSizeBytes: 4 * 1024,
  historyWindowMs: 0.02,
  targetTableSizeBytes: 1500,
  levelBaseSizeBytes: 3000,
  table: { blockSizeBytes: 256 },
  level0: { compactionTables: 2 },
};

/** Writes, flushes and compactions until the power goes off. */
async function work(world: ModelWorld, prng: Prng, isOff: () => boolean): Promise<void> {
  for (let step = 0; step < 400 && !isOff(); step++) {
    const dice = prng.unit();
    if (dice < 0.85) world.write();
    else if (dice < 0.97) await world.flush();
    else if (dice < 0.98) await world.engine.compact();
    else await world.check();
  }
}

test('after a crash at any disk operation the tables hold a prefix of each group, and the log completes it', async () => {
  let crashes = 0;
  const crashedAt = new Set<string>();
  for (let seed = 1; seed <= SEEDS; seed++) {
    const prng = new Prng(seed);
    let disk = newDisk(seed);
    const world = new ModelWorld(prng, OPTIONS);
    for (let round = 0; round < CRASHES_PER_SEED; round++) {
      let left = 1 + prng.below(round === 0 ? 40 : 250);
      let crashed: () => void = () => {};
      const off = new Promise<void>((resolve) => (crashed = resolve));
      const current = disk;
      current.onOperation = (operation, path) => {
        if (!isMutation(operation) || --left > 0 || current.isOff) return;
        crashedAt.add(`${operation} ${path.replace(/[0-9]+/, 'N')}`);
        current.powerOff();
        crashed();
      };
      const life = world.open(current, GROUPS).then(() => work(world, prng, () => current.isOff));
      // A call that the crash cut never answers.
      await Promise.race([life, off]).catch((error: unknown) => assert.ok(current.isOff, String(error)));
      life.catch(() => {});
      if (!current.isOff) current.powerOff();
      else crashes++;
      disk = current.crash(new Prng(seed * 1000 + round));
    }
    disk.onOperation = undefined;
    await world.open(disk, GROUPS);
    await world.checkEverything();
    for (let i = 0; i < 5; i++) await world.check();
    world.assertNoErrors();
    await world.engine.close();
  }
  assert.ok(crashes >= SEEDS, `only ${crashes} lives ended by a crash`);
  if (SEEDS < 30) return;
  for (const place of ['create', 'write', 'sync'].map((operation) => `${operation} /data/engine/tables/N.sst`)) {
    assert.ok(crashedAt.has(place), `no crash at ${place}`);
  }
  for (const place of [
    'write /data/engine/MANIFEST-N',
    'sync /data/engine/MANIFEST-N',
    'remove /data/engine/tables/N.sst',
  ]) {
    assert.ok(crashedAt.has(place), `no crash at ${place}`);
  }
});
