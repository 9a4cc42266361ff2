import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '../../../src/base/prng.js';
import { checkLinearizable } from './linearizability.js';
import type { Operation } from './operation.js';
import { checkScans, type ScanViolation } from './scan-consistency.js';
import { compareKeys, looksOf, type Scan, type ScanItem } from './scan.js';
import { snapshotHistory, type SnapshotHistory } from './snapshot-history.js';

const SEEDS = Number(process.env['CAIRN_TEST_SEEDS'] ?? 40);

type Row = readonly [
  invoked: number,
  returned: number,
  key: string,
  value: string | null,
  revision: number | 'unknown' | 'failed',
];

function writes(...rows: readonly Row[]): Operation[] {
  return rows.map(([invoked, returned, key, value, told], id) => ({
    id,
    client: id,
    key,
    call: value === null ? { kind: 'delete', condition: null } : { kind: 'put', value, condition: null },
    outcome:
      typeof told === 'string' ? { kind: told } : { kind: value === null ? 'deleted' : 'written', revision: told },
    invoked,
    returned: told === 'unknown' ? Infinity : returned,
  }));
}

function item(key: string, value: string, revision: number): ScanItem {
  return { key, value, revision };
}

function scan(
  invoked: number,
  returned: number,
  at: number,
  items: readonly ScanItem[],
  more: Partial<Scan> = {},
): Scan {
  return {
    id: 100 + invoked,
    client: 9,
    startKey: '',
    endKey: null,
    at,
    isLatest: true,
    items,
    invoked,
    returned,
    ...more,
  };
}

const ACCEPTED: ReadonlyMap<string, readonly [readonly Operation[], readonly Scan[]]> = new Map([
  ['a scan of nothing', [[], [scan(0, 1, 5, [])]]],
  [
    'a write under way that it shows, and one that it does not',
    [writes([0, 9, 'a', 'x', 4], [0, 9, 'b', 'y', 6]), [scan(1, 2, 5, [item('a', 'x', 4)])]],
  ],
  [
    'revisions of two keys against the order of concurrent writes',
    [writes([0, 5, 'a', 'x', 9], [1, 6, 'b', 'y', 3]), [scan(2, 4, 5, [item('b', 'y', 3)])]],
  ],
  [
    'a read of the past',
    [writes([0, 1, 'a', 'x', 1], [2, 3, 'a', 'y', 2]), [scan(4, 5, 1, [item('a', 'x', 1)], { isLatest: false })]],
  ],
  [
    'a key that an unknown delete took',
    [writes([0, 1, 'a', 'x', 1], [2, 0, 'a', null, 'unknown']), [scan(4, 5, 9, [])]],
  ],
  ['an unknown write', [writes([0, 0, 'a', 'x', 'unknown']), [scan(4, 5, 9, [item('a', 'x', 7)])]]],
  [
    'keys beside its range',
    [writes([0, 1, 'a', 'x', 1], [0, 1, 'c', 'y', 2]), [scan(4, 5, 9, [], { startKey: 'b', endKey: 'c' })]],
  ],
  [
    'keys in the order of their bytes',
    [
      writes([0, 1, '\u{ff5e}', 'x', 1], [0, 1, '\u{1f600}', 'y', 2]),
      [scan(4, 5, 9, [item('\u{ff5e}', 'x', 1), item('\u{1f600}', 'y', 2)])],
    ],
  ],
]);

for (const [name, [operations, scans]] of ACCEPTED) {
  test(`the scan checker accepts ${name}`, () => assert.equal(checkScans(operations, scans)?.message, undefined));
}

const REJECTED: ReadonlyMap<string, readonly [ScanViolation['rule'], readonly Operation[], readonly Scan[]]> = new Map([
  ['an acknowledged write that is missing', ['snapshot', writes([0, 1, 'a', 'x', 1]), [scan(2, 3, 5, [])]]],
  ['an instant before an acknowledged write', ['missing', writes([0, 1, 'a', 'x', 7]), [scan(2, 3, 5, [])]]],
  [
    'an instant before a write without an answer that a read had shown',
    [
      'missing',
      [
        ...writes([0, 0, 'a', 'x', 'unknown']),
        {
          id: 5,
          client: 5,
          key: 'a',
          call: { kind: 'get' },
          outcome: { kind: 'found', value: 'x', revision: 7 },
          invoked: 1,
          returned: 2,
        },
      ],
      [scan(3, 4, 5, [])],
    ],
  ],
  [
    'an older version',
    ['snapshot', writes([0, 1, 'a', 'x', 1], [2, 3, 'a', 'y', 2]), [scan(4, 5, 5, [item('a', 'x', 1)])]],
  ],
  [
    'a deleted key',
    ['snapshot', writes([0, 1, 'a', 'x', 1], [2, 3, 'a', null, 2]), [scan(4, 5, 5, [item('a', 'x', 1)])]],
  ],
  [
    'an effect without its cause',
    ['causality', writes([0, 1, 'a', 'x', 9], [2, 3, 'b', 'y', 4]), [scan(0, 5, 5, [item('b', 'y', 4)])]],
  ],
  [
    'an effect without a cause that only a read shows',
    [
      'causality',
      [
        ...writes([0, 0, 'a', 'x', 'unknown'], [3, 4, 'b', 'y', 4]),
        {
          id: 5,
          client: 5,
          key: 'a',
          call: { kind: 'get' },
          outcome: { kind: 'found', value: 'x', revision: 9 },
          invoked: 1,
          returned: 2,
        },
      ],
      [scan(0, 5, 5, [item('b', 'y', 4)])],
    ],
  ],
  [
    'a write below its instant that came after it',
    ['future', writes([6, 7, 'a', 'x', 4]), [scan(2, 3, 5, [item('a', 'x', 4)])]],
  ],
  [
    'a write that came after it and that it does not show, but that lies below its instant',
    ['snapshot', writes([6, 7, 'a', 'x', 4]), [scan(2, 3, 5, [])]],
  ],
  ['a write that failed', ['value', writes([0, 1, 'a', 'x', 'failed']), [scan(2, 3, 5, [item('a', 'x', 4)])]]],
  ['a value of another key', ['value', writes([0, 1, 'a', 'x', 4]), [scan(2, 3, 5, [item('b', 'x', 4)])]]],
  ['a value that nobody wrote', ['value', [], [scan(2, 3, 5, [item('b', 'x', 4)])]]],
  [
    'another revision than its write was told',
    ['value', writes([0, 1, 'a', 'x', 4]), [scan(2, 3, 5, [item('a', 'x', 3)])]],
  ],
  ['a revision above its instant', ['shape', writes([0, 9, 'a', 'x', 7]), [scan(2, 3, 5, [item('a', 'x', 7)])]]],
  ['a key twice', ['shape', writes([0, 1, 'a', 'x', 4]), [scan(2, 3, 5, [item('a', 'x', 4), item('a', 'x', 4)])]]],
  [
    'keys out of order',
    [
      'shape',
      writes([0, 1, 'a', 'x', 4], [0, 1, 'b', 'y', 4]),
      [scan(2, 3, 5, [item('b', 'y', 4), item('a', 'x', 4)])],
    ],
  ],
  [
    'keys in the order of UTF-16',
    [
      'shape',
      writes([0, 1, '\u{ff5e}', 'x', 1], [0, 1, '\u{1f600}', 'y', 2]),
      [scan(2, 3, 5, [item('\u{1f600}', 'y', 2), item('\u{ff5e}', 'x', 1)])],
    ],
  ],
  [
    'a key outside its range',
    ['shape', writes([0, 1, 'a', 'x', 4]), [scan(2, 3, 5, [item('a', 'x', 4)], { startKey: 'b' })]],
  ],
  [
    'a deletion that an earlier scan saw and this one does not',
    [
      'future',
      writes([0, 0.5, 'a', 'x', 1], [1, 9, 'a', null, 4]),
      [scan(2, 3, 5, []), scan(4, 5, 3, [item('a', 'x', 1)])],
    ],
  ],
]);

for (const [name, [rule, operations, scans]] of REJECTED) {
  test(`the scan checker rejects ${name}`, () => {
    const violation = checkScans(operations, scans);
    assert.equal(violation?.rule, rule, violation?.message);
  });
}

function randomHistory(seed: number, raise = true): SnapshotHistory {
  const prng = new Prng(seed);
  return snapshotHistory(prng, {
    steps: prng.between(10, 300),
    clients: prng.between(2, 16),
    partitions: prng.between(1, 5),
    keysPerPartition: prng.between(1, 4),
    unknownShare: prng.pick([0, 0.1, 0.3]),
    raise,
  });
}

test('scans at instants to which all partitions raised their clocks are consistent, and linearizable per key', () => {
  let scanned = 0;
  for (let seed = 1; seed <= SEEDS; seed++) {
    const { operations, scans } = randomHistory(seed);
    scanned += scans.length;
    assert.equal(checkScans(operations, scans)?.message, undefined, `seed ${seed}`);
    const keys = [...new Set(operations.map(({ key }) => key))];
    const looks = scans.flatMap((each) => looksOf(each, keys, 1e6 + each.id * 100));
    assert.equal(checkLinearizable([...operations, ...looks])?.message, undefined, `seed ${seed}`);
  }
  assert.ok(scanned > SEEDS);
});

test('Raft rule 22: scans over partitions that did not raise their clocks are found', () => {
  const rules = new Set<string>();
  let found = 0;
  for (let seed = 1; seed <= SEEDS; seed++) {
    const { operations, scans } = randomHistory(seed, false);
    const violation = checkScans(operations, scans);
    if (violation === null) continue;
    found++;
    rules.add(violation.rule);
  }
  assert.ok(found > SEEDS / 4, `${found} of ${SEEDS}`);
  assert.ok(rules.has('snapshot'), [...rules].join());
});

/** Changes a scan so that it can't be right; null when it can't be changed so. */
type Spoiler = (scan: Scan, history: SnapshotHistory, prng: Prng) => Scan | null;

const SPOILERS: ReadonlyMap<string, Spoiler> = new Map<string, Spoiler>([
  [
    'without one of its items',
    (each, { operations }, prng) => {
      const sure = each.items.filter(({ key }) =>
        operations.every((o) => o.key !== key || o.call.kind !== 'delete' || o.outcome.kind !== 'unknown'),
      );
      if (sure.length === 0) return null;
      const gone = prng.pick(sure);
      return { ...each, items: each.items.filter((other) => other !== gone) };
    },
  ],
  [
    'with an older version of an item',
    (each, { operations }, prng) => {
      if (each.items.length === 0) return null;
      const old = prng.pick(each.items);
      const older = operations.find(
        ({ key, outcome }) => key === old.key && outcome.kind === 'written' && outcome.revision < old.revision,
      );
      if (older?.call.kind !== 'put' || older.outcome.kind !== 'written') return null;
      const changed = item(old.key, older.call.value, older.outcome.revision);
      return { ...each, items: each.items.map((other) => (other === old ? changed : other)) };
    },
  ],
  [
    'at an instant before an answered write',
    (each, { operations }) => {
      if (!each.isLatest || each.startKey !== '' || each.endKey !== null) return null;
      const missed = operations.findLast(
        ({ outcome, returned }) => outcome.kind === 'written' && returned < each.invoked && outcome.revision <= each.at,
      );
      if (missed?.outcome.kind !== 'written') return null;
      const at = missed.outcome.revision - 1;
      return { ...each, at, items: each.items.filter(({ revision }) => revision <= at) };
    },
  ],
  [
    'with a deleted key',
    (each, { operations }) => {
      const deletion = operations.find(
        ({ key, outcome }) =>
          outcome.kind === 'deleted' && outcome.revision <= each.at && !each.items.some((other) => other.key === key),
      );
      if (deletion === undefined || each.startKey !== '' || each.endKey !== null) return null;
      const before = operations.find(
        ({ key, call, outcome }) => key === deletion.key && call.kind === 'put' && outcome.kind === 'written',
      );
      if (before?.call.kind !== 'put' || before.outcome.kind !== 'written') return null;
      if (deletion.outcome.kind === 'deleted' && before.outcome.revision > deletion.outcome.revision) return null;
      const items = [...each.items, item(before.key, before.call.value, before.outcome.revision)];
      return { ...each, items: items.sort((a, b) => compareKeys(a.key, b.key)) };
    },
  ],
]);

for (const [name, spoil] of SPOILERS) {
  test(`consistent histories with a scan ${name} are rejected`, () => {
    let spoilt = 0;
    for (let seed = 1; seed <= 2 * SEEDS; seed++) {
      const history = randomHistory(seed);
      const prng = new Prng(seed);
      if (history.scans.length === 0) continue;
      const chosen = prng.pick(history.scans);
      const changed = spoil(chosen, history, prng);
      if (changed === null) continue;
      spoilt++;
      const scans = history.scans.map((each) => (each === chosen ? changed : each));
      assert.notEqual(checkScans(history.operations, scans), null, `seed ${seed}`);
    }
    assert.ok(spoilt > 3, `${spoilt} histories had a place for it`);
  });
}
