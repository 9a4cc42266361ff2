import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Agent } from 'node:http';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { call } from './http-call.js';
import { startServer, type ServerProcess } from './server-process.js';

export const NODES = ['n1', 'n2', 'n3'];
/** A busy machine may need several elections. */
export const RECOVERY_MS = 30_000;
/** Keys that fall into nearly all of 64 partitions. */
export const PROBES = 200;

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  return port;
}

/** Three real nodes in directories of their own. */
export class Cluster {
  readonly servers = new Map<string, ServerProcess>();
  readonly agent = new Agent({ keepAlive: true });
  readonly #directory: string;
  readonly #ports: readonly number[];
  readonly #requestTimeout: string;

  private constructor(directory: string, ports: readonly number[], requestTimeout: string) {
    this.#directory = directory;
    this.#ports = ports;
    this.#requestTimeout = requestTimeout;
  }

  /** `started`: of the three members, those that are started. */
  static async start(directory: string, requestTimeout = '5s', started: readonly string[] = NODES): Promise<Cluster> {
    const cluster = new Cluster(directory, await Promise.all(NODES.map(freePort)), requestTimeout);
    await Promise.all(started.map((name) => cluster.startNode(name)));
    return cluster;
  }

  get members(): string {
    return NODES.map((name, i) => `${name}=127.0.0.1:${this.#ports[i]}`).join(',');
  }

  flags(name: string): string[] {
    const peerPort = String(this.#ports[NODES.indexOf(name)]);
    const timeout = ['--request-timeout', this.#requestTimeout];
    return ['--node-id', name, '--peer-port', peerPort, '--cluster', this.members, ...timeout];
  }

  directory(name: string): string {
    return join(this.#directory, name);
  }

  async startNode(name: string, environment: Readonly<Record<string, string>> = {}): Promise<void> {
    const flags = [...this.flags(name), '--memtable-size-mb', '1'];
    this.servers.set(name, await startServer(this.directory(name), flags, environment));
  }

  async stopNode(name: string, signal: NodeJS.Signals): Promise<number | null> {
    const server = this.servers.get(name)!;
    this.servers.delete(name);
    return server.stop(signal);
  }

  async stopAll(): Promise<void> {
    this.agent.destroy();
    await Promise.all([...this.servers.keys()].map((name) => this.stopNode(name, 'SIGKILL')));
  }

  call(name: string, method: string, path: string, body?: string): ReturnType<typeof call> {
    return call(this.agent, this.servers.get(name)!.httpPort, method, path, body);
  }

  /** Asks again while there is no leader: on a busy machine one may be lost at any time. */
  async read(name: string, path: string): ReturnType<typeof call> {
    const started = performance.now();
    for (;;) {
      const answer = await this.call(name, 'GET', path);
      if (answer.status !== 503 || performance.now() - started > RECOVERY_MS) return answer;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** How long it took until writes through each running node succeed again, in all partitions but a few by chance. */
  async whole(): Promise<number> {
    const started = performance.now();
    for (const name of this.servers.keys()) {
      await Promise.all(Array.from({ length: PROBES }, (_, probe) => this.#probe(name, probe, started)));
    }
    return performance.now() - started;
  }

  async #probe(name: string, probe: number, started: number): Promise<void> {
    for (;;) {
      const answer = await this.call(name, 'PUT', `/api/v1/kv/probe:${probe}`, '{"value":0}').catch(() => null);
      if (answer?.status === 200) return;
      const found = answer === null ? 'no answer' : answer.body;
      assert.ok(
        performance.now() - started < RECOVERY_MS,
        `promise 4: a majority that can talk recovers; found ${found}`,
      );
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}
