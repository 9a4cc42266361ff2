import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '../../../src/base/prng.js';
import { makeDirectoryDurablySync, readFileSync, writeNewFileSync } from '../../../src/engine/file-io.js';
import { DiskError } from '../../../src/ports/disk.js';
import { PowerLoss } from './power-loss.js';
import { Scheduler } from './scheduler.js';
import { isMutation, SimDisk, type DiskOperation } from './sim-disk.js';

const SEEDS = Number(process.env['CAIRN_TEST_SEEDS'] ?? 200);

/** A disk with the durable directory /d. */
function freshDisk(seed = 1): SimDisk {
  const disk = new SimDisk({ prng: new Prng(seed) });
  makeDirectoryDurablySync(disk.blocking, '/d');
  return disk;
}

/** What the next start finds, as text, for each of many crashes of one prepared disk. */
function outcomes(prepare: (disk: SimDisk) => void, observe: (disk: SimDisk) => string): Set<string> {
  const disk = freshDisk();
  prepare(disk);
  const seen = new Set<string>();
  for (let seed = 0; seed < SEEDS; seed++) seen.add(observe(disk.crashImage(new Prng(seed))));
  return seen;
}

function content(disk: SimDisk, path: string): string {
  return disk.blocking.exists(path) ? Buffer.from(readFileSync(disk.blocking, path)).toString('latin1') : 'absent';
}

const listing = (disk: SimDisk): string => disk.blocking.list('/d').join(' ');

function hasCode(code: string): (error: unknown) => boolean {
  return (error) => error instanceof DiskError && error.code === code;
}

test('a synced file with a synced name survives every crash', () => {
  const seen = outcomes(
    (disk) => writeNewFileSync(disk.blocking, '/d/a', Buffer.from('x'.repeat(2000))),
    (disk) => content(disk, '/d/a'),
  );
  assert.deepEqual(seen, new Set(['x'.repeat(2000)]));
});

test('LSM rule 3: a synced file whose directory was not synced may be gone', () => {
  const seen = outcomes(
    (disk) => {
      const file = disk.blocking.open('/d/a', 'create');
      file.write(Buffer.from('x'), 0);
      file.sync();
    },
    (disk) => content(disk, '/d/a'),
  );
  assert.deepEqual(seen, new Set(['x', 'absent']));
});

test('LSM rule 3: a synced name does not make the content durable', () => {
  const seen = outcomes(
    (disk) => {
      const file = disk.blocking.open('/d/a', 'create');
      file.write(Buffer.from('x'), 0);
      disk.blocking.syncDirectory('/d');
    },
    (disk) => content(disk, '/d/a'),
  );
  assert.ok(seen.has('') && seen.has('x') && seen.has('\0'), `found ${JSON.stringify([...seen])}`);
  assert.ok(!seen.has('absent'));
});

test('each unsynced sector of an overwrite keeps its old or its new bytes', () => {
  const seen = outcomes(
    (disk) => {
      writeNewFileSync(disk.blocking, '/d/a', Buffer.from('o'.repeat(1536)));
      disk.blocking.open('/d/a', 'write').write(Buffer.from('n'.repeat(1536)), 0);
    },
    (disk) =>
      [0, 512, 1024]
        .map((at) =>
          content(disk, '/d/a')
            .slice(at, at + 512)
            .replace(/^(.)\1*$/s, '$1'),
        )
        .join(''),
  );
  for (const pattern of ['ooo', 'nnn', 'noo', 'nno', 'ono', 'oon', 'onn', 'non']) assert.ok(seen.has(pattern), pattern);
  assert.ok(
    [...seen].some((pattern) => pattern.length > 500),
    'a torn sector is seen',
  );
});

test('without tears a sector is never mixed', () => {
  const disk = new SimDisk({ prng: new Prng(1), tearsSectors: false });
  makeDirectoryDurablySync(disk.blocking, '/d');
  writeNewFileSync(disk.blocking, '/d/a', Buffer.from('o'.repeat(512)));
  disk.blocking.open('/d/a', 'write').write(Buffer.from('n'.repeat(512)), 0);
  const seen = new Set<string>();
  for (let seed = 0; seed < SEEDS; seed++) seen.add(content(disk.crashImage(new Prng(seed)), '/d/a'));
  assert.deepEqual(seen, new Set(['o'.repeat(512), 'n'.repeat(512)]));
});

test('bytes beside a torn write in its sector are safe unless sectors are garbled', () => {
  const isChanged = (garblesSectors: boolean, seed: number): boolean => {
    const disk = new SimDisk({ prng: new Prng(1), garblesSectors });
    makeDirectoryDurablySync(disk.blocking, '/d');
    writeNewFileSync(disk.blocking, '/d/a', Buffer.from('s'.repeat(256)));
    disk.blocking.open('/d/a', 'write').write(Buffer.from('u'.repeat(256)), 256);
    return content(disk.crashImage(new Prng(seed)), '/d/a').slice(0, 256) !== 's'.repeat(256);
  };
  const seeds = Array.from({ length: 10 * SEEDS }, (_, seed) => seed);
  assert.ok(!seeds.some((seed) => isChanged(false, seed)));
  assert.ok(seeds.some((seed) => isChanged(true, seed)));
});

test('bytes synced before a later unsynced write to another sector always survive', () => {
  const seen = outcomes(
    (disk) => {
      writeNewFileSync(disk.blocking, '/d/a', Buffer.from('s'.repeat(512)));
      disk.blocking.open('/d/a', 'write').write(Buffer.from('u'.repeat(700)), 512);
    },
    (disk) => content(disk, '/d/a').slice(0, 512),
  );
  assert.deepEqual(seen, new Set(['s'.repeat(512)]));
});

test('an unsynced extension may survive as size alone, reading as zeros', () => {
  const seen = outcomes(
    (disk) => {
      writeNewFileSync(disk.blocking, '/d/a', Buffer.from('s'));
      disk.blocking.open('/d/a', 'write').write(Buffer.from('u'.repeat(511)), 1024);
    },
    (disk) => content(disk, '/d/a').replace(/(.)\1+/gs, '$1'),
  );
  assert.ok(seen.has('s') && seen.has('s\0') && seen.has('s\0u'), `found ${JSON.stringify([...seen].slice(0, 9))}`);
});

test('an unsynced truncation may be undone, with the old bytes', () => {
  const seen = outcomes(
    (disk) => {
      writeNewFileSync(disk.blocking, '/d/a', Buffer.from('o'.repeat(1024)));
      disk.blocking.open('/d/a', 'write').truncate(512);
    },
    (disk) => content(disk, '/d/a'),
  );
  assert.ok(seen.has('o'.repeat(512)) && seen.has('o'.repeat(1024)));
});

test('a synced truncation is never undone', () => {
  const seen = outcomes(
    (disk) => {
      writeNewFileSync(disk.blocking, '/d/a', Buffer.from('o'.repeat(1024)));
      const file = disk.blocking.open('/d/a', 'write');
      file.truncate(100);
      file.sync();
    },
    (disk) => content(disk, '/d/a'),
  );
  assert.deepEqual(seen, new Set(['o'.repeat(100)]));
});

test('a completed write to a dsync file survives, also when it grows the file', () => {
  const seen = outcomes(
    (disk) => {
      writeNewFileSync(disk.blocking, '/d/a', Buffer.from('o'));
      disk.blocking.open('/d/a', 'dsync').write(Buffer.from('n'.repeat(900)), 1);
    },
    (disk) => content(disk, '/d/a'),
  );
  assert.deepEqual(seen, new Set([`o${'n'.repeat(900)}`]));
});

test('a dsync write does not make what another handle wrote elsewhere durable', () => {
  const seen = outcomes(
    (disk) => {
      writeNewFileSync(disk.blocking, '/d/a', Buffer.from('o'.repeat(1024)));
      disk.blocking.open('/d/a', 'write').write(Buffer.from('n'), 0);
      disk.blocking.open('/d/a', 'dsync').write(Buffer.from('n'), 512);
    },
    (disk) => content(disk, '/d/a')[0]! + content(disk, '/d/a')[512]!,
  );
  assert.ok(seen.has('on') && seen.has('nn'));
  assert.ok(![...seen].some((pair) => pair[1] !== 'n'));
});

test('LSM rule 3: a rename without syncDirectory happened or not, but never by half', () => {
  const seen = outcomes(
    (disk) => {
      writeNewFileSync(disk.blocking, '/d/old', Buffer.from('old'));
      writeNewFileSync(disk.blocking, '/d/new', Buffer.from('new'));
      disk.blocking.rename('/d/new', '/d/old');
    },
    (disk) => `${listing(disk)}: ${content(disk, '/d/old')}`,
  );
  assert.deepEqual(seen, new Set(['new old: old', 'old: new']));
});

test('a removal without syncDirectory may be undone, a synced one not', () => {
  const remove = (disk: SimDisk): void => {
    writeNewFileSync(disk.blocking, '/d/a', Buffer.from('x'));
    disk.blocking.remove('/d/a');
  };
  assert.deepEqual(
    outcomes(remove, (disk) => content(disk, '/d/a')),
    new Set(['x', 'absent']),
  );
  const removeAndSync = (disk: SimDisk): void => {
    remove(disk);
    disk.blocking.syncDirectory('/d');
  };
  assert.deepEqual(
    outcomes(removeAndSync, (disk) => content(disk, '/d/a')),
    new Set(['absent']),
  );
});

test('unsynced names survive each for itself', () => {
  const seen = outcomes((disk) => {
    for (const name of ['a', 'b', 'c']) disk.blocking.open(`/d/${name}`, 'create').close();
  }, listing);
  assert.deepEqual(seen, new Set(['', 'a', 'b', 'c', 'a b', 'a c', 'b c', 'a b c']));
});

test('operations on one name or one file survive in their order', () => {
  const seen = outcomes((disk) => {
    disk.blocking.open('/d/a', 'create').close();
    disk.blocking.rename('/d/a', '/d/b');
    disk.blocking.rename('/d/b', '/d/c');
  }, listing);
  assert.deepEqual(seen, new Set(['', 'a', 'b', 'c']));
});

test('a directory that was not synced into its parent may be gone with all that is in it', () => {
  const seen = outcomes(
    (disk) => {
      disk.blocking.makeDirectory('/d/sub');
      writeNewFileSync(disk.blocking, '/d/sub/a', Buffer.from('x'));
    },
    (disk) => content(disk, '/d/sub/a'),
  );
  assert.deepEqual(seen, new Set(['x', 'absent']));
});

test('after a crash the old disk and its handles are dead, and its calls under way never settle', async () => {
  const prng = new Prng(1);
  const scheduler = new Scheduler(prng);
  const disk = new SimDisk({ prng, scheduler });
  const file = disk.blocking.open('/a', 'create');
  let settled = false;
  void disk.exists('/a').finally(() => {
    settled = true;
  });
  const after = disk.crash(prng);
  assert.throws(() => file.write(Buffer.from('x'), 0), PowerLoss);
  assert.throws(() => disk.blocking.exists('/a'), PowerLoss);
  await scheduler.runFor(100);
  assert.equal(settled, false);
  assert.equal(await scheduler.run(after.exists('/')), true);
});

test('a crash image leaves the running disk as it is', () => {
  const disk = freshDisk();
  const file = disk.blocking.open('/d/a', 'create');
  file.write(Buffer.from('x'), 0);
  const image = disk.crashImage(new Prng(1));
  writeNewFileSync(image.blocking, '/d/other', Buffer.from('y'));
  file.write(Buffer.from('y'), 1);
  assert.equal(content(disk, '/d/a'), 'xy');
  assert.equal(disk.blocking.exists('/d/other'), false);
});

test('an end of the process alone loses nothing that was written', () => {
  const disk = freshDisk();
  const file = disk.blocking.open('/d/a', 'create');
  file.write(Buffer.from('x'), 0);
  const after = disk.processExit();
  assert.equal(content(after, '/d/a'), 'x');
  assert.throws(() => file.size(), PowerLoss);
});

test('the hook sees each operation while its effect is visible but not durable', () => {
  const seen: [DiskOperation, string][] = [];
  const disk = freshDisk();
  disk.onOperation = (operation, path) => {
    if (isMutation(operation)) seen.push([operation, path]);
  };
  writeNewFileSync(disk.blocking, '/d/a', Buffer.from('x'));
  assert.deepEqual(seen, [
    ['create', '/d/a'],
    ['write', '/d/a'],
    ['sync', '/d/a'],
    ['syncDirectory', '/d'],
  ]);
});

test('a crash in the middle of a sync may keep or lose what it syncs', () => {
  const seen = new Set<string>();
  for (let seed = 0; seed < SEEDS; seed++) {
    const disk = freshDisk();
    disk.onOperation = (operation) => {
      if (operation === 'syncDirectory') disk.powerOff();
    };
    assert.throws(() => writeNewFileSync(disk.blocking, '/d/a', Buffer.from('x')), PowerLoss);
    seen.add(content(disk.crash(new Prng(seed)), '/d/a'));
  }
  assert.deepEqual(seen, new Set(['x', 'absent']));
});

test('an injected fault hits the chosen operations of a kind and path only', () => {
  const disk = freshDisk();
  disk.inject({ operation: 'write', code: 'EIO', path: /log$/, nth: 2, times: 2 });
  const log = disk.blocking.open('/d/log', 'create');
  const other = disk.blocking.open('/d/other', 'create');
  log.write(Buffer.from('1'), 0);
  other.write(Buffer.from('1'), 0);
  assert.throws(() => log.write(Buffer.from('2'), 1), hasCode('EIO'));
  assert.throws(() => log.write(Buffer.from('2'), 1), hasCode('EIO'));
  log.write(Buffer.from('2'), 1);
  assert.equal(content(disk, '/d/log'), '12');
});

test('Raft rule 14: after a failed sync a second one succeeds without saving what the first lost', () => {
  const seen = new Set<string>();
  for (let seed = 0; seed < SEEDS; seed++) {
    const disk = freshDisk(seed);
    writeNewFileSync(disk.blocking, '/d/a', Buffer.from('old'));
    const file = disk.blocking.open('/d/a', 'write');
    file.write(Buffer.from('new'), 0);
    disk.inject({ operation: 'sync', code: 'EIO' });
    assert.throws(() => file.sync(), hasCode('EIO'));
    file.sync();
    assert.equal(content(disk, '/d/a'), 'new');
    seen.add(content(disk.crash(new Prng(seed)), '/d/a'));
  }
  assert.deepEqual(seen, new Set(['old', 'new']));
});

test('a full disk takes what fits, then refuses with ENOSPC; overwriting still works; removing makes room', () => {
  const disk = new SimDisk({ prng: new Prng(1), capacityBytes: 1000 });
  const { blocking } = disk;
  const file = blocking.open('/a', 'create');
  assert.equal(file.write(new Uint8Array(800), 0), 800);
  assert.equal(blocking.freeBytes('/'), 200);
  assert.equal(file.write(new Uint8Array(800), 800), 200);
  assert.throws(() => file.write(new Uint8Array(1), 1000), hasCode('ENOSPC'));
  assert.throws(() => file.truncate(1001), hasCode('ENOSPC'));
  assert.equal(file.write(new Uint8Array(1000), 0), 1000);
  blocking.remove('/a');
  assert.equal(blocking.freeBytes('/'), 1000);
});

test('LSM rule 13: short transfers move at least one byte and at most what was asked', () => {
  const disk = new SimDisk({ prng: new Prng(1), shortTransferProbability: 0.9 });
  const file = disk.blocking.open('/a', 'create');
  const counts = new Set<number>();
  for (let round = 0; round < 300; round++) {
    const written = file.write(new Uint8Array(10).fill(1), 0);
    const read = file.read(new Uint8Array(10), 0);
    assert.ok(written >= 1 && written <= 10 && read >= 1 && read <= 10);
    counts.add(written);
  }
  assert.equal(counts.size, 10);
});

test('a bit flipped at rest stays, one flipped on read comes once', () => {
  const disk = freshDisk();
  writeNewFileSync(disk.blocking, '/d/a', Buffer.from('aaaa'));
  disk.flipBitOnRead('/d/a', 2, 1);
  assert.equal(content(disk, '/d/a'), 'aaca');
  assert.equal(content(disk, '/d/a'), 'aaaa');
  disk.flipBit('/d/a', 0, 1);
  assert.equal(content(disk, '/d/a'), 'caaa');
  assert.equal(content(disk.crash(new Prng(1)), '/d/a'), 'caaa');
});

test('asynchronous calls complete in an order that depends on the seed only', async () => {
  const order = async (seed: number): Promise<string> => {
    const prng = new Prng(seed);
    const scheduler = new Scheduler(prng);
    const disk = new SimDisk({ prng, scheduler });
    let heard = '';
    const calls = ['a', 'b', 'c'].map((name) => disk.exists(name).then(() => (heard += name)));
    await scheduler.run(Promise.all(calls));
    return heard;
  };
  const orders = new Set<string>();
  for (let seed = 0; seed < 50; seed++) {
    assert.equal(await order(seed), await order(seed));
    orders.add(await order(seed));
  }
  assert.equal(orders.size, 6);
});
