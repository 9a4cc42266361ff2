import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { CorruptionError } from '../../src/base/errors.js';
import { decodeConfiguration, encodeConfiguration } from '../../src/raft/configuration-codec.js';
import {
  changedConfiguration,
  initialConfiguration,
  leftConfiguration,
  type ConfigChange,
  type Configuration,
} from '../../src/raft/configuration.js';

const anyIds = fc.uniqueArray(fc.integer({ min: 1, max: 12 }), { maxLength: 3 });
const anyChange: fc.Arbitrary<ConfigChange> = fc.record({
  addLearners: fc.uniqueArray(
    fc.nat({ max: 9 }).map((n) => `n${n}`),
    { maxLength: 2 },
  ),
  promote: anyIds,
  demote: anyIds,
  remove: anyIds,
});

/** Every configuration that a row of changes goes through, the joint ones included. */
function walk(changes: readonly ConfigChange[]): Configuration[] {
  const steps = [initialConfiguration(['n1', 'n2', 'n3'])];
  let nextId = 4;
  for (const change of changes) {
    const next = changedConfiguration(steps.at(-1)!, change, nextId);
    if (next === null) continue;
    nextId += change.addLearners?.length ?? 0;
    steps.push(next);
    if (next.joint) steps.push(leftConfiguration(next));
  }
  return steps;
}

const anyWalk = fc.array(anyChange, { maxLength: 30 }).map(walk);

function majorities(voters: readonly number[]): number[][] {
  const all: number[][] = [];
  for (let mask = 0; mask < 1 << voters.length; mask++) {
    const chosen = voters.filter((_, i) => (mask >> i) & 1);
    if (chosen.length * 2 > voters.length) all.push(chosen);
  }
  return all;
}

function quorums({ voters, outgoingVoters, joint }: Configuration): Set<number>[] {
  const incoming = majorities(voters);
  if (!joint) return incoming.map((ids) => new Set(ids));
  return incoming.flatMap((ids) => majorities(outgoingVoters).map((others) => new Set([...ids, ...others])));
}

test('Raft rule 10: every quorum meets every quorum of the configuration before it', () => {
  fc.assert(
    fc.property(anyWalk, (steps) => {
      for (let i = 1; i < steps.length; i++) {
        for (const a of quorums(steps[i - 1]!)) {
          for (const b of quorums(steps[i]!)) assert.ok([...a].some((id) => b.has(id)));
        }
      }
    }),
    { numRuns: 40 },
  );
});

test('Raft rule 11: new members begin as learners, and no id comes twice', () => {
  fc.assert(
    fc.property(anyWalk, (steps) => {
      for (let i = 1; i < steps.length; i++) {
        for (const { id, incoming } of steps[i]!.members) if (!steps[i - 1]!.has(id)) assert.equal(incoming, 'learner');
      }
      const firstSeen = new Map<number, string>();
      for (const { members } of steps) {
        for (const { id, nodeId } of members) {
          assert.equal(firstSeen.get(id) ?? nodeId, nodeId);
          firstSeen.set(id, nodeId);
        }
      }
    }),
  );
});

test('a configuration always has a voter, and a node stands in it once', () => {
  fc.assert(
    fc.property(anyWalk, (steps) => {
      for (const { voters, members } of steps) {
        assert.ok(voters.length > 0);
        const staying = members.filter(({ incoming }) => incoming !== 'none').map(({ nodeId }) => nodeId);
        assert.equal(new Set(staying).size, staying.length);
      }
    }),
  );
});

test('nothing changes while the configuration is joint', () => {
  const joint = changedConfiguration(initialConfiguration(['a', 'b', 'c']), { remove: [1] }, 9)!;
  assert.equal(joint.joint, true);
  assert.equal(changedConfiguration(joint, { remove: [2] }, 9), null);
});

test('a configuration is read as it was written', () => {
  fc.assert(
    fc.property(anyWalk, (steps) => {
      for (const step of steps) assert.deepEqual(decodeConfiguration(encodeConfiguration(step)), step);
    }),
  );
});

test('a configuration cut short is refused', () => {
  const bytes = encodeConfiguration(initialConfiguration(['node-ä', 'b']));
  for (let length = 0; length < bytes.length; length++) {
    assert.throws(() => decodeConfiguration(bytes.slice(0, length)), CorruptionError);
  }
});
