import { AssertionFailure } from '../../base/assert.js';
import type { CairnError } from '../../base/errors.js';
import { asCairnError, problemObject, RETRY_AFTER_SECONDS, statusLine, statusOf } from '../problem.js';
import { stalenessHeader } from './query.js';
import type { HttpContext } from './context.js';
import type { HttpRequest, HttpResponse } from './uws.js';

/** How to answer one request. A plain object so that handlers that answer at once need no exchange. */
export interface AnswerTarget {
  readonly context: HttpContext;
  readonly response: HttpResponse;
  /** A ROUTE_ constant of the metrics. */
  readonly route: number;
  readonly startedMs: number;
  /** HEAD: the headers of the answer without its body. */
  readonly headOnly: boolean;
  /** CORS headers, or ''. */
  readonly cors: string;
}

/**
 * Writes a whole answer. `headers` begins with the value of Content-Type; further headers follow after line breaks.
 * Must run inside the route handler or a cork.
 */
export function writeAnswer(
  target: AnswerTarget,
  status: number,
  headers: string,
  body: string | Uint8Array,
  close: boolean,
): void {
  const { context, response } = target;
  if (status !== 200) response.writeStatus(statusLine(status));
  let head = target.cors === '' ? headers : headers + target.cors;
  if (target.headOnly || status === 304) {
    if (status !== 304) head += `\r\nContent-Length: ${Buffer.byteLength(body)}`;
    if (context.draining || close) head += '\r\nConnection: close';
    response.writeHeader('Content-Type', head).endWithoutBody();
  } else {
    response.writeHeader('Content-Type', head);
    if (context.draining || close) response.end(body, true);
    else sendBody(context, response, body);
  }
  context.metrics.answered(target.route, status, context.clock.monotonicMs() - target.startedMs);
}

/**
 * Ends the response, or keeps the one copy that a slow reader needs. `end` would add to what waits for the socket without
 * bound: the library parses pipelined requests while their answers wait, so that 126 KB of GETs for a value of 100 KB held
 * 300 MB. With `tryEnd` the response stays open until the reader takes it, and the library closes a connection that
 * sends another request before that.
 */
function sendBody(context: HttpContext, response: HttpResponse, body: string | Uint8Array): void {
  const sizeBytes = typeof body === 'string' ? Buffer.byteLength(body) : body.length;
  const [, isWhole] = response.tryEnd(body, sizeBytes);
  if (isWhole) return;
  const sentBytes = response.getWriteOffset();
  const rest = (typeof body === 'string' ? Buffer.from(body) : body).slice(sentBytes);
  let isOpen = true;
  const finish = (): void => {
    if (!isOpen) return;
    isOpen = false;
    context.end();
  };
  context.begin();
  response.onAborted(finish);
  response.onWritable((offset) => {
    const [, isSent] = response.tryEnd(rest.subarray(offset - sentBytes), sizeBytes);
    if (isSent) finish();
    return isSent;
  });
}

/** Answers with a problem. Errors that nobody foresaw are logged; a broken invariant goes on to end the process. */
export function writeProblem(target: AnswerTarget, error: unknown, partition: number, close: boolean): void {
  reportUnexpected(target.context, error);
  const known = asCairnError(error);
  writeAnswer(
    target,
    statusOf(known.code),
    `application/problem+json${target.context.dataHeaders(partition)}${problemHeaders(known)}`,
    JSON.stringify(problemObject(known)),
    close,
  );
}

export function reportUnexpected(context: HttpContext, error: unknown): void {
  if (error instanceof AssertionFailure) {
    queueMicrotask(() => {
      throw error;
    });
  }
  const known = asCairnError(error);
  if (known !== error || statusOf(known.code) === 500) context.logger.error({ err: error }, 'an HTTP request failed');
}

function problemHeaders(error: CairnError): string {
  switch (error.code) {
    case 'overloaded':
    case 'unavailable':
    case 'shutting_down':
    case 'not_leader':
    case 'not_ready':
    case 'disk_full':
      return `\r\nRetry-After: ${RETRY_AFTER_SECONDS}`;
    case 'method_not_allowed':
      return `\r\nAllow: ${String(error.extra?.['allow'] ?? '')}`;
    case 'key_not_found': {
      const stalenessMs = error.extra?.['stalenessMs'];
      return stalenessHeader(typeof stalenessMs === 'number', Number(stalenessMs));
    }
    case 'precondition_failed': {
      const revision = error.extra?.['currentRevision'];
      return typeof revision === 'number' && revision > 0 ? `\r\nETag: "${revision}"` : '';
    }
    default:
      return '';
  }
}

/** The CORS headers of an answer: only for an origin that the operator named. */
export function corsHeaders(context: HttpContext, request: HttpRequest): string {
  const origins = context.corsOrigins;
  if (origins === null) return '';
  const origin = request.getHeader('origin');
  if (origin === '' || !(origins.has(origin) || origins.has('*'))) return '\r\nVary: Origin';
  return (
    `\r\nVary: Origin\r\nAccess-Control-Allow-Origin: ${origin}` +
    '\r\nAccess-Control-Expose-Headers: ETag, Link, Retry-After, X-Cairn-Node, X-Cairn-Partition, X-Cairn-Staleness-Ms'
  );
}
