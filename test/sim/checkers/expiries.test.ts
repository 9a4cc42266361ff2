import assert from 'node:assert/strict';
import { test } from 'node:test';
import { expiriesOf } from './expiries.js';
import { checkLinearizable } from './linearizability.js';
import type { Call, Operation, Outcome } from './operation.js';

const PUT: Call = { kind: 'put', value: 'v', condition: null, expires: true };
const GET: Call = { kind: 'get' };
const FOUND: Outcome = { kind: 'found', value: 'v', revision: 5 };
const ABSENT: Outcome = { kind: 'absent' };

/** One operation after the other; an unknown one never returns. */
function history(...steps: readonly (readonly [Call, Outcome])[]): Operation[] {
  return steps.map(([call, outcome], i) => {
    const returned = outcome.kind === 'unknown' ? Infinity : 10 * i + 5;
    return { id: i + 1, client: 1, key: 'k', call, outcome, invoked: 10 * i, returned };
  });
}

function isRight(operations: readonly Operation[], shown: ReadonlyMap<string, number> = new Map()): boolean {
  return checkLinearizable([...operations, ...expiriesOf(operations, shown)]) === null;
}

const written = [PUT, { kind: 'written', revision: 5 }] as const;

test('a value with a ttl may be gone, one without may not', () => {
  assert.ok(isRight(history(written, [GET, FOUND], [GET, ABSENT], [GET, ABSENT])));
  const forever = { ...PUT, expires: false };
  assert.ok(!isRight(history([forever, { kind: 'written', revision: 5 }], [GET, ABSENT])));
});

test('an expired value does not come back', () => {
  assert.ok(!isRight(history(written, [GET, ABSENT], [GET, FOUND])));
});

test('no condition finds an expired value', () => {
  const put: Call = { kind: 'put', value: 'w', condition: { kind: 'revision', revision: 5 } };
  assert.ok(isRight(history(written, [GET, FOUND], [put, { kind: 'written', revision: 6 }])));
  assert.ok(isRight(history(written, [GET, ABSENT], [put, { kind: 'conflict', revision: 0 }])));
  assert.ok(!isRight(history(written, [GET, ABSENT], [put, { kind: 'written', revision: 6 }])));
});

test('a write without an answer expires too, seen or not', () => {
  const before: Call = { kind: 'put', value: 'u', condition: null };
  const first = [before, { kind: 'written', revision: 4 }] as const;
  const unknown = [PUT, { kind: 'unknown' }] as const;
  assert.ok(isRight(history(first, unknown, [GET, FOUND], [GET, ABSENT]), new Map([['v', 5]])));
  assert.ok(!isRight(history(first, unknown, [GET, FOUND], [GET, ABSENT], [GET, FOUND]), new Map([['v', 5]])));
  assert.ok(isRight(history(first, unknown, [GET, ABSENT])));
});
