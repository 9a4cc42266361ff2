import type { InstantHolds } from '../cluster/instants/instant-holds.js';
import type { Instants } from '../cluster/instants/instants.js';
import type { PeerCounters, PeerState, PeerStats } from '../cluster/peers/stats.js';
import type { Group } from '../replica/group.js';
import type { Metrics, Sample } from './metrics.js';

/** Adds a sample for each Raft group: role, term, lag, elections. */
export function observeGroups(metrics: Metrics, groups: readonly Group[]): void {
  const each = (value: (raft: Group['raft']) => number): Sample[] =>
    groups.map(({ partition, raft }) => ({ labels: { partition }, value: value(raft) }));
  metrics.gauge('cairn_group_role', "1: this replica's role", ['partition', 'role'], () =>
    groups.map(({ partition, raft }) => ({ labels: { partition, role: raft.role }, value: 1 })),
  );
  metrics.gauge('cairn_group_term', 'The term of the group', ['partition'], () => each(({ term }) => term));
  metrics.gauge('cairn_group_lag_entries', 'Committed entries that are not applied here', ['partition'], () =>
    each(({ commitIndex, appliedIndex }) => commitIndex - appliedIndex),
  );
  metrics.gauge(
    'cairn_group_follower_lag_entries',
    "On the leader: entries of its log that are not on the other node's disk, as far as it knows",
    ['partition', 'node'],
    () =>
      groups.flatMap(({ partition, raft }) =>
        raft.progress.map(({ nodeId, match }) => ({
          labels: { partition, node: nodeId },
          value: raft.lastIndex - match,
        })),
      ),
  );
  metrics.counter('cairn_group_elections_total', 'Elections in which this replica stood', ['partition'], () =>
    each(({ electionsStood }) => electionsStood),
  );
  metrics.counter('cairn_group_elections_won_total', 'Elections that this replica won', ['partition'], () =>
    each(({ electionsWon }) => electionsWon),
  );
}

/** Adds what reads over several partitions cost: this node's own, and, as `holds`, those of all nodes on the leaders here. */
export function observeInstants(
  metrics: Metrics,
  instants: Pick<Instants, 'rounds' | 'failedRounds' | 'endedHolds'>,
  holds: Pick<InstantHolds, 'count' | 'heldMs'>,
): void {
  const count = (name: string, help: string, value: () => number): void =>
    metrics.counter(name, help, [], () => [{ labels: {}, value: value() }]);
  count(
    'cairn_instant_rounds_total',
    'Attempts to find an instant for reads of several partitions',
    () => instants.rounds,
  );
  count('cairn_instant_rounds_failed_total', 'Those that were begun anew', () => instants.failedRounds);
  count(
    'cairn_instant_holds_ended_total',
    'Those for which commits would have had to be held longer',
    () => instants.endedHolds,
  );
  count(
    'cairn_instant_held_seconds_total',
    'How long leaders here held commits for such reads, in all',
    () => holds.heldMs / 1000,
  );
  metrics.gauge('cairn_instant_holds', 'Reads for which leaders here hold commits now', [], () => [
    { labels: {}, value: holds.count },
  ]);
}

/** Adds what the connections to other nodes measure. */
export function observePeers(metrics: Metrics, stats: () => PeerStats): void {
  const read = (name: string, help: string, value: (peer: PeerState) => number | null): void =>
    metrics.gauge(name, help, ['node'], () =>
      stats().peers.flatMap((peer) => {
        const found = value(peer);
        return found === null ? [] : [{ labels: { node: peer.nodeId }, value: found }];
      }),
    );
  const count = (name: string, help: string, counter: keyof PeerCounters): void =>
    metrics.counter(name, help, [], () => [{ labels: {}, value: stats()[counter] }]);
  read('cairn_peer_up', '1 while messages to this node can be sent', ({ up }) => Number(up));
  read('cairn_peer_round_trip_seconds', 'Smoothed time until this node has answered', ({ roundTripMs }) =>
    roundTripMs === null ? null : roundTripMs / 1000,
  );
  read('cairn_peer_queued_bytes', 'Output to this node that waits', ({ queuedBytes }) => queuedBytes);
  count('cairn_peer_sent_bytes_total', 'Bytes of messages sent to other nodes', 'sentBytes');
  count('cairn_peer_received_bytes_total', 'Bytes of messages received from other nodes', 'receivedBytes');
  count('cairn_peer_dropped_messages_total', 'Messages not sent: no connection, or too much waits', 'droppedMessages');
  count('cairn_peer_lost_connections_total', 'Connections to other nodes that ended', 'lostConnections');
}
