import { assert } from '../base/assert.js';
import { xxHash32 } from '../base/hash.js';

/** A node as the ring sees it. */
export interface RingMember {
  readonly nodeId: string;
  /** A positive integer: of two nodes the one with twice the weight gets twice the partitions. */
  readonly weight: number;
}

export interface RingPlacement {
  /** Distinct nodes, clockwise from the partition's token. */
  readonly replicas: readonly string[];
  /** The replica that leads when all are well. */
  readonly preferredLeader: string;
}

/** Points of a node of weight 1. */
const VIRTUAL_NODES = 150;
/** No node has more than this times its share of the replicas. */
const LOAD_BOUND = 1.15;

interface Node extends RingMember {
  readonly maxReplicas: number;
  readonly maxLeaders: number;
  replicas: number;
  leaders: number;
}

interface Point {
  readonly position: number;
  readonly node: Node;
}

/**
 * Where each partition's replicas belong: consistent hashing with bounded loads (DESIGN.md section 9; Mirrokni, Thorup, Zadimoghaddam 2016). A
 * pure function of the set of members: every node computes the same, in whatever order it knows them. A partition goes to the first
 * `replicationFactor` distinct nodes clockwise from its token that have room; with fewer members than that, to all of them.
 */
export function placePartitions(
  members: readonly RingMember[],
  partitionCount: number,
  replicationFactor: number,
): RingPlacement[] {
  const replicaCount = Math.min(replicationFactor, members.length);
  const nodes = nodesOf(members, partitionCount, replicaCount);
  const points = pointsOf(nodes);
  const chosen = Array.from({ length: partitionCount }, (_, partition) =>
    chooseReplicas(points, tokenOf(`partition/${partition}`), replicaCount),
  );
  const leaders = chooseLeaders(chosen);
  return chosen.map((replicas, partition) => ({
    replicas: replicas.map(({ nodeId }) => nodeId),
    preferredLeader: leaders[partition]!.nodeId,
  }));
}

function nodesOf(members: readonly RingMember[], partitionCount: number, replicaCount: number): Node[] {
  const totalWeight = members.reduce((sum, { weight }) => sum + weight, 0);
  return members.map(({ nodeId, weight }) => {
    assert(Number.isInteger(weight) && weight > 0, `the weight of node ${nodeId} is ${weight}`);
    const share = (partitionCount * weight) / totalWeight;
    return {
      nodeId,
      weight,
      maxReplicas: Math.ceil(LOAD_BOUND * replicaCount * share),
      maxLeaders: Math.ceil(share),
      replicas: 0,
      leaders: 0,
    };
  });
}

function pointsOf(nodes: readonly Node[]): Point[] {
  const points = nodes.flatMap((node) =>
    Array.from({ length: VIRTUAL_NODES * node.weight }, (_, i) => ({
      position: tokenOf(`${node.nodeId}/${i}`),
      node,
    })),
  );
  return points.sort((a, b) => a.position - b.position || (a.node.nodeId < b.node.nodeId ? -1 : 1));
}

function chooseReplicas(points: readonly Point[], token: number, count: number): Node[] {
  const first = points.findIndex(({ position }) => position >= token);
  const clockwise = first <= 0 ? points : [...points.slice(first), ...points.slice(0, first)];
  const chosen = new Set<Node>();
  const take = (hasRoom: (node: Node) => boolean): void => {
    for (const { node } of clockwise) {
      if (chosen.size === count) return;
      if (chosen.has(node) || !hasRoom(node)) continue;
      chosen.add(node);
      node.replicas++;
    }
  };
  take((node) => node.replicas < node.maxReplicas);
  // A heavy node's share may be more than one replica of each partition; then the bounds leave too little room.
  take(() => true);
  return [...chosen];
}

/** The first replica that has room; others make room for it by leading less, where one of theirs can be led elsewhere. */
function chooseLeaders(chosen: readonly (readonly Node[])[]): Node[] {
  const leaders: Node[] = [];
  for (const [partition, replicas] of chosen.entries()) {
    const free = replicas.find((node) => node.leaders < node.maxLeaders) ?? makeRoom(chosen, leaders, replicas);
    const leader = free ?? leastLed(replicas);
    leader.leaders++;
    leaders[partition] = leader;
  }
  return leaders;
}

/** Moves leaders along the shortest chain that ends at a node with room. Returns the replica that has room now. */
function makeRoom(chosen: readonly (readonly Node[])[], leaders: Node[], replicas: readonly Node[]): Node | undefined {
  /** From which partition, and so from which leader, a node was reached. */
  const reachedBy = new Map<Node, number>();
  const queue = [...replicas];
  for (const node of queue) {
    for (const [partition, leader] of leaders.entries()) {
      if (leader !== node) continue;
      for (const next of chosen[partition]!) {
        if (reachedBy.has(next) || replicas.includes(next)) continue;
        reachedBy.set(next, partition);
        if (next.leaders === next.maxLeaders) {
          queue.push(next);
          continue;
        }
        next.leaders++;
        let to = next;
        for (let via = reachedBy.get(to); via !== undefined; via = reachedBy.get(to)) {
          const from = leaders[via]!;
          leaders[via] = to;
          to = from;
        }
        to.leaders--;
        return to;
      }
    }
  }
  return undefined;
}

function leastLed(replicas: readonly Node[]): Node {
  return replicas.reduce((least, node) => (node.leaders / node.weight < least.leaders / least.weight ? node : least));
}

/** A place on the ring, 0 to 2^53 - 1. */
function tokenOf(name: string): number {
  const bytes = Buffer.from(`${name}#`);
  const high = xxHash32(bytes, 0, bytes.length - 1);
  const low = xxHash32(bytes, 0, bytes.length);
  return high * 2 ** 21 + (low >>> 11);
}
