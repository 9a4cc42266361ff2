import { CairnError } from '../../base/errors.js';
import type { JsonScanner } from '../../codec/json-scan.js';
import { MAX_USER_KEY_BYTES } from '../../lsm/row-key.js';
import { ROUTE_PUT } from '../metrics.js';
import { MAX_TTL_SECONDS, MIN_TTL_SECONDS, PLAIN_PUT, type Condition, type PutOptions } from '../service.js';
import { readBody } from './body.js';
import { writeCondition } from './conditions.js';
import { checkRawContentType, isJsonContentType } from './content-type.js';
import type { HttpContext } from './context.js';
import { Exchange } from './exchange.js';
import { KEY_OFFSET } from './get.js';
import { refuseIdempotencyKey } from './not-implemented.js';
import { parseQuery } from './query.js';
import type { HttpRequest, HttpResponse } from './uws.js';

/** Names, braces and white space around a value. */
const ENVELOPE_BYTES = MAX_USER_KEY_BYTES + 1024;
export const NO_PARAMETERS: ReadonlySet<string> = new Set();

export function handlePut(context: HttpContext, response: HttpResponse, request: HttpRequest): void {
  const exchange = new Exchange(context, response, request, ROUTE_PUT, false);
  const { headers, key, service } = context;
  try {
    headers.read(request);
  } catch (error) {
    exchange.fail(error, true);
    return;
  }
  try {
    key.decode(request.getUrl(), KEY_OFFSET);
    parseQuery(request.getQuery(), NO_PARAMETERS);
    refuseIdempotencyKey(headers.idempotencyKey);
    exchange.partition = service.partitionOf(key.bytes, 0, key.length);
    const isJson = isJsonContentType(headers.contentType);
    if (!isJson) checkRawContentType(headers.contentType);
    const condition = writeCondition(headers.ifMatch, headers.ifNoneMatch);
    // The decoder may serve other requests before the body is complete.
    const path = request.getUrl();
    const maxValueBytes = context.limits.maxValueBytes;
    const contentType = headers.contentType;
    readBody(exchange, isJson ? maxValueBytes + ENVELOPE_BYTES : maxValueBytes, headers.contentLength, (body) => {
      if (isJson) putJson(exchange, path, body, condition);
      else put(exchange, path, body, { contentType, ttlSeconds: 0, condition });
    });
  } catch (error) {
    // Without waiting for the body; the library drops what still comes of it.
    exchange.fail(error);
  }
}

function putJson(exchange: Exchange, path: string, body: Uint8Array, condition: Condition | null): void {
  const { scanner, limits } = exchange.context;
  scanner.reset(body, 0, body.length);
  let valueStart = -1;
  let valueEnd = 0;
  let ttlSeconds = 0;
  scanner.enterObject();
  while (scanner.nextMember()) {
    switch (envelopeMember(scanner, body)) {
      case 'value':
        if (valueStart !== -1) throw repeated('value');
        scanner.value();
        valueStart = scanner.valueStart;
        valueEnd = scanner.valueEnd;
        break;
      case 'ttl':
        if (ttlSeconds !== 0) throw repeated('ttl');
        scanner.value();
        ttlSeconds = parseTtl(body, scanner.valueStart, scanner.valueEnd);
        break;
    }
  }
  scanner.finish();
  scanner.release();
  if (valueStart === -1) {
    throw new CairnError('invalid_request', 'the body: expected {"value": ..., "ttl"?: seconds}, found no "value"');
  }
  checkValueSize(valueEnd - valueStart, limits.maxValueBytes);
  const options = ttlSeconds === 0 && condition === null ? PLAIN_PUT : { contentType: '', ttlSeconds, condition };
  put(exchange, path, body.subarray(valueStart, valueEnd), options);
}

function put(exchange: Exchange, path: string, value: Uint8Array, options: PutOptions): void {
  const { context } = exchange;
  const key = context.key;
  key.decode(path, KEY_OFFSET);
  const keyJson = key.jsonText();
  context.service.put(key.bytes, 0, key.length, value, options, (error, revision) => {
    if (error !== null) {
      exchange.fail(error);
      return;
    }
    const digits = String(revision);
    const head = context.jsonHead(exchange.partition);
    exchange.answer(200, `${head}${digits}"`, `{"key":${keyJson},"revision":${digits}}`);
  });
}

const VALUE = Buffer.from('value');
const TTL = Buffer.from('ttl');

function envelopeMember(scanner: JsonScanner, body: Uint8Array): 'value' | 'ttl' {
  if (nameIs(scanner, body, VALUE)) return 'value';
  if (nameIs(scanner, body, TTL)) return 'ttl';
  const name = scanner.name();
  // The same names, written with escapes.
  if (name === 'value' || name === 'ttl') return name;
  throw new CairnError(
    'invalid_request',
    `the body: expected members "value" and "ttl", found ${JSON.stringify(name)}`,
  );
}

function nameIs(scanner: JsonScanner, body: Uint8Array, name: Uint8Array): boolean {
  const start = scanner.nameStart;
  if (scanner.nameEnd - start !== name.length) return false;
  for (let i = 0; i < name.length; i++) if (body[start + i] !== name[i]) return false;
  return true;
}

function parseTtl(body: Uint8Array, start: number, end: number): number {
  const text = Buffer.from(body.buffer, body.byteOffset + start, end - start).toString();
  const seconds = /^[-\d]/.test(text) ? Number(text) : Number.NaN;
  if (!(seconds >= MIN_TTL_SECONDS && seconds <= MAX_TTL_SECONDS)) {
    throw new CairnError(
      'invalid_request',
      `ttl: expected a number of seconds from ${MIN_TTL_SECONDS} to ${MAX_TTL_SECONDS}, found ${text.slice(0, 40)}`,
    );
  }
  return seconds;
}

function repeated(name: string): CairnError {
  return new CairnError('invalid_request', `the body: expected "${name}" once, found it twice`);
}

/** Throws `too_large`. */
export function checkValueSize(bytes: number, maxBytes: number): void {
  if (bytes > maxBytes) {
    throw new CairnError('too_large', `the value: expected at most ${maxBytes} bytes, found ${bytes}`, {
      extra: { limitBytes: maxBytes },
    });
  }
}
