import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { compareBytes } from '../../../src/base/bytes.js';
import { xxHash32 } from '../../../src/base/hash.js';
import { AT_HEIGHT } from '../../../src/lsm/memtable/layout.js';
import { Memtable } from '../../../src/lsm/memtable/memtable.js';
import { SLOTS } from '../../../src/lsm/memtable/row-tree.js';
import { LATEST } from '../../../src/lsm/row-key.js';
import { Oracle, compareVersions, currentVersion, readBackward, readForward, type Version } from './oracle.js';
import { checkTree } from './tree-check.js';

const numRuns = Number(process.env['CAIRN_TEST_SEEDS'] ?? 150);

const MIB = 1024 ** 2;

/** Few different bytes, so that keys meet, are prefixes of each other, and hold NUL and 0xFF. */
const shortKey = fc
  .array(fc.constantFrom(0, 1, 0x61, 0x7f, 0x80, 0xff), { minLength: 1, maxLength: 6 })
  .map((bytes) => Uint8Array.from(bytes));
const longKey = fc
  .tuple(fc.constantFrom(3, 4, 5, 16, 63, 255, 4090), fc.constantFrom(0, 0x61, 0xff), shortKey)
  .map(([length, fill, tail]) => Uint8Array.of(...new Uint8Array(length).fill(fill), ...tail));
const anyKey = fc.oneof({ weight: 8, arbitrary: shortKey }, { weight: 1, arbitrary: longKey });
const replica = fc.constantFrom(1, 2, 0xffff_ffff);
const gap = fc.constantFrom(0, 1, 2, 2 ** 20, 2 ** 32, 2 ** 45);

type Step =
  | {
      readonly kind: 'insert';
      readonly replica: number;
      readonly key: Uint8Array;
      readonly gap: number;
      readonly size: number;
    }
  | { readonly kind: 'find'; readonly replica: number; readonly key: Uint8Array; readonly back: number }
  | { readonly kind: 'seek' | 'seekBefore'; readonly rowKey: Uint8Array; readonly back: number }
  | { readonly kind: 'next' | 'previous' | 'first' | 'last' };

const rowKey = fc.oneof(
  {
    weight: 6,
    arbitrary: fc
      .tuple(replica, shortKey)
      .map(([id, key]) => Uint8Array.of(id >>> 24, id >>> 16, id >>> 8, id, ...key)),
  },
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 5 }) },
  { weight: 1, arbitrary: fc.constantFrom(new Uint8Array(5000), new Uint8Array(5000).fill(0xff)) },
);
const size = fc.constantFrom(0, 1, 2, 3, 4, 5, 101, 255, 256, 257, 700);

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 12, arbitrary: fc.record({ kind: fc.constant('insert' as const), replica, key: anyKey, gap, size }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('find' as const), replica, key: anyKey, back: gap }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constantFrom('seek' as const, 'seekBefore' as const), rowKey, back: gap }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constantFrom('next' as const, 'previous' as const, 'first' as const, 'last' as const),
    }),
  },
);

type Hash = (key: Uint8Array) => number;

/** Runs the steps on a memtable, an oracle, and one cursor that stays open across the inserts. */
function runSteps(steps: readonly Step[], memtable: Memtable, hash: Hash): Oracle {
  const oracle = new Oracle();
  const cursor = memtable.cursor();
  let at: Version | undefined;
  let revision = 1;
  // Keys and records are passed as a range of a larger array.
  const padded = new Uint8Array(6000);
  for (const [number, action] of steps.entries()) {
    switch (action.kind) {
      case 'insert': {
        const record = new Uint8Array(action.size).fill(number);
        revision = Math.min(revision + action.gap, Number.MAX_SAFE_INTEGER);
        if (oracle.newest(action.replica, action.key) === revision) break;
        padded.fill(0xee);
        padded.set(action.key, 3);
        padded.set(record, 5001);
        const used = memtable.usedBytes;
        const done = memtable.insert(
          action.replica,
          padded,
          3,
          action.key.length,
          hash(action.key),
          revision,
          padded,
          5001,
          record.length,
        );
        if (done) oracle.insert(action.replica, action.key, revision, record);
        else assert.equal(memtable.usedBytes, used);
        break;
      }
      case 'find': {
        const limit = Math.max(0, revision - action.back);
        const handle = memtable.find(action.replica, action.key, 0, action.key.length, hash(action.key), limit);
        const expected = oracle.find(action.replica, action.key, limit);
        assert.equal(handle !== 0, expected !== undefined);
        if (expected === undefined) break;
        assert.equal(memtable.revisionAt(handle), expected.revision);
        const start = memtable.recordStart(handle);
        assert.deepEqual(memtable.bytes.slice(start, start + memtable.recordLength(handle)), expected.record);
        break;
      }
      default: {
        at = moveBoth(action, cursor, oracle, at, revision);
        assert.equal(cursor.valid, at !== undefined, action.kind);
        if (at !== undefined) assert.deepEqual(currentVersion(cursor), at, action.kind);
      }
    }
  }
  return oracle;
}

function moveBoth(
  action: Exclude<Step, { kind: 'insert' | 'find' }>,
  cursor: ReturnType<Memtable['cursor']>,
  oracle: Oracle,
  at: Version | undefined,
  revision: number,
): Version | undefined {
  const { versions } = oracle;
  switch (action.kind) {
    case 'first':
      assert.ok(cursor.seekToFirst());
      return versions[0];
    case 'last':
      assert.ok(cursor.seekToLast());
      return versions.at(-1);
    case 'next':
      if (at === undefined) return undefined;
      assert.ok(cursor.next());
      return versions[oracle.rank(at.rowKey, at.revision) + 1];
    case 'previous':
      if (at === undefined) return undefined;
      assert.ok(cursor.previous());
      return versions[oracle.rank(at.rowKey, at.revision) - 1];
    case 'seek':
    case 'seekBefore': {
      const target = action.back === 0 ? LATEST : Math.max(0, revision - action.back);
      const rank = oracle.rank(action.rowKey, target);
      if (action.kind === 'seek') assert.ok(cursor.seek(action.rowKey, target));
      else assert.ok(cursor.seekBefore(action.rowKey, target));
      return versions[action.kind === 'seek' ? rank : rank - 1];
    }
  }
}

function checkAll(memtable: Memtable, oracle: Oracle): void {
  assert.deepEqual(readForward(memtable.cursor()), oracle.versions);
  assert.deepEqual(readBackward(memtable.cursor()), oracle.versions.toReversed());
  assert.equal(memtable.versionCount, oracle.versions.length);
  assert.equal(memtable.rowCount, oracle.rowCount);
  const revisions = oracle.versions.map((version) => version.revision);
  assert.equal(memtable.minRevision, revisions.length === 0 ? 0 : Math.min(...revisions));
  assert.equal(memtable.maxRevision, revisions.length === 0 ? 0 : Math.max(...revisions));
}

const trueHash: Hash = (key) => xxHash32(key, 0, key.length);

test('memtable: any mix of inserts, finds and cursor moves answers as a sorted array does', () => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 300, size: 'max' }), (steps) => {
      const memtable = Memtable.create(MIB);
      const oracle = runSteps(steps, memtable, trueHash);
      checkAll(memtable, oracle);
    }),
    { numRuns },
  );
});

test('memtable: keys with equal hashes stay different rows', () => {
  // -1 divided by the index's multiplier, modulo 2^32: its place is the last slot, so that probes wrap around.
  const lastSlot = 0xf174_d0af;
  const hash: Hash = (key) => (key[0]! > 0x61 ? lastSlot : 0);
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 200, size: 'max' }), (steps) => {
      const memtable = Memtable.create(MIB);
      checkAll(memtable, runSteps(steps, memtable, hash));
    }),
    { numRuns: Math.ceil(numRuns / 3) },
  );
});

test('memtable: an arena that runs full keeps what it took, and holds nothing of it after a reset', () => {
  const memtable = Memtable.create(16 * 1024);
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 200, size: 'max' }), (steps) => {
      checkAll(memtable, runSteps(steps, memtable, trueHash));
      memtable.reset();
      checkAll(memtable, new Oracle());
      assert.equal(memtable.usedBytes, 0);
    }),
    { numRuns },
  );
});

/** How the tree grows depends on the order of the keys and on where they begin to differ. */
const keyShape = fc.constantFrom('random', 'decimal', 'common prefix', 'prefixes of each other', 'long ties');
const keyOrder = fc.constantFrom('ascending', 'descending', 'shuffled', 'interleaved runs');

function shapedKey(shape: string, number: number): Uint8Array {
  switch (shape) {
    case 'random':
      return Uint8Array.of(...new Uint8Array(Uint32Array.of(Math.imul(number, 0x9e3779b1), number).buffer));
    case 'decimal':
      return Buffer.from(`user:${number}`);
    case 'common prefix':
      return Buffer.from(`${'tenant/'.repeat(9)}${String(number).padStart(6, '0')}`);
    case 'prefixes of each other':
      return new Uint8Array(1 + (number % 700)).fill(number < 700 ? 0 : 0xff);
    default:
      return Buffer.from(`${'x'.repeat(number % 5)}${'y'.repeat(20)}${number}`);
  }
}

test('memtable: the tree stays sound and ordered for every shape and order of keys', () => {
  fc.assert(
    fc.property(keyShape, keyOrder, fc.integer({ min: 1, max: 3000 }), fc.integer(), (shape, order, count, seed) => {
      const memtable = Memtable.create(4 * MIB);
      const keys = Array.from({ length: count }, (_, i) => shapedKey(shape, i));
      if (order === 'ascending') keys.sort(compareBytes);
      else if (order === 'descending') keys.sort((a, b) => compareBytes(b, a));
      else if (order === 'shuffled') keys.sort((a, b) => xxHash32(a, 0, a.length) - xxHash32(b, 0, b.length) || seed);
      const rows = new Map<string, Version>();
      keys.forEach((key, i) => {
        const replicaId = order === 'interleaved runs' ? 1 + (i % 7) : 9;
        const record = Uint8Array.of(i, i >>> 8);
        if (memtable.find(replicaId, key, 0, key.length, trueHash(key), LATEST) !== 0) return;
        assert.ok(memtable.insert(replicaId, key, 0, key.length, trueHash(key), i, record, 0, 2));
        const row = Uint8Array.of(0, 0, 0, replicaId, ...key);
        rows.set(Buffer.from(row).toString('latin1'), { rowKey: row, revision: i, record });
      });
      checkTree(memtable);
      const expected = [...rows.values()].sort(compareVersions);
      assert.deepEqual(readForward(memtable.cursor()), expected);
      assert.deepEqual(readBackward(memtable.cursor()), expected.toReversed());
      const cursor = memtable.cursor();
      expected.forEach((version, i) => {
        if ((i + seed) % 5 !== 0) return;
        cursor.seek(version.rowKey, LATEST);
        assert.deepEqual(currentVersion(cursor), version);
        cursor.seekBefore(version.rowKey, LATEST);
        assert.equal(cursor.valid, i > 0);
        if (i > 0) assert.deepEqual(currentVersion(cursor), expected[i - 1]);
      });
    }),
    { numRuns: Math.ceil(numRuns / 4) },
  );
});

test('memtable: an inner node splits soundly wherever the new separator belongs', () => {
  const leafCount = SLOTS + 1;
  for (let leaf = 0; leaf < leafCount; leaf++) {
    const memtable = Memtable.create(MIB);
    const insertNumber = (number: number): void => {
      const key = Uint8Array.of(number >>> 8, number);
      assert.ok(memtable.insert(1, key, 0, 2, trueHash(key), 1, key, 0, 1));
    };
    // Ascending inserts fill every leaf, and with that many leaves the root too.
    for (let i = 0; i < leafCount * SLOTS; i++) insertNumber(2 * i);
    insertNumber(2 * leaf * SLOTS + 41);
    checkTree(memtable);
    memtable.tree.save();
    assert.equal(memtable.arena.words[AT_HEIGHT], 2);
    assert.equal(readForward(memtable.cursor()).length, leafCount * SLOTS + 1);
  }
});
