import assert from 'node:assert/strict';
import test from 'node:test';
import { CairnError } from '../../../src/base/errors.js';
import { problemOf, startFixture, type Fixture } from './http-fixture.js';

function write(fixture: Fixture, method: 'PUT' | 'DELETE', headers: Record<string, string>): Promise<Response> {
  return fixture.fetch('/api/v1/kv/a', {
    method,
    headers: { 'Content-Type': 'application/json', ...headers },
    ...(method === 'PUT' ? { body: '{"value":2}' } : {}),
  });
}

test('a write whose If-Match names the revision goes through, any other is 412 with the current revision', async (t) => {
  const fixture = await startFixture(t);
  for (const method of ['PUT', 'DELETE'] as const) {
    const revision = await fixture.put('a', 1);
    for (const ifMatch of ['"1"', `W/"${revision}"`, '"x"', `"1", W/"${revision}"`, `"0${revision}"`]) {
      const response = await write(fixture, method, { 'If-Match': ifMatch });
      assert.equal(response.status, 412, ifMatch);
      assert.equal(response.headers.get('etag'), `"${revision}"`);
      const problem = await problemOf(response);
      assert.equal(problem['code'], 'precondition_failed');
      assert.equal(problem['currentRevision'], revision);
    }
    assert.equal((await write(fixture, method, { 'If-Match': `W/"9", "1" ,"${revision}"` })).status, 200);
  }
});

test('If-Match: * needs the key, If-None-Match: * needs its absence', async (t) => {
  const fixture = await startFixture(t);
  const absent = await write(fixture, 'PUT', { 'If-Match': '*' });
  assert.equal(absent.status, 412);
  assert.equal(absent.headers.get('etag'), null);
  assert.equal((await problemOf(absent))['currentRevision'], 0);
  assert.equal((await write(fixture, 'PUT', { 'If-None-Match': '*' })).status, 200);
  assert.equal((await write(fixture, 'PUT', { 'If-None-Match': '*' })).status, 412);
  assert.equal((await write(fixture, 'PUT', { 'If-Match': '*' })).status, 200);
  assert.equal((await write(fixture, 'DELETE', { 'If-Match': '*' })).status, 200);
  assert.equal((await write(fixture, 'DELETE', { 'If-Match': '*' })).status, 412);
});

test('conditions that are malformed, contradict each other or mean nothing on a write are 400', async (t) => {
  const fixture = await startFixture(t);
  for (const headers of [
    { 'If-Match': '5' },
    { 'If-Match': '"5' },
    { 'If-Match': '*, "5"' },
    { 'If-None-Match': '"5"' },
    { 'If-Match': '*', 'If-None-Match': '*' },
  ] as Record<string, string>[]) {
    const response = await write(fixture, 'PUT', headers);
    assert.equal(response.status, 400, JSON.stringify(headers));
    assert.equal((await problemOf(response))['code'], 'invalid_request');
  }
});

test('a read whose If-None-Match names the revision is 304 without a body', async (t) => {
  const { fetch, put, service } = await startFixture(t);
  const revision = await put('a', 1);
  for (const blocked of [false, true]) {
    service.blocked = blocked;
    for (const tag of [`"${revision}"`, `W/"${revision}"`, `"1", "${revision}"`, '*']) {
      const response = await fetch('/api/v1/kv/a', { headers: { 'If-None-Match': tag } });
      assert.equal(response.status, 304, tag);
      assert.equal(response.headers.get('etag'), `"${revision}"`);
      assert.equal(await response.text(), '');
    }
    assert.equal((await fetch('/api/v1/kv/a', { headers: { 'If-None-Match': '"1"' } })).status, 200);
    assert.equal((await fetch('/api/v1/kv/a', { headers: { 'If-None-Match': 'nonsense' } })).status, 400);
    assert.equal((await fetch('/api/v1/kv/none', { headers: { 'If-None-Match': '*' } })).status, 404);
  }
});

test('at= reads an old revision; the future is 400, what has gone is 410 with minRevision', async (t) => {
  const { fetch, put, service } = await startFixture(t);
  const first = await put('a', 'old');
  const second = await put('a', 'new');
  const old = await fetch(`/api/v1/kv/a?at=${first}`);
  assert.equal(old.headers.get('etag'), `"${first}"`);
  assert.equal(((await old.json()) as { value: string }).value, 'old');
  assert.equal((await fetch(`/api/v1/kv/a?at=${first - 1}`)).status, 404);
  for (const at of [
    `${second + 1}`,
    '99999999999999999999',
    '2200-01-01T00:00:00Z',
    'yesterday',
    '2025-13-01T00:00:00Z',
    '',
    '-1',
    '1.5',
  ]) {
    const response = await fetch(`/api/v1/kv/a?at=${at}`);
    assert.equal(response.status, 400, at);
    assert.equal((await problemOf(response))['code'], 'invalid_request');
  }
  service.historyFloor = second;
  for (const at of [
    `${first}`,
    '0',
    '2025-01-01T00:00:00Z',
    '2025-01-01T01:00:00+01:00',
    '2024-06-01T00:00:00.5-02:00',
  ]) {
    const gone = await fetch(`/api/v1/kv/a?at=${at}`);
    assert.equal(gone.status, 410, at);
    const problem = await problemOf(gone);
    assert.equal(problem['code'], 'history_gone');
    assert.equal(problem['minRevision'], second);
  }
});

test('a time in at= is the revision of that millisecond', async (t) => {
  const { fetch, put } = await startFixture(t);
  // The revisions of the memory service begin at 4096: one millisecond after the epoch of revisions.
  await put('a', 1);
  assert.equal((await fetch('/api/v1/kv/a?at=2025-01-01T00:00:00.001Z')).status, 404);
  assert.equal((await fetch('/api/v1/kv/a?at=2025-01-01T00:00:00.002Z')).status, 400);
});

test('stale reads carry their staleness, linearizable ones do not, other consistencies are 400', async (t) => {
  const { fetch, put } = await startFixture(t);
  await put('a', 1);
  assert.equal((await fetch('/api/v1/kv/a?consistency=stale')).headers.get('x-cairn-staleness-ms'), '0');
  assert.equal((await fetch('/api/v1/kv/a?consistency=linearizable')).headers.get('x-cairn-staleness-ms'), null);
  assert.equal((await fetch('/api/v1/kv/range?prefix=a&consistency=stale')).headers.get('x-cairn-staleness-ms'), '0');
  assert.equal((await fetch('/api/v1/kv/a?consistency=eventual')).status, 400);
});

test('every kind of stale read asks the service for no more, and tells what that says of its age', async (t) => {
  const { fetch, put, service } = await startFixture(t);
  await put('a', 1);
  service.blocked = true;
  service.stalenessMs = 12;
  const calls = [
    () => fetch('/api/v1/kv/a?consistency=stale'),
    () => fetch('/api/v1/kv/a?consistency=stale', { method: 'HEAD' }),
    () => fetch('/api/v1/kv/range?prefix=a&consistency=stale'),
    () => fetch('/api/v1/kv/range?prefix=a&consistency=stale', { headers: { Accept: 'application/x-ndjson' } }),
    () =>
      fetch('/api/v1/kv/batch/get?consistency=stale', {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: '{"keys":["a"]}',
      }),
  ];
  for (const [i, call] of calls.entries()) {
    const response = await call();
    assert.equal(response.status, 200);
    assert.equal(response.headers.get('x-cairn-staleness-ms'), '12');
    assert.equal(service.staleReads, i + 1);
    await response.text();
  }
  const absent = await fetch('/api/v1/kv/b?consistency=stale');
  assert.deepEqual([absent.status, absent.headers.get('x-cairn-staleness-ms')], [404, '12']);
  assert.equal(((await absent.json()) as { stalenessMs: number }).stalenessMs, 12);
  assert.equal((await fetch('/api/v1/kv/b')).headers.get('x-cairn-staleness-ms'), null);
  assert.equal((await fetch('/api/v1/kv/a')).headers.get('x-cairn-staleness-ms'), null);
  assert.equal(service.staleReads, calls.length + 1);
});

test('without a leader or a quorum a write is 503 with Retry-After; with an unknown outcome it is 504 and says so', async (t) => {
  const fixture = await startFixture(t);
  for (const code of ['unavailable', 'not_leader', 'not_ready'] as const) {
    fixture.service.writeError = new CairnError(code, 'no');
    const response = await write(fixture, 'PUT', {});
    assert.equal(response.status, 503);
    assert.equal(response.headers.get('retry-after'), '1');
    assert.equal((await problemOf(response))['code'], code);
  }
  fixture.service.writeError = new CairnError('deadline_exceeded', 'no answer');
  const response = await write(fixture, 'PUT', {});
  const problem = await problemOf(response);
  assert.deepEqual([response.status, problem['outcome']], [504, 'unknown']);
});
