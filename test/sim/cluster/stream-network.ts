import { SILENT_LOGGER } from '../../../src/base/logger.js';
import type { Prng } from '../../../src/base/prng.js';
import type { PeerLimits } from '../../../src/cluster/peers/limits.js';
import { ClusterMember } from '../../../src/server/cluster-member.js';
import type { RoutedService } from '../../../src/server/routing/routed-service.js';
import { uniform } from '../ports/delay.js';
import type { Scheduler } from '../ports/scheduler.js';
import { SimNetwork } from '../ports/sim-network.js';
import type { SimMachine } from '../sim-machine.js';
import { FINE_WEATHER, type ClusterNetwork, type NetworkWeather, type NodeNetwork } from './cluster-network.js';
import type { SwarmLimits } from './swarm.js';

const PORT = 9091;
const SHORTEST_DELAY_MS = 0.1;
/** Each cut takes time; windows cut as well. */
const CUT_PROBABILITY = 0.1;
/** What a message has beside the payload of its entries. */
const FIELDS_BYTES = 256;

export interface StreamNetworkOptions {
  readonly scheduler: Scheduler;
  readonly prng: Prng;
  readonly names: readonly string[];
  readonly limits: SwarmLimits;
  readonly dataDir: string;
  readonly maxValueBytes: number;
  readonly maxEntryBytes: number;
  readonly maxAppendBytes: number;
  /** Of all clients, at a time. */
  readonly calls: number;
  readonly requestTimeoutMs: number;
  /** A process can't go on. */
  readonly onFatal: (machine: SimMachine, error: Error) => void;
}

/**
 * The nodes' own transport and routing, wired as src/main.ts does it, over simulated connections: frames are split and joined, queues
 * overflow, connections break and are made again, requests go on to leaders.
 */
export class StreamNetwork implements ClusterNetwork {
  readonly streams: SimNetwork;
  readonly #options: StreamNetworkOptions;
  /** Whose processes the connections belong to. */
  readonly #machines = new Map<string, SimMachine>();

  constructor(options: StreamNetworkOptions) {
    const { scheduler, prng, limits } = options;
    this.#options = options;
    this.streams = new SimNetwork({
      scheduler,
      prng,
      link: { latency: uniform(SHORTEST_DELAY_MS, FINE_WEATHER.longestDelayMs) },
      windowBytes: limits.windowBytes,
      cutProbability: CUT_PROBABILITY,
      inProcess: (host, call) => this.#machines.get(host)!.events.arrive(call),
      trace: scheduler.trace,
    });
  }

  get fingerprint(): readonly number[] {
    return [this.streams.corruptedSegments];
  }

  attach(nodeId: string, machine: SimMachine): NodeNetwork {
    const { names, limits, dataDir, maxValueBytes, requestTimeoutMs } = this.#options;
    const { clock, disk, random } = machine;
    this.#machines.set(nodeId, machine);
    this.streams.startHost(nodeId);
    const onFatal = (error: Error): void => this.#options.onFatal(machine, error);
    const member = new ClusterMember({
      nodeId,
      members: names.map((name) => ({ nodeId: name, host: name, port: PORT })),
      host: nodeId,
      port: PORT,
      dataDir,
      disk: disk.blocking,
      network: this.streams.host(nodeId),
      clock,
      random,
      logger: SILENT_LOGGER,
      maxValueBytes,
      requestTimeoutMs,
      onFatal,
      tuning: {
        peers: this.#peerLimits(),
        routed: { maxCalls: limits.requestsUnderWay },
        forwarded: { maxRequests: limits.requestsUnderWay },
      },
    });
    let service: RoutedService | null = null;
    return {
      transport: member.transport,
      missingMembers: () => member.missingMembers,
      join: async (node, localOptions) => {
        const services = await member.join(node, localOptions);
        ({ service } = services);
        return services;
      },
      count: (reached) => {
        if (member.peers === null || service === null) return;
        const { counters } = member.peers;
        reached.count('frames sent', counters.sentFrames);
        reached.count('connections lost', counters.lostConnections);
        reached.count('connections refused', counters.refusedConnections);
        reached.count('messages to full queues', counters.overflowedMessages);
        reached.count('requests refused', counters.refusedRequests);
        reached.count('requests of unknown outcome', counters.unknownRequests);
        reached.count('bulk streams broken', counters.brokenBulkStreams);
        reached.count('calls forwarded', service.routing.forwardedCalls);
        reached.count('calls tried again', service.routing.retries);
      },
    };
  }

  detach(node: string, end: 'power-loss' | 'exit'): void {
    this.streams.crashHost(node, end === 'exit' ? 'reset' : 'hang');
  }

  cut(from: string, to: string): void {
    this.streams.cutLink(from, to);
  }

  heal(from: string, to: string): void {
    this.streams.healLink(from, to);
  }

  /** Nothing comes twice on a stream. */
  change({ longestDelayMs, lossProbability }: Partial<NetworkWeather>): void {
    const profile = {
      ...(longestDelayMs === undefined ? {} : { latency: uniform(SHORTEST_DELAY_MS, longestDelayMs) }),
      ...(lossProbability === undefined ? {} : { lossProbability }),
    };
    for (const from of this.#options.names) {
      for (const to of this.#options.names) if (from !== to) this.streams.setLink(from, to, profile);
    }
  }

  healAll(): void {
    this.streams.heal();
    this.streams.restoreLinks();
  }

  /** As small as they can be with the largest append, or one call of each client, still finding room in an empty queue. */
  #peerLimits(): Partial<PeerLimits> {
    const { calls, limits, maxAppendBytes, maxEntryBytes } = this.#options;
    const largestBytes = Math.max(maxAppendBytes + maxEntryBytes, calls * maxEntryBytes) + FIELDS_BYTES;
    return {
      maxFrameBytes: 4 * largestBytes,
      maxQueuedBytes: Math.ceil((largestBytes * 8) / 7) + limits.sendQueueBytes,
      frameTargetBytes: limits.windowBytes,
      maxBulkBufferedBytes: limits.windowBytes,
      maxRequests: limits.requestsUnderWay,
    };
  }
}
