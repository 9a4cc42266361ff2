import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makeDirectoryDurablySync, readFileSync, writeFully } from '../../src/engine/file-io.js';
import { crashAt, crashEverywhere, type CrashScript } from './crash-harness.js';
import type { SimMachine } from './sim-machine.js';

interface Counter {
  promised: number;
  /** What the script leaves out, to see that the harness finds it. */
  readonly omit: 'nothing' | 'file sync' | 'directory sync';
}

/** Counts to 5 in a file that is replaced by a rename each time. */
function counting(omit: Counter['omit']): CrashScript<Counter> {
  const step = async ({ disk }: SimMachine, state: Counter, value: number): Promise<void> => {
    if (await disk.exists('/d/new')) await disk.remove('/d/new');
    const file = await disk.open('/d/new', 'create');
    await writeFully(file, Buffer.from(String(value)), 0);
    if (omit !== 'file sync') await file.sync();
    await file.close();
    await disk.rename('/d/new', '/d/count');
    if (omit !== 'directory sync') await disk.syncDirectory('/d');
    state.promised = value;
  };
  return {
    begin: () => ({ promised: 0, omit }),
    async run(machine, state) {
      makeDirectoryDurablySync(machine.disk.blocking, '/d');
      for (let value = 1; value <= 5; value++) await step(machine, state, value);
    },
    async recover(machine, state) {
      const { blocking } = machine.disk;
      makeDirectoryDurablySync(blocking, '/d');
      const text = blocking.exists('/d/count') ? Buffer.from(readFileSync(blocking, '/d/count')).toString() : '0';
      const found = Number(text);
      assert.ok(found >= state.promised && found <= state.promised + 1, `promised ${state.promised}, found '${text}'`);
      // What was read may not be durable yet, so it is written again before it is promised.
      if (found > 0) await step(machine, state, found);
    },
  };
}

test('a script that syncs everything passes every crash, also crashes while it recovers', async () => {
  const report = await crashEverywhere(counting('nothing'), { seeds: 20 });
  assert.equal(report.crashes, report.mutations);
  assert.ok(report.secondCrashes > 20);
  for (const operation of ['create', 'write', 'sync', 'rename', 'syncDirectory'] as const) {
    assert.ok(report.byOperation.get(operation)! >= 100, operation);
  }
});

for (const omit of ['file sync', 'directory sync'] as const) {
  test(`a script that leaves out the ${omit} is found out, and the failure repeats`, async () => {
    const script = counting(omit);
    let message = '';
    await assert.rejects(crashEverywhere(script, { seeds: 20 }), (error) => {
      message = (error as Error).message;
      return true;
    });
    const [, seed, point] = /^seed (\d+), point (\d+), .*: promised \d, found '/s.exec(message) ?? [];
    assert.ok(seed !== undefined && point !== undefined, message);
    await assert.rejects(crashAt(script, Number(seed), Number(point)), (error) => (error as Error).message === message);
  });
}

test('a choice of points stays within the bound', async () => {
  const report = await crashEverywhere(counting('nothing'), { seeds: 3, pointsPerSeed: 4 });
  assert.equal(report.crashes, 12);
});

test('a script that waits for what never happens is reported as stuck', async () => {
  const script: CrashScript<null> = {
    begin: () => null,
    run: () => new Promise(() => {}),
    recover: async () => {},
  };
  await assert.rejects(crashEverywhere(script, { seeds: 1 }), /seed 1, no crash: stuck/);
});
