import assert from 'node:assert/strict';
import test from 'node:test';
import { CairnError } from '../../../src/base/errors.js';
import { problemOf, startFixture } from './http-fixture.js';

const JSON_TYPE = { 'Content-Type': 'application/json' };

test('a value that was put comes back with its revision, as the text that came', async (t) => {
  const { fetch } = await startFixture(t);
  const text = '{"name" : "John", "big":12345678901234567890.10, "__proto__":{"a":1}}';
  const put = await fetch('/api/v1/kv/user:123', {
    method: 'PUT',
    headers: JSON_TYPE,
    body: `{ "value" :  ${text}  }`,
  });
  assert.equal(put.status, 200);
  const { key, revision } = (await put.json()) as { key: string; revision: number };
  assert.equal(key, 'user:123');
  assert.equal(put.headers.get('etag'), `"${revision}"`);
  assert.equal(put.headers.get('x-cairn-node'), 'memory');
  assert.match(put.headers.get('x-cairn-partition')!, /^\d+$/);

  const got = await fetch('/api/v1/kv/user:123');
  assert.equal(got.status, 200);
  assert.equal(got.headers.get('content-type'), 'application/json');
  assert.equal(got.headers.get('etag'), `"${revision}"`);
  assert.equal(got.headers.get('x-cairn-partition'), put.headers.get('x-cairn-partition'));
  assert.equal(await got.text(), `{"key":"user:123","value":${text},"revision":${revision}}`);
});

test('the lines of the README work as typed', async (t) => {
  const { fetch } = await startFixture(t);
  const value = '{"name": "John", "age": 30}';
  const put = await fetch('/api/v1/kv/user:123', {
    method: 'PUT',
    headers: JSON_TYPE,
    body: '{"value": "{\\"name\\": \\"John\\", \\"age\\": 30}"}',
  });
  assert.equal(put.status, 200);
  assert.equal(((await (await fetch('/api/v1/kv/user:123')).json()) as { value: unknown }).value, value);
  const range = await fetch('/api/v1/kv/range?startKey=user:1&endKey=user:100');
  assert.deepEqual(((await range.json()) as { items: unknown[] }).items, []);
  const deleted = await fetch('/api/v1/kv/user:123', { method: 'DELETE' });
  assert.equal(((await deleted.json()) as { deleted: boolean }).deleted, true);
  const batch = await fetch('/api/v1/kv/batch', {
    method: 'POST',
    headers: JSON_TYPE,
    body: '{"key1": "value1", "key2": "value2"}',
  });
  assert.equal(batch.status, 200);
  assert.deepEqual(Object.keys(((await batch.json()) as { results: object }).results), ['key1', 'key2']);
});

test('what plain curl -d sends, and no content type at all, is read as JSON', async (t) => {
  const { fetch, put } = await startFixture(t);
  await put('a', 0);
  for (const contentType of [
    'application/x-www-form-urlencoded',
    'application/json; charset=utf-8',
    'APPLICATION/JSON',
  ]) {
    const response = await fetch('/api/v1/kv/a', {
      method: 'PUT',
      headers: { 'Content-Type': contentType },
      body: '{"value":1}',
    });
    assert.equal(response.status, 200, contentType);
  }
  const response = await fetch('/api/v1/kv/a', { method: 'PUT', body: Buffer.from('{"value":2}') });
  assert.equal(response.status, 200);
  assert.equal(((await (await fetch('/api/v1/kv/a')).json()) as { value: number }).value, 2);
});

test('a raw value comes back raw with its content type, its revision and its expiry in headers', async (t) => {
  const { fetch } = await startFixture(t);
  const bytes = Buffer.from([0, 255, 10, 13, 128]);
  const put = await fetch('/api/v1/kv/logo', { method: 'PUT', headers: { 'Content-Type': 'image/png' }, body: bytes });
  const { revision } = (await put.json()) as { revision: number };
  const got = await fetch('/api/v1/kv/logo');
  assert.equal(got.headers.get('content-type'), 'image/png');
  assert.equal(got.headers.get('etag'), `"${revision}"`);
  assert.deepEqual(Buffer.from(await got.arrayBuffer()), bytes);
  const empty = await fetch('/api/v1/kv/empty', { method: 'PUT', headers: { 'Content-Type': 'text/plain' } });
  assert.equal(empty.status, 200);
  assert.equal(await (await fetch('/api/v1/kv/empty')).text(), '');
});

test('a content type that is none, or longer than 255 characters, is 415', async (t) => {
  const { fetch } = await startFixture(t);
  for (const contentType of ['nonsense', `text/${'x'.repeat(255)}`]) {
    const response = await fetch('/api/v1/kv/a', {
      method: 'PUT',
      headers: { 'Content-Type': contentType },
      body: 'x',
    });
    assert.equal((await problemOf(response))['code'], 'unsupported_media_type');
    assert.equal(response.status, 415);
  }
  const longest = `text/${'x'.repeat(250)}`;
  const response = await fetch('/api/v1/kv/a', { method: 'PUT', headers: { 'Content-Type': longest }, body: 'x' });
  assert.equal(response.status, 200);
  assert.equal((await fetch('/api/v1/kv/a')).headers.get('content-type'), longest);
});

test('an absent key is a 404 problem, with the headers of a data call', async (t) => {
  const { fetch } = await startFixture(t);
  const response = await fetch('/api/v1/kv/nobody');
  assert.equal(response.status, 404);
  assert.equal(response.headers.get('x-cairn-node'), 'memory');
  assert.match(response.headers.get('x-cairn-partition')!, /^\d+$/);
  const problem = await problemOf(response);
  assert.equal(problem['code'], 'key_not_found');
  assert.match(String(problem['detail']), /nobody/);
});

test('HEAD gives the headers of GET and no body, for found, absent and raw values', async (t) => {
  const { fetch, put } = await startFixture(t);
  await put('a', { long: 'x'.repeat(500) });
  await fetch('/api/v1/kv/raw', { method: 'PUT', headers: { 'Content-Type': 'text/plain' }, body: 'four' });
  for (const key of ['a', 'raw', 'absent']) {
    const get = await fetch(`/api/v1/kv/${key}`);
    const body = await get.text();
    const head = await fetch(`/api/v1/kv/${key}`, { method: 'HEAD' });
    assert.equal(head.status, get.status);
    assert.equal(head.headers.get('content-length'), String(body.length));
    assert.equal(head.headers.get('etag'), get.headers.get('etag'));
    assert.equal(head.headers.get('content-type'), get.headers.get('content-type'));
    assert.equal(await head.text(), '');
  }
});

test('a read that memory cannot answer goes the waiting way and says the same', async (t) => {
  const { fetch, put, service } = await startFixture(t);
  await put('a"\\ü', [1]);
  const path = `/api/v1/kv/${encodeURIComponent('a"\\ü')}`;
  const quick = await (await fetch(path)).text();
  service.blocked = true;
  assert.equal(await (await fetch(path)).text(), quick);
  assert.deepEqual((JSON.parse(quick) as { key: string }).key, 'a"\\ü');
  assert.equal((await fetch('/api/v1/kv/none')).status, 404);
});

test('DELETE says whether there was a key', async (t) => {
  const { fetch, put } = await startFixture(t);
  await put('a', 1);
  const first = (await (await fetch('/api/v1/kv/a', { method: 'DELETE' })).json()) as {
    deleted: boolean;
    revision: number;
  };
  assert.equal(first.deleted, true);
  assert.ok(first.revision > 0);
  const second = (await (await fetch('/api/v1/kv/a', { method: 'DELETE' })).json()) as { deleted: boolean };
  assert.equal(second.deleted, false);
  assert.equal((await fetch('/api/v1/kv/a')).status, 404);
});

test('ttl sets the time of expiry, which GET shows as RFC 3339, and the key is gone then', async (t) => {
  const { fetch, service } = await startFixture(t);
  const put = await fetch('/api/v1/kv/a', { method: 'PUT', headers: JSON_TYPE, body: '{"ttl": 1.5, "value": 1}' });
  assert.equal(put.status, 200);
  const got = (await (await fetch('/api/v1/kv/a')).json()) as { expiresAt: string };
  assert.equal(got.expiresAt, new Date(service.nowMs + 1500).toISOString());
  service.nowMs += 1500;
  assert.equal((await fetch('/api/v1/kv/a')).status, 404);
});

test('a ttl that is not a positive number of seconds is 400', async (t) => {
  const { fetch } = await startFixture(t);
  for (const ttl of ['0', '-1', '"5"', 'null', 'true', '1e300', '0.0001', '[]']) {
    const response = await fetch('/api/v1/kv/a', {
      method: 'PUT',
      headers: JSON_TYPE,
      body: `{"value":1,"ttl":${ttl}}`,
    });
    const problem = await problemOf(response);
    assert.equal(response.status, 400, ttl);
    assert.match(String(problem['detail']), /^ttl: /);
  }
});

test('an envelope without value, with an unknown or a repeated member, or that is no object, is 400', async (t) => {
  const { fetch } = await startFixture(t);
  for (const body of [
    '',
    '{}',
    '[]',
    '1',
    '{"ttl":1}',
    '{"value":1,"tll":1}',
    '{"value":1,"value":2}',
    '{"value":1,"val\\u0075e":2}',
    '{"value":1} x',
    '{"value":}',
    '{"value":1,}',
    'hello',
  ]) {
    const response = await fetch('/api/v1/kv/a', { method: 'PUT', headers: JSON_TYPE, body });
    assert.equal(response.status, 400, body);
    await problemOf(response);
  }
  assert.equal((await fetch('/api/v1/kv/a')).status, 404);
});

test('member names of the envelope may be written with escapes', async (t) => {
  const { fetch } = await startFixture(t);
  await fetch('/api/v1/kv/a', { method: 'PUT', headers: JSON_TYPE, body: '{"\\u0076alue":7,"t\\u0074l":9}' });
  const got = (await (await fetch('/api/v1/kv/a')).json()) as { value: number; expiresAt: string };
  assert.equal(got.value, 7);
  assert.ok(got.expiresAt);
});

test('numbers that no double can hold are refused, naming the place; others keep every digit', async (t) => {
  const { fetch } = await startFixture(t);
  const refused = await fetch('/api/v1/kv/a', { method: 'PUT', headers: JSON_TYPE, body: '{"value":[1e400]}' });
  const problem = await problemOf(refused);
  assert.equal(problem['code'], 'invalid_json');
  assert.equal(problem['offset'], 10);
  const text = '[9007199254740993,0.1000000000000000055511151231257827,1e308,-0]';
  await fetch('/api/v1/kv/a', { method: 'PUT', headers: JSON_TYPE, body: `{"value":${text}}` });
  assert.ok((await (await fetch('/api/v1/kv/a')).text()).includes(text));
});

test('keys are decoded once, may hold slashes, and are given back as text', async (t) => {
  const { fetch } = await startFixture(t);
  for (const [path, key] of [
    ['a/b//c/', 'a/b//c/'],
    ['a%2Fb', 'a/b'],
    ['%2525', '%25'],
    ['caf%C3%A9%20%F0%9F%90%98', 'café 🐘'],
    ['%00%01', '\u0000\u0001'],
    ['a+b', 'a+b'],
    ['range', 'range'],
    ['batch', 'batch'],
    ['__proto__', '__proto__'],
    ['%EF%BF%BD', '\ufffd'],
  ] as const) {
    const put = await fetch(`/api/v1/kv/${path}`, { method: 'PUT', headers: JSON_TYPE, body: '{"value":1}' });
    assert.equal(put.status, 200, path);
    assert.equal(((await put.json()) as { key: string }).key, key);
    assert.equal(((await (await fetch(`/api/v1/kv/${path}`)).json()) as { key: string }).key, key);
  }
});

test('the empty key, bad percent-encoding, bytes that are not UTF-8 and keys over 4,096 bytes are 400 invalid_key', async (t) => {
  const { fetch } = await startFixture(t);
  for (const path of [
    '',
    '%',
    '%2',
    '%zz',
    '%ff',
    '%C3%28',
    '%ED%A0%80',
    '%C0%80',
    'a'.repeat(4097),
    '%C3%A9'.repeat(2049),
  ]) {
    for (const method of ['GET', 'PUT', 'DELETE', 'HEAD']) {
      const init = method === 'PUT' ? { method, body: '{"value":1}' } : { method };
      const response = await fetch(`/api/v1/kv/${path}`, init);
      assert.equal(response.status, 400, `${method} ${path.slice(0, 20)}`);
      if (method !== 'HEAD') assert.equal((await problemOf(response))['code'], 'invalid_key');
    }
  }
});

test('keys of 4,096 bytes are ordinary, plain and percent-encoded', async (t) => {
  const { fetch } = await startFixture(t);
  for (const path of ['k'.repeat(4096), '%C3%A9'.repeat(2048), '%01'.repeat(4096)]) {
    assert.equal(
      (await fetch(`/api/v1/kv/${path}`, { method: 'PUT', headers: JSON_TYPE, body: '{"value":"v"}' })).status,
      200,
    );
    const got = (await (await fetch(`/api/v1/kv/${path}`)).json()) as { key: string; value: string };
    assert.equal(got.key, decodeURIComponent(path));
    assert.equal(got.value, 'v');
  }
});

test('a value of exactly the limit is stored, one byte more is 413, as JSON and raw', async (t) => {
  const { fetch } = await startFixture(t, { maxValueBytes: 100_000 });
  for (const [size, status] of [
    [100_000, 200],
    [100_001, 413],
  ] as const) {
    const value = `"${'x'.repeat(size - 2)}"`;
    const json = await fetch('/api/v1/kv/json', { method: 'PUT', headers: JSON_TYPE, body: `{"value":${value}}` });
    assert.equal(json.status, status);
    const raw = await fetch('/api/v1/kv/raw', {
      method: 'PUT',
      headers: { 'Content-Type': 'text/plain' },
      body: 'x'.repeat(size),
    });
    assert.equal(raw.status, status);
    if (status === 413) assert.equal((await problemOf(raw))['code'], 'too_large');
  }
  assert.equal((await (await fetch('/api/v1/kv/raw')).text()).length, 100_000);
  assert.equal(((await (await fetch('/api/v1/kv/json')).json()) as { value: string }).value.length, 99_998);
});

test('JSON nested 128 deep is stored, 129 and 100,000 deep are a clear 400', async (t) => {
  const { fetch } = await startFixture(t);
  for (const [depth, status] of [
    [128, 200],
    [129, 400],
    [100_000, 400],
  ] as const) {
    const body = `{"value":${'['.repeat(depth)}${']'.repeat(depth)}}`;
    const response = await fetch('/api/v1/kv/deep', { method: 'PUT', headers: JSON_TYPE, body });
    assert.equal(response.status, status);
    if (status === 400) assert.match(String((await problemOf(response))['detail']), /128 nested/);
  }
});

test('a failed write is the problem of its code', async (t) => {
  const { fetch, service } = await startFixture(t);
  for (const [code, status] of [
    ['disk_full', 507],
    ['overloaded', 503],
    ['shutting_down', 503],
    ['deadline_exceeded', 504],
    ['internal', 500],
  ] as const) {
    service.writeError = new CairnError(code, 'because');
    const response = await fetch('/api/v1/kv/a', { method: 'PUT', headers: JSON_TYPE, body: '{"value":1}' });
    const problem = await problemOf(response);
    assert.equal(response.status, status);
    assert.equal(problem['code'], code);
    assert.equal(problem['type'], `urn:cairn:problem:${code}`);
    assert.equal(response.headers.get('retry-after'), status === 503 || status === 507 ? '1' : null);
    assert.equal(problem['outcome'], code === 'deadline_exceeded' ? 'unknown' : undefined);
  }
});

test('what is not there yet says so with 501', async (t) => {
  const { fetch } = await startFixture(t);
  const calls: [string, RequestInit][] = [
    ['/api/v1/kv/a', { method: 'PATCH', body: '{}' }],
    ['/api/v1/kv/txn', { method: 'POST', body: '{}' }],
    ['/api/v1/watch?key=a', {}],
    ['/api/v1/schemas/user:', { method: 'PUT', body: '{}' }],
    ['/api/v1/kv/a', { method: 'PUT', headers: { 'Idempotency-Key': 'x' }, body: '{"value":1}' }],
    ['/api/v1/kv/a', { method: 'DELETE', headers: { 'Idempotency-Key': 'x' } }],
  ];
  for (const [path, init] of calls) {
    const response = await fetch(path, init);
    assert.equal(response.status, 501, path);
    assert.equal((await problemOf(response))['code'], 'not_implemented');
  }
});

test('an unknown route is a 404 problem, a known path with another method a 405 with Allow', async (t) => {
  const { fetch } = await startFixture(t);
  const unknown = await fetch('/nowhere');
  assert.equal(unknown.status, 404);
  assert.equal((await problemOf(unknown))['code'], 'route_not_found');
  const method = await fetch('/api/v1/kv/a', { method: 'POST', body: '{}' });
  assert.equal(method.status, 405);
  assert.match(method.headers.get('allow')!, /GET, HEAD, PUT/);
  assert.equal((await problemOf(method))['code'], 'method_not_allowed');
  const options = await fetch('/api/v1/kv/a', { method: 'OPTIONS' });
  assert.equal(options.status, 204);
  assert.match(options.headers.get('allow')!, /PUT/);
});

test('unknown parameters are 400', async (t) => {
  const { fetch } = await startFixture(t);
  for (const method of ['GET', 'PUT', 'DELETE']) {
    const init = method === 'PUT' ? { method, body: '{"value":1}' } : { method };
    const response = await fetch('/api/v1/kv/a?color=red', init);
    assert.equal((await problemOf(response))['code'], 'invalid_request');
  }
});

test('requests are counted by route and status, without a sample per key', async (t) => {
  const { fetch, put, metrics } = await startFixture(t);
  await put('a', 1);
  await fetch('/api/v1/kv/a');
  await fetch('/api/v1/kv/b');
  const text = await metrics.text();
  assert.match(text, /cairn_http_requests_total\{route="put",status="200"\} 1/);
  assert.match(text, /cairn_http_requests_total\{route="get",status="404"\} 1/);
  assert.match(text, /cairn_http_request_duration_seconds_bucket\{route="get",le="\+Inf"\} 2/);
  assert.match(text, /cairn_http_request_duration_seconds_count\{route="get"\} 2/);
});
