import { Counter, Gauge, Registry, type Metric } from 'prom-client';

export const ROUTES = ['get', 'put', 'delete', 'batch', 'batch_get', 'batch_delete', 'range', 'other'] as const;
export type Route = (typeof ROUTES)[number];

export const ROUTE_GET = 0;
export const ROUTE_PUT = 1;
export const ROUTE_DELETE = 2;
export const ROUTE_BATCH = 3;
export const ROUTE_BATCH_GET = 4;
export const ROUTE_BATCH_DELETE = 5;
export const ROUTE_RANGE = 6;
export const ROUTE_OTHER = 7;

const STATUSES = 600;
/** Upper bounds in milliseconds, doubling: 0.0625 ms to 8.2 s. */
const BUCKET_BOUNDS_MS: readonly number[] = Array.from({ length: 18 }, (_, i) => 0.0625 * 2 ** i);
const BUCKETS = BUCKET_BOUNDS_MS.length + 1;

/** One sample of a metric that is read when it is asked for. */
export interface Sample {
  readonly labels: Readonly<Record<string, string | number>>;
  readonly value: number;
}

/**
 * The node's metrics. What a request touches are plain typed arrays; prom-client sees them only when they are scraped.
 * Others add theirs with `gauge` and `counter`, whose functions are called on each scrape.
 */
export class Metrics {
  readonly registry = new Registry();
  readonly #requests = new Float64Array(ROUTES.length * STATUSES);
  readonly #buckets = new Float64Array(ROUTES.length * BUCKETS);
  readonly #seconds = new Float64Array(ROUTES.length);
  #aborts = 0;

  constructor() {
    this.counter('cairn_http_requests_total', 'HTTP requests answered, by route and status', ['route', 'status'], () =>
      this.#requestSamples(),
    );
    this.counter('cairn_http_aborted_total', 'HTTP requests whose client left before the answer', [], () => [
      { labels: {}, value: this.#aborts },
    ]);
    this.#histogram('cairn_http_request_duration_seconds', 'Time from the request head to the answer, by route');
  }

  /** A request was answered. `route` is one of the ROUTE_ constants. */
  answered(route: number, status: number, milliseconds: number): void {
    this.#requests[route * STATUSES + status]!++;
    let bucket = 0;
    for (let bound = 0.0625; milliseconds > bound && bucket < BUCKETS - 1; bound *= 2) bucket++;
    this.#buckets[route * BUCKETS + bucket]!++;
    this.#seconds[route]! += milliseconds / 1000;
  }

  aborted(): void {
    this.#aborts++;
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
  #histogram(name: string, help: string): void {
    const get = (): { name: string; help: string; type: string; values: unknown[]; aggregator: string } => {
      const values: unknown[] = [];
      for (const [route, label] of ROUTES.entries()) {
        let count = 0;
        for (let bucket = 0; bucket < BUCKETS; bucket++) count += this.#buckets[route * BUCKETS + bucket]!;
        if (count === 0) continue;
        let cumulative = 0;
        for (let bucket = 0; bucket < BUCKETS; bucket++) {
          cumulative += this.#buckets[route * BUCKETS + bucket]!;
          const le = bucket < BUCKETS - 1 ? BUCKET_BOUNDS_MS[bucket]! / 1000 : '+Inf';
          values.push({ metricName: `${name}_bucket`, labels: { route: label, le }, value: cumulative });
        }
        values.push({ metricName: `${name}_sum`, labels: { route: label }, value: this.#seconds[route]! });
        values.push({ metricName: `${name}_count`, labels: { route: label }, value: count });
      }
      return { name, help, type: 'histogram', values, aggregator: 'sum' };
    };
    this.registry.registerMetric({ name, help, get, reset() {} } as unknown as Metric);
  }
}
