import { CairnError } from '../../base/errors.js';
import { ROUTE_GET } from '../metrics.js';
import type { ReadOptions, StoredVersion } from '../service.js';
import { corsHeaders, writeProblem, type AnswerTarget } from './answer.js';
import type { HttpContext } from './context.js';
import { Exchange } from './exchange.js';
import { instantParameter, isStaleRead, parseQuery, stalenessHeader } from './query.js';
import { asRange, writeVersion } from './version-answer.js';
import type { HttpRequest, HttpResponse } from './uws.js';

export const KEY_OFFSET = '/api/v1/kv/'.length;
const PARAMETERS: ReadonlySet<string> = new Set(['at', 'consistency']);

/**
 * GET and HEAD of one key. What memory can answer is answered before this returns: no promise, no closure, one header call and
 * one body, a view of scratch memory.
 */
export function handleGet(context: HttpContext, response: HttpResponse, request: HttpRequest, headOnly: boolean): void {
  const target: AnswerTarget = {
    context,
    response,
    route: ROUTE_GET,
    startedMs: context.clock.monotonicMs(),
    headOnly,
    cors: context.corsOrigins === null ? '' : corsHeaders(context, request),
  };
  let partition = -1;
  try {
    // A body is skipped by the library, but its length has to be beyond doubt.
    if (request.getHeader('content-length') !== '') context.headers.read(request);
  } catch (error) {
    writeProblem(target, error, partition, true);
    return;
  }
  try {
    const { key, service } = context;
    key.decode(request.getUrl(), KEY_OFFSET);
    const queryText = request.getQuery();
    const ifNoneMatch = request.getHeader('if-none-match');
    let isStale = false;
    if (queryText !== undefined && queryText !== '') {
      const query = parseQuery(queryText, PARAMETERS);
      isStale = isStaleRead(query);
      const at = instantParameter(query);
      if (at !== 0) {
        partition = service.partitionOf(key.bytes, 0, key.length);
        readLater(new Exchange(context, response, request, ROUTE_GET, headOnly), partition, at, ifNoneMatch, isStale);
        return;
      }
    }
    const outcome = service.tryGet(key.bytes, 0, key.length);
    partition = service.found.partition;
    switch (outcome) {
      case 'found':
        // What `tryGet` finds is the latest, so it is 0 ms old.
        writeVersion(target, partition, key.jsonText(), service.found, ifNoneMatch, stalenessHeader(isStale, 0));
        return;
      case 'absent':
        writeProblem(target, notFound(key.text(), isStale, 0), partition, false);
        return;
      case 'blocked':
        readLater(new Exchange(context, response, request, ROUTE_GET, headOnly), partition, 0, ifNoneMatch, isStale);
        return;
    }
  } catch (error) {
    writeProblem(target, error, partition, false);
  }
}

/** A read that may wait for the disk or for another node, of the key in the context's decoder. */
function readLater(exchange: Exchange, partition: number, at: number, ifNoneMatch: string, isStale: boolean): void {
  const { context } = exchange;
  const key = context.key.text();
  const keyJson = context.key.jsonText();
  exchange.partition = partition;
  let stalenessMs = 0;
  const answer = (version: StoredVersion | null): void => {
    if (version === null) {
      exchange.fail(notFound(key, isStale, stalenessMs));
      return;
    }
    exchange.answerWith((target) => {
      const staleness = stalenessHeader(isStale, stalenessMs);
      writeVersion(target, partition, keyJson, asRange(version), ifNoneMatch, staleness);
    });
  };
  const options: ReadOptions = isStale
    ? { at, consistency: 'stale', caller: exchange, onStaleness: (ms) => (stalenessMs = ms) }
    : { at, caller: exchange };
  context.service
    .get(context.key.view(), options)
    .then(answer)
    .catch((error: unknown) => exchange.fail(error));
}

function notFound(key: string, isStale: boolean, stalenessMs: number): CairnError {
  const details = isStale ? { extra: { stalenessMs } } : {};
  return new CairnError('key_not_found', `there is no key ${JSON.stringify(key)}`, details);
}
