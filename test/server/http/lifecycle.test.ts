import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import test from 'node:test';
import { SILENT_LOGGER } from '../../../src/base/logger.js';
import { NodeClock } from '../../../src/platform/node-clock.js';
import { startHttpServer } from '../../../src/server/http/http-server.js';
import { httpLibrary, loadUws } from '../../../src/server/http/uws.js';
import { Metrics } from '../../../src/server/metrics.js';
import { MemoryService } from '../memory-service.js';
import { rawExchange, startFixture } from './http-fixture.js';

test('the library that runs is named with its version, and loaded once', () => {
  assert.match(httpLibrary(), /^uWebSockets\.js 20\.\d+/);
  assert.equal(loadUws(), loadUws());
});

test('a taken port is a configuration error that names it', async (t) => {
  const { port } = await startFixture(t);
  const second = startHttpServer({
    host: '127.0.0.1',
    port,
    service: new MemoryService(),
    metrics: new Metrics(),
    clock: new NodeClock(),
    logger: SILENT_LOGGER,
  });
  await assert.rejects(second, {
    code: 'configuration',
    message: new RegExp(`^port ${port} on 127\\.0\\.0\\.1 is taken`),
  });
});

test('drain finishes what is under way with Connection: close and takes no new connections', async (t) => {
  const fixture = await startFixture(t);
  let release!: () => void;
  fixture.service.gate = new Promise((resolve) => (release = resolve));
  const put = 'PUT /api/v1/kv/a HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n{"value":1}';
  const underWay = rawExchange(fixture.port, [put]);
  const idle = connect(fixture.port, '127.0.0.1');
  await once(idle, 'connect');
  // Answered after the PUT has been read.
  await fixture.fetch('/api/v1/kv/none');
  let drained = false;
  const draining = fixture.server.drain(20_000).then(() => (drained = true));
  const refused = connect(fixture.port, '127.0.0.1');
  const [error] = (await once(refused, 'error')) as [NodeJS.ErrnoException];
  assert.equal(error.code, 'ECONNREFUSED');
  assert.equal(drained, false);
  release();
  const { text, closed } = await underWay;
  assert.ok(closed);
  assert.match(text, /^HTTP\/1\.1 200 OK[^]*Connection: close[^]*"revision"/);
  await draining;
  // A connection that was open before is told to close by its next answer.
  idle.write('HEAD /api/v1/kv/none HTTP/1.1\r\nHost: x\r\n\r\nGET /api/v1/kv/none HTTP/1.1\r\nHost: x\r\n\r\n');
  let rest = '';
  idle.on('data', (data) => (rest += data.toString()));
  await once(idle, 'close');
  assert.equal(rest.split('Connection: close').length, 3);
});

test('drain ends by itself when a request does not', async (t) => {
  const fixture = await startFixture(t);
  fixture.service.gate = new Promise(() => {});
  const stuck = connect(fixture.port, '127.0.0.1');
  stuck.write('PUT /api/v1/kv/a HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n{"value":1}');
  await fixture.fetch('/api/v1/kv/none');
  await fixture.server.drain(1);
  const closed = once(
    stuck.on('error', () => {}),
    'close',
  );
  fixture.server.close();
  await closed;
});

test('CORS headers go only to origins that were named, and to nobody by default', async (t) => {
  const closed = await startFixture(t);
  const headers = { Origin: 'https://app.example', 'Access-Control-Request-Method': 'PUT' };
  for (const method of ['GET', 'OPTIONS']) {
    const response = await closed.fetch('/api/v1/kv/a', { method, headers });
    assert.equal(response.headers.get('access-control-allow-origin'), null);
  }
  const open = await startFixture(t, { corsOrigins: ['https://app.example'] });
  await open.put('a', 1);
  for (const [method, path] of [
    ['GET', '/api/v1/kv/a'],
    ['GET', '/api/v1/kv/none'],
    ['GET', '/api/v1/kv/range?prefix=a'],
    ['DELETE', '/api/v1/kv/a'],
    ['OPTIONS', '/api/v1/kv/a'],
    ['GET', '/nowhere'],
  ] as const) {
    const response = await open.fetch(path, { method, headers });
    assert.equal(response.headers.get('access-control-allow-origin'), 'https://app.example', `${method} ${path}`);
    assert.equal(response.headers.get('vary'), 'Origin');
    const other = await open.fetch(path, { method, headers: { ...headers, Origin: 'https://evil.example' } });
    assert.equal(other.headers.get('access-control-allow-origin'), null);
  }
  const preflight = await open.fetch('/api/v1/kv/a', { method: 'OPTIONS', headers });
  assert.match(preflight.headers.get('access-control-allow-methods')!, /PUT/);
  assert.match(preflight.headers.get('access-control-allow-headers')!, /If-Match/);
  const stream = await open.fetch('/api/v1/kv/range?prefix=a', {
    headers: { ...headers, Accept: 'application/x-ndjson' },
  });
  assert.equal(stream.headers.get('access-control-allow-origin'), 'https://app.example');
});
