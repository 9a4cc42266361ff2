import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { SILENT_LOGGER } from '../../../src/base/logger.js';
import { NodeClock } from '../../../src/platform/node-clock.js';
import { startHttpServer } from '../../../src/server/http/http-server.js';
import { loadUws, type App } from '../../../src/server/http/uws.js';
import { startManagementServer } from '../../../src/server/management/management-server.js';
import { Metrics } from '../../../src/server/metrics.js';
import { MemoryService } from '../memory-service.js';

const METHODS = { get: 'get', head: 'head', put: 'put', post: 'post', del: 'delete', patch: 'patch' } as const;

interface Api {
  readonly port: number;
  /** "method /path" of every route but those for all methods and OPTIONS, which answer with problems. */
  readonly registered: string[];
}

/** Both servers, and the routes that they register with the library. */
async function startApis(t: TestContext): Promise<{ data: Api; management: Api }> {
  const library = loadUws().uws as { App: () => App };
  const makeApp = library.App;
  let registered: string[] = [];
  library.App = () => {
    const app = makeApp();
    const routes = registered;
    for (const [method, name] of Object.entries(METHODS) as [keyof typeof METHODS, string][]) {
      const register = app[method].bind(app);
      Object.defineProperty(app, method, {
        value: (path: string, handler: Parameters<typeof register>[1]) => {
          routes.push(`${name} ${path.replace('/*', '/{key}')}`);
          return register(path, handler);
        },
      });
    }
    return app;
  };
  t.after(() => {
    library.App = makeApp;
  });
  const options = {
    host: '127.0.0.1',
    port: 0,
    service: new MemoryService(),
    metrics: new Metrics(),
    clock: new NodeClock(),
    logger: SILENT_LOGGER,
  };
  const data = await startHttpServer(options);
  t.after(() => data.close());
  const dataRoutes = registered;
  registered = [];
  const management = await startManagementServer({ ...options, compact: () => Promise.resolve() });
  t.after(() => management.close());
  return {
    data: { port: data.port, registered: dataRoutes },
    management: { port: management.port, registered },
  };
}

type Paths = Record<string, Record<string, { tags?: string[] }>>;

test('openapi.json describes exactly the routes of both ports', async (t) => {
  const { data, management } = await startApis(t);
  const url = `http://127.0.0.1:${management.port}/openapi.json`;
  const { paths } = (await (await fetch(url)).json()) as { paths: Paths };
  const documented = (tag: string): string[] =>
    Object.entries(paths).flatMap(([path, operations]) =>
      Object.entries(operations)
        .filter(([, { tags }]) => tags?.includes(tag))
        .map(([method]) => `${method} ${path}`),
    );
  for (const [tag, { port, registered }] of Object.entries({ data, management })) {
    assert.ok(registered.length > 5, `the routes of the ${tag} port are seen`);
    const described = new Set(documented(tag));
    for (const route of described) assert.ok(registered.includes(route), `${route} is described and does not exist`);
    for (const route of registered) {
      // A GET answers HEAD too, without a word.
      if (described.has(route) || described.has(route.replace('head ', 'get '))) continue;
      const [method, path] = route.split(' ') as [string, string];
      const { status } = await fetch(`http://127.0.0.1:${port}${path}`, { method: method.toUpperCase() });
      assert.equal(status, 501, `${route} exists and is not described`);
    }
  }
});
