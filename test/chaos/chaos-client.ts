import type { Prng } from '../../src/base/prng.js';
import type { Condition, Outcome } from '../sim/checkers/operation.js';
import type { BatchEntry, ClusterClient, ScanOutcome, ScanRange, StaleOutcome } from '../sim/cluster/cluster-client.js';

/** What clients were told, counted. */
export class Tally {
  ok = 0;
  failed = 0;
  unknown = 0;

  get all(): number {
    return this.ok + this.failed + this.unknown;
  }

  count(kind: Outcome['kind'] | ScanOutcome['kind']): void {
    if (kind === 'failed') this.failed++;
    else if (kind === 'unknown') this.unknown++;
    else this.ok++;
  }
}

/** Asks now this node and now that one, and counts what it is told. Keys get a prefix that others don't see. */
export class ChaosClient implements ClusterClient {
  readonly #nodes: readonly ClusterClient[];
  /** Those that answer scans. */
  readonly #scanners: readonly ClusterClient[];
  readonly #prng: Prng;
  readonly #tally: Tally;
  readonly #prefix: string;

  constructor(
    nodes: readonly ClusterClient[],
    scanners: readonly ClusterClient[],
    prng: Prng,
    tally: Tally,
    prefix: string,
  ) {
    this.#nodes = nodes;
    this.#scanners = scanners;
    this.#prng = prng;
    this.#tally = tally;
    this.#prefix = prefix;
  }

  put(key: string, value: string, condition: Condition | null): Promise<Outcome> {
    return this.#counted(this.#node.put(this.#prefix + key, value, condition));
  }

  delete(key: string, condition: Condition | null): Promise<Outcome> {
    return this.#counted(this.#node.delete(this.#prefix + key, condition));
  }

  get(key: string): Promise<Outcome> {
    return this.#counted(this.#node.get(this.#prefix + key));
  }

  async staleGet(key: string): Promise<StaleOutcome> {
    const outcome = await this.#node.staleGet(this.#prefix + key);
    this.#tally.count(outcome.kind);
    return outcome;
  }

  async batch(entries: readonly BatchEntry[]): Promise<readonly Outcome[]> {
    const outcomes = await this.#node.batch(entries.map(({ key, value }) => ({ key: this.#prefix + key, value })));
    for (const { kind } of outcomes) this.#tally.count(kind);
    return outcomes;
  }

  async scan(range: ScanRange): Promise<ScanOutcome> {
    const outcome = await this.#prng.pick(this.#scanners).scan({
      ...range,
      startKey: this.#prefix + range.startKey,
      endKey: range.endKey === null ? behindPrefix(this.#prefix) : this.#prefix + range.endKey,
    });
    this.#tally.count(outcome.kind);
    if (outcome.kind === 'failed') return outcome;
    const { coveredTo } = outcome;
    return {
      ...outcome,
      items: outcome.items.map((item) => ({ ...item, key: item.key.slice(this.#prefix.length) })),
      coveredTo: coveredTo?.startsWith(this.#prefix) === true ? coveredTo.slice(this.#prefix.length) : null,
    };
  }

  get #node(): ClusterClient {
    return this.#prng.pick(this.#nodes);
  }

  async #counted(asked: Promise<Outcome>): Promise<Outcome> {
    const outcome = await asked;
    this.#tally.count(outcome.kind);
    return outcome;
  }
}

/** The first key behind all that begin with the prefix, which ends with an ASCII character. */
function behindPrefix(prefix: string): string {
  return prefix.slice(0, -1) + String.fromCharCode(prefix.charCodeAt(prefix.length - 1) + 1);
}
