import type { NodeStatus } from '../service.js';

/** What GET /api/v1/cluster answers: the cluster as one node knows it. */
export interface ClusterStatus {
  /** Who answers. */
  readonly nodeId: string;
  readonly clusterId: string;
  readonly revision: number;
  /** The one that answers first, with what only it knows of itself. */
  readonly nodes: readonly NodeEntry[];
  readonly partitions: readonly PartitionEntry[];
}

export interface NodeEntry {
  readonly id: string;
  readonly state: 'serving' | 'not_ready' | 'connected' | 'not_reached';
  readonly partitionsLed: number;
  readonly roundTripMs?: number;
  readonly version?: string;
  readonly startedAt?: string;
  readonly httpLibrary?: string;
  readonly dataDir?: string;
  readonly advertiseHost?: string | undefined;
  readonly sizeBytes?: number;
  readonly storage?: NodeStatus['storage'] & { readonly tableBytes: number };
}

export interface PartitionEntry {
  readonly partition: number;
  /** Null: the node that answers knows of none. */
  readonly leader: string | null;
  readonly replicas: readonly string[];
  /** From here on as this node's replica has it. */
  readonly role: string;
  readonly term: number;
  readonly commitIndex: number;
  readonly appliedIndex: number;
  /** Committed entries that it has not applied. */
  readonly lag: number;
  readonly elections: { readonly stood: number; readonly won: number };
  /** Only on the leader: entries of its log that are not on the others' disks. */
  readonly followers?: readonly { readonly id: string; readonly state: string; readonly lag: number }[];
}

export function clusterStatus(status: NodeStatus, isReady: boolean): ClusterStatus {
  const { nodeId, storage } = status;
  const tableBytes = storage.levels.reduce((sum, { bytes }) => sum + bytes, 0);
  const ledBy = (id: string): number => status.partitions.filter(({ leader }) => leader === id).length;
  return {
    nodeId,
    clusterId: status.clusterId,
    revision: status.revision,
    nodes: [
      {
        id: nodeId,
        state: isReady ? 'serving' : 'not_ready',
        version: status.version,
        startedAt: new Date(status.startedAtMs).toISOString(),
        httpLibrary: status.httpLibrary,
        dataDir: status.dataDir,
        advertiseHost: status.advertiseHost,
        partitionsLed: ledBy(nodeId),
        sizeBytes: tableBytes + storage.logBytes,
        storage: { ...storage, tableBytes },
      },
      ...status.peers.map((peer): NodeEntry => ({
        id: peer.nodeId,
        state: peer.isUp ? 'connected' : 'not_reached',
        partitionsLed: ledBy(peer.nodeId),
        ...(peer.roundTripMs === null ? {} : { roundTripMs: peer.roundTripMs }),
      })),
    ],
    partitions: status.partitions.map((group) => ({
      partition: group.partition,
      leader: group.leader === '' ? null : group.leader,
      replicas: group.replicas,
      role: group.role,
      term: group.term,
      commitIndex: group.commitIndex,
      appliedIndex: group.appliedIndex,
      lag: group.commitIndex - group.appliedIndex,
      elections: { stood: group.electionsStood, won: group.electionsWon },
      ...(group.followers.length === 0
        ? {}
        : { followers: group.followers.map(({ nodeId: id, state, lagEntries: lag }) => ({ id, state, lag })) }),
    })),
  };
}
