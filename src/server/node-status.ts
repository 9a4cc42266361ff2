import type { LocalNode } from '../cluster/local-node.js';
import type { NodeStatus } from './service.js';

export interface NodeStatusOptions {
  readonly node: LocalNode;
  readonly dataDir: string;
  readonly advertiseHost?: string;
  readonly version: string;
  readonly startedAtMs: number;
  readonly httpLibrary: string;
  readonly peers?: NodeStatus['peers'];
}

/** What `GET /api/v1/cluster` shows: this node, and the cluster as it knows it. */
export function nodeStatus(options: NodeStatusOptions): NodeStatus {
  const { engine, host, identity, log, revisionClock } = options.node;
  const stats = engine.stats();
  return {
    nodeId: identity.nodeId,
    version: options.version,
    startedAtMs: options.startedAtMs,
    httpLibrary: options.httpLibrary,
    dataDir: options.dataDir,
    ...(options.advertiseHost === undefined ? {} : { advertiseHost: options.advertiseHost }),
    clusterId: identity.clusterId,
    revision: revisionClock.now(),
    partitions: host.groups.map((group) => ({
      partition: group.partition,
      leader: host.leaderOf(group) ?? '',
      replicas: group.raft.configuration.members.map(({ nodeId }) => nodeId),
      role: group.raft.role,
      term: group.raft.term,
      commitIndex: group.raft.commitIndex,
      appliedIndex: group.appliedIndex,
      electionsStood: group.raft.electionsStood,
      electionsWon: group.raft.electionsWon,
      followers: group.raft.progress.map(({ nodeId, state, match }) => ({
        nodeId,
        state,
        lagEntries: group.raft.lastIndex - match,
      })),
    })),
    peers: options.peers ?? [],
    storage: {
      memtableBytes: stats.memtableBytes,
      frozenMemtables: stats.frozenMemtables,
      levels: stats.levels,
      logBytes: log.statistics.sizeBytes,
      blockCacheBytes: stats.blockCacheBytes,
    },
  };
}
