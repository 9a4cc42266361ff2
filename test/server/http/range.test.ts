import assert from 'node:assert/strict';
import test from 'node:test';
import { PLAIN_PUT } from '../../../src/server/service.js';
import { problemOf, startFixture, type Fixture } from './http-fixture.js';

interface Page {
  readonly items: { key?: string; keyBase64?: string; value?: unknown; valueBase64?: string; revision: number }[];
  readonly revision: number;
  readonly cursor?: string;
}

async function range(fixture: Fixture, query: string): Promise<Page> {
  const response = await fixture.fetch(`/api/v1/kv/range?${query}`);
  assert.equal(response.status, 200, await response.clone().text());
  return (await response.json()) as Page;
}

async function filled(fixture: Fixture, keys: readonly string[]): Promise<void> {
  for (const key of keys) await fixture.put(key, key);
}

const keysOf = (page: Page): (string | undefined)[] => page.items.map(({ key }) => key);

test('a range is [startKey, endKey) in byte order, and prefix narrows it', async (t) => {
  const fixture = await startFixture(t);
  await filled(fixture, ['a', 'ab', 'b', 'b!', 'ba', 'c', '\u{10000}', '\uffff', 'é']);
  assert.deepEqual(keysOf(await range(fixture, 'startKey=ab&endKey=ba')), ['ab', 'b', 'b!']);
  assert.deepEqual(keysOf(await range(fixture, 'startKey=b')), ['b', 'b!', 'ba', 'c', 'é', '\uffff', '\u{10000}']);
  assert.deepEqual(keysOf(await range(fixture, 'endKey=b')), ['a', 'ab']);
  assert.deepEqual(keysOf(await range(fixture, 'prefix=b')), ['b', 'b!', 'ba']);
  assert.deepEqual(keysOf(await range(fixture, 'prefix=b&startKey=b!&endKey=ba')), ['b!']);
  assert.deepEqual(keysOf(await range(fixture, 'prefix=b&startKey=c')), []);
  assert.deepEqual(keysOf(await range(fixture, 'startKey=c&endKey=a')), []);
  assert.deepEqual(keysOf(await range(fixture, 'prefix=%C3%A9')), ['é']);
  assert.deepEqual(keysOf(await range(fixture, 'prefix=b&reverse=true')), ['ba', 'b!', 'b']);
});

test('items carry value and revision, or only keys and revisions', async (t) => {
  const fixture = await startFixture(t);
  const revision = await fixture.put('a', { x: 1 });
  await fixture.fetch('/api/v1/kv/raw', { method: 'PUT', headers: { 'Content-Type': 'text/plain' }, body: 'hi' });
  fixture.service.put(Buffer.from([0xff, 0x01]), 0, 2, Buffer.from('1'), PLAIN_PUT, () => {});
  const page = await range(fixture, 'limit=10');
  assert.deepEqual(page.items, [
    { key: 'a', value: { x: 1 }, revision },
    { key: 'raw', valueBase64: 'aGk=', contentType: 'text/plain', revision: revision + 1 },
    { keyBase64: '/wE=', value: 1, revision: revision + 2 },
  ]);
  assert.equal(page.revision, revision + 2);
  assert.deepEqual((await range(fixture, 'prefix=a&keysOnly=true')).items, [{ key: 'a', revision }]);
});

for (const reverse of [false, true]) {
  test(`pages end at the limit and go on ${reverse ? 'backwards ' : ''}at the instant of the first, by cursor or Link`, async (t) => {
    const fixture = await startFixture(t);
    const keys = Array.from({ length: 25 }, (_, i) => `k${String(i).padStart(2, '0')}`);
    await filled(fixture, keys);
    const seen: (string | undefined)[] = [];
    let next: string | null = `/api/v1/kv/range?prefix=k&limit=10&reverse=${String(reverse)}`;
    let revision = 0;
    let pages = 0;
    while (next !== null) {
      const response = await fixture.fetch(next);
      const page = (await response.json()) as Page;
      revision ||= page.revision;
      assert.equal(page.revision, revision);
      seen.push(...keysOf(page));
      const link: string | null = response.headers.get('link');
      assert.equal(link !== null, page.cursor !== undefined);
      next = link === null ? null : /^<(.*)>; rel="next"$/.exec(link)![1]!;
      if (next !== null) assert.ok(next.includes(`cursor=${page.cursor!}`));
      pages++;
      // What comes between pages is not in them.
      await fixture.put(`k${pages}x`, 'new');
    }
    assert.equal(pages, 3);
    assert.deepEqual(seen, reverse ? keys.reverse() : keys);
  });
}

test('a cursor with other parameters than it was made for, or that was altered, is 400 invalid_cursor', async (t) => {
  const fixture = await startFixture(t);
  await filled(fixture, ['a1', 'a2', 'a3', 'a4']);
  const { cursor } = await range(fixture, 'prefix=a&limit=2');
  assert.deepEqual(keysOf(await range(fixture, `limit=2&prefix=a&cursor=${cursor!}`)), ['a3', 'a4']);
  const altered = `${cursor!.slice(0, 8)}${cursor![8] === 'A' ? 'B' : 'A'}${cursor!.slice(9)}`;
  for (const query of [
    `prefix=b&limit=2&cursor=${cursor!}`,
    `prefix=a&limit=3&cursor=${cursor!}`,
    `prefix=a&limit=2&reverse=true&cursor=${cursor!}`,
    `prefix=a&limit=2&cursor=${altered}`,
    'prefix=a&limit=2&cursor=',
    'prefix=a&limit=2&cursor=hello',
    'prefix=a&limit=2&cursor=%00',
  ]) {
    const response = await fixture.fetch(`/api/v1/kv/range?${query}`);
    assert.equal(response.status, 400, query);
    assert.equal((await problemOf(response))['code'], 'invalid_cursor');
  }
});

test('a page ends at about 4 MiB even when its limit is not reached, and one big item always goes out', async (t) => {
  const fixture = await startFixture(t, { maxValueBytes: 6 << 20 });
  for (let i = 0; i < 6; i++) await fixture.put(`k${i}`, 'x'.repeat(1 << 20));
  await fixture.put('k6', 'x'.repeat(5 << 20));
  const seen: (string | undefined)[] = [];
  let query = 'prefix=k&limit=10000';
  for (;;) {
    const response = await fixture.fetch(`/api/v1/kv/range?${query}`);
    const text = await response.text();
    const page = JSON.parse(text) as Page;
    assert.ok(page.items.length === 1 || text.length < (4 << 20) + 500);
    seen.push(...keysOf(page));
    if (page.cursor === undefined) break;
    query = `prefix=k&limit=10000&cursor=${page.cursor}`;
  }
  assert.deepEqual(seen, ['k0', 'k1', 'k2', 'k3', 'k4', 'k5', 'k6']);
});

test('wrong parameters of a range are 400', async (t) => {
  const { fetch } = await startFixture(t);
  for (const query of [
    'limit=0',
    'limit=10001',
    'limit=x',
    'limit=',
    'colour=red',
    'prefix=a&prefix=b',
    'prefix=%ff',
    'prefix=%',
    `prefix=${'k'.repeat(4097)}`,
    'reverse=maybe',
  ]) {
    const response = await fetch(`/api/v1/kv/range?${query}`);
    assert.equal(response.status, 400, query);
    await problemOf(response);
  }
});

test('range without any of its parameters is the key named range', async (t) => {
  const { fetch, put } = await startFixture(t);
  const revision = await put('range', 'a key');
  for (const path of ['/api/v1/kv/range', '/api/v1/kv/range?', `/api/v1/kv/range?at=${revision}`]) {
    assert.equal(((await (await fetch(path)).json()) as { value: string }).value, 'a key');
  }
  assert.equal((await fetch('/api/v1/kv/range/x')).status, 404);
});

test('HEAD of a range has the headers of GET', async (t) => {
  const { fetch, put } = await startFixture(t);
  await put('a', 1);
  const get = await fetch('/api/v1/kv/range?prefix=a');
  const head = await fetch('/api/v1/kv/range?prefix=a', { method: 'HEAD' });
  assert.equal(head.status, 200);
  assert.equal(head.headers.get('content-length'), String((await get.text()).length));
});

test('a range at an old revision sees it, and gone history is 410', async (t) => {
  const fixture = await startFixture(t);
  const revision = await fixture.put('a', 'old');
  await fixture.put('a', 'new');
  await fixture.put('b', 'new');
  const page = await range(fixture, `prefix=&at=${revision}`);
  assert.deepEqual(page, { items: [{ key: 'a', value: 'old', revision }], revision });
  fixture.service.historyFloor = revision + 1;
  const gone = await fixture.fetch(`/api/v1/kv/range?prefix=a&at=${revision}`);
  assert.equal(gone.status, 410);
  assert.equal((await problemOf(gone))['minRevision'], revision + 1);
});

test('NDJSON streams all items and ends with their count', async (t) => {
  const fixture = await startFixture(t);
  const keys = Array.from({ length: 2500 }, (_, i) => `k${String(i).padStart(4, '0')}`);
  for (let i = 0; i < keys.length; i += 500) {
    const body = JSON.stringify(Object.fromEntries(keys.slice(i, i + 500).map((key) => [key, 'x'.repeat(200)])));
    await fixture.fetch('/api/v1/kv/batch', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body });
  }
  const response = await fixture.fetch('/api/v1/kv/range?prefix=k', { headers: { Accept: 'application/x-ndjson' } });
  assert.equal(response.headers.get('content-type'), 'application/x-ndjson');
  const lines = (await response.text())
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as { key: string; revision: number });
  const last = lines.pop() as unknown as { done: boolean; count: number; revision: number };
  assert.deepEqual(
    lines.map(({ key }) => key),
    keys,
  );
  assert.deepEqual({ done: last.done, count: last.count }, { done: true, count: keys.length });
  assert.ok(last.revision >= lines.at(-1)!.revision);
  assert.equal(fixture.service.openScans, 0);
  const limited = await fixture.fetch('/api/v1/kv/range?prefix=k&limit=3', {
    headers: { Accept: 'application/x-ndjson' },
  });
  assert.equal((await limited.text()).trimEnd().split('\n').length, 4);
});

test('scans are closed after each page', async (t) => {
  const fixture = await startFixture(t);
  await filled(fixture, ['a', 'b', 'c']);
  await range(fixture, 'limit=1');
  assert.equal(fixture.service.openScans, 0);
});
