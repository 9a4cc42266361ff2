import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkDurability, type FinalValue } from './durability.js';
import type { Call, Operation, Outcome } from './operation.js';

const DELETE: Call = { kind: 'delete', condition: null };
const UNKNOWN: Outcome = { kind: 'unknown' };

function put(value: string): Call {
  return { kind: 'put', value, condition: null };
}

function written(revision: number): Outcome {
  return { kind: 'written', revision };
}

function history(...rows: readonly (readonly [Call, Outcome])[]): Operation[] {
  return rows.map(([call, outcome], id) => ({
    id,
    client: 0,
    key: 'k',
    call,
    outcome,
    invoked: 2 * id,
    returned: outcome.kind === 'unknown' ? Infinity : 2 * id + 1,
  }));
}

function verdict(operations: readonly Operation[], found: FinalValue | null): string[] {
  return checkDurability(operations, new Map([['k', found]])).map(({ message }) => message);
}

const ACCEPTED: readonly (readonly [string, readonly Operation[], FinalValue | null])[] = [
  ['the last acknowledged write', history([put('a'), written(1)], [put('b'), written(2)]), { value: 'b', revision: 2 }],
  ['a later unknown write', history([put('a'), written(1)], [put('b'), UNKNOWN]), { value: 'b', revision: 2 }],
  [
    'an unknown write that came late',
    history([put('b'), UNKNOWN], [put('a'), written(1)]),
    { value: 'b', revision: 2 },
  ],
  [
    'an unknown write that did not come',
    history([put('b'), UNKNOWN], [put('a'), written(1)]),
    { value: 'a', revision: 1 },
  ],
  ['an unknown delete', history([put('a'), written(1)], [DELETE, UNKNOWN]), null],
  ['an acknowledged delete', history([put('a'), written(1)], [DELETE, { kind: 'deleted', revision: 2 }]), null],
  ['nothing where all writes failed', history([put('a'), { kind: 'failed' }]), null],
];

for (const [name, operations, found] of ACCEPTED) {
  test(`durability accepts ${name}`, () => assert.deepEqual(verdict(operations, found), []));
}

const REJECTED: readonly (readonly [string, readonly Operation[], FinalValue | null, RegExp])[] = [
  [
    'an older write than the last acknowledged one',
    history([put('a'), written(1)], [put('b'), written(2)]),
    { value: 'a', revision: 1 },
    /lost #1 .* put b/,
  ],
  ['a lost acknowledged write', history([put('a'), written(1)]), null, /lost #0 .* put a/],
  [
    'the loss of an unknown write that a read showed',
    history([put('a'), written(1)], [put('b'), UNKNOWN], [{ kind: 'get' }, { kind: 'found', value: 'b', revision: 2 }]),
    { value: 'a', revision: 1 },
    /lost #2/,
  ],
  ['a write that failed', history([put('a'), { kind: 'failed' }]), { value: 'a', revision: 1 }, /its write was #0/],
  ['a value that nobody wrote', history([put('a'), written(1)]), { value: 'z', revision: 2 }, /nobody wrote/],
  [
    'a value that came back after its delete',
    history([put('a'), written(1)], [DELETE, { kind: 'deleted', revision: 2 }]),
    { value: 'a', revision: 1 },
    /lost #1 .* delete/,
  ],
  ['another revision than was told', history([put('a'), written(1)]), { value: 'a', revision: 2 }, /its write was #0/],
  [
    'a delete that could not hit what was written later',
    history(
      [put('a'), written(1)],
      [{ kind: 'delete', condition: { kind: 'revision', revision: 1 } }, UNKNOWN],
      [put('b'), written(3)],
    ),
    null,
    /lost #2/,
  ],
  [
    'one revision for two writes',
    history([put('a'), UNKNOWN], [put('b'), written(3)]),
    { value: 'a', revision: 3 },
    /the revision of #1/,
  ],
];

for (const [name, operations, found, message] of REJECTED) {
  test(`durability rejects ${name}`, () => {
    const [violation] = verdict(operations, found);
    assert.match(violation ?? 'nothing', message);
  });
}

test('a key that was not read at the end is a violation', () => {
  assert.equal(checkDurability(history([put('a'), written(1)]), new Map()).length, 1);
});
