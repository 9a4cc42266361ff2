import { ROUTE_RANGE } from '../metrics.js';
import type { Scan } from '../service.js';
import { ByteWriter } from './byte-writer.js';
import type { HttpContext } from './context.js';
import { encodeCursor } from './cursor-token.js';
import { Exchange } from './exchange.js';
import { handleGet } from './get.js';
import { writeListItem } from './list-item.js';
import { parseQuery, stalenessHeader } from './query.js';
import { RANGE_PARAMETERS, readRangeQuery, type RangeRequest } from './range-query.js';
import { streamRange } from './range-stream.js';
import type { HttpRequest, HttpResponse } from './uws.js';

/** A page ends here even when its limit is not reached. */
const MAX_PAGE_BYTES = 4 << 20;
export const RANGE_PATH = '/api/v1/kv/range';

/** GET and HEAD of /api/v1/kv/range; without any parameter that is the key named "range". */
export function handleRange(
  context: HttpContext,
  response: HttpResponse,
  request: HttpRequest,
  headOnly: boolean,
): void {
  const queryText = request.getQuery();
  if (queryText === undefined || queryText === '' || !namesRangeParameter(queryText)) {
    handleGet(context, response, request, headOnly);
    return;
  }
  const exchange = new Exchange(context, response, request, ROUTE_RANGE, headOnly);
  try {
    if (request.getHeader('content-length') !== '') context.headers.read(request);
  } catch (error) {
    exchange.fail(error, true);
    return;
  }
  try {
    const range = readRangeQuery(parseQuery(queryText, RANGE_PARAMETERS));
    const isStream = !headOnly && acceptsNdjson(request.getHeader('accept'));
    const answer = isStream ? streamRange : answerPage;
    void run(exchange, range, answer);
  } catch (error) {
    exchange.fail(error);
  }
}

/** The key "range" has these two as well, so they do not make a range of it. */
function namesRangeParameter(queryText: string): boolean {
  return queryText.split('&').some((part) => part !== '' && !/^(?:at|consistency)(?:=|$)/.test(part));
}

function acceptsNdjson(accept: string): boolean {
  return accept.split(',').some((type) => type.split(';')[0]!.trim().toLowerCase() === 'application/x-ndjson');
}

async function run(
  exchange: Exchange,
  range: RangeRequest,
  answer: (exchange: Exchange, range: RangeRequest, scan: Scan) => Promise<void>,
): Promise<void> {
  let scan: Scan | null = null;
  try {
    scan = await exchange.context.service.openScan(range.scan);
    if (exchange.isOpen) await answer(exchange, range, scan);
  } catch (error) {
    exchange.fail(error);
  } finally {
    scan?.close();
  }
}

async function answerPage(exchange: Exchange, range: RangeRequest, scan: Scan): Promise<void> {
  const writer = new ByteWriter(4096);
  writer.ascii('{"items":[');
  let count = 0;
  let lastKey: Uint8Array | null = null;
  let isCut = false;
  while (!isCut && !scan.done && count < range.limit && writer.length < MAX_PAGE_BYTES) {
    const items = await scan.next(range.limit - count, MAX_PAGE_BYTES - writer.length);
    if (!exchange.isOpen) return;
    for (const item of items) {
      const before = writer.length;
      if (count > 0) writer.ascii(',');
      writeListItem(writer, item, range.scan.keysOnly);
      // Escapes and base64 make an item longer than the scan counted. One item always goes out.
      if (count > 0 && writer.length > MAX_PAGE_BYTES) {
        writer.length = before;
        isCut = true;
        break;
      }
      count++;
      lastKey = item.key;
    }
  }
  writer.ascii('],"revision":');
  writer.integer(scan.revision);
  let headers = `application/json${exchange.context.dataHeaders(-1)}`;
  headers += stalenessHeader(range.isStale, scan.stalenessMs);
  if (lastKey !== null && (isCut || !scan.done)) {
    const cursor = encodeCursor({ revision: scan.revision, lastKey }, range.parameters);
    writer.ascii(`,"cursor":"${cursor}"`);
    headers += `\r\nLink: <${nextPage(range.parameters, cursor)}>; rel="next"`;
  }
  writer.ascii('}');
  exchange.answer(200, headers, writer.view());
}

function nextPage(parameters: string, cursor: string): string {
  const pairs = JSON.parse(`[${parameters}]`) as [string, string][];
  return `${RANGE_PATH}?${[...pairs, ['cursor', cursor]].map((pair) => pair.map(encodeURIComponent).join('=')).join('&')}`;
}
