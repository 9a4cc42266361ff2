import { CairnClient, ClientError } from '../../src/client/index.js';
import type { Cluster } from './cluster.js';
import { ledBy } from './faults.js';
import { keyOfEachPartition, type PartitionProbes, PARTITIONS } from './partition-probes.js';
import { milliseconds, sleep, spread } from './system.js';

const LIMIT_MS = 60_000;
/** How long a node may take until it leads its share again. */
const BALANCE_MS = 30_000;
const QUIET_MS = 500;
const STEADY_PAUSE_MS = 5;

/** One write after the other, over all partitions, by the product's own client of all nodes. */
class SteadyClient {
  /** The longest time without an acknowledged write since `reset`. */
  longestGapMs = 0;
  readonly #client: CairnClient;
  #lastMs = performance.now();
  #isStopped = false;

  constructor(cluster: Cluster) {
    const endpoints = [...cluster.places.values()].map(({ host, clientPort }) => `${host}:${clientPort}`);
    this.#client = new CairnClient({ endpoints, clientName: 'steady' });
  }

  async run(): Promise<void> {
    const keys = keyOfEachPartition();
    for (let i = 0; !this.#isStopped; i++) {
      try {
        await this.#client.put(`steady:{${keys[i % PARTITIONS]!}}`, i);
        this.longestGapMs = Math.max(this.longestGapMs, performance.now() - this.#lastMs);
        this.#lastMs = performance.now();
      } catch (error) {
        if (!(error instanceof ClientError)) throw error;
      }
      await sleep(STEADY_PAUSE_MS);
    }
    await this.#client.close();
  }

  reset(): void {
    this.longestGapMs = 0;
    this.#lastMs = performance.now();
  }

  stop(): void {
    this.#isStopped = true;
  }
}

/** Kills nodes, one after the other, and measures how long the partitions that they led are not written. */
export async function measureFailovers(
  cluster: Cluster,
  probes: PartitionProbes,
  count: number,
  say: (line: string) => void,
): Promise<string> {
  const steady = new SteadyClient(cluster);
  const running = steady.run();
  const whole: number[] = [];
  const each: number[] = [];
  const gaps: number[] = [];
  for (let i = 0; i < count; i++) {
    const victim = cluster.names[i % cluster.names.length]!;
    const led = await balanced(cluster, victim);
    await sleep(QUIET_MS);
    steady.reset();
    const others = cluster.others(victim);
    const killedMs = performance.now();
    const killed = cluster.kill(victim);
    const times = await Promise.all(
      led.map((partition, at) => probes.written(others[at % others.length]!, partition, killedMs, LIMIT_MS)),
    );
    await killed;
    // The steady client may be one partition behind.
    await sleep(QUIET_MS);
    whole.push(Math.max(...times));
    each.push(...times);
    gaps.push(steady.longestGapMs);
    say(
      `${i + 1}/${count}: ${victim} led ${led.length}; all written after ${milliseconds(whole.at(-1)!)}; the steady client waited ${milliseconds(gaps.at(-1)!)}`,
    );
    await cluster.start(victim);
    await probes.allWritten(cluster.names, performance.now(), LIMIT_MS);
  }
  steady.stop();
  await running;
  return [
    `time from kill -9 of a node until writes were acknowledged again:`,
    `  to every partition that it led  ${spread(whole)}`,
    `  to each of them                 ${spread(each)}`,
    `longest wait of a steady client   ${spread(gaps)}`,
  ].join('\n');
}

/** Waits until the node leads its share, or as much as it gets; the partitions that it leads. */
async function balanced(cluster: Cluster, node: string): Promise<number[]> {
  const share = Math.floor(PARTITIONS / cluster.names.length);
  const endMs = performance.now() + BALANCE_MS;
  for (;;) {
    const led = ledBy(await cluster.leaders()).get(node) ?? [];
    if (led.length >= share || (led.length > 0 && performance.now() > endMs)) return led;
    await sleep(100);
  }
}
