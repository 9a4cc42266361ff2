import type { RaftTransport } from '../../../src/cluster/host/raft-transport.js';
import type { LocalNode } from '../../../src/cluster/local-node.js';
import type { Instants } from '../../../src/cluster/instants/instants.js';
import type { NodeServiceOptions } from '../../../src/server/node-service.js';
import type { Service } from '../../../src/server/service.js';
import type { SimMachine } from '../sim-machine.js';
import type { SimNetwork } from '../ports/sim-network.js';
import type { Reached } from './reached.js';

export interface NetworkWeather {
  longestDelayMs: number;
  lossProbability: number;
  duplicateProbability: number;
}

export const FINE_WEATHER: NetworkWeather = { longestDelayMs: 2, lossProbability: 0, duplicateProbability: 0 };

/** How the nodes of a simulated cluster reach each other. */
export interface ClusterNetwork {
  /** Where there are connections, which break; null where single messages travel. */
  readonly streams: SimNetwork | null;
  /** Numbers that are the same in each run of a seed. */
  readonly fingerprint: readonly number[];
  /** A process starts on the node's machine. */
  attach(node: string, machine: SimMachine): NodeNetwork;
  /** It has ended, or the whole machine has: then nobody is told. */
  detach(node: string, end: 'power-loss' | 'exit'): void;
  /** What the first sends to the second does not arrive. */
  cut(from: string, to: string): void;
  heal(from: string, to: string): void;
  change(weather: Partial<NetworkWeather>): void;
  healAll(): void;
}

export interface JoinedNode {
  /** What clients ask. */
  readonly service: Service;
  readonly instants: Instants;
}

/** What one process has of the network. */
export interface NodeNetwork {
  readonly transport: RaftTransport;
  /** As `GroupHost.missingMembers`. */
  readonly missingMembers: () => readonly string[];
  /** The groups are open: from now on others reach it, and it serves. */
  join(node: LocalNode, localOptions: Omit<NodeServiceOptions, 'instants'>): Promise<JoinedNode>;
  /** Adds up what the process has done. */
  count(reached: Reached): void;
}
