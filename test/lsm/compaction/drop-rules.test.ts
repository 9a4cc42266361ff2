import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { DropRules } from '../../../src/lsm/compaction/drop-rules.js';
import { isAbsentAt, TOMBSTONE_RECORD, writeRecordHeader } from '../../../src/lsm/record.js';

interface TestVersion {
  readonly revision: number;
  readonly record: Uint8Array;
}

function put(expiresAt: number): Uint8Array {
  const record = new Uint8Array(10);
  writeRecordHeader(record, 0, expiresAt, '');
  return record;
}

const LAST = 40;
const record = fc.oneof(
  fc.constant(put(0)),
  fc.constant(TOMBSTONE_RECORD),
  fc.integer({ min: 1, max: LAST }).map((expiresAt) => put(expiresAt)),
);
/** Newest first. */
const row = fc
  .uniqueArray(fc.record({ revision: fc.integer({ min: 1, max: LAST }), record }), { selector: (v) => v.revision })
  .map((versions) => versions.sort((a, b) => b.revision - a.revision));

function visible(versions: readonly TestVersion[], at: number): number | null {
  const newest = versions.find((version) => version.revision <= at);
  return newest === undefined || isAbsentAt(newest.record, 0, at) ? null : newest.revision;
}

function keep(versions: readonly TestVersion[], floor: number, live: boolean, olderMayExist: boolean): TestVersion[] {
  const rules = new DropRules(floor);
  rules.startRow(live, olderMayExist);
  return versions.filter((version) => rules.keeps(version.revision, version.record, 0));
}

test('LSM rules 6 and 17: every read at or above the floor sees the same, whatever older versions lie elsewhere', () => {
  fc.assert(
    fc.property(row, fc.nat(LAST), fc.nat(LAST), (versions, floor, split) => {
      // The merge has the newer part; the older part is in a table that it does not see.
      const merged = versions.slice(0, split);
      const elsewhere = versions.slice(split);
      const kept = [...keep(merged, floor, true, elsewhere.length > 0), ...elsewhere];
      for (let at = floor; at <= LAST + 1; at++) assert.equal(visible(kept, at), visible(versions, at), `at ${at}`);
    }),
    { numRuns: 3000 },
  );
});

test('LSM rule 6: with nothing older elsewhere, no absent version and one version at most stays at or below the floor', () => {
  fc.assert(
    fc.property(row, fc.nat(LAST), (versions, floor) => {
      const low = keep(versions, floor, true, false).filter((version) => version.revision <= floor);
      assert.ok(low.length <= 1);
      for (const version of low) assert.ok(!isAbsentAt(version.record, 0, floor));
    }),
    { numRuns: 1000 },
  );
});

test('every version above the floor stays', () => {
  fc.assert(
    fc.property(row, fc.nat(LAST), fc.boolean(), (versions, floor, olderMayExist) => {
      const kept = new Set(keep(versions, floor, true, olderMayExist));
      for (const version of versions) assert.ok(version.revision <= floor || kept.has(version));
    }),
  );
});

test('a row of a dropped replica goes wholly', () => {
  fc.assert(
    fc.property(row, fc.nat(LAST), (versions, floor) => assert.deepEqual(keep(versions, floor, false, true), [])),
  );
});
