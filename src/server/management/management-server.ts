import { CairnError } from '../../base/errors.js';
import type { Logger } from '../../base/logger.js';
import type { Clock } from '../../ports/clock.js';
import { reportUnexpected, writeAnswer } from '../http/answer.js';
import { HttpContext } from '../http/context.js';
import { Exchange } from '../http/exchange.js';
import { listen } from '../http/listen.js';
import { parseQuery } from '../http/query.js';
import { answerWithProblem, guarded, otherTarget } from '../http/route.js';
import { loadUws, makeApp, type HttpResponse, type RouteHandler } from '../http/uws.js';
import { ROUTE_MANAGEMENT, type Metrics } from '../metrics.js';
import type { Service } from '../service.js';
import { clusterStatus } from './cluster-status.js';
import { OPENAPI } from './openapi.js';

export interface ManagementServerOptions {
  readonly host: string;
  /** 0 picks a free one. */
  readonly port: number;
  readonly service: Service;
  readonly metrics: Metrics;
  readonly clock: Pick<Clock, 'monotonicMs'>;
  readonly logger: Logger;
  /** Merges all tables; resolves when that is done. */
  readonly compact: () => Promise<unknown>;
}

export interface ManagementServer {
  readonly port: number;
  /** Ends all connections at once. */
  close(): void;
}

const PROMETHEUS_TEXT = 'text/plain; version=0.0.4; charset=utf-8';
const READY_PARAMETERS: ReadonlySet<string> = new Set(['verbose']);

/** Health, metrics and status (API.md section 3). The caller binds it to loopback. Rejects with `configuration`. */
export async function startManagementServer(options: ManagementServerOptions): Promise<ManagementServer> {
  const { metrics, service } = options;
  const { uws } = loadUws();
  const context = new HttpContext({ ...options, limits: { maxValueBytes: 0, maxBodyBytes: 0 }, corsOrigins: null });
  const app = makeApp();

  const get = (path: string, handler: RouteHandler): void => {
    app.get(path, guarded(context, handler));
    app.head(path, guarded(context, handler));
    app.any(
      path,
      answerWithProblem(context, (method) => methodNotAllowed(path, method, 'GET, HEAD')),
    );
  };
  get('/livez', (response, request) =>
    writeAnswer(target(context, response, request), 200, 'application/json', '{"status":"live"}', false),
  );
  get('/readyz', (response, request) => {
    const query = parseQuery(request.getQuery(), READY_PARAMETERS);
    const { ready, checks } = service.readiness();
    const status = ready ? 'ready' : 'not ready';
    const failed = checks.filter(({ ok }) => !ok);
    const shown = query.has('verbose') ? checks : failed;
    const body = JSON.stringify({ status, nodeId: service.nodeId, ...(shown.length > 0 ? { checks: shown } : {}) });
    writeAnswer(target(context, response, request), ready ? 200 : 503, 'application/json', body, false);
  });
  get('/metrics', (response, request) => {
    const exchange = new Exchange(context, response, request, ROUTE_MANAGEMENT, request.getMethod() === 'head');
    metrics.text().then(
      (text) => exchange.answer(200, PROMETHEUS_TEXT, text),
      (error: unknown) => exchange.fail(error),
    );
  });
  get('/api/v1/cluster', (response, request) => {
    const body = JSON.stringify(clusterStatus(service.status(), service.readiness().ready));
    writeAnswer(target(context, response, request), 200, 'application/json', body, false);
  });
  const openapi = JSON.stringify(OPENAPI);
  get('/openapi.json', (response, request) =>
    writeAnswer(target(context, response, request), 200, 'application/json', openapi, false),
  );
  app.post('/api/v1/compact', (response, request) => {
    const exchange = new Exchange(context, response, request, ROUTE_MANAGEMENT, false);
    compact(options, exchange);
  });
  app.any(
    '/api/v1/compact',
    answerWithProblem(context, (method) => methodNotAllowed('/api/v1/compact', method, 'POST')),
  );
  app.any(
    '/*',
    answerWithProblem(context, (method, path) => {
      const routes = '/livez, /readyz, /metrics, /openapi.json, /api/v1/cluster, POST /api/v1/compact';
      return new CairnError(
        'route_not_found',
        `there is no route ${method} ${path.slice(0, 100)}; there are ${routes}`,
      );
    }),
  );

  const socket = await listen(uws, app, options.host, options.port);
  return {
    port: socket.port,
    close() {
      app.close();
    },
  };
}

function target(
  context: HttpContext,
  response: HttpResponse,
  request: Parameters<RouteHandler>[1],
): ReturnType<typeof otherTarget> {
  return { ...otherTarget(context, response, request), route: ROUTE_MANAGEMENT };
}

/** Answers when the compaction is done; a client that does not wait does not stop it. */
function compact(options: ManagementServerOptions, exchange: Exchange): void {
  const startedMs = options.clock.monotonicMs();
  options.compact().then(
    () => {
      const durationMs = Math.round(options.clock.monotonicMs() - startedMs);
      exchange.answer(200, 'application/json', JSON.stringify({ compacted: true, durationMs }));
    },
    (error: unknown) => {
      if (exchange.isOpen) exchange.fail(error);
      else reportUnexpected(exchange.context, error);
    },
  );
}

function methodNotAllowed(path: string, method: string, allow: string): CairnError {
  return new CairnError('method_not_allowed', `${path}: expected one of ${allow}; found ${method}`, {
    extra: { allow },
  });
}
