import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Configuration, type Member } from '../../src/raft/configuration.js';
import { isQuorum, quorumValue, voteResult } from '../../src/raft/quorum.js';

const anyMember = fc.record({
  incoming: fc.constantFrom<Member['incoming']>('voter', 'learner', 'none'),
  outgoing: fc.boolean(),
  value: fc.nat({ max: 6 }),
  vote: fc.constantFrom(true, false, undefined),
});

interface Drawn {
  readonly configuration: Configuration;
  readonly values: ReadonlyMap<number, number>;
  readonly votes: ReadonlyMap<number, boolean | undefined>;
}

const anyConfiguration = fc
  .tuple(fc.array(anyMember, { minLength: 1, maxLength: 9 }), fc.boolean())
  .map(([drawn, wantsJoint]): Drawn => {
    const joint = wantsJoint && drawn.some(({ outgoing }) => outgoing);
    const members = drawn.map(({ incoming, outgoing }, i) => ({
      id: i + 1,
      nodeId: `n${i + 1}`,
      incoming,
      outgoing: joint && outgoing,
    }));
    return {
      configuration: new Configuration(members, joint),
      values: new Map(drawn.map(({ value }, i) => [i + 1, value])),
      votes: new Map(drawn.map(({ vote }, i) => [i + 1, vote])),
    };
  });

function moreThanHalf(voters: readonly number[], holds: (id: number) => boolean): boolean {
  return voters.filter(holds).length > voters.length / 2;
}

/** By the definition: a majority of each half. */
function quorumHolds({ voters, outgoingVoters, joint }: Configuration, holds: (id: number) => boolean): boolean {
  return moreThanHalf(voters, holds) && (!joint || moreThanHalf(outgoingVoters, holds));
}

test('Raft rule 10: the quorum value is the highest that a majority of each half has reached', () => {
  fc.assert(
    fc.property(anyConfiguration, ({ configuration, values }) => {
      let expected = 0;
      for (let value = 1; value <= 6; value++) {
        if (quorumHolds(configuration, (id) => values.get(id)! >= value)) expected = value;
      }
      assert.equal(
        quorumValue(configuration, (id) => values.get(id)!),
        expected,
      );
    }),
  );
});

test('Raft rule 10: an election is won by a majority of each half, and lost when none can be had any more', () => {
  fc.assert(
    fc.property(anyConfiguration, ({ configuration, votes }) => {
      const won = quorumHolds(configuration, (id) => votes.get(id) === true);
      const possible = quorumHolds(configuration, (id) => votes.get(id) !== false);
      assert.equal(
        voteResult(configuration, (id) => votes.get(id)),
        won ? 'won' : possible ? 'pending' : 'lost',
      );
    }),
  );
});

test('Raft rule 11: learners and those who leave change no quorum', () => {
  fc.assert(
    fc.property(anyConfiguration, ({ configuration, values }) => {
      const count = quorumValue(configuration, (id) => (configuration.isVoter(id) ? values.get(id)! : 0));
      const more = quorumValue(configuration, (id) => (configuration.isVoter(id) ? values.get(id)! : 6));
      assert.equal(count, more);
    }),
  );
});

test('nobody decides anything without voters', () => {
  const empty = new Configuration([], false);
  assert.equal(
    quorumValue(empty, () => 9),
    0,
  );
  assert.equal(
    isQuorum(empty, () => true),
    false,
  );
});
