import { mkdirSync } from 'node:fs';
import type { Prng } from '../../src/base/prng.js';
import { Cluster, type NodePlace } from './cluster.js';
import type { World } from './faults.js';
import type { Links } from './links.js';
import { Load } from './load.js';
import { NamespaceLinks } from './namespaces.js';
import { Relay, RelayLinks } from './relay.js';
import { isInside } from './sandbox.js';
import { SmallDisk } from './small-disk.js';
import { freePort } from './system.js';

const LOOPBACK = '127.0.0.1';

export interface WorldOptions {
  readonly directory: string;
  readonly nodes: number;
  readonly clients: number;
  readonly prng: Prng;
  readonly hasSmallDisk: boolean;
}

/** Nodes that do not run yet, the network between them, and clients. */
export async function buildWorld({ directory, nodes, clients, prng, hasSmallDisk }: WorldOptions): Promise<World> {
  mkdirSync(directory, { recursive: true });
  const names = Array.from({ length: nodes }, (_, i) => `n${i + 1}`);
  const { links, places } = isInside() ? await inNamespaces(names) : await behindRelay(names);
  const cluster = new Cluster(directory, places);
  const last = names.at(-1)!;
  const smallDisk = isInside() && hasSmallDisk ? await SmallDisk.mount(last, cluster.dataDirectory(last)) : null;
  return { cluster, links, load: new Load(cluster, prng, clients), smallDisk };
}

interface Network {
  readonly links: Links;
  readonly places: readonly NodePlace[];
}

async function inNamespaces(names: readonly string[]): Promise<Network> {
  const links = await NamespaceLinks.build(names);
  const places = names.map((name): NodePlace => {
    const host = links.address(name);
    const ports = { httpPort: 8080, managementPort: 8081, clientPort: 9090, peerPort: 9091 };
    return { name, host, ...ports, reachedAt: `${host}:${ports.peerPort}`, prefix: links.enter(name) };
  });
  return { links, places };
}

async function behindRelay(names: readonly string[]): Promise<Network> {
  const relay = new Relay();
  const places: NodePlace[] = [];
  for (const name of names) {
    const [httpPort, managementPort, clientPort, peerPort] = [
      await freePort(),
      await freePort(),
      await freePort(),
      await freePort(),
    ];
    const relayPort = await relay.open(name, LOOPBACK, { host: LOOPBACK, port: peerPort });
    const ports = { httpPort, managementPort, clientPort, peerPort };
    places.push({ name, host: LOOPBACK, ...ports, reachedAt: `${LOOPBACK}:${relayPort}`, prefix: [] });
  }
  return { links: new RelayLinks(relay, names), places };
}
