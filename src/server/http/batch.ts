import { asCairnError, problemObject } from '../problem.js';
import { CairnError } from '../../base/errors.js';
import { ROUTE_BATCH, ROUTE_BATCH_DELETE, ROUTE_BATCH_GET } from '../metrics.js';
import type { BatchOperation, BatchResult, StoredVersion } from '../service.js';
import { reportUnexpected } from './answer.js';
import { readBody } from './body.js';
import { requireJson } from './content-type.js';
import type { HttpContext } from './context.js';
import { Exchange } from './exchange.js';
import { ByteWriter } from './byte-writer.js';
import { checkedKeyLength, keyBytes } from './key.js';
import { writeVersionMembers } from './list-item.js';
import { refuseIdempotencyKey } from './not-implemented.js';
import { checkValueSize, NO_PARAMETERS } from './put.js';
import { instantParameter, isStaleRead, parseQuery, stalenessHeader, type Query } from './query.js';
import type { HttpRequest, HttpResponse } from './uws.js';

/** So that one request can't hold the event loop for long. */
export const MAX_BATCH_KEYS = 10_000;
/** Keys read at once, which bounds the memory that a batch of big values takes. */
const READ_CHUNK_KEYS = 64;

const READ_PARAMETERS: ReadonlySet<string> = new Set(['at', 'consistency']);

/** One key of a batch, with what became of it. */
interface Entry {
  readonly key: string;
  readonly error: CairnError | null;
}

export function handleBatchPut(context: HttpContext, response: HttpResponse, request: HttpRequest): void {
  receive(context, response, request, ROUTE_BATCH, NO_PARAMETERS, (exchange, body) => {
    const entries: Entry[] = [];
    const operations: BatchOperation[] = [];
    const seen = new Set<string>();
    const { scanner, limits } = context;
    scanner.reset(body, 0, body.length);
    scanner.enterObject();
    while (scanner.nextMember()) {
      const key = scanner.name();
      claim(seen, key);
      scanner.value();
      const { valueStart, valueEnd } = scanner;
      const error = failureOf(() => {
        checkedKeyLength(key, 'the key');
        checkValueSize(valueEnd - valueStart, limits.maxValueBytes);
      });
      entries.push({ key, error });
      if (error === null) {
        const value = body.subarray(valueStart, valueEnd);
        operations.push({ kind: 'put', key: keyBytes(key), value, contentType: '', ttlSeconds: 0 });
      }
    }
    scanner.finish();
    scanner.release();
    write(exchange, entries, operations, (result) => `{"revision":${result.revision}}`);
  });
}

export function handleBatchDelete(context: HttpContext, response: HttpResponse, request: HttpRequest): void {
  receive(context, response, request, ROUTE_BATCH_DELETE, NO_PARAMETERS, (exchange, body) => {
    const entries = readKeys(context, body);
    const operations: BatchOperation[] = [];
    for (const { key, error } of entries) if (error === null) operations.push({ kind: 'delete', key: keyBytes(key) });
    write(exchange, entries, operations, ({ deleted, revision }) => `{"deleted":${deleted},"revision":${revision}}`);
  });
}

export function handleBatchGet(context: HttpContext, response: HttpResponse, request: HttpRequest): void {
  receive(context, response, request, ROUTE_BATCH_GET, READ_PARAMETERS, (exchange, body, query) => {
    const isStale = isStaleRead(query);
    read(exchange, readKeys(context, body), instantParameter(query), isStale).catch((error: unknown) =>
      exchange.fail(error),
    );
  });
}

function receive(
  context: HttpContext,
  response: HttpResponse,
  request: HttpRequest,
  route: number,
  parameters: ReadonlySet<string>,
  use: (exchange: Exchange, body: Uint8Array, query: Query) => void,
): void {
  const exchange = new Exchange(context, response, request, route, false);
  const { headers } = context;
  try {
    headers.read(request);
  } catch (error) {
    exchange.fail(error, true);
    return;
  }
  try {
    refuseIdempotencyKey(headers.idempotencyKey);
    requireJson(headers.contentType);
    const query = parseQuery(request.getQuery(), parameters);
    readBody(exchange, context.limits.maxBodyBytes, headers.contentLength, (body) => use(exchange, body, query));
  } catch (error) {
    exchange.fail(error);
  }
}

/** Calls the service and answers when all partitions have: 207 when a key failed. */
function write(
  exchange: Exchange,
  entries: readonly Entry[],
  operations: readonly BatchOperation[],
  format: (result: BatchResult) => string,
): void {
  const answer = (results: readonly BatchResult[]): void => {
    let at = 0;
    let failed = false;
    const parts = entries.map(({ key, error }) => {
      const result = error === null ? results[at++]! : null;
      const failure = error ?? result!.error;
      if (failure === null) return `${JSON.stringify(key)}:${format(result!)}`;
      failed = true;
      return `${JSON.stringify(key)}:${errorText(exchange, failure)}`;
    });
    const headers = `application/json${exchange.context.dataHeaders(-1)}`;
    exchange.answer(failed ? 207 : 200, headers, `{"results":{${parts.join(',')}}}`);
  };
  if (operations.length === 0) answer([]);
  else exchange.context.service.batch(operations, answer);
}

/** Reads all keys at one instant, in chunks: the first one fixes the instant. */
async function read(exchange: Exchange, entries: readonly Entry[], at: number, isStale: boolean): Promise<void> {
  const { context } = exchange;
  const keys = entries.filter(({ error }) => error === null).map(({ key }) => keyBytes(key));
  const writer = new ByteWriter(4096);
  writer.ascii('{"results":{');
  const options = isStale ? ({ consistency: 'stale' } as const) : {};
  let stalenessMs: number | undefined;
  let instant = at;
  let versions: readonly (StoredVersion | null)[] = [];
  let asked = 0;
  let next = 0;
  let failed = false;
  for (const [index, { key, error }] of entries.entries()) {
    if (index > 0) writer.ascii(',');
    writer.utf8(JSON.stringify(key));
    writer.ascii(':');
    if (error !== null) {
      failed = true;
      writer.utf8(errorText(exchange, error));
      continue;
    }
    if (next === versions.length) {
      const result = await context.service.multiGet(keys.slice(asked, asked + READ_CHUNK_KEYS), {
        ...options,
        at: instant,
      });
      if (!exchange.isOpen) return;
      if (asked === 0) stalenessMs = result.stalenessMs;
      asked += READ_CHUNK_KEYS;
      next = 0;
      versions = result.versions;
      instant = result.revision;
    }
    const version = versions[next++]!;
    if (version === null) {
      writer.ascii('null');
    } else {
      writer.ascii('{');
      writeVersionMembers(writer, version);
      writer.ascii('}');
    }
    if (writer.length > context.limits.maxBodyBytes) {
      throw new CairnError('too_large', `the answer passes ${context.limits.maxBodyBytes} bytes: ask for fewer keys`, {
        extra: { limitBytes: context.limits.maxBodyBytes },
      });
    }
  }
  writer.ascii('}}');
  const staleness = stalenessHeader(isStale, stalenessMs);
  exchange.answer(failed ? 207 : 200, `application/json${context.dataHeaders(-1)}${staleness}`, writer.view());
}

/** `{"keys":[...]}`. */
function readKeys(context: HttpContext, body: Uint8Array): Entry[] {
  const { scanner } = context;
  const entries: Entry[] = [];
  const seen = new Set<string>();
  let found = false;
  scanner.reset(body, 0, body.length);
  scanner.enterObject();
  while (scanner.nextMember()) {
    const name = scanner.name();
    if (name !== 'keys' || found) {
      throw new CairnError('invalid_request', `the body: expected {"keys": [...]}, found ${JSON.stringify(name)}`);
    }
    found = true;
    scanner.enterArray();
    while (scanner.nextElement()) {
      scanner.value();
      if (body[scanner.valueStart] !== 0x22) {
        throw new CairnError('invalid_request', `keys[${entries.length}]: expected a string`);
      }
      const key = scanner.stringAt(scanner.valueStart, scanner.valueEnd);
      claim(seen, key);
      entries.push({ key, error: failureOf(() => checkedKeyLength(key, 'the key')) });
    }
  }
  scanner.finish();
  scanner.release();
  if (!found) throw new CairnError('invalid_request', 'the body: expected {"keys": [...]}, found no "keys"');
  return entries;
}

/** The results are an object, so a key can stand in it once. */
function claim(seen: Set<string>, key: string): void {
  if (seen.has(key))
    throw new CairnError('invalid_request', `expected each key once, found ${JSON.stringify(key)} twice`);
  seen.add(key);
  if (seen.size > MAX_BATCH_KEYS) {
    throw new CairnError('too_large', `expected at most ${MAX_BATCH_KEYS} keys in a batch, found more`, {
      extra: { limitKeys: MAX_BATCH_KEYS },
    });
  }
}

function failureOf(check: () => void): CairnError | null {
  try {
    check();
    return null;
  } catch (error) {
    return asCairnError(error);
  }
}

function errorText(exchange: Exchange, error: CairnError): string {
  reportUnexpected(exchange.context, error);
  return `{"error":${JSON.stringify(problemObject(error))}}`;
}
