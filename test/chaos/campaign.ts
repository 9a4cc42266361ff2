import type { Prng } from '../../src/base/prng.js';
import { FAULTS, NEEDS_MAJORITY, NETWORK_FAULTS, type FaultName, type Trouble, type World } from './faults.js';
import type { PartitionProbes } from './partition-probes.js';
import { milliseconds, sleep } from './system.js';

/** Promise 4 says 5 s; a machine that is shared with other work may need several elections. */
const SERVING_LIMIT_MS = 30_000;
/** Starts, and what was missed, included. */
const HEALED_LIMIT_MS = 60_000;
const LOOK_EVERY_MS = 100;
/** How often a second fault comes on top of the first. */
const PAIR_SHARE = 0.15;

export interface CampaignOptions {
  readonly world: World;
  readonly probes: PartitionProbes;
  readonly prng: Prng;
  readonly faults: readonly FaultName[];
  /** The longest that a fault lasts and that all is well. */
  readonly longestMs: number;
  readonly say: (line: string) => void;
  /** Rejects when something else failed: faults end at once then. */
  readonly failed: Promise<never>;
}

/** Faults one after the other, each followed by a time in which everything has to be well again. */
export class Campaign {
  count = 0;
  /** Time until writes to all partitions through the nodes of a majority that can talk were acknowledged, by fault. */
  readonly serving = new Map<FaultName, number[]>();
  /** Time from the end of a fault until the same held through all nodes. */
  readonly healed = new Map<FaultName, number[]>();
  readonly #options: CampaignOptions;
  #deck: FaultName[] = [];

  constructor(options: CampaignOptions) {
    this.#options = options;
  }

  async run(untilMs: number): Promise<void> {
    const { prng, longestMs, failed } = this.#options;
    while (performance.now() < untilMs) {
      await Promise.race([sleep(prng.between(300, longestMs / 2)), failed]);
      const first = this.#draw();
      const second = prng.chance(PAIR_SHARE) ? this.#drawBehind(first) : null;
      const round = this.#round(first, second);
      round.catch(() => undefined);
      await Promise.race([round, failed]);
    }
  }

  async #round(first: FaultName, second: FaultName | null): Promise<void> {
    const { world, probes, prng, longestMs, say } = this.#options;
    const startedMs = performance.now();
    const durations = [prng.between(300, longestMs), prng.between(300, longestMs)] as const;
    const dice = [prng.fork(), prng.fork()] as const;
    const troubles: Trouble[] = [await this.#begin(first, dice[0])];
    let told = '';
    if (second === null) {
      const { serving, sinceMs } = troubles[0]!;
      if (serving.length > 0) {
        const took = await probes.allWritten(serving, sinceMs, SERVING_LIMIT_MS);
        add(this.serving, first, took);
        told = `; writes through ${serving.join(', ')} after ${milliseconds(took)}`;
      }
    }
    await this.#last(durations[0], troubles);
    if (second !== null) {
      troubles.push(await this.#begin(second, dice[1]));
      await this.#last(durations[1], troubles);
    }
    const names = troubles.map(({ what }, i) => `${[first, second][i]} ${what}`).join(' + ');
    const lastedMs = performance.now() - startedMs;
    let notes = '';
    for (const trouble of troubles) {
      notes += await trouble.end();
    }
    const took = await probes.allWritten(world.cluster.names, performance.now(), HEALED_LIMIT_MS);
    add(this.healed, first, took);
    say(`${names}, ${(lastedMs / 1000).toFixed(1)} s${told}${notes}; all well after ${milliseconds(took)}`);
  }

  async #begin(fault: FaultName, prng: Prng): Promise<Trouble> {
    this.count++;
    return FAULTS[fault].begin(this.#options.world, prng);
  }

  async #last(durationMs: number, troubles: readonly Trouble[]): Promise<void> {
    for (const endMs = performance.now() + durationMs; performance.now() < endMs;) {
      await sleep(Math.min(LOOK_EVERY_MS, durationMs));
      for (const { goOn } of troubles) goOn?.();
    }
  }

  /** One that can come on top of the first: one is of the network, else the one would undo what the other did. */
  #drawBehind(first: FaultName): FaultName | null {
    const second = this.#draw();
    const needsMajority = [first, second].some((name) => NEEDS_MAJORITY.has(name));
    if (NETWORK_FAULTS.has(first) !== NETWORK_FAULTS.has(second) && !needsMajority) return second;
    this.#deck.push(second);
    return null;
  }

  /** Every fault comes once before one comes again. */
  #draw(): FaultName {
    if (this.#deck.length === 0) this.#deck = [...this.#options.faults];
    return this.#deck.splice(this.#options.prng.below(this.#deck.length), 1)[0]!;
  }
}

function add(times: Map<FaultName, number[]>, fault: FaultName, took: number): void {
  times.set(fault, [...(times.get(fault) ?? []), took]);
}
