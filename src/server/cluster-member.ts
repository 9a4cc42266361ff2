import type { Logger } from '../base/logger.js';
import type { GroupHost } from '../cluster/group-host.js';
import { NO_TRANSPORT, type RaftTransport } from '../cluster/host/raft-transport.js';
import { InstantHolds } from '../cluster/instants/instant-holds.js';
import { Instants } from '../cluster/instants/instants.js';
import type { LocalNode } from '../cluster/local-node.js';
import type { Member } from '../cluster/members.js';
import { PeerBindings } from '../cluster/peer-bindings.js';
import type { PeerIdentity } from '../cluster/peers/handshake.js';
import type { PeerLimits } from '../cluster/peers/limits.js';
import { PeerTransport } from '../cluster/peers/transport.js';
import { isOutOfSpace } from '../engine/retry.js';
import type { Clock } from '../ports/clock.js';
import type { SyncDisk } from '../ports/disk.js';
import type { Network } from '../ports/network.js';
import type { Random } from '../ports/random.js';
import { NO_MEMBER } from '../raft/entry.js';
import { NodeService, type NodeServiceOptions } from './node-service.js';
import { ForwardedRequests, type ForwardedRequestsOptions } from './routing/forwarded-requests.js';
import { instantAsker } from './routing/instant-requests.js';
import type { PartitionMap } from './routing/partition-map.js';
import { RoutedService, type RoutedServiceOptions } from './routing/routed-service.js';
import type { NodeStatus } from './service.js';

export interface ClusterMemberOptions {
  readonly nodeId: string;
  /** All nodes of the cluster, this one among them, and where they are. */
  readonly members: readonly Member[];
  /** Where this one listens. */
  readonly host: string;
  readonly port: number;
  readonly dataDir: string;
  readonly disk: SyncDisk;
  readonly network: Network;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly maxValueBytes: number;
  readonly requestTimeoutMs: number;
  readonly onFatal: (error: Error) => void;
  /** Sizes that users have no option for; the simulator makes them tiny. */
  readonly tuning?: {
    readonly peers?: Partial<PeerLimits>;
    readonly routed?: Pick<RoutedServiceOptions, 'maxCalls' | 'maxBytes'>;
    readonly forwarded?: Pick<ForwardedRequestsOptions, 'maxRequests' | 'maxBytes'>;
  };
}

export interface ClusterServices {
  /** Over this node's own groups. */
  readonly local: NodeService;
  /** The whole cluster's. */
  readonly service: RoutedService;
  readonly instants: Instants;
  readonly holds: InstantHolds;
}

/**
 * What a node of a cluster has around its groups: connections to the other nodes, and requests that go on to them or come from them.
 * Made before the groups, which need something to send with; `join` begins when they are open.
 */
export class ClusterMember {
  /** For the groups. */
  readonly transport: RaftTransport;
  readonly #options: ClusterMemberOptions;
  readonly #bindings: PeerBindings;
  readonly #others: readonly string[];
  #peers: PeerTransport | null = null;

  /** Reads which data directories this one has met. Throws a CorruptionError when it can't. */
  constructor(options: ClusterMemberOptions) {
    const { disk, dataDir, members, nodeId } = options;
    this.#options = options;
    this.#others = members.map((member) => member.nodeId).filter((other) => other !== nodeId);
    this.#bindings = new PeerBindings(disk, dataDir, this.#others);
    this.transport = {
      send: (to, message) => this.#peers?.send(to, message),
      flush: () => this.#peers?.flush(),
      openBulk: (to, header) => (this.#peers ?? NO_TRANSPORT).openBulk(to, header),
    };
  }

  /** As `GroupHost.missingMembers`. */
  get missingMembers(): readonly string[] {
    return this.#bindings.missing;
  }

  /** Null until `join`. */
  get peers(): PeerTransport | null {
    return this.#peers;
  }

  get peerStatus(): NodeStatus['peers'] {
    return this.#others.map((nodeId) => ({
      nodeId,
      isUp: this.#peers?.isUp(nodeId) ?? false,
      roundTripMs: this.#peers?.roundTripMs(nodeId) ?? null,
    }));
  }

  /** Makes the services, listens and calls the others. */
  async join(node: LocalNode, localOptions: Omit<NodeServiceOptions, 'instants'>): Promise<ClusterServices> {
    const { nodeId, members, clock, random, logger, requestTimeoutMs, maxValueBytes, onFatal, tuning } = this.#options;
    const { host, identity } = node;
    const holds = new InstantHolds(host, clock);
    const instants = new Instants({
      nodeId,
      host,
      engine: node.engine,
      holds,
      ask: instantAsker({ request: (...request) => peers.request(...request) }),
      clock,
      random,
      requestTimeoutMs,
    });
    const local = new NodeService({ ...localOptions, instants });
    const map = partitionMap(nodeId, host);
    const limits = { maxValueBytes };
    const forwarded = new ForwardedRequests({ local, map, holds, clock, logger, limits, ...tuning?.forwarded });
    const addresses = new Map(members.map((member) => [member.nodeId, member]));
    const bindings = this.#bindings;
    const peers = new PeerTransport({
      network: this.#options.network,
      clock,
      random,
      nodeId,
      clusterId: identity.clusterId,
      incarnation: identity.incarnation,
      host: this.#options.host,
      port: this.#options.port,
      addresses: () => addresses,
      admit: (peer) =>
        addresses.has(peer.nodeId) ? this.#bind(peer) : `node "${peer.nodeId}" is no member of this cluster`,
      logger,
      ...(tuning?.peers === undefined ? {} : { limits: tuning.peers }),
      onMessages: (from, messages) => host.receive(from, messages),
      onRequest: (_from, body, answer) => void forwarded.handle(body).then(answer, onFatal),
      onBulk: (from, header, stream) => host.receiveBulk(from, header, stream),
      onPeerUp: (peer) => {
        logger.info({ peer }, 'peer connected');
        this.#welcomed(peer);
      },
      onPeerDown: (peer) => {
        logger.warn({ peer }, 'peer lost');
        host.peerDown(peer);
      },
    });
    this.#peers = peers;
    await peers.listen();
    if (!bindings.isKnown) {
      logger.info({ members: bindings.missing }, 'a new data directory takes part when it has met every member once');
    }
    const service = new RoutedService({
      local,
      map,
      peers,
      clock,
      partitionCount: host.groups.length,
      requestTimeoutMs,
      ...tuning?.routed,
    });
    return { local, service, instants, holds };
  }

  /** Why the peer is not wanted, or null. */
  #bind({ nodeId, incarnation }: PeerIdentity): string | null {
    try {
      return this.#bindings.bind(nodeId, incarnation);
    } catch (error) {
      if (!isOutOfSpace(error)) throw error;
      return `the disk of node "${this.#options.nodeId}" is full: it can't write down whom it meets`;
    }
  }

  #welcomed(peer: string): void {
    const { logger } = this.#options;
    try {
      if (this.#bindings.welcomed(peer)) logger.info({}, 'every member has met this data directory: it takes part');
    } catch (error) {
      if (!isOutOfSpace(error)) throw error;
      // True for this life of the process; the next one meets all of them again.
      logger.warn({}, 'every member has met this data directory, but the disk is too full to write that down');
    }
  }

  async close(): Promise<void> {
    await this.#peers?.close();
  }
}

/** What this node knows of who leads its groups. */
function partitionMap(nodeId: string, host: GroupHost): PartitionMap {
  return {
    leaderOf: (partition) => {
      const group = host.groups[partition]!;
      const leader = host.leaderOf(group);
      const cannotWrite = !group.isServing || group.raft.transferee !== NO_MEMBER;
      if (leader === null || (leader === nodeId && cannotWrite)) return null;
      return { nodeId: leader, isLocal: leader === nodeId };
    },
    isLed: (partition) => host.leaderOf(host.groups[partition]!) !== null,
    localCanRead: (partition) => host.readsAlone(host.groups[partition]!),
    hasReplica: () => true,
  };
}
