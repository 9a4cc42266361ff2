import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { xxHash32 } from '../../src/base/hash.js';
import { ENTRY_NO_OP, ENTRY_WRITE, operationBytes, writeOperationHead } from '../../src/replica/command.js';
import { Group, MANY_KEYS, type PendingEntry } from '../../src/replica/group.js';

const RING_BYTES = 1 << 16;

/** Keys in a made-up ring that is long enough; each record is one byte, the entry's number. */
class Writer {
  readonly group = new Group({
    groupId: 1,
    partition: 0,
    replicaId: 1,
    term: 1,
    appliedIndex: 0,
    appliedTerm: 0,
    revision: 0,
  });
  readonly ring = new Uint8Array(RING_BYTES);
  readonly entries: PendingEntry[] = [];
  #at = 0;

  append(keys: readonly string[], hashOf: (key: string) => number): void {
    const payloadStart = this.#at;
    const number = this.group.lastIndex + 1;
    for (const key of keys) {
      const bytes = Buffer.from(key);
      this.#at = writeOperationHead(this.ring, this.#at, bytes, 0, bytes.length, 1);
      this.ring[this.#at++] = number;
    }
    const entry: PendingEntry = {
      group: this.group,
      kind: keys.length === 0 ? ENTRY_NO_OP : ENTRY_WRITE,
      term: 1,
      index: number,
      revision: number,
      payloadStart,
      payloadLength: keys.reduce((sum, key) => sum + operationBytes(Buffer.byteLength(key), 1), 0),
      operationCount: keys.length,
      keyHash: keys.length === 1 ? hashOf(keys[0]!) : MANY_KEYS,
      appendedAtMs: 0,
      sequence: -1,
      done: null,
      rows: null,
    };
    this.group.appended(entry);
    this.entries.push(entry);
  }

  find(key: string, hashOf: (key: string) => number): number | null {
    const bytes = Buffer.from(key);
    const found = this.group.findUnapplied(this.ring, bytes, 0, bytes.length, hashOf(key));
    assert.ok(found === null || this.ring[this.group.foundStart] === found.index, "the record is the entry's");
    return found?.index ?? null;
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
      const unapplied: { index: number; keys: readonly string[] }[] = [];
      for (const step of steps) {
        if (step.kind === 'append') {
          writer.append(step.keys, hashOf);
          unapplied.push({ index: writer.group.lastIndex, keys: step.keys });
        } else if (step.kind === 'apply') {
          const first = unapplied.shift();
          if (first !== undefined) writer.group.applied(writer.entries[first.index - 1]!);
        } else {
          const expected = unapplied.findLast(({ keys }) => keys.includes(step.key))?.index ?? null;
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
  writer.group.applied(writer.entries[0]!);
  assert.equal(writer.find('a', same), null);
  assert.equal(writer.find('b', same), 2);
});
