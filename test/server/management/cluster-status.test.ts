import assert from 'node:assert/strict';
import { test } from 'node:test';
import { clusterStatus } from '../../../src/server/management/cluster-status.js';
import { MemoryService } from '../memory-service.js';

test('a leader tells how far the others are behind, an unknown leader is null, a peer is connected or not reached', () => {
  const status = new MemoryService().status();
  const [led, lost] = [status.partitions[0]!, status.partitions[1]!];
  const { nodes, partitions } = clusterStatus(
    {
      ...status,
      partitions: [
        { ...led, commitIndex: 9, appliedIndex: 7, followers: [{ nodeId: 'n2', state: 'probe', lagEntries: 3 }] },
        { ...lost, leader: '', role: 'follower' },
      ],
      peers: [
        { nodeId: 'n2', isUp: true, roundTripMs: 0.4 },
        { nodeId: 'n3', isUp: false, roundTripMs: null },
      ],
    },
    false,
  );
  assert.deepEqual(
    nodes.map(({ id, state, partitionsLed, roundTripMs }) => [id, state, partitionsLed, roundTripMs]),
    [
      ['memory', 'not_ready', 1, undefined],
      ['n2', 'connected', 0, 0.4],
      ['n3', 'not_reached', 0, undefined],
    ],
  );
  assert.deepEqual(
    partitions.map(({ leader, lag, followers }) => [leader, lag, followers]),
    [
      ['memory', 2, [{ id: 'n2', state: 'probe', lag: 3 }]],
      [null, 0, undefined],
    ],
  );
});
