import { once } from 'node:events';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { UsageError } from '../exit-code.js';

export const PORT_NAMES = ['http', 'management', 'client', 'peer'] as const;
export type Ports = Readonly<Record<(typeof PORT_NAMES)[number], number>>;

export const HOST = '127.0.0.1';
/** Those of `cairn serve` for the first node, a hundred more for each further one. */
const USUAL: Ports = { http: 8080, management: 8081, client: 9090, peer: 9091 };
const USUAL_STEP = 100;
const HIGHEST_PORT = 65_535;

/**
 * The ports of `nodes` nodes. `first`: consecutive ones from there; 0: any free ones; undefined: the usual ones, and any free one
 * where a usual one is taken. Throws a UsageError that names a port which was asked for and is taken.
 */
export async function choosePorts(nodes: number, first: number | undefined): Promise<Ports[]> {
  const perNode = PORT_NAMES.length;
  if (first !== undefined && first > 0 && first + nodes * perNode - 1 > HIGHEST_PORT) {
    throw new UsageError(
      `--port ${first}: ${nodes * perNode} ports from there go beyond ${HIGHEST_PORT}; expected a lower one`,
    );
  }
  const wanted = Array.from({ length: nodes }, (_, node) =>
    portsOf((name, i) => {
      if (first === undefined) return USUAL[name] + node * USUAL_STEP;
      return first === 0 ? 0 : first + node * perNode + i;
    }),
  );
  return await hold(wanted, first === undefined);
}

/** Throws a UsageError when one of these ports is taken. */
export async function checkPorts(ports: readonly Ports[]): Promise<void> {
  await hold(ports, false);
}

/** Opens all of them at once, so that none is chosen twice, and lets them go for the nodes. */
async function hold(wanted: readonly Ports[], elseAnyFree: boolean): Promise<Ports[]> {
  const servers: Server[] = [];
  try {
    const chosen: Ports[] = [];
    for (const [node, ports] of wanted.entries()) {
      const found = new Map<string, number>();
      for (const name of PORT_NAMES) {
        let server = await open(ports[name]);
        if (typeof server === 'string' && elseAnyFree) server = await open(0);
        if (typeof server === 'string') {
          throw new UsageError(`port ${ports[name]} (${name} of n${node + 1}) ${server}`);
        }
        servers.push(server);
        found.set(name, (server.address() as AddressInfo).port);
      }
      chosen.push(portsOf((name) => found.get(name)!));
    }
    return chosen;
  } finally {
    await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  }
}

/** The server, or why there is none. */
async function open(port: number): Promise<Server | string> {
  const server = createServer();
  try {
    await once(server.listen({ host: HOST, port, exclusive: true }), 'listening');
    return server;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    return code === 'EADDRINUSE' ? 'is taken by another process' : `can't be opened: ${message}`;
  }
}

function portsOf(port: (name: (typeof PORT_NAMES)[number], index: number) => number): Ports {
  return Object.fromEntries(PORT_NAMES.map((name, index) => [name, port(name, index)])) as Ports;
}
