import { compareBytes } from '../base/bytes.js';
import { type ResponseFields, encodeRequestFrame, errorFromWire, wire } from '../codec/client-protocol.js';
import type { Timer } from '../ports/clock.js';
import type { Call, Channel } from './channel.js';
import { DeadlineError, UnavailableError, clientError } from './errors.js';
import type { ClientPorts, EndpointPool } from './pool.js';

export interface RangeRequest {
  readonly startKey: Uint8Array;
  readonly endKey: Uint8Array | null;
  readonly reverse: boolean;
  readonly keysOnly: boolean;
  readonly at: number;
  readonly isStale: boolean;
  /** 0: all. */
  readonly limit: number;
  readonly pageItems: number;
}

export interface RangeLimits {
  /** For each page. */
  readonly deadlineMs: number;
  readonly signal: AbortSignal | undefined;
  readonly maxAttempts: number;
}

type Page = NonNullable<ResponseFields['rangePage']>;
export type WireItem = NonNullable<Page['items']>[number];

/** Pages that the server may send ahead of the reader. */
const PAGES_AHEAD = 2;

/**
 * Yields pages. All of them show the instant of the first one: when the connection is lost, the rest is asked for at that
 * revision, from behind the last key that came.
 */
export async function* rangePages(
  request: RangeRequest,
  limits: RangeLimits,
  pool: EndpointPool,
  ports: ClientPorts,
): AsyncGenerator<readonly WireItem[], void, undefined> {
  let rest = request;
  let failures = 0;
  for (;;) {
    limits.signal?.throwIfAborted();
    const stream = new PageStream(rest, limits, ports);
    let channel: Channel | null = null;
    try {
      channel = pool.ready ?? (await connectInTime(pool, limits, ports));
      stream.start(channel);
      for (;;) {
        const page = await stream.next();
        failures = 0;
        const items = page.items ?? [];
        rest = remaining(rest, items, page.revision ?? 0);
        if (items.length > 0) yield items;
        if (page.done) return;
        stream.consumed();
      }
    } catch (error) {
      failures++;
      const mayRetry = error instanceof UnavailableError && error.outcome === 'not_executed';
      if (!mayRetry || failures >= limits.maxAttempts) throw error;
      if (channel !== null && error.code !== 'overloaded') pool.leave(channel);
      await pool.pause(failures);
    } finally {
      stream.stop();
    }
  }
}

async function connectInTime(pool: EndpointPool, limits: RangeLimits, ports: ClientPorts): Promise<Channel> {
  let timer: Timer | null = null;
  const late = new Promise<never>((_, reject) => {
    timer = ports.clock.setTimer(limits.deadlineMs, () =>
      reject(
        new DeadlineError('deadline_exceeded', `no endpoint answered within ${limits.deadlineMs} ms`, 'not_executed'),
      ),
    );
  });
  try {
    return await Promise.race([pool.connect(), late]);
  } finally {
    (timer as Timer | null)?.cancel();
  }
}

function remaining(request: RangeRequest, items: readonly WireItem[], revision: number): RangeRequest {
  const last = items.at(-1)?.key;
  if (!last) return { ...request, at: revision };
  const limit = request.limit === 0 ? 0 : request.limit - items.length;
  if (request.reverse) return { ...request, at: revision, limit, endKey: last.slice() };
  const startKey = new Uint8Array(last.length + 1);
  startKey.set(last);
  return { ...request, at: revision, limit, startKey };
}

/** The smallest key above all keys that begin with `prefix`; null when there is none. */
export function endOfPrefix(prefix: Uint8Array): Uint8Array | null {
  for (let length = prefix.length; length > 0; length--) {
    if (prefix[length - 1] === 0xff) continue;
    // Not `slice`: that of a Buffer is a view.
    const end = new Uint8Array(prefix.subarray(0, length));
    end[length - 1]!++;
    return end;
  }
  return null;
}

/** The later start and the earlier end: a range within a prefix. */
export function withinPrefix(
  prefix: Uint8Array,
  startKey: Uint8Array,
  endKey: Uint8Array | null,
): [Uint8Array, Uint8Array | null] {
  const prefixEnd = endOfPrefix(prefix);
  const start = compareBytes(startKey, prefix) > 0 ? startKey : prefix;
  if (endKey === null) return [start, prefixEnd];
  return [start, prefixEnd !== null && compareBytes(endKey, prefixEnd) > 0 ? prefixEnd : endKey];
}

/** One range on one channel: turns its answers into a queue of pages. */
class PageStream implements Call {
  readonly #request: RangeRequest;
  readonly #limits: RangeLimits;
  readonly #ports: ClientPorts;
  readonly #pages: Page[] = [];
  #channel: Channel | null = null;
  #id = 0;
  #ended = false;
  #error: unknown = null;
  #wake: (() => void) | null = null;

  constructor(request: RangeRequest, limits: RangeLimits, ports: ClientPorts) {
    this.#request = request;
    this.#limits = limits;
    this.#ports = ports;
  }

  start(channel: Channel): void {
    this.#channel = channel;
    this.#id = channel.send(this);
  }

  encode(id: number): Uint8Array {
    const { startKey, endKey, reverse, keysOnly, at, isStale, limit, pageItems } = this.#request;
    const consistency = isStale ? wire.Consistency.STALE : wire.Consistency.LINEARIZABLE;
    const range = { startKey, reverse, keysOnly, at, consistency, limit, pageItems, credits: PAGES_AHEAD };
    return encodeRequestFrame({ id, range: endKey === null ? range : { ...range, endKey } });
  }

  answered(response: ResponseFields): void {
    const page = response.rangePage;
    if (page) this.#pages.push(page);
    if (response.error) this.#error = clientError(errorFromWire(response.error));
    if (response.error || page?.done) this.#release();
    this.#wake?.();
  }

  lost(_executed: 'no' | 'unknown', cause: Error): void {
    this.#ended = true;
    this.#channel = null;
    this.#error = new UnavailableError('unavailable', `the connection was lost: ${cause.message}`, 'not_executed', {
      cause,
    });
    this.#wake?.();
  }

  async next(): Promise<Page> {
    this.#limits.signal?.throwIfAborted();
    if (this.#pages.length === 0 && !this.#ended) await this.#arrival();
    const page = this.#pages.shift();
    if (page !== undefined) return page;
    throw this.#error;
  }

  /** The reader is done with a page: the server may send another. */
  consumed(): void {
    if (this.#ended) return;
    this.#channel?.tell(encodeRequestFrame({ id: this.#id, rangeMore: { rangeId: this.#id, credits: 1 } }));
  }

  stop(): void {
    if (this.#ended) return;
    this.#channel?.tell(encodeRequestFrame({ id: this.#id, rangeStop: { rangeId: this.#id } }));
    this.#release();
  }

  #release(): void {
    this.#ended = true;
    this.#channel?.forget(this.#id);
    this.#channel = null;
  }

  async #arrival(): Promise<void> {
    const { deadlineMs, signal } = this.#limits;
    let timer: Timer | null = null;
    let onAbort: (() => void) | null = null;
    try {
      await new Promise<void>((resolve, reject) => {
        this.#wake = resolve;
        timer = this.#ports.clock.setTimer(deadlineMs, () =>
          reject(
            new DeadlineError(
              'deadline_exceeded',
              `the deadline of ${deadlineMs} ms passed without a page`,
              'not_executed',
            ),
          ),
        );
        onAbort = resolve;
        signal?.addEventListener('abort', onAbort, { once: true });
      });
      signal?.throwIfAborted();
    } finally {
      this.#wake = null;
      (timer as Timer | null)?.cancel();
      if (onAbort !== null) signal?.removeEventListener('abort', onAbort);
    }
  }
}
