import { requestFrameBytes, writeGetFrame, writePutFrame } from '../codec/client-hot-codec.js';
import {
  type RequestFields,
  type ResponseFields,
  encodeRequestFrame,
  errorFromWire,
  wire,
} from '../codec/client-protocol.js';
import {
  type ClientError,
  ClientError as AnyClientError,
  InvalidRequestError,
  UnavailableError,
  clientError,
} from './errors.js';
import { type ClientPorts, EndpointPool } from './pool.js';
import { rangePages, withinPrefix, type WireItem } from './range.js';
import { type CallLimits, UnaryCall, type UnaryRequest } from './unary-call.js';

/** Strings are taken as UTF-8. */
export type Key = string | Uint8Array;

export interface ClientOptions {
  /** `host:port`, tried in this order. With several, a node that is lost, can't serve or hangs is left for the next one. */
  readonly endpoints: readonly string[];
  readonly token?: string;
  /** For the node's log. */
  readonly clientName?: string;
  /** The most that one call takes, sends and connects of a retry included; for ranges, one page. */
  readonly deadlineMs?: number;
  readonly connectTimeoutMs?: number;
  /** A node that has calls under way and is silent for so long is pinged, and left when it is silent for as long again. */
  readonly silenceMs?: number;
  /** How often a call is tried, the first included; by default as often as the deadline allows. */
  readonly maxAttempts?: number;
  /** The first wait before connecting again; doubles up to `maxBackoffMs`, with jitter. */
  readonly backoffMs?: number;
  readonly maxBackoffMs?: number;
}

export interface CallOptions {
  readonly deadlineMs?: number;
  /** Rejects the call with the signal's reason. A write that had been sent may still take place. */
  readonly signal?: AbortSignal;
}

export interface ReadOptions extends CallOptions {
  /** A revision to read at, instead of the latest. */
  readonly at?: number;
  /** The node that is asked answers from what it has. That may lag, by `stalenessMs` at most; linearizable without it. */
  readonly consistency?: 'linearizable' | 'stale';
}

export interface WriteOptions extends CallOptions {
  /** The key must have this revision, else ConflictError. */
  readonly ifRevision?: number;
  readonly ifExists?: boolean;
  readonly ifAbsent?: boolean;
}

export interface PutOptions extends WriteOptions {
  /** Seconds until the key expires. */
  readonly ttlSeconds?: number;
}

export interface PutRawOptions extends PutOptions {
  /** `application/octet-stream` by default. With `application/json` the bytes must be JSON text, which is kept as it is. */
  readonly contentType?: string;
}

export interface Entry<T> {
  readonly value: T;
  readonly revision: number;
  readonly expiresAt?: Date;
  /** Of a stale read that may lag. */
  readonly stalenessMs?: number;
}

export interface RawEntry {
  readonly bytes: Uint8Array;
  /** `application/json` for JSON. */
  readonly contentType: string;
  readonly revision: number;
  readonly expiresAt?: Date;
  /** Of a stale read that may lag. */
  readonly stalenessMs?: number;
}

export interface RangeOptions extends ReadOptions {
  readonly prefix?: Key;
  /** Included. */
  readonly startKey?: Key;
  /** Excluded. */
  readonly endKey?: Key;
  readonly reverse?: boolean;
  readonly limit?: number;
  /** Items asked for at a time. */
  readonly pageItems?: number;
}

export interface RangeItem<T> extends Entry<T> {
  readonly key: string;
  readonly keyBytes: Uint8Array;
}

export interface RawRangeItem extends RawEntry {
  readonly keyBytes: Uint8Array;
}

export type BatchOperation =
  | { readonly put: Key; readonly value: unknown; readonly ttlSeconds?: number }
  | { readonly put: Key; readonly bytes: Uint8Array; readonly contentType?: string; readonly ttlSeconds?: number }
  | { readonly delete: Key };

/** One operation's result: its revision, or the error that kept it from being done. */
export type BatchResult =
  | { readonly revision: number; readonly deleted: boolean; readonly error?: undefined }
  | { readonly error: ClientError };

const JSON_TYPE = 'application/json';
const BYTES_TYPE = 'application/octet-stream';
const DEFAULTS = { deadlineMs: 10_000, connectTimeoutMs: 5000, silenceMs: 2000, backoffMs: 50, maxBackoffMs: 2000 };
const NO_BYTES = new Uint8Array(0);

/**
 * A client of the binary protocol. Calls are pipelined over one connection, which comes back by itself when it breaks.
 * Reads are repeated when their answer is lost; writes only when they can't have been executed.
 */
export class BinaryClient {
  readonly #pool: EndpointPool;
  readonly #ports: ClientPorts;
  readonly #limits: { readonly deadlineMs: number; readonly maxAttempts: number };
  readonly #underWay = new Set<Promise<unknown>>();
  #closed = false;

  constructor(options: ClientOptions, ports: ClientPorts) {
    const { connectTimeoutMs, silenceMs, backoffMs, maxBackoffMs, deadlineMs } = { ...DEFAULTS, ...options };
    this.#limits = { deadlineMs, maxAttempts: options.maxAttempts ?? Number.POSITIVE_INFINITY };
    this.#ports = ports;
    if (options.endpoints.length === 0) throw invalid('expected at least one endpoint, found none');
    this.#pool = new EndpointPool(
      {
        endpoints: options.endpoints.map(parseEndpoint),
        token: options.token ?? '',
        clientName: options.clientName ?? 'cairn-kv',
        connectTimeoutMs,
        silenceMs,
        backoffMs,
        maxBackoffMs,
      },
      ports,
    );
  }

  /** The value under the key, or null. JSON is parsed; a value of another content type comes as a Uint8Array. */
  async get<T = unknown>(key: Key, options: ReadOptions = {}): Promise<Entry<T> | null> {
    const raw = await this.getRaw(key, options);
    return raw === null ? null : parsed<T>(raw);
  }

  /** The stored bytes: JSON text as it was put, with every digit. */
  getRaw(key: Key, options: ReadOptions = {}): Promise<RawEntry | null> {
    const keyBytes = bytesOf(key);
    const read = readFields(options);
    const isPlain = read.at === 0 && options.consistency !== 'stale';
    return this.#call(options, {
      isRead: true,
      encode: (id) => (isPlain ? encodeGet(id, keyBytes) : encodeRequestFrame({ id, get: { key: keyBytes, ...read } })),
      decode: (response) => rawEntry(wanted(response.get, response)),
    });
  }

  /** Many keys at one instant, in their order; null where there is nothing. */
  async getMany<T = unknown>(keys: readonly Key[], options: ReadOptions = {}): Promise<(Entry<T> | null)[]> {
    const multiGet = { keys: keys.map(bytesOf), ...readFields(options) };
    return this.#call(options, {
      isRead: true,
      encode: (id) => encodeRequestFrame({ id, multiGet }),
      decode: (response) => {
        const { versions, stalenessMs } = wanted(response.multiGet, response);
        return (versions ?? []).map((version) => {
          const raw = rawEntry({ ...version, stalenessMs: stalenessMs ?? 0 });
          return raw === null ? null : parsed<T>(raw);
        });
      },
    });
  }

  /** Stores a value as JSON. Throws ConflictError when a condition does not hold. */
  async put(key: Key, value: unknown, options: PutOptions = {}): Promise<{ revision: number }> {
    return this.#put(bytesOf(key), jsonBytes(value), '', options);
  }

  /** Stores bytes with a content type. */
  async putRaw(key: Key, bytes: Uint8Array, options: PutRawOptions = {}): Promise<{ revision: number }> {
    return this.#put(bytesOf(key), bytes, wireType(options.contentType ?? BYTES_TYPE), options);
  }

  /** `deleted` says whether there was a value. */
  async delete(key: Key, options: WriteOptions = {}): Promise<{ deleted: boolean; revision: number }> {
    const fields = { key: bytesOf(key), ...conditionFields(options) };
    return this.#call(options, {
      isRead: false,
      encode: (id) => encodeRequestFrame({ id, delete: fields }),
      decode: (response) => {
        const answer = wanted(response.delete, response);
        return { deleted: answer.deleted ?? false, revision: answer.revision ?? 0 };
      },
    });
  }

  /** Puts and deletes in one request. Each partition's part is one atomic write; look at every result. */
  async batch(operations: readonly BatchOperation[], options: CallOptions = {}): Promise<BatchResult[]> {
    const batch = { operations: operations.map(batchFields) };
    return this.#call(options, {
      isRead: false,
      encode: (id) => encodeRequestFrame({ id, batch }),
      decode: (response) =>
        (wanted(response.batch, response).results ?? []).map(({ error, revision, deleted }) =>
          error ? { error: clientError(errorFromWire(error)) } : { revision: revision ?? 0, deleted: deleted ?? false },
        ),
    });
  }

  /** The entries of a range in the order of their keys' bytes, all at one instant. Leaving the loop ends the range. */
  async *range<T = unknown>(options: RangeOptions = {}): AsyncGenerator<RangeItem<T>, void, undefined> {
    for await (const { keyBytes, ...raw } of this.#items(options, false)) {
      yield {
        key: Buffer.from(keyBytes.buffer, keyBytes.byteOffset, keyBytes.length).toString('utf8'),
        keyBytes,
        ...parsed<T>(raw),
      };
    }
  }

  /** As `range`, with the stored bytes. */
  rangeRaw(options: RangeOptions = {}): AsyncGenerator<RawRangeItem, void, undefined> {
    return this.#items(options, false);
  }

  /** As `range`, without the values. */
  async *rangeKeys(
    options: RangeOptions = {},
  ): AsyncGenerator<{ readonly keyBytes: Uint8Array; readonly revision: number }, void, undefined> {
    for await (const { keyBytes, revision } of this.#items(options, true)) yield { keyBytes, revision };
  }

  /** Asks a node whether it answers; resolves with the milliseconds that it took. */
  async ping(options: CallOptions = {}): Promise<number> {
    const startMs = this.#ports.clock.monotonicMs();
    await this.#call(options, {
      isRead: true,
      encode: (id) => encodeRequestFrame({ id, ping: {} }),
      decode: () => undefined,
    });
    return this.#ports.clock.monotonicMs() - startMs;
  }

  /** Takes no more calls, lets those under way finish, then disconnects. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.allSettled(this.#underWay);
    this.#pool.close();
  }

  #put(key: Uint8Array, value: Uint8Array, contentType: string, options: PutOptions): Promise<{ revision: number }> {
    const condition = conditionFields(options);
    const ttlSeconds = options.ttlSeconds ?? 0;
    if (!Number.isSafeInteger(ttlSeconds) || ttlSeconds < 0 || ttlSeconds > 0xffff_ffff) {
      throw invalid(`expected ttlSeconds to be a whole number from 0 to ${0xffff_ffff}, found ${ttlSeconds}`);
    }
    const isPlain = contentType === '' && ttlSeconds === 0 && condition.condition === undefined;
    return this.#call(options, {
      isRead: false,
      encode: (id) =>
        isPlain
          ? encodePlainPut(id, key, value)
          : encodeRequestFrame({ id, put: { key, value, contentType, ttlSeconds, ...condition } }),
      decode: (response) => ({ revision: wanted(response.put, response).revision ?? 0 }),
    });
  }

  async *#items(options: RangeOptions, keysOnly: boolean): AsyncGenerator<RawRangeItem, void, undefined> {
    if (this.#closed) throw closedError();
    const given: [Uint8Array, Uint8Array | null] = [
      options.startKey === undefined ? NO_BYTES : bytesOf(options.startKey),
      options.endKey === undefined ? null : bytesOf(options.endKey),
    ];
    const [startKey, endKey] = options.prefix === undefined ? given : withinPrefix(bytesOf(options.prefix), ...given);
    const limit = options.limit ?? 0;
    if (!Number.isSafeInteger(limit) || limit < 0) throw invalid(`expected limit to be a whole number, found ${limit}`);
    if (options.limit === 0) return;
    const request = {
      startKey,
      endKey,
      reverse: options.reverse ?? false,
      keysOnly,
      at: options.at ?? 0,
      isStale: options.consistency === 'stale',
      limit,
      pageItems: options.pageItems ?? 0,
    };
    for await (const items of rangePages(request, this.#limitsOf(options), this.#pool, this.#ports)) {
      for (const item of items) yield rangeItem(item);
    }
  }

  #limitsOf(options: CallOptions): CallLimits {
    return { ...this.#limits, deadlineMs: options.deadlineMs ?? this.#limits.deadlineMs, signal: options.signal };
  }

  #call<T>(options: CallOptions, request: UnaryRequest<T>): Promise<T> {
    if (this.#closed) return Promise.reject(closedError());
    const { promise } = new UnaryCall(request, this.#limitsOf(options), this.#pool, this.#ports);
    this.#underWay.add(promise);
    const forget = (): void => void this.#underWay.delete(promise);
    promise.then(forget, forget);
    return promise;
  }
}

function parseEndpoint(endpoint: string): { host: string; port: number } {
  const match = /^(?:\[([^\]]+)\]|([^:\s]+)):(\d{1,5})$/.exec(endpoint);
  const port = Number(match?.[3]);
  if (match === null || port < 1 || port > 65_535) throw invalid(`expected an endpoint host:port, found "${endpoint}"`);
  return { host: (match[1] ?? match[2])!, port };
}

function invalid(message: string): InvalidRequestError {
  return new InvalidRequestError('invalid_request', message, 'not_executed');
}

function closedError(): UnavailableError {
  return new UnavailableError('unavailable', 'the client was closed', 'not_executed');
}

function bytesOf(key: Key): Uint8Array {
  return typeof key === 'string' ? Buffer.from(key, 'utf8') : key;
}

function jsonBytes(value: unknown): Uint8Array {
  const text: string | undefined = JSON.stringify(value);
  if (text === undefined) throw invalid(`expected a value that JSON can hold, found ${typeof value}`);
  return Buffer.from(text, 'utf8');
}

/** On the wire JSON has no content type. */
function wireType(contentType: string): string {
  return contentType === JSON_TYPE ? '' : contentType;
}

function encodeGet(id: number, key: Uint8Array): Uint8Array {
  const frame = Buffer.allocUnsafe(requestFrameBytes(id, key.length, 0));
  writeGetFrame(frame, 0, id, key);
  return frame;
}

function encodePlainPut(id: number, key: Uint8Array, value: Uint8Array): Uint8Array {
  const frame = Buffer.allocUnsafe(requestFrameBytes(id, key.length, value.length));
  writePutFrame(frame, 0, id, key, value);
  return frame;
}

function readFields({ at = 0, consistency }: ReadOptions): { at: number; consistency: 0 | 1 } {
  return { at, consistency: consistency === 'stale' ? wire.Consistency.STALE : wire.Consistency.LINEARIZABLE };
}

function conditionFields(options: WriteOptions): Pick<NonNullable<RequestFields['delete']>, 'condition'> {
  const { ifRevision, ifExists, ifAbsent } = options;
  if (ifRevision === undefined && !ifExists && !ifAbsent) return {};
  return {
    condition: {
      revisions: ifRevision === undefined ? [] : [ifRevision],
      exists: ifExists ?? false,
      absent: ifAbsent ?? false,
    },
  };
}

function batchFields(
  operation: BatchOperation,
): NonNullable<NonNullable<RequestFields['batch']>['operations']>[number] {
  if ('delete' in operation) return { delete: { key: bytesOf(operation.delete) } };
  const { put, ttlSeconds = 0 } = operation;
  return 'bytes' in operation
    ? {
        put: {
          key: bytesOf(put),
          value: operation.bytes,
          contentType: wireType(operation.contentType ?? BYTES_TYPE),
          ttlSeconds,
        },
      }
    : { put: { key: bytesOf(put), value: jsonBytes(operation.value), ttlSeconds } };
}

function wanted<T>(body: T | null | undefined, response: ResponseFields): T {
  if (body) return body;
  throw new AnyClientError(
    'protocol_error',
    `expected an answer of the request's kind, found ${response.body ?? 'another'}`,
    'unknown',
  );
}

function rawEntry(fields: NonNullable<ResponseFields['get']>): RawEntry | null {
  if (!fields.revision) return null;
  return {
    // A copy: the view would keep the whole chunk that it came in.
    bytes: Uint8Array.prototype.slice.call(fields.value ?? NO_BYTES),
    contentType: fields.contentType || JSON_TYPE,
    revision: fields.revision,
    ...(fields.expiresAtMs ? { expiresAt: new Date(fields.expiresAtMs) } : {}),
    ...(fields.stalenessMs ? { stalenessMs: fields.stalenessMs } : {}),
  };
}

function rangeItem(item: WireItem): RawRangeItem {
  return { keyBytes: item.key ?? NO_BYTES, ...rawEntry({ ...item, revision: item.revision ?? 0 })! };
}

function parsed<T>(raw: RawEntry): Entry<T> {
  const { bytes, contentType, ...rest } = raw;
  if (contentType !== JSON_TYPE) return { value: bytes as T, ...rest };
  return {
    value: JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('utf8')) as T,
    ...rest,
  };
}
