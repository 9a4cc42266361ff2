import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkLinearizable } from './linearizability.js';
import type { Call, Operation, Outcome } from './operation.js';
import { checkStaleReads, provenBy, type StaleRead } from './stale-reads.js';

const MS = 1000;
const DELETE: Call = { kind: 'delete', condition: null };

function put(value: string): Call {
  return { kind: 'put', value, condition: null };
}

/** Asked and answered at these milliseconds. */
function operation(call: Call, outcome: Outcome, invokedMs: number, returnedMs: number): Operation {
  return { id: 1, client: 1, key: 'k', call, outcome, invoked: invokedMs * MS, returned: returnedMs * MS };
}

function staleRead(found: StaleRead['found'], stalenessMs: number, invokedMs: number): StaleRead {
  return { id: 9, client: 2, key: 'k', found, stalenessMs, invoked: invokedMs * MS, returned: (invokedMs + 5) * MS };
}

const A = operation(put('a'), { kind: 'written', revision: 1 }, 0, 10);
const B = operation(put('b'), { kind: 'written', revision: 2 }, 100, 110);
const GONE = operation(DELETE, { kind: 'deleted', revision: 3 }, 200, 210);
const FOUND_A = { value: 'a', revision: 1 };
const FOUND_B = { value: 'b', revision: 2 };

function verdict(operations: readonly Operation[], read: StaleRead, slack = 1): string | undefined {
  return checkStaleReads(operations, [read], slack)?.message;
}

test('a stale read may lag by its bound', () => {
  assert.equal(verdict([A, B], staleRead(FOUND_A, 50, 150)), undefined);
  assert.equal(verdict([A, B], staleRead(FOUND_B, 0, 150)), undefined);
  assert.equal(verdict([A, B], staleRead(null, 145, 150)), undefined);
  assert.equal(verdict([A, B, GONE], staleRead(FOUND_B, 50, 250)), undefined);
  assert.equal(verdict([A, B, GONE], staleRead(null, 10, 250)), undefined);
});

test('older than its bound is a violation', () => {
  assert.match(verdict([A, B], staleRead(FOUND_A, 30, 150))!, /older than its bound: .* put b/);
  assert.match(verdict([A, B], staleRead(null, 30, 150))!, /older than its bound: .* put b/);
  assert.match(verdict([A, B, GONE], staleRead(FOUND_B, 30, 250))!, /older than its bound: .* delete/);
});

test('so is one that is older than what another read had shown', () => {
  const unknown = operation(put('b'), { kind: 'unknown' }, 100, Infinity);
  const get = operation({ kind: 'get' }, { kind: 'found', ...FOUND_B }, 112, 115);
  assert.match(verdict([A, unknown, get], staleRead(FOUND_A, 10, 150))!, /older than its bound: .* get/);
});

test('a clock that runs fast is allowed for', () => {
  assert.equal(verdict([A, B], staleRead(FOUND_A, 30, 150), 2), undefined);
});

test('an absent key may have been deleted by somebody who got no answer', () => {
  const unknown = operation(DELETE, { kind: 'unknown' }, 120, Infinity);
  assert.equal(verdict([A, B, unknown], staleRead(null, 0, 150)), undefined);
});

test('what nobody wrote, wrote later, or was told not to have written, is a violation', () => {
  assert.match(verdict([A], staleRead(FOUND_B, 500, 50))!, /nobody had written/);
  assert.match(verdict([A, B], staleRead(FOUND_B, 500, 50))!, /nobody had written/);
  assert.match(verdict([A, B], staleRead({ value: 'b', revision: 7 }, 0, 150))!, /its write was/);
  const failed = operation(put('b'), { kind: 'failed' }, 100, 110);
  assert.match(verdict([A, failed], staleRead(FOUND_B, 0, 150))!, /its write was/);
});

test('an uncommitted write that a stale read has shown contradicts what others read', () => {
  const unknown = operation(put('b'), { kind: 'unknown' }, 100, Infinity);
  const later = operation({ kind: 'get' }, { kind: 'found', ...FOUND_A }, 300, 310);
  const operations = [A, unknown, later].map((each, id) => ({ ...each, id }));
  assert.equal(checkLinearizable(operations), null);
  const read = staleRead(FOUND_B, 0, 150);
  assert.equal(checkStaleReads(operations, [read], 1), null);
  assert.notEqual(checkLinearizable(provenBy([read], operations)), null);
  const right = [A, unknown, operation({ kind: 'get' }, { kind: 'found', ...FOUND_B }, 300, 310)];
  assert.equal(
    checkLinearizable(
      provenBy(
        [read],
        right.map((each, id) => ({ ...each, id })),
      ),
    ),
    null,
  );
});
