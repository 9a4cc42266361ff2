import { mkdirSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { NodeProcess } from './node-process.js';
import { sleep } from './system.js';
import { ChaosViolation } from './violation.js';

/** Where a node is and how it is started. Its ports stay when it is started again. */
export interface NodePlace {
  readonly name: string;
  readonly host: string;
  readonly httpPort: number;
  readonly clientPort: number;
  readonly managementPort: number;
  /** Where it listens for peers, and where they reach it. */
  readonly peerPort: number;
  readonly reachedAt: string;
  /** In front of its command line. */
  readonly prefix: readonly string[];
}

/** Small files, so that flushes, compactions and new segments come all the time; short times, so that faults are felt. */
const FLAGS = {
  'memtable-size-mb': '1',
  'block-cache-size-mb': '8',
  'log-segment-size-mb': '18',
  'history-window': '1m',
  'request-timeout': '3s',
  workers: '1',
};
const STATUS_LIMIT_MS = 2000;
const LEADERS_LIMIT_MS = 60_000;
const COMPACT_LIMIT_MS = 60_000;
const PLANT = fileURLToPath(new URL('./plant.js', import.meta.url));

interface ClusterStatus {
  readonly partitions: readonly { readonly partition: number; readonly leader: string | null }[];
}

/** Real nodes, each a process. */
export class Cluster {
  readonly directory: string;
  readonly places: ReadonlyMap<string, NodePlace>;
  /** Called with a node's last lines when it ends and nobody ended it. */
  onCrash: (name: string, lastLines: string) => void = () => undefined;
  /** A bug that the nodes are to have. */
  mutation: string | null = null;
  readonly #running = new Map<string, NodeProcess>();

  constructor(directory: string, places: readonly NodePlace[]) {
    this.directory = directory;
    this.places = new Map(places.map((place) => [place.name, place]));
  }

  get names(): string[] {
    return [...this.places.keys()];
  }

  others(name: string): string[] {
    return this.names.filter((other) => other !== name);
  }

  dataDirectory(name: string): string {
    return join(this.directory, name);
  }

  async startAll(): Promise<void> {
    await Promise.all(this.names.map((name) => this.start(name)));
  }

  /** Resolves when the node is ready to take requests; rejects with what it said when it ends instead. */
  async start(name: string): Promise<void> {
    const { prefix } = this.places.get(name)!;
    mkdirSync(this.dataDirectory(name), { recursive: true });
    const node = new NodeProcess({
      prefix,
      environment:
        this.mutation === null ? {} : { NODE_OPTIONS: `--import=${PLANT}`, CAIRN_CHAOS_MUTATION: this.mutation },
      flags: this.#flags(name),
      logFile: join(this.directory, `${name}.log`),
    });
    this.#running.set(name, node);
    void node.ended.then(() => {
      // One that ends while it starts is its starter's business.
      if (this.#running.get(name) === node) this.#running.delete(name);
      else return;
      void node.ready.then(
        () => this.onCrash(name, node.lastLines),
        () => undefined,
      );
    });
    await node.ready;
  }

  /** Resolves when it is gone. */
  async kill(name: string, signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const node = this.#running.get(name);
    if (node === undefined) return;
    this.#running.delete(name);
    node.signal(signal);
    await node.ended;
  }

  async killAll(): Promise<void> {
    await Promise.all(this.names.map((name) => this.kill(name)));
  }

  stop(name: string): void {
    this.#running.get(name)?.signal('SIGSTOP');
  }

  continue(name: string): void {
    this.#running.get(name)?.signal('SIGCONT');
  }

  isRunning(name: string): boolean {
    return this.#running.has(name);
  }

  /** The leader of each partition, as the first node sees it that knows all of them; waits for one that does. */
  async leaders(): Promise<Map<number, string>> {
    for (const endMs = performance.now() + LEADERS_LIMIT_MS; performance.now() < endMs; await sleep(50)) {
      for (const name of this.names) {
        const status = await this.#status(name);
        const led = status?.partitions.filter(({ leader }) => leader !== null) ?? [];
        if (status !== null && led.length === status.partitions.length && led.length > 0) {
          return new Map(led.map(({ partition, leader }) => [partition, leader!]));
        }
      }
    }
    throw new ChaosViolation(`promise 4: no node knows a leader of each partition for ${LEADERS_LIMIT_MS} ms`);
  }

  /** Brings everything in memory into tables. */
  async compact(name: string): Promise<void> {
    const answer = await this.#manage(name, 'POST', '/api/v1/compact');
    if (answer === null) throw new Error(`${name} does not compact`);
  }

  /** The sum of a metric over its labels. */
  async metric(name: string, metric: string): Promise<number> {
    const text = (await this.#manage(name, 'GET', '/metrics', STATUS_LIMIT_MS)) ?? '';
    const lines = text.split('\n').filter((line) => line.startsWith(`${metric} `) || line.startsWith(`${metric}{`));
    return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0);
  }

  async #status(name: string): Promise<ClusterStatus | null> {
    const text = await this.#manage(name, 'GET', '/api/v1/cluster', STATUS_LIMIT_MS);
    return text === null ? null : (JSON.parse(text) as ClusterStatus);
  }

  /** The body of an answer of the management port; null without a good one. */
  #manage(name: string, method: string, path: string, timeoutMs = COMPACT_LIMIT_MS): Promise<string | null> {
    const { host, managementPort: port } = this.places.get(name)!;
    return new Promise((resolve) => {
      const sent = request({ host, port, path, method, timeout: timeoutMs, agent: false }, (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', () => resolve(null));
        response.on('end', () => resolve(response.statusCode === 200 ? Buffer.concat(chunks).toString() : null));
      });
      sent.on('error', () => resolve(null));
      sent.on('timeout', () => sent.destroy(new Error('no answer')));
      sent.end();
    });
  }

  #flags(name: string): string[] {
    const { host, httpPort, clientPort, managementPort, peerPort } = this.places.get(name)!;
    const flags = {
      ...FLAGS,
      'node-id': name,
      'data-dir': this.dataDirectory(name),
      cluster: [...this.places.values()].map((place) => `${place.name}=${place.reachedAt}`).join(','),
      host,
      'management-host': host,
      'http-port': String(httpPort),
      'client-port': String(clientPort),
      'management-port': String(managementPort),
      'peer-port': String(peerPort),
    };
    return Object.entries(flags).flatMap(([flag, value]) => [`--${flag}`, value]);
  }
}
