import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '../../src/base/prng.js';
import { newCounters } from '../../src/cluster/peers/stats.js';
import { observeGroups, observeInstants, observePeers } from '../../src/server/cluster-metrics.js';
import { Metrics } from '../../src/server/metrics.js';
import { SimNode } from '../cluster/sim-node.js';
import { SimMachine } from '../sim/sim-machine.js';

test('each group tells its role, term, lag and elections', async () => {
  const { node } = await SimNode.start(SimMachine.first(new Prng(1)));
  const metrics = new Metrics();
  observeGroups(metrics, node.host.groups);
  const text = await metrics.text();
  for (const { partition } of node.host.groups) {
    for (const sample of [
      `cairn_group_role{partition="${partition}",role="leader"} 1`,
      `cairn_group_term{partition="${partition}"} 1`,
      `cairn_group_lag_entries{partition="${partition}"} 0`,
      `cairn_group_elections_total{partition="${partition}"} 1`,
      `cairn_group_elections_won_total{partition="${partition}"} 1`,
    ]) {
      assert.ok(text.includes(`\n${sample}\n`), sample);
    }
  }
});

test('each other node tells whether it is up and its round trip, once that was measured', async () => {
  const metrics = new Metrics();
  const peer = { queuedBytes: 0, requests: 0 };
  observePeers(metrics, () => ({
    ...newCounters(),
    sentBytes: 12,
    peers: [
      { ...peer, nodeId: 'n2', up: true, roundTripMs: 0.5 },
      { ...peer, nodeId: 'n3', up: false, roundTripMs: null },
    ],
    incomingConnections: 0,
    bulkStreams: 0,
  }));
  const text = await metrics.text();
  assert.match(text, /cairn_peer_up\{node="n2"\} 1\ncairn_peer_up\{node="n3"\} 0\n/);
  assert.match(text, /cairn_peer_round_trip_seconds\{node="n2"\} 0\.0005\n/);
  assert.doesNotMatch(text, /round_trip_seconds\{node="n3"\}/);
  assert.match(text, /cairn_peer_sent_bytes_total 12\n/);
});

test('reads over several partitions tell their attempts and how long they held commits', async () => {
  const metrics = new Metrics();
  observeInstants(metrics, { rounds: 5, failedRounds: 2, endedHolds: 1 }, { count: 3, heldMs: 250 });
  const text = await metrics.text();
  for (const sample of [
    'rounds_total 5',
    'rounds_failed_total 2',
    'holds_ended_total 1',
    'held_seconds_total 0.25',
    'holds 3',
  ]) {
    assert.ok(text.includes(`\ncairn_instant_${sample}\n`), sample);
  }
});
