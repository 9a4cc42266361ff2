import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { placePartitions, type RingMember, type RingPlacement } from '../../src/cluster/ring.js';

const RUNS = Number(process.env['CAIRN_TEST_SEEDS'] ?? 60);
const REPLICATION_FACTOR = 3;
const partitionCounts = fc.constantFrom(64, 128, 256);
const names = fc.stringMatching(/^[a-z0-9][a-z0-9.-]{0,12}$/);

function memberLists(maxNodes: number, weights: fc.Arbitrary<number>): fc.Arbitrary<RingMember[]> {
  return fc.uniqueArray(fc.record({ nodeId: names, weight: weights }), {
    minLength: 1,
    maxLength: maxNodes,
    selector: ({ nodeId }) => nodeId,
  });
}

function count(
  placements: readonly RingPlacement[],
  of: (placement: RingPlacement) => readonly string[],
): Map<string, number> {
  const counts = new Map<string, number>();
  for (const nodeId of placements.flatMap(of)) counts.set(nodeId, (counts.get(nodeId) ?? 0) + 1);
  return counts;
}

/** Replicas that are in `after` and not in `before`: what must be copied. */
function moved(before: readonly RingPlacement[], after: readonly RingPlacement[]): number {
  return after.reduce(
    (sum, { replicas }, partition) =>
      sum + replicas.filter((nodeId) => !before[partition]!.replicas.includes(nodeId)).length,
    0,
  );
}

test('each partition has as many distinct replicas as there may be, and one of them is to lead', () => {
  fc.assert(
    fc.property(memberLists(9, fc.integer({ min: 1, max: 4 })), partitionCounts, (members, partitions) => {
      const placements = placePartitions(members, partitions, REPLICATION_FACTOR);
      assert.equal(placements.length, partitions);
      for (const { replicas, preferredLeader } of placements) {
        assert.equal(new Set(replicas).size, Math.min(REPLICATION_FACTOR, members.length));
        assert.ok(replicas.includes(preferredLeader));
        for (const nodeId of replicas) assert.ok(members.some((member) => member.nodeId === nodeId));
      }
    }),
    { numRuns: RUNS },
  );
});

test('no node has more than 1.15 times its share of the replicas, nor more than its share of the leaders', () => {
  fc.assert(
    fc.property(memberLists(9, fc.constant(1)), partitionCounts, (members, partitions) => {
      const placements = placePartitions(members, partitions, REPLICATION_FACTOR);
      const replicas = count(placements, (placement) => placement.replicas);
      const leaders = count(placements, (placement) => [placement.preferredLeader]);
      const copies = Math.min(REPLICATION_FACTOR, members.length);
      for (const { nodeId } of members) {
        assert.ok((replicas.get(nodeId) ?? 0) <= Math.ceil((1.15 * copies * partitions) / members.length));
        assert.ok((leaders.get(nodeId) ?? 0) <= Math.ceil(partitions / members.length));
      }
    }),
    { numRuns: RUNS },
  );
});

test('a node of twice the weight has about twice the partitions', () => {
  const members = Array.from({ length: 8 }, (_, i) => ({ nodeId: `n${i}`, weight: i < 2 ? 2 : 1 }));
  const placements = placePartitions(members, 256, REPLICATION_FACTOR);
  const replicas = count(placements, (placement) => placement.replicas);
  const share = (256 * REPLICATION_FACTOR) / 10;
  for (const { nodeId, weight } of members) {
    const has = replicas.get(nodeId) ?? 0;
    assert.ok(has > 0.7 * weight * share && has <= Math.ceil(1.15 * weight * share), `${nodeId} has ${has}`);
  }
});

test('the placement is the same on every node, in whatever order it knows the members', () => {
  fc.assert(
    fc.property(memberLists(9, fc.integer({ min: 1, max: 3 })), fc.infiniteStream(fc.nat()), (members, order) => {
      const shuffled = members
        .map((member) => ({ member, at: order.next().value }))
        .sort((a, b) => a.at - b.at)
        .map(({ member }) => member);
      assert.deepEqual(
        placePartitions(shuffled, 64, REPLICATION_FACTOR),
        placePartitions(members, 64, REPLICATION_FACTOR),
      );
    }),
    { numRuns: RUNS },
  );
});

test('a node that joins N takes at most 1.3 / (N + 1) of the replicas, and gives as much back when it leaves', () => {
  for (let nodes = 3; nodes <= 8; nodes++) {
    let total = 0;
    const runs = 20;
    for (let run = 0; run < runs; run++) {
      const members = Array.from({ length: nodes }, (_, i) => ({ nodeId: `run${run}-n${i}`, weight: 1 }));
      const before = placePartitions(members, 256, REPLICATION_FACTOR);
      const after = placePartitions([...members, { nodeId: `run${run}-joins`, weight: 1 }], 256, REPLICATION_FACTOR);
      const ideal = (256 * REPLICATION_FACTOR) / (nodes + 1);
      const joined = moved(before, after);
      assert.ok(joined <= 1.3 * ideal, `joining ${nodes} nodes moved ${joined} replicas, ideal ${ideal}`);
      const left = moved(after, before);
      assert.ok(left <= 1.3 * ideal, `leaving ${nodes + 1} nodes moved ${left} replicas, ideal ${ideal}`);
      total += joined / ideal;
    }
    assert.ok(total / runs < 1.1, `on average ${total / runs} of the ideal moved`);
  }
});
