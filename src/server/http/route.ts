import { ROUTE_OTHER } from '../metrics.js';
import { corsHeaders, writeProblem, type AnswerTarget } from './answer.js';
import type { HttpContext } from './context.js';
import type { HttpRequest, HttpResponse, RouteHandler } from './uws.js';

/** For an answer that is given at once, on a route without a metric of its own. */
export function otherTarget(context: HttpContext, response: HttpResponse, request: HttpRequest): AnswerTarget {
  return {
    context,
    response,
    route: ROUTE_OTHER,
    startedMs: context.clock.monotonicMs(),
    headOnly: request.getMethod() === 'head',
    cors: context.corsOrigins === null ? '' : corsHeaders(context, request),
  };
}

/** An error that leaves a handler would end the process, so what handlers do not expect becomes a problem here. */
export function guarded(context: HttpContext, handler: RouteHandler): RouteHandler {
  return (response, request) => {
    try {
      handler(response, request);
    } catch (error) {
      writeProblem(otherTarget(context, response, request), error, -1, true);
    }
  };
}

export function answerWithProblem(context: HttpContext, make: (method: string, path: string) => Error): RouteHandler {
  return (response, request) => {
    const error = make(request.getMethod().toUpperCase(), request.getUrl());
    writeProblem(otherTarget(context, response, request), error, -1, false);
  };
}

/** OPTIONS, with the answer to a browser's preflight when its origin is allowed. */
export function answerOptions(context: HttpContext, allow: string): RouteHandler {
  return (response, request) => {
    const target = otherTarget(context, response, request);
    let headers = `${allow}${context.dataHeaders(-1)}${target.cors}`;
    if (
      target.cors.includes('Access-Control-Allow-Origin') &&
      request.getHeader('access-control-request-method') !== ''
    ) {
      headers +=
        `\r\nAccess-Control-Allow-Methods: ${allow}, POST` +
        '\r\nAccess-Control-Allow-Headers: Content-Type, If-Match, If-None-Match, Accept' +
        '\r\nAccess-Control-Max-Age: 600';
    }
    if (context.draining) headers += '\r\nConnection: close';
    response.writeStatus('204 No Content').writeHeader('Allow', headers).endWithoutBody();
    context.metrics.answered(target.route, 204, context.clock.monotonicMs() - target.startedMs);
  };
}
