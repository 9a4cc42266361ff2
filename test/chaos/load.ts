import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Prng } from '../../src/base/prng.js';
import type { Operation } from '../sim/checkers/operation.js';
import type { ClusterClient } from '../sim/cluster/cluster-client.js';
import { HistoryViolation } from '../sim/cluster/check-history.js';
import { BinaryChaosClient } from './binary-client.js';
import { ChaosClient, Tally } from './chaos-client.js';
import type { Cluster } from './cluster.js';
import { Generation, readAgain, type ReadCounts, type RestOfGeneration } from './generation.js';
import { HttpChaosClient } from './http-client.js';
import { sleep } from './system.js';
import { ChaosViolation } from './violation.js';

const GENERATION_MS = 6000;
const MOST_OPERATIONS = 4000;
const LOOK_EVERY_MS = 100;
/** More than a memtable of the nodes holds. */
const FILLING_VALUES = 400;
const FILLING_BATCH = 50;
const FILLING_VALUE_BYTES = 4000;

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
  readonly #finishing = new Set<Promise<void>>();
  #isStopped = false;
  #number = 0;

  constructor(cluster: Cluster, prng: Prng, clients: number) {
    this.#cluster = cluster;
    this.#prng = prng;
    this.#count = clients;
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

  /** Writes values that are not touched again, so that every node has tables from the beginning. */
  async fillTables(): Promise<void> {
    const prefix = 'filling/';
    const values = Array.from({ length: FILLING_VALUES }, (_, i) => ({
      key: `${i}`,
      value: `${i}:${noise(this.#prng)}`,
    }));
    const operations: Operation[] = [];
    for (let from = 0; from < values.length; from += FILLING_BATCH) {
      const batch = values.slice(from, from + FILLING_BATCH);
      const outcomes = await this.#anyNode.batch(batch.map(({ key, value }) => ({ key: prefix + key, value })));
      for (const [i, { key, value }] of batch.entries()) {
        const outcome = outcomes[i]!;
        if (outcome.kind !== 'written')
          throw new ChaosViolation(`all is well, and a write is answered ${outcome.kind}`);
        const call = { kind: 'put', value, condition: null } as const;
        operations.push({ id: from + i, client: 0, key, call, outcome, invoked: 0, returned: 1 });
      }
    }
    this.#rests.push({ prefix, operations });
    await Promise.all(this.#cluster.names.map((name) => this.#cluster.compact(name)));
  }

  /** Reads what earlier generations left through one node, in any order; throws when something was lost. */
  async readAgain(node: string, attempts: number, limitMs = Infinity): Promise<ReadCounts> {
    const client = this.#http.get(node)!;
    const counts: ReadCounts = { told: 0, untold: 0 };
    const endMs = performance.now() + limitMs;
    // The filling first: it is what lies in tables for certain.
    for (const rest of [...this.#rests]) {
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

/** Text that can't be compressed away. */
function noise(prng: Prng): string {
  const bytes = Buffer.alloc(FILLING_VALUE_BYTES);
  prng.fill(bytes);
  return bytes.toString('base64');
}

function infinityAsText(_name: string, value: unknown): unknown {
  return value === Infinity ? 'open' : value;
}
