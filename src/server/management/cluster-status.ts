import type { NodeStatus } from '../service.js';

/** What GET /api/v1/cluster shows: nodes, partitions, leaders, lag, sizes. */
export function clusterStatus(status: NodeStatus): object {
  const { nodeId, storage } = status;
  const tableBytes = storage.levels.reduce((sum, { bytes }) => sum + bytes, 0);
  return {
    clusterId: status.clusterId,
    revision: status.revision,
    nodes: [
      {
        id: nodeId,
        state: 'serving',
        version: status.version,
        startedAt: new Date(status.startedAtMs).toISOString(),
        httpLibrary: status.httpLibrary,
        dataDir: status.dataDir,
        advertiseHost: status.advertiseHost,
        partitionsLed: status.partitions.filter(({ leader }) => leader === nodeId).length,
        sizeBytes: tableBytes + storage.logBytes,
        storage: { ...storage, tableBytes },
      },
      ...status.peers.map((peer) => ({
        id: peer.nodeId,
        state: peer.isUp ? 'connected' : 'not_reached',
        partitionsLed: status.partitions.filter(({ leader }) => leader === peer.nodeId).length,
        ...(peer.roundTripMs === null ? {} : { roundTripMs: peer.roundTripMs }),
      })),
    ],
    partitions: status.partitions.map(({ partition, leader, replicas, term, commitIndex, appliedIndex }) => ({
      partition,
      leader: leader === '' ? null : leader,
      replicas,
      term,
      commitIndex,
      appliedIndex,
      lag: commitIndex - appliedIndex,
    })),
  };
}
