import type { Logger } from '../../base/logger.js';
import type { Clock } from '../../ports/clock.js';
import type { Metrics } from '../metrics.js';
import type { Service } from '../service.js';
import { ByteWriter } from './byte-writer.js';
import { KeyDecoder } from './key.js';
import { RequestHeaders } from './request-headers.js';
import { JsonScanner } from '../../codec/json-scan.js';

export interface HttpLimits {
  readonly maxValueBytes: number;
  readonly maxBodyBytes: number;
}

export interface HttpContextOptions {
  readonly service: Service;
  readonly metrics: Metrics;
  readonly clock: Pick<Clock, 'monotonicMs'>;
  readonly logger: Logger;
  readonly limits: HttpLimits;
  /** null: no CORS headers at all. */
  readonly corsOrigins: ReadonlySet<string> | null;
}

const SCRATCH_BYTES = 64 << 10;

/** What all requests of one server share: its service, its state, and scratch objects for the current call stack. */
export class HttpContext {
  readonly service: Service;
  readonly metrics: Metrics;
  readonly clock: Pick<Clock, 'monotonicMs'>;
  readonly logger: Logger;
  readonly limits: HttpLimits;
  readonly corsOrigins: ReadonlySet<string> | null;
  readonly key = new KeyDecoder();
  readonly headers = new RequestHeaders();
  readonly scanner = new JsonScanner();
  readonly writer = new ByteWriter(SCRATCH_BYTES, SCRATCH_BYTES);
  /** Answers close their connections from now on. */
  draining = false;
  #inFlight = 0;
  #idleCallbacks: (() => void)[] = [];
  readonly #jsonHeads: string[] = [];

  constructor(options: HttpContextOptions) {
    this.service = options.service;
    this.metrics = options.metrics;
    this.clock = options.clock;
    this.logger = options.logger;
    this.limits = options.limits;
    this.corsOrigins = options.corsOrigins;
  }

  /**
   * The headers of a JSON answer up to the revision, which the caller appends with a double quote. They go out as one
   * header value with line breaks inside: one call into the library instead of four.
   */
  jsonHead(partition: number): string {
    return (this.#jsonHeads[partition] ??= `application/json${this.dataHeaders(partition)}\r\nETag: "`);
  }

  /** `partition` -1: none. */
  dataHeaders(partition: number): string {
    const node = `\r\nX-Cairn-Node: ${this.service.nodeId}`;
    return partition === -1 ? node : `${node}\r\nX-Cairn-Partition: ${partition}`;
  }

  /** A request has begun whose answer comes later. */
  begin(): void {
    this.#inFlight++;
  }

  end(): void {
    if (--this.#inFlight > 0) return;
    const callbacks = this.#idleCallbacks;
    this.#idleCallbacks = [];
    for (const callback of callbacks) callback();
  }

  /** Resolves when no request waits for its answer. */
  idle(): Promise<void> {
    return this.#inFlight === 0 ? Promise.resolve() : new Promise((resolve) => this.#idleCallbacks.push(resolve));
  }
}
