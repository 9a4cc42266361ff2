import assert from 'node:assert/strict';
import fs from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { Prng } from '../../src/base/prng.js';
import { NodeDisk } from '../../src/platform/node-disk.js';
import { DiskError } from '../../src/ports/disk.js';
import { Scheduler } from '../sim/ports/scheduler.js';
import { SimDisk } from '../sim/ports/sim-disk.js';
import { asAsynchronous, diskConformance, type DiskUnderTest, type DiskWorld } from './disk-conformance.js';
import { untilReal } from './port-world.js';

async function realWorld(disk: DiskUnderTest): Promise<DiskWorld> {
  const directory = await fs.mkdtemp(path.join(os.tmpdir(), 'cairn-disk-'));
  return {
    port: disk,
    directory,
    settle: (promise) => promise,
    until: untilReal,
    close: () => fs.rm(directory, { recursive: true }),
  };
}

function simWorld(choose: (disk: SimDisk) => DiskUnderTest): DiskWorld {
  const prng = new Prng(1);
  const scheduler = new Scheduler(prng);
  const disk = new SimDisk({ prng, scheduler });
  disk.blocking.makeDirectory('/data');
  return {
    port: choose(disk),
    directory: '/data',
    settle: (promise) => scheduler.run(promise),
    until: async (condition) => assert.ok(await scheduler.runUntil(condition)),
    close: async () => {},
  };
}

diskConformance('the real disk', () => realWorld(new NodeDisk()));
diskConformance('the real blocking disk', () => realWorld(asAsynchronous(new NodeDisk())));
diskConformance('the simulated disk', () => simWorld((disk) => disk));
diskConformance('the simulated blocking disk', () => simWorld(asAsynchronous));

test('LSM rule 13: the real disk tells "not there" from every other failure', async () => {
  const disk = new NodeDisk();
  const tooLong = `/tmp/${'x'.repeat(300)}`;
  assert.throws(
    () => disk.blocking.exists(tooLong),
    (error) => error instanceof DiskError && error.code === 'ENAMETOOLONG',
  );
  await assert.rejects(disk.exists(tooLong), (error) => error instanceof DiskError && error.code === 'ENAMETOOLONG');
});

test('a DiskError of the real disk names the operation, the path and the system error', () => {
  assert.throws(
    () => new NodeDisk().blocking.open('/nonexistent/file', 'read'),
    (error) =>
      error instanceof DiskError &&
      /^open \/nonexistent\/file: ENOENT$/.test(error.message) &&
      error.cause !== undefined,
  );
});
