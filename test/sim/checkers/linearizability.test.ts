import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Prng } from '../../../src/base/prng.js';
import { hasOrder } from './every-order.js';
import { checkLinearizable, UndecidedError } from './linearizability.js';
import type { Call, Condition, Operation, Outcome } from './operation.js';
import { registerHistory } from './register-history.js';

const SEEDS = Number(process.env['CAIRN_TEST_SEEDS'] ?? 40);
const GET: Call = { kind: 'get' };
const DELETE: Call = { kind: 'delete', condition: null };

function put(value: string, condition: Condition | null = null): Call {
  return { kind: 'put', value, condition };
}

function putIf(value: string, revision: number): Call {
  return put(value, { kind: 'revision', revision });
}

function written(revision: number): Outcome {
  return { kind: 'written', revision };
}

function found(value: string, revision: number): Outcome {
  return { kind: 'found', value, revision };
}

const UNKNOWN: Outcome = { kind: 'unknown' };
const ABSENT: Outcome = { kind: 'absent' };

type Row = readonly [invoked: number, returned: number, call: Call, outcome: Outcome];

function history(...rows: readonly Row[]): Operation[] {
  return rows.map(([invoked, returned, call, outcome], id) => ({
    id,
    client: id,
    key: 'k',
    call,
    outcome,
    invoked,
    returned: outcome.kind === 'unknown' ? Infinity : returned,
  }));
}

const LEGAL: ReadonlyMap<string, readonly Operation[]> = new Map([
  ['nothing', []],
  ['an empty register', history([0, 1, GET, ABSENT])],
  ['a read during a write', history([0, 9, put('a'), written(1)], [1, 2, GET, ABSENT], [3, 4, GET, found('a', 1)])],
  [
    'an unknown write that shows late',
    history(
      [0, 0, put('a'), UNKNOWN],
      [1, 2, put('b'), written(5)],
      [3, 4, GET, found('b', 5)],
      [5, 6, GET, found('a', 7)],
    ),
  ],
  ['an unknown write that never shows', history([0, 0, put('a'), UNKNOWN], [1, 2, GET, ABSENT])],
  [
    'an unknown write that only a conflict shows',
    history(
      [0, 0, put('a'), UNKNOWN],
      [1, 2, putIf('b', 9), { kind: 'conflict', revision: 3 }],
      [3, 4, putIf('c', 3), written(4)],
    ),
  ],
  [
    'an unknown delete between two deletes of one value and a late write',
    history(
      [0, 1, put('a'), written(1)],
      [2, 0, put('b'), UNKNOWN],
      [3, 4, DELETE, { kind: 'deleted', revision: 2 }],
      [5, 6, DELETE, { kind: 'deleted', revision: 4 }],
    ),
  ],
  [
    'an unknown delete that makes room',
    history([0, 1, put('a'), written(1)], [2, 0, DELETE, UNKNOWN], [3, 4, put('b', { kind: 'absent' }), written(3)]),
  ],
  [
    'a chain of unknown writes that only its end shows',
    history(
      [0, 1, put('a'), written(1)],
      [2, 0, DELETE, UNKNOWN],
      [3, 0, put('b', { kind: 'absent' }), UNKNOWN],
      [4, 5, putIf('c', 1), { kind: 'conflict', revision: 8 }],
    ),
  ],
  [
    'a conflict while the other write is under way',
    history([0, 9, put('a'), written(4)], [1, 2, put('b', { kind: 'absent' }), { kind: 'conflict', revision: 4 }]),
  ],
]);

for (const [name, operations] of LEGAL) {
  test(`the linearizability checker accepts ${name}`, () => {
    assert.equal(checkLinearizable(operations)?.message, undefined);
    assert.ok(hasOrder(operations));
  });
}

const ILLEGAL: ReadonlyMap<string, readonly Operation[]> = new Map([
  ['a stale read', history([0, 1, put('a'), written(1)], [2, 3, put('b'), written(2)], [4, 5, GET, found('a', 1)])],
  [
    'two reads in the wrong order during one write',
    history(
      [0, 1, put('a'), written(1)],
      [2, 9, put('b'), written(2)],
      [3, 4, GET, found('b', 2)],
      [5, 6, GET, found('a', 1)],
    ),
  ],
  ['a lost acknowledged write', history([0, 1, put('a'), written(1)], [2, 3, GET, ABSENT])],
  [
    'a write that is lost after it was seen',
    history([0, 0, put('a'), UNKNOWN], [1, 2, GET, found('a', 1)], [3, 4, GET, ABSENT]),
  ],
  [
    'an unknown write that takes place twice',
    history(
      [0, 0, put('a'), UNKNOWN],
      [1, 2, GET, found('a', 1)],
      [3, 4, put('b'), written(2)],
      [5, 6, GET, found('a', 1)],
    ),
  ],
  [
    'an unknown write that takes place twice at two revisions',
    history(
      [0, 0, put('a'), UNKNOWN],
      [1, 2, GET, found('a', 1)],
      [3, 4, put('b'), written(2)],
      [5, 6, GET, found('a', 3)],
    ),
  ],
  ['a failed write that shows', history([0, 1, put('a'), { kind: 'failed' }], [2, 3, GET, found('a', 1)])],
  ['a value that nobody wrote', history([0, 1, GET, found('z', 1)])],
  ['a value from the future', history([0, 1, GET, found('a', 1)], [2, 3, put('a'), written(1)])],
  [
    'two conditional writes on one revision',
    history([0, 1, put('a'), written(1)], [2, 5, putIf('b', 1), written(2)], [3, 6, putIf('c', 1), written(3)]),
  ],
  [
    'two writes that both found the key absent',
    history([0, 5, put('a', { kind: 'absent' }), written(1)], [1, 6, put('b', { kind: 'absent' }), written(2)]),
  ],
  [
    'deleted: true twice',
    history(
      [0, 1, put('a'), written(1)],
      [2, 5, DELETE, { kind: 'deleted', revision: 2 }],
      [3, 6, DELETE, { kind: 'deleted', revision: 3 }],
    ),
  ],
  ['deleted: false of a present key', history([0, 1, put('a'), written(1)], [2, 3, DELETE, { kind: 'nothing' }])],
  ['a revision that goes back', history([0, 1, put('a'), written(5)], [2, 3, put('b'), written(4)])],
  ['a revision given twice', history([0, 5, put('a'), written(5)], [1, 6, put('b'), written(5)])],
  ['a revision that a read changes', history([0, 1, put('a'), written(5)], [2, 3, GET, found('a', 6)])],
  [
    'a conflict although the condition held',
    history([0, 1, put('a'), written(5)], [2, 3, putIf('b', 5), { kind: 'conflict', revision: 5 }]),
  ],
  [
    'a conflict that shows an older revision',
    history(
      [0, 1, put('a'), written(5)],
      [2, 3, put('b'), written(6)],
      [4, 5, putIf('c', 6), { kind: 'conflict', revision: 5 }],
    ),
  ],
  [
    'a condition that was met by a value deleted before',
    history(
      [0, 1, put('a'), written(5)],
      [2, 3, DELETE, { kind: 'deleted', revision: 6 }],
      [4, 5, putIf('c', 5), written(7)],
    ),
  ],
]);

for (const [name, operations] of ILLEGAL) {
  test(`the linearizability checker rejects ${name}`, () => {
    assert.notEqual(checkLinearizable(operations), null);
    assert.ok(!hasOrder(operations));
  });
}

function randomHistory(seed: number): Operation[] {
  const prng = new Prng(seed);
  return registerHistory(prng, {
    clients: prng.between(1, 16),
    operations: prng.between(1, 300),
    unknownShare: prng.pick([0, 0.02, 0.2, 0.5]),
    failedShare: prng.pick([0, 0.1]),
    deletes: prng.chance(0.7),
  });
}

test('histories of an atomic register are linearizable', () => {
  for (let seed = 1; seed <= SEEDS; seed++) {
    assert.equal(checkLinearizable(randomHistory(seed))?.message, undefined, `seed ${seed}`);
  }
});

interface Spoiler {
  readonly name: string;
  /** Changes the history so that it can't be legal; null when it has no place for that. */
  readonly spoil: (operations: readonly Operation[], prng: Prng) => Operation[] | null;
}

function isPut({ call, outcome }: Operation): boolean {
  return call.kind === 'put' && outcome.kind === 'written';
}

function valueOf({ call }: Operation): string {
  assert.ok(call.kind === 'put');
  return call.value;
}

function revisionOf({ outcome }: Operation): number {
  assert.ok('revision' in outcome);
  return outcome.revision;
}

function change(operations: readonly Operation[], changed: Operation, by: Partial<Operation>): Operation[] {
  return operations.map((operation) => (operation === changed ? { ...operation, ...by } : operation));
}

function pickFrom(prng: Prng, operations: readonly Operation[]): Operation | undefined {
  return operations.length === 0 ? undefined : prng.pick(operations);
}

/** A read and the answered put that it saw. */
function anyLook(operations: readonly Operation[], prng: Prng): { look: Operation; seen: Operation } | null {
  const look = pickFrom(
    prng,
    operations.filter(({ outcome }) => outcome.kind === 'found'),
  );
  const seen = operations.find(
    ({ call }) => call.kind === 'put' && look?.outcome.kind === 'found' && call.value === look.outcome.value,
  );
  return look === undefined || seen === undefined ? null : { look, seen };
}

const SPOILERS: readonly Spoiler[] = [
  {
    name: 'a read that shows a value replaced before it began',
    spoil: (operations, prng) => {
      const look = pickFrom(
        prng,
        operations.filter(({ outcome }) => outcome.kind === 'found'),
      );
      if (look === undefined) return null;
      const newer = pickFrom(
        prng,
        operations.filter((each) => isPut(each) && each.returned < look.invoked),
      );
      const older = pickFrom(
        prng,
        operations.filter((each) => isPut(each) && each.returned < (newer?.invoked ?? 0)),
      );
      return older === undefined
        ? null
        : change(operations, look, { outcome: found(valueOf(older), revisionOf(older)) });
    },
  },
  {
    name: 'a read of nothing where nobody deletes',
    spoil: (operations, prng) => {
      if (operations.some(({ call }) => call.kind === 'delete')) return null;
      const looked = anyLook(operations, prng);
      if (looked === null || looked.seen.returned > looked.look.invoked) return null;
      return change(operations, looked.look, { outcome: ABSENT });
    },
  },
  {
    name: 'an acknowledged write that disappears',
    spoil: (operations, prng) => {
      const lost = pickFrom(
        prng,
        operations.filter((each) => isPut(each) && each.returned < Infinity),
      );
      if (lost === undefined) return null;
      // Right behind it, before anybody else does anything.
      const [invoked, returned] = [lost.returned + 1e-9, lost.returned + 2e-9];
      const before = operations.filter(({ returned: end }) => end <= lost.returned);
      const end = before.map((each) => ({ ...each }));
      if (operations.some((each) => each.outcome.kind === 'unknown' || each.call.kind === 'delete')) return null;
      return [...end, { ...lost, id: -1, call: GET, outcome: ABSENT, invoked, returned }];
    },
  },
  {
    name: 'an unknown write that shows again after another value',
    spoil: (operations, prng) => {
      const looked = anyLook(operations, prng);
      if (looked?.seen.outcome.kind !== 'unknown') return null;
      const between = pickFrom(
        prng,
        operations.filter((each) => isPut(each) && each.invoked > looked.look.returned),
      );
      const look = pickFrom(
        prng,
        operations.filter(
          ({ outcome, invoked }) => outcome.kind === 'found' && invoked > (between?.returned ?? Infinity),
        ),
      );
      return look === undefined ? null : change(operations, look, { outcome: looked.look.outcome });
    },
  },
  {
    name: 'a refused write that shows',
    spoil: (operations, prng) => {
      const looked = anyLook(operations, prng);
      return looked === null ? null : change(operations, looked.seen, { outcome: { kind: 'failed' } });
    },
  },
  {
    name: 'two conditional writes that replace one revision',
    spoil: (operations, prng) => {
      const conditional = operations.filter(
        (each) => isPut(each) && each.call.kind === 'put' && each.call.condition?.kind === 'revision',
      );
      const first = pickFrom(prng, conditional);
      const second = pickFrom(
        prng,
        conditional.filter((each) => each !== first),
      );
      if (first?.call.kind !== 'put' || second === undefined) return null;
      return change(operations, second, { call: put(valueOf(second), first.call.condition) });
    },
  },
  {
    name: 'a second deletion of one value',
    spoil: (operations, prng) => {
      if (operations.some(({ outcome }) => outcome.kind === 'unknown')) return null;
      const first = pickFrom(
        prng,
        operations.filter(({ outcome }) => outcome.kind === 'deleted'),
      );
      if (first?.outcome.kind !== 'deleted') return null;
      // Its revision is the next above the first's, so no put lies between.
      const outcome: Outcome = { kind: 'deleted', revision: first.outcome.revision + 1e-9 };
      return [...operations, { ...first, id: -1, outcome }];
    },
  },
  {
    name: 'a revision below an earlier one',
    spoil: (operations, prng) => {
      const later = pickFrom(prng, operations.filter(isPut));
      const earlier = pickFrom(
        prng,
        operations.filter((each) => isPut(each) && each.returned < (later?.invoked ?? 0)),
      );
      if (later === undefined || earlier === undefined) return null;
      return change(operations, later, { outcome: written(revisionOf(earlier) - 0.5) });
    },
  },
  {
    name: 'a conflict with the revision that it demanded',
    spoil: (operations, prng) => {
      const refused = pickFrom(
        prng,
        operations.filter(({ outcome }) => outcome.kind === 'conflict' && outcome.revision > 0),
      );
      if (refused === undefined) return null;
      return change(operations, refused, { call: putIf('never', revisionOf(refused)) });
    },
  },
];

for (const { name, spoil } of SPOILERS) {
  test(`histories of an atomic register spoilt by ${name} are rejected`, () => {
    let spoilt = 0;
    for (let seed = 1; seed <= 3 * SEEDS; seed++) {
      const operations = spoil(randomHistory(seed), new Prng(seed));
      if (operations === null) continue;
      spoilt++;
      assert.notEqual(checkLinearizable(operations), null, `seed ${seed}`);
    }
    assert.ok(spoilt > 0, 'no history had a place for it');
  });
}

test('the verdict equals that of trying every order', () => {
  const verdicts = { legal: 0, illegal: 0 };
  const condition = fc.oneof(
    fc.constant(null),
    fc.constantFrom<Condition>({ kind: 'absent' }, { kind: 'present' }),
    fc.integer({ min: 1, max: 4 }).map((revision): Condition => ({ kind: 'revision', revision })),
  );
  const revision = fc.integer({ min: 1, max: 4 });
  const row = fc.oneof(
    fc.record({ kind: fc.constant('get' as const), seen: fc.option(fc.tuple(fc.nat(5), revision)) }),
    fc.record({ kind: fc.constantFrom('put' as const, 'delete' as const), condition, told: fc.nat(9), revision }),
  );
  const times = fc.uniqueArray(fc.nat(40), { minLength: 12, maxLength: 12 });
  const arbitrary = fc.tuple(fc.array(row, { minLength: 1, maxLength: 6 }), times, fc.boolean());
  fc.assert(
    fc.property(arbitrary, ([rows, points, isSequential]) => {
      const ordered = isSequential ? points.toSorted((a, b) => a - b) : points;
      const operations = rows.map((each, id): Operation => {
        const [a, b] = [ordered[2 * id]!, ordered[2 * id + 1]!];
        const [invoked, returned] = [Math.min(a, b), Math.max(a, b)];
        const base = { id, client: id, key: 'k', invoked };
        if (each.kind === 'get') {
          const outcome = each.seen === null ? ABSENT : found(`v${each.seen[0]}`, each.seen[1]);
          return { ...base, call: GET, outcome, returned };
        }
        const call: Call =
          each.kind === 'put' ? put(`v${id}`, each.condition) : { kind: 'delete', condition: each.condition };
        const outcome = outcomeOf(call, each.told, each.revision);
        return { ...base, call, outcome, returned: outcome.kind === 'unknown' ? Infinity : returned };
      });
      const expected = hasOrder(operations);
      verdicts[expected ? 'legal' : 'illegal']++;
      assert.equal(checkLinearizable(operations) === null, expected);
    }),
    { numRuns: 50 * SEEDS, seed: 7 },
  );
  assert.ok(verdicts.legal > SEEDS && verdicts.illegal > SEEDS, JSON.stringify(verdicts));
});

function outcomeOf({ kind }: Call, told: number, revision: number): Outcome {
  if (told < 4) return UNKNOWN;
  if (told === 4) return { kind: 'conflict', revision: revision - 1 };
  if (kind === 'put') return written(revision);
  return told === 5 ? { kind: 'nothing' } : { kind: 'deleted', revision };
}

test('the verdict equals that of trying every order also for histories that are nearly right', () => {
  const verdicts = { legal: 0, illegal: 0 };
  for (let seed = 1; seed <= 25 * SEEDS; seed++) {
    const prng = new Prng(seed);
    const operations = registerHistory(prng, {
      clients: 4,
      operations: 6,
      unknownShare: 0.3,
      failedShare: 0,
      deletes: true,
    });
    const [a, b] = [prng.pick(operations), prng.pick(operations)];
    const isSwap = a.call.kind === b.call.kind && a.outcome.kind !== 'unknown' && b.outcome.kind !== 'unknown';
    const spoilt = isSwap
      ? change(change(operations, a, { outcome: b.outcome }), b, { outcome: a.outcome })
      : operations;
    const expected = hasOrder(spoilt);
    verdicts[expected ? 'legal' : 'illegal']++;
    assert.equal(checkLinearizable(spoilt) === null, expected, `seed ${seed}`);
  }
  assert.ok(verdicts.legal > SEEDS && verdicts.illegal > SEEDS, JSON.stringify(verdicts));
});

test('2,000 operations of 16 clients on one key take few steps, also when a fifth of the outcomes is unknown', () => {
  for (const unknownShare of [0, 0.02, 0.2]) {
    const options = { clients: 16, operations: 2000, unknownShare, failedShare: 0.02, deletes: true };
    const operations = registerHistory(new Prng(11), options);
    assert.equal(checkLinearizable(operations, 40_000)?.message, undefined);
  }
});

test('a stale read at the end of 2,000 operations is found, and the smallest bad prefix ends with it', () => {
  const operations = registerHistory(new Prng(12), {
    clients: 16,
    operations: 2000,
    unknownShare: 0.05,
    failedShare: 0,
    deletes: true,
  });
  const { spoil } = SPOILERS[0]!;
  const spoilt = spoil(operations, new Prng(3))!;
  const [changed] = spoilt.filter((operation, i) => operation !== operations[i]);
  const violation = checkLinearizable(spoilt);
  assert.equal(violation?.culprit, changed);
  assert.match(violation!.message, /can't be placed: #\d+ client \d+ get -> v\d+ @\d+/);
  assert.equal(violation!.prefixLength, spoilt.filter(({ returned }) => returned <= changed!.returned).length);
});

test('keys are checked each by itself, and the message names the key', () => {
  const bad = ILLEGAL.get('a stale read')!.map((operation) => ({ ...operation, key: 'other' }));
  const violation = checkLinearizable([...LEGAL.get('a read during a write')!, ...bad]);
  assert.equal(violation?.key, 'other');
  assert.match(violation.message, /^other is not linearizable: the first 3 of 3 operations/);
});

test('a search that is cut short says so instead of giving a verdict', () => {
  const operations = registerHistory(new Prng(1), {
    clients: 4,
    operations: 100,
    unknownShare: 0,
    failedShare: 0,
    deletes: true,
  });
  assert.throws(() => checkLinearizable(operations, 10), UndecidedError);
});
