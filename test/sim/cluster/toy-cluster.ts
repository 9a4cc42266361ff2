import { xxHash32 } from '../../../src/base/hash.js';
import type { Prng } from '../../../src/base/prng.js';
import type { Condition, Outcome } from '../checkers/operation.js';
import { compareKeys, isInRange } from '../checkers/scan.js';
import type { Scheduler } from '../ports/scheduler.js';
import type { BatchEntry, ClusterClient, ScanOutcome, ScanRange, StaleOutcome } from './cluster-client.js';

/** What the toy does wrong, now and then. */
export const TOY_BUGS = [
  'stale read',
  'stale read beyond its bound',
  'lost write',
  'write applied twice',
  'failed write applied',
  'condition ignored',
  'wrong conflict',
  'delete tells the wrong thing',
  'scan misses a key',
  'scan without raised clocks',
  'scan at an old instant',
  'revision used twice',
  'value comes back',
  'expired value comes back',
] as const;

export type ToyBug = (typeof TOY_BUGS)[number];

export interface ToyClusterOptions {
  readonly scheduler: Scheduler;
  readonly prng: Prng;
  readonly partitions: number;
  /** The share of calls without an answer. */
  readonly unknownShare: number;
  readonly bug: ToyBug | null;
}

interface Version {
  readonly value: string | null;
  readonly revision: number;
}

const ABSENT: Version = { value: null, revision: 0 };

/**
 * The simplest thing that keeps the promises of a cluster, to show that the workload and the checkers accept what is right
 * and find what is not: each call takes effect at one instant between its question and its answer.
 */
export class ToyCluster {
  readonly #options: ToyClusterOptions;
  readonly #versions = new Map<string, Version[]>();
  readonly #clocks: { readonly skew: number; last: number }[];

  constructor(options: ToyClusterOptions) {
    this.#options = options;
    const { partitions, prng } = options;
    this.#clocks = Array.from({ length: partitions }, () => ({ skew: prng.below(100), last: 0 }));
  }

  client(): ClusterClient {
    return {
      put: (key, value, condition, ttlSeconds = 0) =>
        this.#answer(() => {
          const outcome = this.#write(key, value, condition);
          if (ttlSeconds > 0 && outcome.kind === 'written') this.#expire(key, value, ttlSeconds * 1000);
          return outcome;
        }),
      delete: (key, condition) => this.#answer(() => this.#write(key, null, condition)),
      get: (key) => this.#answer(() => this.#get(key)),
      staleGet: (key) => this.#staleGet(key),
      batch: (entries) => this.#batch(entries),
      scan: (range) => this.#scan(range),
    };
  }

  /** The call takes effect after a while and is answered after another, or is answered before, with nothing. */
  async #answer(apply: () => Outcome): Promise<Outcome> {
    const { scheduler, prng, unknownShare } = this.#options;
    await scheduler.sleep(prng.unit() * 10);
    if (prng.chance(0.05)) {
      if (this.#errs('failed write applied')) apply();
      return { kind: 'failed' };
    }
    if (prng.chance(unknownShare)) {
      if (prng.chance(0.5)) {
        scheduler.schedule(prng.pick([1, 100, 1000]) * prng.unit(), apply);
        if (this.#errs('write applied twice')) scheduler.schedule(prng.unit() * 1000, apply);
      }
      return { kind: 'unknown' };
    }
    const outcome = apply();
    await scheduler.sleep(prng.unit() * 10);
    return outcome;
  }

  #get(key: string): Outcome {
    const own = this.#versions.get(key) ?? [];
    const version = (this.#errs('stale read') ? own.at(-2) : own.at(-1)) ?? ABSENT;
    return version.value === null
      ? { kind: 'absent' }
      : { kind: 'found', value: version.value, revision: version.revision };
  }

  /** What it shows has been so for `stalenessMs` at most, and is kept back for as long. */
  async #staleGet(key: string): Promise<StaleOutcome> {
    const { scheduler, prng } = this.#options;
    const startedMs = scheduler.nowMs;
    const own = [...(this.#versions.get(key) ?? [])];
    await scheduler.sleep(prng.unit() * 30);
    const isBroken = this.#errs('stale read beyond its bound');
    const version = (isBroken ? own.at(-2) : own.at(-1)) ?? ABSENT;
    const stalenessMs = isBroken ? 0 : Math.ceil(scheduler.nowMs - startedMs);
    const { value, revision } = version;
    return value === null ? { kind: 'absent', stalenessMs } : { kind: 'found', value, revision, stalenessMs };
  }

  #write(key: string, value: string | null, condition: Condition | null, shared = 0): Outcome {
    const now = this.#versions.get(key)?.at(-1) ?? ABSENT;
    if (condition !== null && !holds(condition, now) && !this.#errs('condition ignored')) {
      return { kind: 'conflict', revision: this.#errs('wrong conflict') ? now.revision + 1 : visibleRevision(now) };
    }
    if (value === null && now.value === null) return { kind: 'nothing' };
    if (value === null && this.#errs('delete tells the wrong thing')) return { kind: 'nothing' };
    const isReused = now.revision > 0 && this.#errs('revision used twice');
    const revision = isReused ? now.revision : shared === 0 ? this.#nextRevision(key) : shared;
    if (!this.#errs('lost write')) this.#store(key, { value, revision });
    if (now.value !== null && this.#errs('value comes back')) {
      const older = now;
      this.#options.scheduler.schedule(5, () => this.#store(key, older));
    }
    return { kind: value === null ? 'deleted' : 'written', revision };
  }

  #expire(key: string, value: string, afterMs: number): void {
    const { scheduler } = this.#options;
    scheduler.schedule(afterMs, () => {
      const now = this.#versions.get(key)?.at(-1) ?? ABSENT;
      if (now.value !== value) return;
      this.#store(key, { value: null, revision: this.#nextRevision(key) });
      if (this.#errs('expired value comes back')) scheduler.schedule(20, () => this.#store(key, now));
    });
  }

  #store(key: string, version: Version): void {
    const own = this.#versions.get(key);
    if (own === undefined) this.#versions.set(key, [version]);
    else own.push(version);
  }

  /** The entries of one partition are one write. */
  async #batch(entries: readonly BatchEntry[]): Promise<Outcome[]> {
    const outcomes = new Map<string, Outcome>();
    const parts = new Map<number, BatchEntry[]>();
    for (const entry of entries) {
      const partition = this.#partitionOf(entry.key);
      parts.set(partition, [...(parts.get(partition) ?? []), entry]);
    }
    await Promise.all(
      [...parts.values()].map(async (part) => {
        const answer = await this.#answer(() => {
          const revision = this.#nextRevision(part[0]!.key);
          for (const { key, value } of part) this.#write(key, value, null, revision);
          return { kind: 'written', revision };
        });
        for (const { key } of part) outcomes.set(key, answer);
      }),
    );
    return entries.map(({ key }) => outcomes.get(key)!);
  }

  async #scan(range: ScanRange): Promise<ScanOutcome> {
    const { scheduler, prng, partitions } = this.#options;
    await scheduler.sleep(prng.unit() * 10);
    if (prng.chance(0.05)) return { kind: 'failed' };
    const clocks = this.#clocks;
    let instant = Math.floor((range.at ?? 0) / partitions);
    if (range.at === null) {
      instant = Math.max(Math.floor(scheduler.nowMs) + clocks[0]!.skew, ...clocks.map(({ last }) => last));
      if (this.#errs('scan at an old instant')) instant -= 50;
    }
    // Also what was read of the past must not be added to.
    if (!this.#errs('scan without raised clocks')) {
      for (const clock of clocks) clock.last = Math.max(clock.last, instant);
    }
    const at = range.at ?? instant * partitions + partitions - 1;
    const items = [...this.#versions.entries()].flatMap(([key, own]) => {
      const { value, revision } = own.findLast((version) => version.revision <= at) ?? ABSENT;
      if (value === null || !isInRange(key, range) || this.#errs('scan misses a key')) return [];
      return [{ key, value, revision }];
    });
    items.sort((a, b) => compareKeys(a.key, b.key));
    await scheduler.sleep(prng.unit() * 10);
    const isCut = items.length > range.pageLimit && prng.chance(0.3);
    if (!isCut) return { kind: 'snapshot', at, items, coveredTo: range.endKey };
    const coveredTo = items[range.pageLimit]!.key;
    return { kind: 'snapshot', at, items: items.slice(0, range.pageLimit), coveredTo };
  }

  #nextRevision(key: string): number {
    const partition = this.#partitionOf(key);
    const clock = this.#clocks[partition]!;
    clock.last = Math.max(Math.floor(this.#options.scheduler.nowMs) + clock.skew, clock.last + 1);
    return clock.last * this.#options.partitions + partition;
  }

  #partitionOf(key: string): number {
    const bytes = Buffer.from(key);
    return xxHash32(bytes, 0, bytes.length) % this.#options.partitions;
  }

  #errs(bug: ToyBug): boolean {
    return this.#options.bug === bug && this.#options.prng.chance(0.1);
  }
}

function visibleRevision({ value, revision }: Version): number {
  return value === null ? 0 : revision;
}

function holds(condition: Condition, { value, revision }: Version): boolean {
  if (condition.kind === 'revision') return value !== null && revision === condition.revision;
  return (value === null) === (condition.kind === 'absent');
}
