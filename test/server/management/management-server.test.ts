import assert from 'node:assert/strict';
import test, { type TestContext } from 'node:test';
import { CairnError } from '../../../src/base/errors.js';
import { SILENT_LOGGER } from '../../../src/base/logger.js';
import { NodeClock } from '../../../src/platform/node-clock.js';
import { startManagementServer } from '../../../src/server/management/management-server.js';
import { Metrics } from '../../../src/server/metrics.js';
import { MemoryService } from '../memory-service.js';

interface Fixture {
  readonly service: MemoryService;
  readonly metrics: Metrics;
  readonly compact: { calls: number; error: Error | null };
  fetch(path: string, init?: RequestInit): Promise<Response>;
}

async function startFixture(t: TestContext): Promise<Fixture> {
  const service = new MemoryService();
  const metrics = new Metrics();
  const compact: Fixture['compact'] = { calls: 0, error: null };
  const server = await startManagementServer({
    host: '127.0.0.1',
    port: 0,
    service,
    metrics,
    clock: new NodeClock(),
    logger: SILENT_LOGGER,
    async compact() {
      compact.calls++;
      if (compact.error !== null) throw compact.error;
    },
  });
  t.after(() => server.close());
  return { service, metrics, compact, fetch: (path, init) => fetch(`http://127.0.0.1:${server.port}${path}`, init) };
}

test('livez says 200 also when the node is not ready', async (t) => {
  const { fetch, service } = await startFixture(t);
  service.ready = false;
  const response = await fetch('/livez');
  assert.equal(response.status, 200);
  assert.deepEqual(await response.json(), { status: 'live' });
});

test('readyz is 200 or 503, and says which checks fail; verbose lists all', async (t) => {
  const { fetch, service } = await startFixture(t);
  assert.equal((await fetch('/readyz')).status, 200);
  const verbose = (await (await fetch('/readyz?verbose')).json()) as { checks: { name: string; ok: boolean }[] };
  assert.deepEqual(
    verbose.checks.map(({ name, ok }) => [name, ok]),
    [['serving', true]],
  );
  service.ready = false;
  const response = await fetch('/readyz');
  assert.equal(response.status, 503);
  const body = (await response.json()) as { status: string; checks: { detail: string }[] };
  assert.equal(body.status, 'not ready');
  assert.equal(body.checks[0]!.detail, 'draining');
  assert.equal((await fetch('/readyz', { method: 'HEAD' })).status, 503);
});

test('metrics are Prometheus text with a type for each', async (t) => {
  const { fetch, metrics } = await startFixture(t);
  metrics.logWrite(0.3, 4096, 2);
  metrics.gauge('cairn_test_gauge', 'a gauge', ['kind'], () => [{ labels: { kind: 'x' }, value: 7 }]);
  const response = await fetch('/metrics');
  assert.match(response.headers.get('content-type')!, /^text\/plain; version=0\.0\.4/);
  const text = await response.text();
  assert.match(text, /# TYPE cairn_http_requests_total counter/);
  assert.match(text, /# TYPE cairn_log_write_duration_seconds histogram/);
  assert.match(text, /cairn_log_write_duration_seconds_bucket\{le="0.0005"\} 1/);
  assert.match(text, /cairn_log_written_bytes_total 4096/);
  assert.match(text, /cairn_test_gauge\{kind="x"\} 7/);
  for (const line of text.split('\n')) assert.match(line, /^(?:#.*|[a-z_]+(?:\{[^}]*\})? [-\d.e+]+|)$/);
});

test('the cluster of one shows its node, its partitions and their leaders', async (t) => {
  const { fetch } = await startFixture(t);
  const cluster = (await (await fetch('/api/v1/cluster')).json()) as {
    nodes: { id: string; partitionsLed: number }[];
    partitions: { partition: number; leader: string; lag: number }[];
  };
  assert.deepEqual(
    cluster.nodes.map(({ id, partitionsLed }) => [id, partitionsLed]),
    [['memory', 64]],
  );
  assert.equal(cluster.partitions.length, 64);
  assert.ok(cluster.partitions.every(({ leader, lag }) => leader === 'memory' && lag === 0));
});

test('compact answers when the compaction is done, or with its problem', async (t) => {
  const { fetch, compact } = await startFixture(t);
  const response = await fetch('/api/v1/compact', { method: 'POST' });
  assert.equal(response.status, 200);
  assert.equal(((await response.json()) as { compacted: boolean }).compacted, true);
  assert.equal(compact.calls, 1);
  compact.error = new CairnError('disk_full', 'no space for a compaction');
  assert.equal((await fetch('/api/v1/compact', { method: 'POST' })).status, 507);
  assert.equal((await fetch('/api/v1/compact')).status, 405);
});

test('openapi.json is 3.1, resolves its references and names every operation once', async (t) => {
  const { fetch } = await startFixture(t);
  const document = (await (await fetch('/openapi.json')).json()) as {
    openapi: string;
    paths: Record<string, Record<string, { operationId?: string }>>;
    components: { schemas: Record<string, unknown> };
  };
  assert.match(document.openapi, /^3\.1\./);
  const references = [...JSON.stringify(document).matchAll(/"\$ref":"#\/components\/schemas\/(\w+)"/g)].map(
    (match) => match[1]!,
  );
  assert.ok(references.length > 0);
  for (const name of references) assert.ok(document.components.schemas[name] !== undefined, name);
  const operations = Object.values(document.paths).flatMap((path) =>
    Object.values(path).flatMap((operation) => operation.operationId ?? []),
  );
  assert.equal(new Set(operations).size, operations.length);
  for (const path of Object.keys(document.paths).filter(
    (name) => !name.startsWith('/api/v1/kv') && name !== '/api/v1/compact',
  )) {
    assert.equal((await fetch(path)).status, 200, path);
  }
});

test('unknown routes are 404 problems and wrong methods 405 with Allow', async (t) => {
  const { fetch } = await startFixture(t);
  const unknown = await fetch('/api/v1/kv/a');
  assert.equal(unknown.status, 404);
  assert.equal(((await unknown.json()) as { code: string }).code, 'route_not_found');
  const wrong = await fetch('/metrics', { method: 'POST', body: 'x' });
  assert.equal(wrong.status, 405);
  assert.equal(wrong.headers.get('allow'), 'GET, HEAD');
});
