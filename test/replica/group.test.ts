import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { xxHash32 } from '../../src/base/hash.js';
import type { Entry } from '../../src/raft/entry.js';
import { operationBytes, writeOperationHead } from '../../src/replica/command.js';
import { MANY_KEYS } from '../../src/replica/group.js';
import { leadingGroup } from './leading-group.js';

/** Proposes writes to a group that is led here; each record is one byte, the number of the write. */
class Writer {
  readonly group = leadingGroup();
  readonly entries: Entry[] = [];

  append(keys: readonly string[], hashOf: (key: string) => number): number {
    const number = this.entries.length + 1;
    const data = new Uint8Array(keys.reduce((sum, key) => sum + operationBytes(Buffer.byteLength(key), 1), 0));
    let at = 0;
    for (const key of keys) {
      const bytes = Buffer.from(key);
      at = writeOperationHead(data, at, bytes, 0, bytes.length, 1);
      data[at++] = number;
    }
    const entry = this.group.raft.propose(this.group.lastRevision + 1, data);
    assert.ok(typeof entry !== 'string');
    const keyHash = keys.length === 1 ? hashOf(keys[0]!) : MANY_KEYS;
    this.group.appended({ group: this.group, entry, keyHash, appendedAtMs: 0, done: null, rows: null });
    this.entries.push(entry);
    return number;
  }

  apply(number: number): void {
    const { index, term, revision } = this.entries[number - 1]!;
    this.group.applied(index, term, revision);
  }

  /** The number of the write. */
  find(key: string, hashOf: (key: string) => number): number | null {
    const bytes = Buffer.from(key);
    const found = this.group.findUnapplied(bytes, 0, bytes.length, hashOf(key));
    if (found === null) return null;
    const number = this.entries.indexOf(found) + 1;
    assert.equal(this.group.foundBytes[this.group.foundStart], number, "the record is the entry's");
    return number;
  }
}

function hashOf(key: string): number {
  const bytes = Buffer.from(key);
  return xxHash32(bytes, 0, bytes.length);
}

test('Raft rule 21: the newest unapplied write of a key is found, whatever was looked for before', () => {
  const key = fc.constantFrom('a', 'b', 'c', 'dd');
  const step = fc.oneof(
    fc.record({ kind: fc.constant('append' as const), keys: fc.uniqueArray(key) }),
    fc.record({ kind: fc.constant('apply' as const) }),
    fc.record({ kind: fc.constant('find' as const), key }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const writer = new Writer();
      const unapplied: { number: number; keys: readonly string[] }[] = [];
      for (const step of steps) {
        if (step.kind === 'append') {
          unapplied.push({ number: writer.append(step.keys, hashOf), keys: step.keys });
        } else if (step.kind === 'apply') {
          const first = unapplied.shift();
          if (first !== undefined) writer.apply(first.number);
        } else {
          const expected = unapplied.findLast(({ keys }) => keys.includes(step.key))?.number ?? null;
          assert.equal(writer.find(step.key, hashOf), expected);
        }
      }
    }),
  );
});

test('keys with the same hash are told apart', () => {
  const same = (): number => 7;
  const writer = new Writer();
  writer.append(['a'], same);
  writer.append(['b'], same);
  assert.equal(writer.find('a', same), 1);
  assert.equal(writer.find('b', same), 2);
  assert.equal(writer.find('c', same), null);
  writer.apply(1);
  assert.equal(writer.find('a', same), null);
  assert.equal(writer.find('b', same), 2);
});

test('Raft rule 21: the overlay dies with its term, and what was in it and lost its place is answered', () => {
  const writer = new Writer();
  const { group } = writer;
  writer.append(['a'], hashOf);
  const answers: string[] = [];
  group.pendingAt(0).done = (error) => void answers.push(error?.code ?? 'ok');
  const { index, term, revision } = writer.entries[0]!;
  // Another leader's entry stands at its index.
  group.applied(index, term + 1, revision + 1);
  assert.deepEqual(answers, ['unavailable']);
  assert.equal(writer.find('a', hashOf), null);
});

test('Raft rule 21: writes of an earlier term are no state once the first entry of a later one is applied, wherever they stand', () => {
  const writer = new Writer();
  const { group } = writer;
  for (const key of ['a', 'b', 'c']) writer.append([key], hashOf);
  const answers: string[] = [];
  for (let i = 0; i < 3; i++) group.pendingAt(i).done = (error) => void answers.push(error?.code ?? 'ok');
  assert.equal(writer.find('c', hashOf), 3);
  const { index, term, revision } = writer.entries[0]!;
  group.applied(index, term + 1, revision + 1);
  assert.deepEqual(answers, ['unavailable', 'unavailable', 'unavailable']);
  assert.equal(writer.find('c', hashOf), null);
});
