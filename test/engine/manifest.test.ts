import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CorruptionError } from '../../src/base/errors.js';
import { Prng } from '../../src/base/prng.js';
import { readFileSync, writeNewFileSync } from '../../src/engine/file-io.js';
import { Manifest } from '../../src/engine/manifest/manifest.js';
import { applyEdit, type Version } from '../../src/lsm/version/version.js';
import { emptyGroupState, type VersionEdit } from '../../src/lsm/version/version-edit.js';
import { DiskError, type SyncDisk } from '../../src/ports/disk.js';
import { tableOf } from '../lsm/version/table-files.js';
import { SimDisk } from '../sim/ports/sim-disk.js';

const DIRECTORY = '/data';
const MANIFEST = `${DIRECTORY}/MANIFEST-000001`;
const CURRENT = `${DIRECTORY}/CURRENT`;

function newDisk(): SimDisk {
  const disk = new SimDisk({ prng: new Prng(1) });
  disk.blocking.makeDirectory(DIRECTORY);
  disk.blocking.syncDirectory('/');
  return disk;
}

function editOf(i: number): VersionEdit {
  return { nextFileNumber: 100 + i, added: [{ level: 0, table: tableOf(i, i, i + 10) }] };
}

/** Appends `count` edits and returns the versions on the way. */
async function fill(disk: SimDisk, count: number): Promise<Version[]> {
  const { manifest, version } = await Manifest.open(disk, DIRECTORY);
  const versions = [version];
  for (let i = 1; i <= count; i++) {
    const edit = editOf(i);
    const next = applyEdit(versions.at(-1)!, edit);
    await manifest.append(edit, next);
    versions.push(next);
  }
  await manifest.close();
  return versions;
}

async function reopen(disk: SimDisk): Promise<Version> {
  const { manifest, version } = await Manifest.open(disk, DIRECTORY);
  await manifest.close();
  return version;
}

function replaceFile(disk: SyncDisk, path: string, bytes: Uint8Array): void {
  disk.remove(path);
  writeNewFileSync(disk, path, bytes);
}

test('what was appended is there after a restart', async () => {
  const disk = newDisk();
  const versions = await fill(disk, 5);
  assert.deepEqual(await reopen(disk), versions.at(-1));
});

test('byte sweep: with any one byte of the manifest flipped, the version is right or a CorruptionError is given', async () => {
  const disk = newDisk();
  const versions = await fill(disk, 3);
  const good = readFileSync(disk.blocking, MANIFEST);
  let refused = 0;
  for (let at = 0; at < good.length; at++) {
    // Slots and these records end early in their sectors; of the zeros behind them a few will do.
    if (at % 4096 > 300 && at % 97 !== 0) continue;
    const bytes = good.slice();
    bytes[at]! ^= 1 << (at % 8);
    replaceFile(disk.blocking, MANIFEST, bytes);
    try {
      assert.deepEqual(await reopen(disk), versions.at(-1), `byte ${at}`);
    } catch (error) {
      assert.ok(error instanceof CorruptionError, `byte ${at}: ${String(error)}`);
      refused++;
    }
  }
  // The first record and three edits; what fills their sectors is not looked at.
  assert.ok(refused > 3 * 80, `only ${refused} flips were refused`);
});

test('with any end of the manifest cut off, the version is a CorruptionError: acknowledged edits are never dropped', async () => {
  const disk = newDisk();
  await fill(disk, 3);
  const good = readFileSync(disk.blocking, MANIFEST);
  for (let length = 0; length < good.length; length += length > 64 ? 37 : 1) {
    replaceFile(disk.blocking, MANIFEST, good.slice(0, length));
    await assert.rejects(reopen(disk), CorruptionError, `cut to ${length} bytes`);
  }
});

test('byte sweep: any damage to CURRENT is a CorruptionError', async () => {
  const disk = newDisk();
  await fill(disk, 1);
  const good = readFileSync(disk.blocking, CURRENT);
  for (let at = 0; at < good.length; at++) {
    const bytes = good.slice();
    bytes[at]! ^= 1;
    replaceFile(disk.blocking, CURRENT, bytes);
    await assert.rejects(reopen(disk), CorruptionError, `byte ${at}`);
    replaceFile(disk.blocking, CURRENT, good.slice(0, at));
    await assert.rejects(reopen(disk), CorruptionError, `cut to ${at} bytes`);
  }
});

test('LSM rule 12: a manifest with edits but without CURRENT is refused', async () => {
  const disk = newDisk();
  await fill(disk, 1);
  disk.blocking.remove(CURRENT);
  await assert.rejects(reopen(disk), CorruptionError);
});

test('an edit that was cut by a crash is dropped, and the next one takes its place', async () => {
  for (let cutAt = 1; cutAt <= 4; cutAt++) {
    for (let seed = 1; seed <= 20; seed++) {
      const disk = newDisk();
      const versions = await fill(disk, 2);
      const { manifest } = await Manifest.open(disk, DIRECTORY);
      let operations = 0;
      disk.onOperation = (operation) => {
        if ((operation === 'write' || operation === 'sync') && ++operations === cutAt) disk.powerOff();
      };
      const next = applyEdit(versions[2]!, editOf(3));
      void manifest.append(editOf(3), next);
      await new Promise((resolve) => setImmediate(resolve));
      const after = disk.crash(new Prng(seed));
      const found = await reopen(after);
      assert.ok([2, 3].includes(found.levels[0]!.length), `${found.levels[0]!.length} tables`);
      const again = await Manifest.open(after, DIRECTORY);
      const last = applyEdit(found, editOf(4));
      await again.manifest.append(editOf(4), last);
      await again.manifest.close();
      assert.deepEqual(await reopen(after), last);
    }
  }
});

test('a large manifest is written anew as one record, and a crash at any point leaves one or the other', async () => {
  const rows = 1100;
  const big = (i: number): VersionEdit => ({
    pointers: [{ level: 1, row: new Uint8Array(4050).fill(i % 256) }],
  });
  for (let cutAt = 0; cutAt < 16; cutAt++) {
    const disk = newDisk();
    const opened = await Manifest.open(disk, DIRECTORY);
    let { version } = opened;
    let acknowledged = version;
    let operations = -1;
    let crashed: () => void = () => {};
    const off = new Promise<void>((resolve) => (crashed = resolve));
    disk.onOperation = (operation, path) => {
      if (operation === 'create' && path.includes('MANIFEST-000002')) operations = 0;
      if (operations < 0 || operations++ !== cutAt) return;
      disk.powerOff();
      crashed();
    };
    const life = (async () => {
      for (let i = 0; i < rows; i++) {
        version = applyEdit(version, big(i));
        await opened.manifest.append(big(i), version);
        acknowledged = version;
      }
    })();
    await Promise.race([life, off]);
    if (!disk.isOff) {
      assert.ok(cutAt > 8, 'the manifest was not written anew');
      break;
    }
    const found = await reopen(disk.crash(new Prng(cutAt)));
    assert.ok(
      [acknowledged, version].some((candidate) => sameRow(candidate, found)),
      `cut at ${cutAt}`,
    );
  }
});

function sameRow(a: Version, b: Version): boolean {
  return Buffer.compare(a.pointers[1] ?? new Uint8Array(0), b.pointers[1] ?? new Uint8Array(0)) === 0;
}

test('Raft rule 14: EIO while an edit is synced is passed on', async () => {
  const disk = newDisk();
  const { manifest, version } = await Manifest.open(disk, DIRECTORY);
  disk.inject({ operation: 'sync', code: 'EIO', path: /MANIFEST/ });
  await assert.rejects(manifest.append(editOf(1), applyEdit(version, editOf(1))), DiskError);
  await manifest.close();
});

/** Appends large edits until the manifest has been written anew, or an append fails. */
async function fillUntilRewritten(manifest: Manifest, from: Version, edits: number): Promise<Version> {
  let version = from;
  for (let i = 0; i < edits; i++) {
    const edit = { pointers: [{ level: 1, row: new Uint8Array(4050).fill(i % 256) }] };
    const next = applyEdit(version, edit);
    await manifest.append(edit, next);
    version = next;
  }
  return version;
}

test('a rewrite that finds no file descriptor or no space is put off: the edit behind it is not appended twice', async () => {
  for (const code of ['EMFILE', 'ENOSPC'] as const) {
    const disk = newDisk();
    const { manifest, version } = await Manifest.open(disk, DIRECTORY);
    disk.inject({ operation: 'create', code, path: /MANIFEST-000002/, times: Infinity });
    const last = await fillUntilRewritten(manifest, version, 1100);
    await manifest.close();
    assert.ok(sameRow(await reopen(disk), last));
  }
});

test('LSM rule 12: when the renamed CURRENT can not be made durable, no edit goes to either manifest', async () => {
  for (const code of ['ENOSPC', 'EMFILE', 'EIO'] as const) {
    const disk = newDisk();
    const { manifest, version } = await Manifest.open(disk, DIRECTORY);
    disk.onOperation = (operation, path) => {
      if (operation === 'rename' && path.includes('CURRENT')) {
        disk.inject({ operation: 'syncDirectory', code, path: /data$/, times: 1 });
      }
    };
    await assert.rejects(fillUntilRewritten(manifest, version, 1100), { code: 'disk_error' });
    await manifest.close();
  }
});

/** What a manifest held before groups had members, by offset, without the zeros at the end of each sector. */
const MANIFEST_WITHOUT_MEMBERS: readonly (readonly [number, string])[] = [
  [0, '434149524e4d414e0100000001000000000000000200000000000000005000000000000041738969'],
  [4096, '434149524e4d414e0100000001000000000000000100000000000000004000000000000014e92ae6'],
  [8192, '24000000555c89b201010000000000000002010000000000000003000000000000000004'],
  [
    12288,
    '7e000000f5651b8701e903000000000000020300000000000000050100000005020000000701000000010000000000000000000000000000' +
      '0000000000000000000000000000000000000000000000000000000000070200000002',
  ],
  [
    16384,
    '76000000c98a5a0803a0bb0d00000000000701000000010000002a00000000000000030000000000000039650c0000000000040000000000' +
      '0000010000000000000009000100000000000000f401000000000000070000000000000000350c000000000039650c0000000000050000' +
      '00000000016105000000000000017a',
  ],
];

test('a manifest from before groups had members is read: member id and config index 0, no configuration', async () => {
  const disk = newDisk();
  await fill(disk, 0);
  const old = new Uint8Array(20480);
  for (const [offset, hex] of MANIFEST_WITHOUT_MEMBERS) old.set(Buffer.from(hex, 'hex'), offset);
  replaceFile(disk.blocking, MANIFEST, old);
  const applied = { appliedIndex: 42, appliedTerm: 3, revision: 812_345, term: 4, vote: 1 };
  const found = await reopen(disk);
  assert.deepEqual([...found.groups.values()], [{ ...emptyGroupState(1, 1), ...applied }, emptyGroupState(2, 2)]);
  assert.deepEqual(
    found.levels[0]!.map(({ fileNumber }) => fileNumber),
    [1],
  );

  // What comes from now on stands behind it in the same file.
  const member = { memberId: 7, configIndex: 40, configuration: Uint8Array.of(1, 0, 0) };
  const { manifest, version } = await Manifest.open(disk, DIRECTORY);
  const edit = { groups: [{ ...emptyGroupState(1, 1), ...applied, ...member }] };
  await manifest.append(edit, applyEdit(version, edit));
  await manifest.close();
  assert.deepEqual((await reopen(disk)).groups.get(1), edit.groups[0]);
});
