import type { ClusterStatus, NodeEntry, PartitionEntry } from '../../server/management/cluster-status.js';

export interface NodeView extends Omit<NodeEntry, 'storage'> {
  /** Whether the node itself has answered. */
  readonly answered: boolean;
}

export interface GroupView {
  readonly partition: number;
  readonly leader: string | null;
  readonly term: number;
  readonly commitIndex: number;
  readonly replicas: readonly string[];
  /** What the leader says; null when it was not asked. */
  readonly followers: PartitionEntry['followers'] | null;
}

/** The cluster put together from what its nodes know. */
export interface Overview {
  readonly clusterId: string;
  readonly revision: number;
  readonly nodes: readonly NodeView[];
  readonly groups: readonly GroupView[];
  /** Partitions that nobody who answered knows a leader of: there is no quorum, or an election is on. */
  readonly withoutLeader: readonly number[];
  /** Who did not answer, and why. */
  readonly failures: readonly { readonly endpoint: string; readonly reason: string }[];
}

/** `answers` is not empty. What a node says of itself counts more than what others say of it, a later term more than an earlier one. */
export function overviewOf(answers: readonly ClusterStatus[], failures: Overview['failures']): Overview {
  const [first] = answers;
  const groups = first!.partitions.map(({ partition }) =>
    groupOf(answers.flatMap((answer) => answer.partitions[partition] ?? [])),
  );
  const ids = new Set(answers.flatMap(({ nodes }) => nodes.map(({ id }) => id)));
  return {
    clusterId: first!.clusterId,
    revision: Math.max(...answers.map(({ revision }) => revision)),
    nodes: [...ids].toSorted(compareText).map((id) => nodeOf(id, answers, groups)),
    groups,
    withoutLeader: groups.filter(({ leader }) => leader === null).map(({ partition }) => partition),
    failures,
  };
}

function groupOf(entries: readonly PartitionEntry[]): GroupView {
  const term = Math.max(...entries.map((entry) => entry.term));
  const latest = entries.filter((entry) => entry.term === term);
  const known = latest.find(({ leader }) => leader !== null);
  const leading = latest.find(({ role }) => role === 'leader');
  return {
    partition: entries[0]!.partition,
    leader: known?.leader ?? null,
    term,
    commitIndex: Math.max(...entries.map(({ commitIndex }) => commitIndex)),
    replicas: latest[0]!.replicas,
    followers: leading === undefined ? null : (leading.followers ?? []),
  };
}

function nodeOf(id: string, answers: readonly ClusterStatus[], groups: readonly GroupView[]): NodeView {
  const entries = answers.flatMap(({ nodes }) => nodes.filter((node) => node.id === id));
  const own = answers.find(({ nodeId }) => nodeId === id)?.nodes[0];
  const state = own?.state ?? (entries.some((entry) => entry.state === 'connected') ? 'connected' : 'not_reached');
  const trips = entries.flatMap(({ roundTripMs }) => roundTripMs ?? []);
  const { storage: _, ...said } = own ?? entries[0]!;
  return {
    ...said,
    state,
    answered: own !== undefined,
    partitionsLed: groups.filter(({ leader }) => leader === id).length,
    ...(trips.length === 0 ? {} : { roundTripMs: Math.max(...trips) }),
  };
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}
