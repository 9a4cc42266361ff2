import { CairnError } from '../../base/errors.js';
import type { Logger } from '../../base/logger.js';
import type { Clock } from '../../ports/clock.js';
import type { Metrics } from '../metrics.js';
import type { Service } from '../service.js';
import { handleBatchDelete, handleBatchGet, handleBatchPut } from './batch.js';
import { HttpContext } from './context.js';
import { handleDelete } from './delete.js';
import { handleGet } from './get.js';
import { listen } from './listen.js';
import { notImplemented } from './not-implemented.js';
import { handlePut } from './put.js';
import { handleRange, RANGE_PATH } from './range.js';
import { answerOptions, answerWithProblem, guarded } from './route.js';
import { loadUws, makeApp } from './uws.js';

export interface HttpServerOptions {
  readonly host: string;
  /** 0 picks a free one. */
  readonly port: number;
  readonly service: Service;
  readonly metrics: Metrics;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Default 1 MiB. */
  readonly maxValueBytes?: number;
  /** Of a batch, and of the answer to one. Default 16 MiB. */
  readonly maxBodyBytes?: number;
  /** Origins that browsers may call from; "*" for all. None by default: no CORS headers. */
  readonly corsOrigins?: readonly string[];
}

export interface HttpServer {
  readonly port: number;
  /** For example "uWebSockets.js 20.57.0". */
  readonly library: string;
  /** Stops listening, tells clients to close, and resolves when every request under way is answered or the time is over. */
  drain(timeoutMs: number): Promise<void>;
  /** Ends all connections at once. */
  close(): void;
}

const KEY_METHODS = 'GET, HEAD, PUT, PATCH, DELETE, OPTIONS';
const DEFAULT_MAX_VALUE_BYTES = 1 << 20;
const DEFAULT_MAX_BODY_BYTES = 16 << 20;

/** The public HTTP API (API.md section 2). Rejects with `configuration` when the port is taken. */
export async function startHttpServer(options: HttpServerOptions): Promise<HttpServer> {
  const { description, uws } = loadUws();
  const origins = options.corsOrigins ?? [];
  const context = new HttpContext({
    service: options.service,
    metrics: options.metrics,
    clock: options.clock,
    logger: options.logger,
    limits: {
      maxValueBytes: options.maxValueBytes ?? DEFAULT_MAX_VALUE_BYTES,
      maxBodyBytes: options.maxBodyBytes ?? DEFAULT_MAX_BODY_BYTES,
    },
    corsOrigins: origins.length === 0 ? null : new Set(origins),
  });
  const app = makeApp();

  app.get('/api/v1/kv/*', (response, request) => handleGet(context, response, request, false));
  app.head('/api/v1/kv/*', (response, request) => handleGet(context, response, request, true));
  app.get(RANGE_PATH, (response, request) => handleRange(context, response, request, false));
  app.head(RANGE_PATH, (response, request) => handleRange(context, response, request, true));
  app.put('/api/v1/kv/*', (response, request) => handlePut(context, response, request));
  app.del('/api/v1/kv/*', (response, request) => handleDelete(context, response, request));
  app.post('/api/v1/kv/batch', (response, request) => handleBatchPut(context, response, request));
  app.post('/api/v1/kv/batch/get', (response, request) => handleBatchGet(context, response, request));
  app.post('/api/v1/kv/batch/delete', (response, request) => handleBatchDelete(context, response, request));

  app.options('/api/v1/kv/*', guarded(context, answerOptions(context, KEY_METHODS)));
  app.options('/*', guarded(context, answerOptions(context, 'GET, HEAD, POST, OPTIONS')));

  app.patch(
    '/api/v1/kv/*',
    answerWithProblem(context, () => notImplemented('PATCH')),
  );
  app.post(
    '/api/v1/kv/txn',
    answerWithProblem(context, () => notImplemented('POST /api/v1/kv/txn')),
  );
  app.any(
    '/api/v1/watch',
    answerWithProblem(context, () => notImplemented('/api/v1/watch')),
  );
  app.any(
    '/api/v1/schemas',
    answerWithProblem(context, () => notImplemented('/api/v1/schemas')),
  );
  app.any(
    '/api/v1/schemas/*',
    answerWithProblem(context, () => notImplemented('/api/v1/schemas')),
  );

  app.any(
    '/api/v1/kv/*',
    answerWithProblem(context, (method, path) => methodNotAllowed(method, path)),
  );
  app.any(
    '/*',
    answerWithProblem(context, (method, path) => routeNotFound(method, path)),
  );

  const socket = await listen(uws, app, options.host, options.port);
  let isListening = true;
  const stopListening = (): void => {
    if (!isListening) return;
    isListening = false;
    uws.us_listen_socket_close(socket.token);
  };
  return {
    port: socket.port,
    library: description,
    drain(timeoutMs) {
      context.draining = true;
      stopListening();
      return new Promise((resolve) => {
        const timer = options.clock.setTimer(timeoutMs, resolve);
        void context.idle().then(() => {
          timer.cancel();
          resolve();
        });
      });
    },
    close() {
      context.draining = true;
      isListening = false;
      app.close();
    },
  };
}

function methodNotAllowed(method: string, path: string): CairnError {
  const isBatch = /^\/api\/v1\/kv\/(?:batch(?:\/get|\/delete)?|txn)$/.test(path);
  const allow = isBatch ? `${KEY_METHODS}, POST` : KEY_METHODS;
  return new CairnError('method_not_allowed', `${path}: expected one of ${allow}; found ${method}`, {
    extra: { allow },
  });
}

function routeNotFound(method: string, path: string): CairnError {
  return new CairnError(
    'route_not_found',
    `there is no route ${method} ${path.slice(0, 100)}; keys are under /api/v1/kv/`,
  );
}
