import { Counter, Gauge, Registry, type Metric } from 'prom-client';
import type { LocalNode } from '../cluster/local-node.js';

export const ROUTES = [
  'get',
  'put',
  'delete',
  'batch',
  'batch_get',
  'batch_delete',
  'range',
  'other',
  'management',
] as const;
export type Route = (typeof ROUTES)[number];

export const ROUTE_GET = 0;
export const ROUTE_PUT = 1;
export const ROUTE_DELETE = 2;
export const ROUTE_BATCH = 3;
export const ROUTE_BATCH_GET = 4;
export const ROUTE_BATCH_DELETE = 5;
export const ROUTE_RANGE = 6;
export const ROUTE_OTHER = 7;
export const ROUTE_MANAGEMENT = 8;

const STATUSES = 600;
/** Upper bounds in milliseconds, doubling: 0.0625 ms to 8.2 s. */
const FIRST_BOUND_MS = 0.0625;
const BUCKET_BOUNDS_MS: readonly number[] = Array.from({ length: 18 }, (_, i) => FIRST_BOUND_MS * 2 ** i);
const BUCKETS = BUCKET_BOUNDS_MS.length + 1;

/** One sample of a metric that is read when it is asked for. */
export interface Sample {
  readonly labels: Readonly<Record<string, string | number>>;
  readonly value: number;
}

/** How often the event loop's delay is sampled. */
export const LOOP_DELAY_RESOLUTION_MS = 5;

/** Event-loop delay in nanoseconds, as `perf_hooks` measures it. */
export interface LoopDelay {
  readonly mean: number;
  readonly max: number;
  percentile(percentile: number): number;
  reset(): void;
}

/**
 * The node's metrics. What a request touches are plain typed arrays; prom-client sees them only when they are scraped.
 * Others add theirs with `gauge` and `counter`, whose functions are called on each scrape.
 */
export class Metrics {
  readonly registry = new Registry();
  readonly #requests = new Float64Array(ROUTES.length * STATUSES);
  readonly #durations: readonly Durations[] = ROUTES.map(() => new Durations());
  readonly #logWrites = new Durations();
  #aborts = 0;
  #logBytes = 0;
  #logRecords = 0;

  constructor() {
    this.counter('cairn_http_requests_total', 'HTTP requests answered, by route and status', ['route', 'status'], () =>
      this.#requestSamples(),
    );
    this.counter('cairn_http_aborted_total', 'HTTP requests whose client left before the answer', [], () =>
      single(this.#aborts),
    );
    this.#histogram('cairn_http_request_duration_seconds', 'Time from the request head to the answer, by route', () =>
      ROUTES.map((route, index): [Record<string, string>, Durations] => [{ route }, this.#durations[index]!]),
    );
    this.#histogram('cairn_log_write_duration_seconds', 'Synced writes of the write-ahead log', () => [
      [{}, this.#logWrites],
    ]);
    this.counter('cairn_log_written_bytes_total', 'Bytes written to the write-ahead log', [], () =>
      single(this.#logBytes),
    );
    this.counter(
      'cairn_log_records_total',
      'Records written to the write-ahead log; with the count of writes, the batch size',
      [],
      () => single(this.#logRecords),
    );
  }

  /** A request was answered. `route` is one of the ROUTE_ constants. */
  answered(route: number, status: number, milliseconds: number): void {
    this.#requests[route * STATUSES + status]!++;
    this.#durations[route]!.observe(milliseconds);
  }

  aborted(): void {
    this.#aborts++;
  }

  /** One synced write of the log. */
  logWrite(durationMs: number, bytes: number, records: number): void {
    this.#logWrites.observe(durationMs);
    this.#logBytes += bytes;
    this.#logRecords += records;
  }

  /** Adds what a node measures about itself: memtables, levels, compactions, caches, log, event loop, stalls. */
  observeNode({ node, loopDelay }: { readonly node: LocalNode; readonly loopDelay: LoopDelay }): void {
    const { engine, host, log } = node;
    const read = (name: string, help: string, value: () => number): void =>
      this.gauge(name, help, [], () => single(value()));
    const count = (name: string, help: string, value: () => number): void =>
      this.counter(name, help, [], () => single(value()));
    read('cairn_memtable_bytes', 'Used in the active memtable', () => engine.stats().memtableBytes);
    read('cairn_memtables_frozen', 'Memtables that wait for their flush', () => engine.stats().frozenMemtables);
    read('cairn_memtable_arena_bytes', 'Arenas of all memtables', () => engine.stats().memtableArenaBytes);
    count('cairn_flushes_total', 'Tables written by flushes', () => engine.stats().flushedTables);
    count('cairn_flushed_bytes_total', 'Bytes written by flushes', () => engine.stats().flushedBytes);
    this.gauge('cairn_level_tables', 'Tables by level', ['level'], () =>
      engine.stats().levels.map(({ files }, level) => ({ labels: { level }, value: files })),
    );
    this.gauge('cairn_level_bytes', 'Bytes of tables by level', ['level'], () =>
      engine.stats().levels.map(({ bytes }, level) => ({ labels: { level }, value: bytes })),
    );
    count('cairn_compactions_total', 'Compactions finished', () => engine.stats().compactions);
    read('cairn_compaction_running', '1 while a compaction runs', () => Number(engine.stats().compactionRunning));
    count('cairn_compaction_read_bytes_total', 'Bytes read by compactions', () => engine.stats().compactionReadBytes);
    count(
      'cairn_compaction_written_bytes_total',
      'Bytes written by compactions',
      () => engine.stats().compactionWrittenBytes,
    );
    read(
      'cairn_table_meta_bytes',
      'Indexes and filters of open tables, in memory, about',
      () => engine.stats().tableMetaBytes,
    );
    read('cairn_block_cache_bytes', 'Bytes in the block cache', () => engine.stats().blockCacheBytes);
    count('cairn_block_cache_hits_total', 'Block reads answered by the cache', () => engine.stats().blockCacheHits);
    count('cairn_block_cache_misses_total', 'Block reads that went to the disk', () => engine.stats().blockCacheMisses);
    read('cairn_log_bytes', 'Bytes of the write-ahead log on disk', () => log.sizeBytes);
    read('cairn_log_segments', 'Files of the write-ahead log', () => log.segmentCount);
    read('cairn_unapplied_entries', 'Entries that wait for their log write', () => host.unappliedEntries);
    this.gauge('cairn_groups', 'Raft groups of this node by role', ['role'], () => {
      const roles = new Map<string, number>();
      for (const { raft } of host.groups) roles.set(raft.role, (roles.get(raft.role) ?? 0) + 1);
      return [...roles].map(([role, value]) => ({ labels: { role }, value }));
    });
    read(
      'cairn_groups_without_leader',
      'Raft groups whose leader this node does not know',
      () => host.groups.filter((group) => host.leaderOf(group) === null).length,
    );
    read('cairn_raft_term_max', 'The highest term of any group', () =>
      Math.max(...host.groups.map((g) => g.raft.term)),
    );
    read(
      'cairn_raft_lag_entries_max',
      'Committed entries that are not applied here, in the group with most of them',
      () => Math.max(...host.groups.map(({ raft }) => raft.commitIndex - raft.appliedIndex)),
    );
    count('cairn_snapshots_sent_total', 'Snapshots of groups sent to other nodes', () => host.snapshots.sent);
    count('cairn_snapshots_received_total', 'Snapshots of groups received', () => host.snapshots.received);
    this.gauge('cairn_writes_refused', '1 while new writes are refused, by reason', ['reason'], () => {
      const refusal = host.admission();
      return refusal === null ? [] : [{ labels: { reason: refusal.code }, value: 1 }];
    });
    this.gauge('cairn_event_loop_delay_seconds', 'Delay of the event loop since the last scrape', ['quantile'], () => {
      const samples = [50, 90, 99, 99.9].map((quantile) => ({
        labels: { quantile: quantile / 100 },
        value: delaySeconds(loopDelay.percentile(quantile)),
      }));
      samples.push({ labels: { quantile: 1 }, value: delaySeconds(loopDelay.max) });
      loopDelay.reset();
      return samples;
    });
  }

  gauge(name: string, help: string, labelNames: readonly string[], read: () => Iterable<Sample>): void {
    new Gauge({
      name,
      help,
      labelNames: [...labelNames],
      registers: [this.registry],
      collect(): void {
        this.reset();
        for (const { labels, value } of read()) this.set(labels, value);
      },
    });
  }

  counter(name: string, help: string, labelNames: readonly string[], read: () => Iterable<Sample>): void {
    new Counter({
      name,
      help,
      labelNames: [...labelNames],
      registers: [this.registry],
      collect(): void {
        this.reset();
        for (const { labels, value } of read()) this.inc(labels, value);
      },
    });
  }

  /** The Prometheus text format. */
  text(): Promise<string> {
    return this.registry.metrics();
  }

  *#requestSamples(): Iterable<Sample> {
    for (const [route, name] of ROUTES.entries()) {
      for (let status = 0; status < STATUSES; status++) {
        const value = this.#requests[route * STATUSES + status]!;
        if (value > 0) yield { labels: { route: name, status }, value };
      }
    }
  }

  /** prom-client's own Histogram can only observe one by one, so this gives it finished samples. */
  #histogram(name: string, help: string, read: () => [labels: Record<string, string>, durations: Durations][]): void {
    const get = (): object => {
      const values = read().flatMap(([labels, durations]) => durations.samples(name, labels));
      return { name, help, type: 'histogram', values, aggregator: 'sum' };
    };
    this.registry.registerMetric({ name, help, get, reset() {} } as unknown as Metric);
  }
}

function single(value: number): Sample[] {
  return [{ labels: {}, value }];
}

/** A histogram of durations. */
class Durations {
  readonly #buckets = new Float64Array(BUCKETS);
  #sumMs = 0;

  observe(milliseconds: number): void {
    let bucket = 0;
    for (let bound = FIRST_BOUND_MS; milliseconds > bound && bucket < BUCKETS - 1; bound *= 2) bucket++;
    this.#buckets[bucket]!++;
    this.#sumMs += milliseconds;
  }

  samples(name: string, labels: Record<string, string>): { metricName: string; labels: object; value: number }[] {
    const samples = [];
    let cumulative = 0;
    for (const [bucket, count] of this.#buckets.entries()) {
      cumulative += count;
      const le = bucket < BUCKETS - 1 ? BUCKET_BOUNDS_MS[bucket]! / 1000 : '+Inf';
      samples.push({ metricName: `${name}_bucket`, labels: { ...labels, le }, value: cumulative });
    }
    if (cumulative === 0) return [];
    samples.push({ metricName: `${name}_sum`, labels, value: this.#sumMs / 1000 });
    samples.push({ metricName: `${name}_count`, labels, value: cumulative });
    return samples;
  }
}

/** The histogram times a repeating timer, so its period is in every sample. */
function delaySeconds(nanoseconds: number): number {
  return Math.max(0, nanoseconds / 1e9 - LOOP_DELAY_RESOLUTION_MS / 1000);
}
