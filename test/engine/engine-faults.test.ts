import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AssertionFailure } from '../../src/base/assert.js';
import { CairnError, CorruptionError } from '../../src/base/errors.js';
import { xxHash32 } from '../../src/base/hash.js';
import { Prng } from '../../src/base/prng.js';
import { writeNewFileSync } from '../../src/engine/file-io.js';
import type { Engine } from '../../src/engine/engine.js';
import { LATEST } from '../../src/lsm/row-key.js';
import { emptyGroupState } from '../../src/lsm/version/version-edit.js';
import { bytesOf, DIRECTORY, newDisk, openHarness, putRecord, readAt, write } from './engine-harness.js';

const TABLES = `${DIRECTORY}/tables`;

/** Turns of the loop until the condition holds. */
async function until(condition: () => boolean): Promise<void> {
  for (let turn = 0; !condition(); turn++) {
    assert.ok(turn < 10_000, 'it never came to that');
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Flushed tables of one key each. */
async function flushKeys(engine: Engine, replicaId: number, keys: readonly string[], revision: number): Promise<void> {
  for (const key of keys) {
    write(engine, replicaId, bytesOf(key), revision, putRecord(`${key}@${revision}`));
    await engine.flush();
  }
}

function tables(disk: { paths(): string[] }): string[] {
  return disk.paths().filter((path) => path.startsWith(TABLES));
}

test('Raft rule 14: a full disk during a flush is reported, waited for and recovered from, and nothing is lost', async () => {
  const { engine, disk, errors } = await openHarness();
  const replicaId = await engine.createReplica(1);
  write(engine, replicaId, bytesOf('key'), 10, putRecord('value'));
  disk.inject({ operation: 'write', code: 'ENOSPC', path: /sst$/, times: Infinity });
  const flushed = engine.flush();
  await until(() => engine.pressureReason === 'disk_full');
  assert.equal(engine.pressure, 'stop');
  assert.notEqual(await readAt(engine, replicaId, bytesOf('key'), LATEST), null, 'reads go on');
  disk.heal();
  await flushed;
  assert.equal(engine.pressure, 'none');
  assert.equal(engine.pressureReason, null);
  await engine.settled();
  assert.equal(tables(disk).length, 1, 'half-written tables are removed');
  assert.deepEqual(errors, []);
  await engine.close();
});

test('a full disk while the manifest is appended to is waited for', async () => {
  const { engine, disk, errors } = await openHarness();
  disk.inject({ operation: 'write', code: 'ENOSPC', path: /MANIFEST/, times: 3 });
  const [replicaId] = await engine.createReplicas([5]);
  assert.equal(engine.groupStates().get(5)?.replicaId, replicaId);
  assert.deepEqual(errors, []);
  await engine.close();
  assert.equal((await openHarness(disk)).engine.recovered.groups.get(5)?.replicaId, replicaId);
});

test('a full disk during a compaction is waited for', async () => {
  for (const operation of ['write', 'sync'] as const) {
    const { engine, disk, errors } = await openHarness(newDisk(), { automaticCompaction: false });
    const replicaId = await engine.createReplica(1);
    await flushKeys(engine, replicaId, ['a', 'b', 'a'], 10 + operation.length);
    disk.inject({ operation, code: 'ENOSPC', path: /sst$/, times: 3 });
    await engine.compact();
    assert.deepEqual(errors, []);
    assert.equal(engine.stats().levels[1]!.files, 1);
    await engine.settled();
    assert.equal(tables(disk).length, 1);
    await engine.close();
  }
});

test('Raft rule 14: EIO while a table is written or synced, or the manifest is synced, is fatal', async () => {
  for (const [operation, path] of [
    ['write', /sst$/],
    ['sync', /sst$/],
    ['sync', /MANIFEST/],
    ['syncDirectory', /tables$/],
  ] as const) {
    const { engine, disk, errors } = await openHarness();
    const replicaId = await engine.createReplica(1);
    write(engine, replicaId, bytesOf('key'), 10, putRecord('value'));
    disk.inject({ operation, code: 'EIO', path, times: Infinity });
    await assert.rejects(engine.flush());
    assert.equal(errors.length, 1, `${operation} of ${String(path)}`);
    assert.equal(engine.pressure, 'stop');
  }
});

test('LSM rule 8: after a flush has failed no later one is installed, so nothing that is lost counts as flushed', async () => {
  const harness = await openHarness();
  const { engine, disk, errors, flushed } = harness;
  const replicaId = await engine.createReplica(1);
  disk.inject({ operation: 'write', code: 'EIO', path: /sst$/, times: 1 });
  for (let index = 1; index <= 3; index++) {
    write(engine, replicaId, bytesOf(`key${index}`), index, putRecord('value'));
    const group = { ...emptyGroupState(1, replicaId), appliedIndex: index, appliedTerm: 1, revision: index, term: 1 };
    harness.captured = { groups: [group], clockBound: 0 };
    await assert.rejects(engine.flush(), { code: 'EIO' });
  }
  await engine.settled();
  assert.deepEqual(flushed, []);
  assert.equal(errors.length, 1);
  const again = await openHarness(disk.crashImage(new Prng(1)));
  assert.equal(again.engine.recovered.groups.get(1)?.appliedIndex, 0);
  await again.engine.close();
  await engine.close();
});

test('LSM rule 16: the job of a worker that died is done again by another', async () => {
  const { engine, executor, errors, disk } = await openHarness();
  const replicaId = await engine.createReplica(1);
  let deaths = 2;
  executor.beforeJob = () => {
    if (deaths-- > 0) throw new CairnError('unavailable', 'its worker died');
  };
  await flushKeys(engine, replicaId, ['a', 'b', 'c', 'd'], 10);
  deaths = 2;
  await engine.compact();
  assert.deepEqual(errors, []);
  for (const key of ['a', 'b', 'c', 'd']) assert.notEqual(await readAt(engine, replicaId, bytesOf(key), LATEST), null);
  await engine.settled();
  assert.equal(
    tables(disk).length,
    engine.stats().levels.reduce((sum, level) => sum + level.files, 0),
  );
  await engine.close();
});

test('LSM rule 11: a read that meets a damaged block is refused, one that comes later too, and other keys are read', async () => {
  const { engine, disk } = await openHarness(newDisk(), { table: { blockSizeBytes: 64 } });
  const replicaId = await engine.createReplica(1);
  for (const key of ['a', 'b', 'c', 'd']) write(engine, replicaId, bytesOf(key), 5, putRecord(key.repeat(60)));
  await engine.flush();
  disk.flipBit(tables(disk)[0]!, 20, 3);
  await assert.rejects(readAt(engine, replicaId, bytesOf('a'), LATEST), CorruptionError);
  await assert.rejects(readAt(engine, replicaId, bytesOf('a'), LATEST), CorruptionError);
  assert.notEqual(await readAt(engine, replicaId, bytesOf('d'), LATEST), null);
  await engine.close();
});

test('promise 5: a damaged table ends compaction and not the node: other keys are read, written and flushed', async () => {
  for (const inWorker of [false, true]) {
    const { engine, disk, executor, errors } = await openHarness(newDisk(), { level0: { compactionTables: 3 } });
    const replicaId = await engine.createReplica(1);
    await flushKeys(engine, replicaId, ['a', 'b'], 5);
    if (!inWorker) disk.flipBit(tables(disk)[0]!, 2, 3);
    executor.beforeJob = (name) => {
      if (inWorker && name === 'compactionSlice') throw new CairnError('corruption', 'as a worker answers it');
    };
    await flushKeys(engine, replicaId, ['c', 'd', 'e'], 6);
    await assert.rejects(engine.compact(), { code: 'corruption' });
    assert.deepEqual(errors, []);
    for (const key of ['b', 'c', 'd', 'e']) {
      assert.notEqual(await readAt(engine, replicaId, bytesOf(key), LATEST), null, key);
    }
    if (!inWorker) await assert.rejects(readAt(engine, replicaId, bytesOf('a'), LATEST), CorruptionError);
    await engine.close();
    const live = engine.stats().levels.reduce((sum, level) => sum + level.files, 0);
    assert.equal(tables(disk).length, live, 'no input is removed, no output left');
  }
});

test('LSM rule 4: a table is synced, then its directory, then the manifest names it, and inputs are removed last', async () => {
  const { engine, disk } = await openHarness(newDisk(), { automaticCompaction: false });
  const replicaId = await engine.createReplica(1);
  const steps: string[] = [];
  disk.onOperation = (operation, path) => {
    const what = path.endsWith('.sst') ? 'table' : path === TABLES ? 'directory' : 'manifest';
    const step = `${operation} ${what}`;
    if (operation !== 'open' && operation !== 'read' && steps.at(-1) !== step) steps.push(step);
  };
  const took = (): string[] => steps.splice(0).filter((step) => /sync|remove|write manifest/.test(step));
  const toManifest = ['write manifest', 'sync manifest', 'write manifest', 'sync manifest'];
  write(engine, replicaId, bytesOf('a'), 5, putRecord('a'));
  await engine.flush();
  assert.deepEqual(took(), ['sync table', 'syncDirectory directory', ...toManifest]);
  await flushKeys(engine, replicaId, ['a'], 6);
  took();
  await engine.compact();
  await engine.settled();
  const compacted = took();
  // Before it the captured state is saved.
  assert.deepEqual(compacted.slice(compacted.indexOf('sync table')), [
    'sync table',
    'syncDirectory directory',
    ...toManifest,
    'remove table',
  ]);
  await engine.close();
});

test('LSM rule 16: an arena that a cursor still reads is not used again, however many memtables come after it', async () => {
  const { engine } = await openHarness(newDisk(), { memtableSizeBytes: 32 * 1024 });
  const replicaId = await engine.createReplica(1);
  const keys = ['a', 'b', 'c', 'd'];
  for (const key of keys) write(engine, replicaId, bytesOf(key), 1, putRecord(`first ${key}`));
  const cursor = engine.cursor();
  while (!cursor.seekToFirst()) await cursor.load();
  await engine.flush();
  for (let round = 2; round < 12; round++) {
    for (let i = 0; i < 20; i++) write(engine, replicaId, bytesOf(`other${i}`), round, putRecord('y'.repeat(400)));
    await engine.flush();
    await until(() => engine.stats().frozenMemtables === 0);
  }
  for (const key of keys) {
    const { value, valueStart, valueLength } = cursor;
    assert.equal(Buffer.from(value.subarray(valueStart, valueStart + valueLength)).toString(), `\0first ${key}`);
    while (!cursor.next()) await cursor.load();
  }
  cursor.close();
  await engine.close();
});

test('LSM rule 13: EIO on a block read is an error, not an absent key', async () => {
  const { engine, disk } = await openHarness();
  const replicaId = await engine.createReplica(1);
  await flushKeys(engine, replicaId, ['a'], 5);
  disk.inject({ operation: 'read', code: 'EIO', path: /sst$/ });
  await assert.rejects(readAt(engine, replicaId, bytesOf('a'), LATEST), { code: 'EIO' });
  assert.notEqual(await readAt(engine, replicaId, bytesOf('a'), LATEST), null);
  await engine.close();
});

test('a block that many reads want at once is read once', async () => {
  const { engine, disk } = await openHarness();
  const replicaId = await engine.createReplica(1);
  await flushKeys(engine, replicaId, ['a'], 5);
  const before = disk.operationCount('read');
  await Promise.all(Array.from({ length: 20 }, () => readAt(engine, replicaId, bytesOf('a'), LATEST)));
  assert.equal(disk.operationCount('read') - before, 1);
  await engine.close();
});

test('LSM rule 12: a missing table, and a table that the manifest never reserved, are refused at the start', async () => {
  const { engine, disk } = await openHarness();
  const replicaId = await engine.createReplica(1);
  await flushKeys(engine, replicaId, ['a'], 5);
  await engine.close();
  const name = tables(disk)[0]!;
  writeNewFileSync(disk.blocking, `${TABLES}/999999.sst`, bytesOf('from another time'));
  await assert.rejects(openHarness(disk), CorruptionError);
  disk.blocking.remove(`${TABLES}/999999.sst`);
  disk.blocking.rename(name, `${TABLES}/kept`);
  await assert.rejects(openHarness(disk), CorruptionError);
  disk.blocking.rename(`${TABLES}/kept`, name);
  disk.blocking.remove(`${DIRECTORY}/CURRENT`);
  await assert.rejects(openHarness(disk), CorruptionError);
  assert.deepEqual(tables(disk), [name], 'nothing was touched');
});

test('tables that a crash left behind are removed at the next start', async () => {
  const { engine, disk } = await openHarness();
  const replicaId = await engine.createReplica(1);
  await flushKeys(engine, replicaId, ['a'], 5);
  await engine.close();
  const kept = tables(disk);
  writeNewFileSync(disk.blocking, `${TABLES}/000900.sst`, bytesOf('half a table'));
  const again = await openHarness(disk);
  assert.deepEqual(tables(disk), kept);
  await again.engine.close();
});

test('LSM rule 5: no file number is given twice, also across restarts', async () => {
  let disk = newDisk();
  const seen = new Set<string>();
  for (let life = 0; life < 5; life++) {
    const { engine } = await openHarness(disk, { automaticCompaction: false });
    disk.onOperation = (operation, path) => {
      if (operation !== 'create' || !path.endsWith('sst')) return;
      assert.ok(!seen.has(path), `${path} is made again`);
      seen.add(path);
    };
    const replicaId = engine.recovered.groups.get(1)?.replicaId ?? (await engine.createReplica(1));
    await flushKeys(engine, replicaId, ['a', 'b', 'c'], 10 + life);
    await engine.compact();
    await engine.settled();
    disk = disk.crash(new Prng(life));
  }
  assert.ok(seen.size >= 20);
});

test('LSM rule 9: an open cursor keeps its tables and memtables through flush and compaction', async () => {
  const { engine, disk } = await openHarness(newDisk(), { automaticCompaction: false });
  const replicaId = await engine.createReplica(1);
  await flushKeys(engine, replicaId, ['a', 'b'], 5);
  write(engine, replicaId, bytesOf('c'), 5, putRecord('c'));
  const cursor = engine.cursor();
  await engine.flush();
  await flushKeys(engine, replicaId, ['a', 'b', 'c', 'd'], 6);
  await engine.compact();
  const keys: string[] = [];
  while (!cursor.seekToFirst()) await cursor.load();
  while (cursor.valid) {
    keys.push(`${String.fromCharCode(cursor.key[cursor.keyStart + 4]!)}${cursor.revision}`);
    while (!cursor.next()) await cursor.load();
  }
  assert.deepEqual(keys, ['a5', 'b5', 'c5']);
  assert.equal(tables(disk).length, 3);
  cursor.close();
  cursor.close();
  await engine.settled();
  assert.equal(tables(disk).length, 1);
  await engine.close();
});

test('LSM rule 17: the history floor is durable before a compaction drops up to it, and stays below the oldest pin', async () => {
  const harness = await openHarness(newDisk(), { automaticCompaction: false });
  const { engine, disk } = harness;
  const replicaId = await engine.createReplica(1);
  await flushKeys(engine, replicaId, ['a'], 10);
  await flushKeys(engine, replicaId, ['a'], 20);
  await flushKeys(engine, replicaId, ['a'], 30);
  harness.now = 100;
  const pin = engine.pinRevision(15);
  await engine.compact();
  assert.equal(engine.historyFloor, 15);
  assert.equal((await readAt(engine, replicaId, bytesOf('a'), 15))?.revision, 10);
  assert.equal((await readAt(engine, replicaId, bytesOf('a'), 25))?.revision, 20);
  pin.release();
  pin.release();
  const again = await openHarness(disk.crashImage(new Prng(1)));
  assert.equal(again.engine.historyFloor, 15);
  await again.engine.close();
  await engine.compact();
  assert.equal(engine.historyFloor, 100);
  assert.throws(() => engine.pinRevision(99), AssertionFailure);
  assert.equal(engine.stats().levels.flat().length > 0, true);
  assert.equal((await readAt(engine, replicaId, bytesOf('a'), 100))?.revision, 30);
  await engine.close();
});

test('a dropped replica is gone from the disk after the next compaction, its group at once', async () => {
  const { engine, disk } = await openHarness();
  const [first, second] = await engine.createReplicas([1, 2]);
  write(engine, first!, bytesOf('a'), 5, putRecord('a'));
  await engine.flush();
  write(engine, second!, bytesOf('b'), 5, putRecord('b'));
  await engine.flush();
  await engine.dropReplica(first!);
  await engine.settled();
  assert.equal(tables(disk).length, 1, 'a table of the dead alone needs no merge');
  assert.deepEqual([...engine.groupStates().keys()], [2]);
  const third = await engine.createReplica(1);
  assert.ok(third > second!, 'LSM rule 5: replica ids are never reused');
  assert.equal(await readAt(engine, third, bytesOf('a'), LATEST), null);
  await engine.close();
});

test('Raft rule 13: an entry is never split between memtables, and a flush carries the state from before it', async () => {
  const harness = await openHarness(newDisk(), { memtableSizeBytes: 32 * 1024 });
  const { engine, disk } = harness;
  const replicaId = await engine.createReplica(1);
  const state = (appliedIndex: number): void => {
    const group = { ...emptyGroupState(1, replicaId), appliedIndex, appliedTerm: 1, revision: appliedIndex, term: 1 };
    harness.captured = { groups: [group], clockBound: 1000 };
  };
  const value = putRecord('x'.repeat(500));
  for (let index = 1; index <= 60; index++) {
    const keys = ['a', 'b', 'c', 'd'].map((letter) => bytesOf(`${letter}${index}`));
    engine.prepare(
      keys.reduce((sum, key) => sum + key.length + value.length, 0),
      keys.length,
    );
    for (const key of keys) {
      engine.insert(replicaId, key, 0, key.length, xxHash32(key, 0, key.length), index, value, 0, value.length);
    }
    state(index);
  }
  await engine.settled();
  assert.ok(harness.flushed.length > 1, 'memtables were rotated');
  const last = harness.flushed.at(-1)!;
  const again = await openHarness(disk.crashImage(new Prng(1)));
  assert.equal(again.engine.recovered.groups.get(1)?.appliedIndex, last);
  assert.equal(again.engine.recovered.clockBound, 1000);
  for (let index = 1; index <= 60; index++) {
    for (const letter of ['a', 'b', 'c', 'd']) {
      const found = await readAt(again.engine, replicaId, bytesOf(`${letter}${index}`), LATEST);
      assert.equal(found !== null, index <= last, `${letter}${index} with ${last} flushed`);
    }
  }
  await again.engine.close();
  await engine.close();
});

test('LSM rule 18: frozen memtables beyond the limit ask for a stop of writes, and it ends by itself', async () => {
  const { engine, executor } = await openHarness(newDisk(), { maxFrozenMemtables: 1 });
  const replicaId = await engine.createReplica(1);
  let release: () => void = () => {};
  const blocked = new Promise<void>((resolve) => (release = resolve));
  executor.hold = blocked;
  const value = putRecord('x'.repeat(1000));
  const seen = new Set<string>();
  for (let i = 0; engine.pressure !== 'stop'; i++) {
    assert.ok(i < 1000);
    seen.add(engine.pressure);
    write(engine, replicaId, bytesOf(`key${i}`), i + 1, value);
  }
  assert.deepEqual([...seen], ['none', 'slow']);
  assert.equal(engine.pressureReason, 'flush_behind');
  release();
  await until(() => engine.pressure === 'none');
  await engine.close();
});

test('an entry larger than a memtable is taken', async () => {
  const { engine } = await openHarness();
  const replicaId = await engine.createReplica(1);
  const value = putRecord('x'.repeat(300_000));
  write(engine, replicaId, bytesOf('big'), 1, value);
  assert.deepEqual((await readAt(engine, replicaId, bytesOf('big'), 1))?.record, value);
  await engine.flush();
  assert.deepEqual((await readAt(engine, replicaId, bytesOf('big'), 1))?.record, value);
  await engine.close();
});
