import assert from 'node:assert/strict';
import test from 'node:test';
import { CairnError } from '../../../src/base/errors.js';
import { problemOf, startFixture, type Fixture } from './http-fixture.js';

interface Results {
  readonly results: Record<
    string,
    { revision?: number; value?: unknown; deleted?: boolean; error?: { code: string } } | null
  >;
}

async function post(
  fixture: Fixture,
  path: string,
  body: unknown,
): Promise<{ status: number; results: Results['results'] }> {
  const response = await fixture.fetch(`/api/v1/kv/batch${path}`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
  assert.equal(response.headers.get('x-cairn-node'), 'memory');
  return { status: response.status, results: ((await response.json()) as Results).results };
}

test('a batch stores each value as the text that came and gives each key its revision', async (t) => {
  const fixture = await startFixture(t);
  const { status, results } = await post(fixture, '', '{"a": 1.50 , "b\\u0063":[1, 2],"__proto__":null}');
  assert.equal(status, 200);
  assert.deepEqual(Object.keys(results), ['a', 'bc', '__proto__']);
  assert.match(await (await fixture.fetch('/api/v1/kv/a')).text(), /"value":1\.50,/);
  assert.match(await (await fixture.fetch('/api/v1/kv/bc')).text(), /"value":\[1, 2\],/);
  assert.match(await (await fixture.fetch('/api/v1/kv/__proto__')).text(), /"value":null,/);
});

test('an empty batch is answered with no results', async (t) => {
  const fixture = await startFixture(t);
  assert.deepEqual(await post(fixture, '', {}), { status: 200, results: {} });
  assert.deepEqual(await post(fixture, '/get', { keys: [] }), { status: 200, results: {} });
  assert.deepEqual(await post(fixture, '/delete', { keys: [] }), { status: 200, results: {} });
});

test('keys that cannot be stored are reported with 207 and the others are stored', async (t) => {
  const fixture = await startFixture(t, { maxValueBytes: 20 });
  const { status, results } = await post(fixture, '', {
    '': 1,
    [`${'k'.repeat(4097)}`]: 1,
    big: 'x'.repeat(19),
    fits: 'x'.repeat(18),
  });
  assert.equal(status, 207);
  assert.equal(results['']?.error?.code, 'invalid_key');
  assert.equal(results['k'.repeat(4097)]?.error?.code, 'invalid_key');
  assert.equal(results['big']?.error?.code, 'too_large');
  assert.ok(results['fits']?.revision);
  const lone = await post(fixture, '', '{"\\ud800":1}');
  assert.equal(lone.status, 207);
});

test('an error of the service is the error of each key', async (t) => {
  const fixture = await startFixture(t);
  fixture.service.writeError = new CairnError('disk_full', 'no space');
  const { status, results } = await post(fixture, '', { a: 1 });
  assert.equal(status, 207);
  assert.equal(results['a']?.error?.code, 'disk_full');
});

test('batch/get gives values at one instant and null where there is none', async (t) => {
  const fixture = await startFixture(t);
  const revision = await fixture.put('a', { x: 1 });
  await fixture.fetch('/api/v1/kv/raw', { method: 'PUT', headers: { 'Content-Type': 'text/plain' }, body: 'hi' });
  const { status, results } = await post(fixture, '/get', { keys: ['a', 'none', 'raw'] });
  assert.equal(status, 200);
  assert.deepEqual(results['a'], { value: { x: 1 }, revision });
  assert.equal(results['none'], null);
  assert.deepEqual(results['raw'], { valueBase64: 'aGk=', contentType: 'text/plain', revision: revision + 1 });
});

test('batch/get of more keys than one read takes keeps order and instant', async (t) => {
  const fixture = await startFixture(t);
  const keys = Array.from({ length: 300 }, (_, i) => `k${i}`);
  await post(fixture, '', Object.fromEntries(keys.filter((_, i) => i % 3 !== 0).map((key) => [key, key])));
  const { results } = await post(fixture, '/get', { keys });
  assert.deepEqual(Object.keys(results), keys);
  for (const [i, key] of keys.entries()) {
    if (i % 3 === 0) assert.equal(results[key], null);
    else assert.equal(results[key]?.value, key);
  }
});

test('batch/delete says for each key whether there was one', async (t) => {
  const fixture = await startFixture(t);
  await fixture.put('a', 1);
  const { status, results } = await post(fixture, '/delete', { keys: ['a', 'b'] });
  assert.equal(status, 200);
  assert.equal(results['a']?.deleted, true);
  assert.equal(results['b']?.deleted, false);
  assert.equal((await fixture.fetch('/api/v1/kv/a')).status, 404);
});

test('bodies that are no batch are 400, and nothing of them is stored', async (t) => {
  const { fetch } = await startFixture(t);
  for (const [path, body] of [
    ['', ''],
    ['', '[]'],
    ['', '{"a":1,"a":2}'],
    ['', '{"a":1,"\\u0061":2}'],
    ['', '{"a":1,"b":1e999}'],
    ['', '{"a":1'],
    ['/get', '{}'],
    ['/get', '{"keys":["a","a"]}'],
    ['/get', '{"keys":[1]}'],
    ['/get', '{"keys":["a"],"x":1}'],
    ['/get', '{"keys":{}}'],
    ['/delete', '["a"]'],
    ['/delete', '{"keys":["a",]}'],
  ] as const) {
    const response = await fetch(`/api/v1/kv/batch${path}`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body,
    });
    assert.equal(response.status, 400, body);
    await problemOf(response);
  }
  assert.equal((await fetch('/api/v1/kv/a')).status, 404);
});

test('more than 10,000 keys and bodies over the limit are 413, other content types 415', async (t) => {
  const { fetch } = await startFixture(t, { maxBodyBytes: 200_000 });
  const send = (body: string, contentType = 'application/json'): Promise<Response> =>
    fetch('/api/v1/kv/batch', { method: 'POST', headers: { 'Content-Type': contentType }, body });
  const entries = (count: number): string =>
    JSON.stringify(Object.fromEntries(Array.from({ length: count }, (_, i) => [`k${i}`, 0])));
  assert.equal((await send(entries(10_000))).status, 200);
  assert.equal((await send(entries(10_001))).status, 413);
  assert.equal((await send(JSON.stringify({ a: 'x'.repeat(200_000) }))).status, 413);
  assert.equal((await send('{}', 'text/plain')).status, 415);
});

test('an answer of batch/get over the limit is refused instead of built', async (t) => {
  const fixture = await startFixture(t, { maxBodyBytes: 100_000 });
  for (const key of ['a', 'b', 'c']) await fixture.put(key, 'x'.repeat(40_000));
  const body = JSON.stringify({ keys: ['a', 'b', 'c'] });
  const response = await fixture.fetch('/api/v1/kv/batch/get', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body,
  });
  assert.equal((await problemOf(response))['code'], 'too_large');
});
