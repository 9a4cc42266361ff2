import { ROUTE_DELETE } from '../metrics.js';
import { writeCondition } from './conditions.js';
import type { HttpContext } from './context.js';
import { Exchange } from './exchange.js';
import { KEY_OFFSET } from './get.js';
import { refuseIdempotencyKey } from './not-implemented.js';
import { NO_PARAMETERS } from './put.js';
import { parseQuery } from './query.js';
import type { HttpRequest, HttpResponse } from './uws.js';

/** A body is allowed by HTTP and means nothing here; the library drops it. */
export function handleDelete(context: HttpContext, response: HttpResponse, request: HttpRequest): void {
  const exchange = new Exchange(context, response, request, ROUTE_DELETE, false);
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
    const condition = writeCondition(headers.ifMatch, headers.ifNoneMatch);
    const keyJson = key.jsonText();
    service.delete(key.view(), condition, (error, revision, deleted) => {
      if (error !== null) {
        exchange.fail(error);
        return;
      }
      const head = context.jsonHead(exchange.partition);
      exchange.answer(200, `${head}${revision}"`, `{"key":${keyJson},"deleted":${deleted},"revision":${revision}}`);
    });
  } catch (error) {
    exchange.fail(error);
  }
}
