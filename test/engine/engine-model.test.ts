import { test } from 'node:test';
import { Prng } from '../../src/base/prng.js';
import { newDisk } from './engine-harness.js';
import { ModelWorld } from './model-world.js';

const SEEDS = Number(process.env['CAIRN_TEST_SEEDS'] ?? 6);
const STEPS = 1200;
const GROUPS = 3;

for (let seed = 1; seed <= SEEDS; seed++) {
  test(`reads and scans agree with the log of all entries, seed ${seed}`, async () => {
    const prng = new Prng(seed);
    const disk = newDisk(seed);
    disk.shortTransferProbability = prng.chance(0.5) ? 0.1 : 0;
    const world = new ModelWorld(prng, {
      memtableSizeBytes: prng.pick([64 * 1024, 128 * 1024]),
      blockCacheSizeBytes: prng.pick([0, 8 * 1024, 64 * 1024]),
      historyWindowMs: prng.pick([0, 0.02, 0.2, 1]),
      targetTableSizeBytes: prng.pick([300, 2 * 1024, 16 * 1024]),
      levelBaseSizeBytes: prng.pick([512, 4 * 1024, 32 * 1024]),
      table: { blockSizeBytes: prng.pick([128, 1024]), compress: prng.chance(0.5) },
      level0: { compactionTables: prng.pick([1, 2, 4]) },
    });
    await world.open(disk, GROUPS);
    for (let step = 0; step < STEPS; step++) {
      const dice = prng.unit();
      if (dice < 0.9) world.write();
      else if (dice < 0.94) await world.flush();
      else if (dice < 0.945) await world.engine.compact();
      else if (dice < 0.95) {
        await world.engine.close();
        await world.open(disk, GROUPS);
      } else await world.check();
      // Background work goes on between the steps.
      if (prng.chance(0.2)) await new Promise((resolve) => setImmediate(resolve));
    }
    await world.engine.settled();
    await world.checkEverything();
    world.assertNoErrors();
    await world.engine.close();
  });
}
