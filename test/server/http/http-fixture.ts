import { connect, type Socket } from 'node:net';
import type { TestContext } from 'node:test';
import { SILENT_LOGGER } from '../../../src/base/logger.js';
import { NodeClock } from '../../../src/platform/node-clock.js';
import { startHttpServer, type HttpServer, type HttpServerOptions } from '../../../src/server/http/http-server.js';
import { Metrics } from '../../../src/server/metrics.js';
import { MemoryService } from '../memory-service.js';

export interface Fixture {
  readonly service: MemoryService;
  readonly metrics: Metrics;
  readonly server: HttpServer;
  readonly port: number;
  fetch(path: string, init?: RequestInit): Promise<Response>;
  put(key: string, value: unknown, headers?: Record<string, string>): Promise<number>;
}

/** A server on a free port over an in-memory service, closed when the test ends. */
export async function startFixture(t: TestContext, options: Partial<HttpServerOptions> = {}): Promise<Fixture> {
  const service = new MemoryService();
  const metrics = new Metrics();
  const server = await startHttpServer({
    host: '127.0.0.1',
    port: 0,
    service,
    metrics,
    clock: new NodeClock(),
    logger: SILENT_LOGGER,
    ...options,
  });
  t.after(() => server.close());
  const request = (path: string, init?: RequestInit): Promise<Response> =>
    fetch(`http://127.0.0.1:${server.port}${path}`, init);
  return {
    service,
    metrics,
    server,
    port: server.port,
    fetch: request,
    async put(key, value, headers = {}) {
      const response = await request(`/api/v1/kv/${encodeURIComponent(key)}`, {
        method: 'PUT',
        headers: { 'Content-Type': 'application/json', ...headers },
        body: JSON.stringify({ value }),
      });
      if (response.status !== 200) throw new Error(`PUT ${key}: ${response.status} ${await response.text()}`);
      return ((await response.json()) as { revision: number }).revision;
    },
  };
}

/** What came back on a raw connection until the server closed it, or until `until` holds for it. */
export function rawExchange(
  port: number,
  pieces: readonly (string | Uint8Array)[],
  until: (text: string) => boolean = () => false,
): Promise<{ text: string; closed: boolean }> {
  return new Promise((resolve, reject) => {
    const socket: Socket = connect(port, '127.0.0.1');
    const timer = setTimeout(() => {
      socket.destroy();
      reject(new Error(`no end after 30 s; so far: ${text}`));
    }, 30_000);
    let text = '';
    const finish = (closed: boolean): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve({ text, closed });
    };
    socket.on('connect', () => {
      for (const piece of pieces) socket.write(piece);
    });
    socket.on('data', (data) => {
      text += data.toString('latin1');
      if (until(text)) finish(false);
    });
    socket.on('error', () => {});
    socket.on('close', () => finish(true));
  });
}

export async function problemOf(response: Response): Promise<Record<string, unknown>> {
  if (response.headers.get('content-type') !== 'application/problem+json') {
    throw new Error(`expected a problem, found ${response.status} ${await response.text()}`);
  }
  const problem = (await response.json()) as Record<string, unknown>;
  if (problem['status'] !== response.status)
    throw new Error('the status in the problem differs from the one of the answer');
  return problem;
}
