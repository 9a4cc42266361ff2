import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Prng } from '../../src/base/prng.js';
import type { ClusterClient } from '../sim/cluster/cluster-client.js';
import { HistoryViolation } from '../sim/cluster/check-history.js';
import { BinaryChaosClient } from './binary-client.js';
import { Bulk } from './bulk.js';
import { ChaosClient, Tally } from './chaos-client.js';
import type { Cluster } from './cluster.js';
import { Generation, readAgain, type ReadCounts, type RestOfGeneration } from './generation.js';
import { HttpChaosClient } from './http-client.js';
import { sleep } from './system.js';
import { ChaosViolation } from './violation.js';

const GENERATION_MS = 6000;
const MOST_OPERATIONS = 4000;
const LOOK_EVERY_MS = 100;
/** Clients of all nodes that read and write the same keys, and the checks of what they were told. */
export class Load {
  readonly tally = new Tally();
  checked = 0;
  undecided = 0;
  operations = 0;
  hasScans = false;
  readonly #cluster: Cluster;
  readonly #prng: Prng;
  readonly #count: number;
  readonly #http: ReadonlyMap<string, HttpChaosClient>;
  readonly #binary: ReadonlyMap<string, BinaryChaosClient>;
  readonly #anyNode: BinaryChaosClient;
  readonly #rests: RestOfGeneration[] = [];
  readonly #bulk: Bulk;
  readonly #finishing = new Set<Promise<void>>();
  #isStopped = false;
  #number = 0;

  constructor(cluster: Cluster, prng: Prng, clients: number) {
    this.#cluster = cluster;
    this.#prng = prng;
    this.#count = clients;
    this.#bulk = new Bulk(prng.fork());
    const places = [...cluster.places.values()];
    const endpoints = places.map(({ host, clientPort }) => `${host}:${clientPort}`);
    this.#http = new Map(places.map((place) => [place.name, new HttpChaosClient(place)]));
    this.#binary = new Map(places.map(({ name }, i) => [name, new BinaryChaosClient([endpoints[i]!])]));
    this.#anyNode = new BinaryChaosClient(endpoints);
  }

  /** Finds out whether the cluster answers scans; they are asked for if so. */
  async findScans(): Promise<void> {
    for (const client of this.#http.values()) this.hasScans = await client.servesScans();
  }

  /** Runs until `stop`; rejects with the first violation. */
  async run(): Promise<void> {
    let failure: unknown = null;
    while (!this.#isStopped && failure === null) {
      const generation = this.#begin();
      const endMs = performance.now() + GENERATION_MS;
      const before = this.tally.all;
      while (!this.#isStopped && performance.now() < endMs && this.tally.all - before < MOST_OPERATIONS) {
        await sleep(LOOK_EVERY_MS);
      }
      const finished = this.#finish(generation).catch((error: unknown) => void (failure ??= error));
      this.#finishing.add(finished);
      void finished.then(() => this.#finishing.delete(finished));
    }
    await Promise.all(this.#finishing);
    if (failure !== null) throw failure as Error;
  }

  /** Begins no more calls; `run` resolves when all is checked. */
  stop(): void {
    this.#isStopped = true;
  }

  /** Writes much, so that every node has tables, and one that is away can't catch up by the others' logs. */
  async writeBulk(bytes: number): Promise<void> {
    await this.#bulk.write(this.#anyNode, bytes);
  }

  /** Reads what earlier generations left through one node, in any order; throws when something was lost. */
  async readAgain(node: string, attempts: number, limitMs = Infinity): Promise<ReadCounts> {
    const client = this.#http.get(node)!;
    const counts: ReadCounts = { told: 0, untold: 0 };
    const endMs = performance.now() + limitMs;
    // The bulk first: it is what lies in tables for certain.
    for (const rest of [this.#bulk.rest, ...this.#rests]) {
      const { told, untold } = await readAgain(rest, client, attempts, () => performance.now() > endMs);
      counts.told += told;
      counts.untold += untold;
      if (performance.now() > endMs) break;
    }
    return counts;
  }

  #begin(): Generation {
    const generation = new Generation(++this.#number, this.#prng, this.hasScans);
    for (let client = 1; client <= this.#count; client++) {
      generation.begin(client, this.#client(this.#protocol(client), generation.prefix));
    }
    return generation;
  }

  /** HTTP and the binary protocol in turns, each to now this node and now that one; every sixth client leaves the choice to the product. */
  #protocol(client: number): readonly ClusterClient[] {
    if (client % 6 === 0) return [this.#anyNode];
    return [...(client % 2 === 0 ? this.#binary : this.#http).values()];
  }

  #client(nodes: readonly ClusterClient[], prefix: string): ChaosClient {
    return new ChaosClient(nodes, [...this.#http.values()], this.#prng.fork(), this.tally, prefix);
  }

  async #finish(generation: Generation): Promise<void> {
    try {
      const { verdict, rest } = await generation.finish(
        new ChaosClient([...this.#http.values()], [], this.#prng.fork(), new Tally(), generation.prefix),
      );
      this[verdict]++;
      this.operations += generation.history.operations.length;
      this.#rests.push(rest);
    } catch (error) {
      if (!(error instanceof HistoryViolation)) throw error;
      throw new ChaosViolation(error.message, this.#writeHistory(generation));
    }
  }

  #writeHistory({ prefix, history }: Generation): string {
    const file = join(this.#cluster.directory, `history-${prefix.slice(0, -1)}.jsonl`);
    const lines = [...history.operations, ...history.scans].map((each) => JSON.stringify(each, infinityAsText));
    writeFileSync(file, `${lines.join('\n')}\n`);
    return file;
  }
}

function infinityAsText(_name: string, value: unknown): unknown {
  return value === Infinity ? 'open' : value;
}
