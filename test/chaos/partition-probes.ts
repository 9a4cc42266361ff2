import { xxHash32 } from '../../src/base/hash.js';
import { CairnClient } from '../../src/client/index.js';
import { partitionOf } from '../../src/cluster/placement.js';
import type { Cluster } from './cluster.js';
import { sleep } from './system.js';
import { ChaosViolation } from './violation.js';

export const PARTITIONS = 64;
const TRY_MS = 3500;
/** A write that hangs at a node that is gone must not hide that another one would succeed by now. */
const AGAIN_MS = 250;
const PAUSE_MS = 10;

/** A key in each partition. */
export function keyOfEachPartition(): string[] {
  const keys: string[] = [];
  for (let i = 0, found = 0; found < PARTITIONS; i++) {
    const key = `probe:${i}`;
    const bytes = Buffer.from(key);
    const hash = xxHash32(bytes, 0, bytes.length);
    const partition = partitionOf(bytes, 0, bytes.length, hash, PARTITIONS);
    if (keys[partition] !== undefined) continue;
    keys[partition] = key;
    found++;
  }
  return keys;
}

/** Writes to partitions through single nodes, to see when those are served. */
export class PartitionProbes {
  readonly #clients: ReadonlyMap<string, CairnClient>;
  readonly #keys = keyOfEachPartition();

  constructor(cluster: Cluster) {
    this.#clients = new Map(
      [...cluster.places.values()].map(({ name, host, clientPort }) => [
        name,
        new CairnClient({
          endpoints: [`${host}:${clientPort}`],
          deadlineMs: TRY_MS,
          connectTimeoutMs: 1000,
          maxAttempts: 1,
        }),
      ]),
    );
  }

  /** Milliseconds since `sinceMs` until a write to the partition through the node was acknowledged; throws when it takes longer than `limitMs`. */
  async written(node: string, partition: number, sinceMs: number, limitMs: number): Promise<number> {
    const client = this.#clients.get(node)!;
    let tookMs = 0;
    let found = 'none';
    const attempt = async (): Promise<void> => {
      try {
        await client.put(this.#keys[partition]!, 0);
        tookMs ||= performance.now() - sinceMs;
      } catch (error) {
        found = (error as Error).message;
        await sleep(PAUSE_MS);
      }
    };
    for (;;) {
      await Promise.race([attempt(), sleep(AGAIN_MS)]);
      if (tookMs > 0) return tookMs;
      const waitedMs = performance.now() - sinceMs;
      if (waitedMs > limitMs) {
        const what = `no write to partition ${partition} through ${node} for ${Math.round(waitedMs)} ms`;
        throw new ChaosViolation(`promise 4: ${what}; the last answer: ${found}`);
      }
    }
  }

  /** The same for all partitions through each of the nodes: the longest. */
  async allWritten(nodes: readonly string[], sinceMs: number, limitMs: number): Promise<number> {
    const partitions = Array.from({ length: PARTITIONS }, (_, i) => i);
    const times = await Promise.all(
      nodes.flatMap((node) => partitions.map((partition) => this.written(node, partition, sinceMs, limitMs))),
    );
    return Math.max(0, ...times);
  }
}
