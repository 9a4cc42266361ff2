import type { Prng } from '../../../src/base/prng.js';
import type { FinalValue } from '../checkers/durability.js';
import type { Call, Condition, Outcome } from '../checkers/operation.js';
import { compareKeys } from '../checkers/scan.js';
import type { ClientHistory } from './client-history.js';
import type { ClusterClient, ScanRange } from './cluster-client.js';
import type { Reached } from './reached.js';
import type { CallKind, WorkloadShape } from './swarm.js';

export interface WorkloadOptions {
  readonly prng: Prng;
  readonly shape: WorkloadShape;
  readonly history: ClientHistory;
  readonly reached: Reached;
  readonly sleep: (durationMs: number) => Promise<void>;
  readonly nowMs: () => number;
  /** A client's calls are so far apart in the mean, at least: else the history grows too long to check. 0 unless told. */
  readonly callEveryMs?: number;
}

/** After a call that failed a client waits up to this long, as one over a network would. */
const LONGEST_BACK_OFF_MS = 40;
/** Clients without pauses make so many calls in a row at most, as fast as they are answered. */
const LONGEST_BURST = 60;

/** Some end while what was written with them is still read. */
const TTLS_SECONDS = [0.005, 0.05, 0.5, 2];

/** A stale read that may be older was answered without a quorum. */
const OLD_MS = 500;

const LULL_EVERY_MS = 2500;
const LULL_MS = 1200;

/** Revisions that may be named again are remembered up to this many. */
const REMEMBERED_REVISIONS = 50;

/** Clients that read and write the same few keys at once, each one call at a time. */
export class Workload {
  readonly #options: WorkloadOptions;
  readonly #keys: readonly string[];
  readonly #calls: readonly CallKind[];
  /** What some client saw last of a key: 0 for absent. */
  readonly #seen = new Map<string, number>();
  readonly #revisions: number[] = [];
  #nextValue = 1;
  #isStopped = false;
  #failures = 0;

  constructor(options: WorkloadOptions) {
    this.#options = options;
    this.#keys = Array.from({ length: options.shape.keys }, (_, i) => anyKeyName(i)).sort(compareKeys);
    this.#calls = [...options.shape.calls].flatMap(([kind, weight]) => Array.from({ length: weight }, () => kind));
  }

  get keys(): readonly string[] {
    return this.#keys;
  }

  /** Clients begin no more calls. */
  stop(): void {
    this.#isStopped = true;
  }

  /** One client's life; `number` tells clients apart. Ends after `stop`, or after this many calls. */
  async run(number: number, client: ClusterClient, calls = Infinity): Promise<void> {
    const { prng, shape, sleep, callEveryMs = 0 } = this.#options;
    let burst = prng.between(1, LONGEST_BURST);
    let startedMs = this.#options.nowMs();
    for (let i = 0, inBurst = 0; i < calls && !this.#isStopped; i++) {
      const failed = this.#failures;
      const isLull = shape.lulls && this.#options.nowMs() % LULL_EVERY_MS < LULL_MS;
      await this.#step(number, client, isLull ? 'get' : prng.pick(this.#calls));
      if (this.#failures > failed) await sleep(prng.unit() * LONGEST_BACK_OFF_MS);
      else if (shape.longestPauseMs > 0) await sleep(prng.unit() * shape.longestPauseMs);
      if (++inBurst < burst) continue;
      const early = burst * callEveryMs - (this.#options.nowMs() - startedMs);
      if (early > 0) await sleep(early);
      inBurst = 0;
      burst = prng.between(1, LONGEST_BURST);
      startedMs = this.#options.nowMs();
    }
  }

  /** One more call, of any kind. */
  async once(number: number, client: ClusterClient): Promise<void> {
    if (!this.#isStopped) await this.#step(number, client, this.#options.prng.pick(this.#calls));
  }

  /** Writes every key until all are written or the time is over. */
  async writeAll(client: ClusterClient, untilMs: number): Promise<boolean> {
    for (const key of this.#keys) {
      for (let isWritten = false; !isWritten;) {
        if (this.#options.nowMs() > untilMs) return false;
        const value = this.#newValue();
        const outcome = await this.#call(0, key, { kind: 'put', value, condition: null }, () =>
          client.put(key, value, null),
        );
        isWritten = outcome.kind === 'written';
        if (!isWritten) await this.#options.sleep(LONGEST_BACK_OFF_MS);
      }
    }
    return true;
  }

  /** Reads every key until all are known, once the cluster is healed; undefined when `attempts` rounds are not enough. */
  async readAll(client: ClusterClient, attempts: number): Promise<Map<string, FinalValue | null> | undefined> {
    const final = new Map<string, FinalValue | null>();
    for (let attempt = 0; attempt < attempts; attempt++) {
      for (const key of this.#keys) {
        if (final.has(key)) continue;
        const outcome = await this.#call(0, key, { kind: 'get' }, () => client.get(key));
        if (outcome.kind === 'found') final.set(key, { value: outcome.value, revision: outcome.revision });
        if (outcome.kind === 'absent') final.set(key, null);
      }
      if (final.size === this.#keys.length) return final;
      await this.#options.sleep(200);
    }
    return undefined;
  }

  async #step(number: number, client: ClusterClient, kind: CallKind): Promise<void> {
    const key = this.#anyKey();
    switch (kind) {
      case 'get':
        return void (await this.#call(number, key, { kind: 'get' }, () => client.get(key)));
      case 'stale-get':
        return this.#staleGet(number, client, key);
      case 'put':
        return this.#put(number, client, key, null);
      case 'conditional-put':
        return this.#put(number, client, key, this.#anyCondition(key));
      case 'delete':
        return this.#delete(number, client, key, null);
      case 'conditional-delete':
        return this.#delete(number, client, key, this.#anyCondition(key));
      case 'batch':
        return this.#batch(number, client);
      case 'scan':
        return this.#scan(number, client, null);
      case 'past-scan': {
        const { prng } = this.#options;
        return this.#scan(number, client, this.#revisions.length === 0 ? null : prng.pick(this.#revisions));
      }
    }
  }

  async #staleGet(number: number, client: ClusterClient, key: string): Promise<void> {
    const { history, reached } = this.#options;
    const started = history.beginStaleRead(number, key);
    const outcome = await client.staleGet(key);
    history.finishStaleRead(started, outcome);
    reached.count(`stale get ${outcome.kind}`);
    if (outcome.kind === 'failed') this.#failures++;
    else if (outcome.stalenessMs > OLD_MS) reached.count('stale gets of old data');
  }

  async #put(number: number, client: ClusterClient, key: string, condition: Condition | null): Promise<void> {
    const { prng, shape, reached } = this.#options;
    const value = this.#newValue();
    const expires = prng.chance(shape.ttlShare);
    const ttlSeconds = expires ? prng.pick(TTLS_SECONDS) : 0;
    if (expires) reached.count('puts with a ttl');
    await this.#call(number, key, { kind: 'put', value, condition, expires }, () =>
      client.put(key, value, condition, ttlSeconds),
    );
  }

  async #delete(number: number, client: ClusterClient, key: string, condition: Condition | null): Promise<void> {
    await this.#call(number, key, { kind: 'delete', condition }, () => client.delete(key, condition));
  }

  /** Each entry is an operation of its own key; those of one batch have the same bounds. */
  async #batch(number: number, client: ClusterClient): Promise<void> {
    const { prng, shape, history } = this.#options;
    const keys = new Set(Array.from({ length: prng.between(1, shape.longestBatch) }, () => this.#anyKey()));
    const entries = [...keys].map((key) => ({ key, value: this.#newValue() }));
    const started = entries.map(({ key, value }) =>
      history.begin(number, key, { kind: 'put', value, condition: null }),
    );
    const outcomes = await client.batch(entries);
    started.forEach((each, i) => {
      const outcome = outcomes[i] ?? { kind: 'unknown' };
      history.finish(each, outcome);
      this.#learn(each.subject.key, { kind: 'put', value: '', condition: null }, outcome);
    });
    this.#options.reached.count('batches');
  }

  async #scan(number: number, client: ClusterClient, at: number | null): Promise<void> {
    const { prng, history, reached } = this.#options;
    const [a, b] = [this.#anyKey(), this.#anyKey()].sort(compareKeys) as [string, string];
    const [startKey, endKey] = prng.chance(0.6) ? ['', null] : [a, prng.pick([null, b === a ? null : b])];
    const range: ScanRange = { startKey, endKey, at, pageLimit: prng.pick([1, 3, 100]) };
    const started = history.beginScan(number, range);
    const outcome = await client.scan(range);
    history.finishScan(started, outcome);
    reached.count(outcome.kind === 'failed' ? 'scans failed' : at === null ? 'scans' : 'scans of the past');
    if (outcome.kind === 'snapshot') this.#remember(outcome.at);
  }

  async #call(number: number, key: string, call: Call, ask: () => Promise<Outcome>): Promise<Outcome> {
    const started = this.#options.history.begin(number, key, call);
    const outcome = await ask();
    this.#options.history.finish(started, outcome);
    this.#learn(key, call, outcome);
    return outcome;
  }

  #learn(key: string, call: Call, outcome: Outcome): void {
    this.#options.reached.count(`${call.kind} ${outcome.kind}`);
    if (outcome.kind === 'failed' || outcome.kind === 'unknown') this.#failures++;
    if (outcome.kind === 'absent' || outcome.kind === 'nothing' || outcome.kind === 'deleted') this.#seen.set(key, 0);
    else if ('revision' in outcome) this.#seen.set(key, outcome.revision);
    if ('revision' in outcome && outcome.revision > 0) this.#remember(outcome.revision);
  }

  #remember(revision: number): void {
    this.#revisions.push(revision);
    if (this.#revisions.length > REMEMBERED_REVISIONS) this.#revisions.splice(this.#options.prng.below(10), 1);
  }

  #newValue(): string {
    const { prng, shape } = this.#options;
    const padding = shape.longestValueBytes > 0 && prng.chance(0.5) ? prng.below(shape.longestValueBytes) : 0;
    return `v${this.#nextValue++}${'.'.repeat(padding)}`;
  }

  #anyKey(): string {
    const { prng, shape } = this.#options;
    return prng.chance(shape.hotShare) ? this.#keys[0]! : prng.pick(this.#keys);
  }

  /** Mostly one that holds if nobody else came in between. */
  #anyCondition(key: string): Condition {
    const { prng } = this.#options;
    const seen = this.#seen.get(key) ?? 0;
    if (prng.chance(0.1)) return { kind: 'present' };
    if (prng.chance(0.1) && this.#revisions.length > 0)
      return { kind: 'revision', revision: prng.pick(this.#revisions) };
    return seen === 0 ? { kind: 'absent' } : { kind: 'revision', revision: seen };
  }
}

/** Some share a partition by their placement key; some compare otherwise by bytes than by UTF-16. */
function anyKeyName(i: number): string {
  switch (i % 5) {
    case 0:
      return `key:${i}`;
    case 1:
      return `order:{7}:${i}`;
    case 2:
      return `order:{7}:${i}:line`;
    case 3:
      return `\u{ff5e}${i}`;
    default:
      return `\u{1f600}${i}`;
  }
}
