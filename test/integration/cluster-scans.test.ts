import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { CairnClient } from '../../src/client/index.js';
import { Cluster, NODES } from './cluster-processes.js';

/** Keys that fall into nearly all of 64 partitions; three digits, so that they are in the order of their numbers. */
const KEYS = Array.from({ length: 200 }, (_, i) => `item:${String(i).padStart(3, '0')}`);
const RANGE = '/api/v1/kv/range';

interface Page {
  readonly items: readonly { readonly key: string; readonly value: unknown; readonly revision: number }[];
  readonly revision: number;
  readonly cursor?: string;
}

async function page(cluster: Cluster, node: string, query: string): Promise<Page> {
  const { status, body } = await cluster.call(node, 'GET', `${RANGE}?${query}`);
  assert.equal(status, 200, body);
  return JSON.parse(body) as Page;
}

async function write(cluster: Cluster, node: string, value: number): Promise<void> {
  const body = JSON.stringify(Object.fromEntries(KEYS.map((key) => [key, value])));
  const { status, body: text } = await cluster.call(node, 'POST', '/api/v1/kv/batch', body);
  assert.equal(status, 200, text);
}

async function ndjson(cluster: Cluster, node: string, query: string): Promise<Record<string, unknown>[]> {
  const { httpPort } = cluster.servers.get(node)!;
  const text = await new Promise<string>((resolve, reject) => {
    const headers = { accept: 'application/x-ndjson' };
    const call = request(
      { host: '127.0.0.1', port: httpPort, path: `${RANGE}?${query}`, headers, agent: cluster.agent },
      (answer) => {
        let body = '';
        answer.setEncoding('utf8');
        answer.on('data', (more: string) => (body += more));
        answer.on('end', () => resolve(body));
        answer.on('error', reject);
      },
    );
    call.on('error', reject).end();
  });
  const lines = text.trim().split('\n');
  return lines.map((line) => JSON.parse(line) as Record<string, unknown>);
}

test('scans of a cluster of three processes', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'cairn-cluster-scans-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const cluster = await Cluster.start(directory, '10s');
  t.after(() => cluster.stopAll());
  await cluster.whole();
  await write(cluster, 'n1', 1);

  await t.test('a range through each node, forwards and backwards, shows what was answered before', async () => {
    for (const [i, node] of NODES.entries()) {
      await write(cluster, NODES[(i + 1) % 3]!, 10 + i);
      const { items, revision, cursor } = await page(cluster, node, 'prefix=item:&limit=1000');
      assert.deepEqual(
        items.map(({ key }) => key),
        KEYS,
      );
      assert.ok(items.every(({ value }) => value === 10 + i));
      assert.ok(items.every((item) => item.revision <= revision));
      assert.equal(cursor, undefined);
      const back = await page(cluster, node, 'startKey=item:050&endKey=item:060&reverse=true');
      assert.deepEqual(
        back.items.map(({ key }) => key),
        KEYS.slice(50, 60).toReversed(),
      );
    }
  });

  await t.test('a cursor goes on through another node at the same instant', async () => {
    await write(cluster, 'n1', 20);
    const first = await page(cluster, 'n1', 'prefix=item:&limit=80');
    await write(cluster, 'n2', 21);
    const second = await page(cluster, 'n2', `prefix=item:&limit=80&cursor=${first.cursor}`);
    const third = await page(cluster, 'n3', `prefix=item:&limit=80&cursor=${second.cursor}`);
    const again = await page(cluster, 'n3', `prefix=item:&limit=80&cursor=${first.cursor}`);
    const items = [first, second, third].flatMap((each) => each.items);
    assert.deepEqual(
      items.map(({ key, value }) => [key, value]),
      KEYS.map((key) => [key, 20]),
    );
    assert.deepEqual(again, second);
    assert.equal(third.cursor, undefined);
  });

  await t.test('a stream of lines is one instant', async () => {
    const lines = await ndjson(cluster, 'n3', 'prefix=item:');
    const end = lines.pop()!;
    assert.deepEqual([end['done'], end['count'], lines.length], [true, KEYS.length, KEYS.length]);
    assert.ok(lines.every(({ value }) => value === 21));
  });

  await t.test('several keys at once, by both protocols, and what is not there', async () => {
    const keys = [KEYS[3]!, 'nothing', KEYS[150]!];
    for (const node of NODES) {
      const { status, body } = await cluster.call(node, 'POST', '/api/v1/kv/batch/get', JSON.stringify({ keys }));
      assert.equal(status, 200, body);
      const { results } = JSON.parse(body) as { results: Record<string, { value: unknown } | null> };
      assert.deepEqual(
        keys.map((key) => results[key]?.value ?? null),
        [21, null, 21],
      );
      const client = new CairnClient({ endpoints: [`127.0.0.1:${cluster.servers.get(node)!.clientPort}`] });
      const found: string[] = [];
      for await (const { key } of client.range({ prefix: 'item:' })) found.push(key);
      await client.close();
      assert.deepEqual(found, KEYS);
    }
  });

  await t.test('the past is read through each node; the future is not', async () => {
    const { body } = await cluster.call('n1', 'GET', `/api/v1/kv/${KEYS[7]}`);
    const { revision } = JSON.parse(body) as { revision: number };
    await write(cluster, 'n2', 22);
    for (const node of NODES) {
      const past = await cluster.call(node, 'GET', `/api/v1/kv/${KEYS[7]}?at=${revision}`);
      assert.equal((JSON.parse(past.body) as { value: unknown }).value, 21);
      const before = await cluster.call(node, 'GET', `/api/v1/kv/${KEYS[7]}?at=${revision - 1}`);
      assert.equal((JSON.parse(before.body) as { value: unknown }).value, 20);
      const { items } = await page(cluster, node, `startKey=${KEYS[7]}&limit=1&at=${revision}`);
      assert.deepEqual([items[0]?.key, items[0]?.value], [KEYS[7], 21]);
      const future = await cluster.call(node, 'GET', `/api/v1/kv/${KEYS[7]}?at=${revision + 4096 * 3_600_000}`);
      assert.equal(future.status, 400, future.body);
      const keys = JSON.stringify({ keys: KEYS });
      assert.equal((await cluster.call(node, 'POST', '/api/v1/kv/batch/get', keys)).status, 200);
    }
  });

  await t.test('a node is killed: scans through the others wait for new leaders, none is refused', async () => {
    await cluster.stopNode('n1', 'SIGKILL');
    const pages = await Promise.all(
      Array.from({ length: 8 }, (_, i) => page(cluster, i % 2 === 0 ? 'n2' : 'n3', 'prefix=item:&limit=1000')),
    );
    for (const { items } of pages) {
      assert.deepEqual(
        items.map(({ key, value }) => [key, value]),
        KEYS.map((key) => [key, 22]),
      );
    }
  });

  await t.test('Promise 2: writers in a chain, read by scans while the node comes back', async () => {
    // Each write begins when the one before is answered, through another node: a scan that shows one shows all before it.
    let isOver = false;
    const chain = (async () => {
      for (let i = 0; !isOver; i++) {
        const path = `/api/v1/kv/chain:${i % KEYS.length}`;
        const { status } = await cluster.call(i % 2 === 0 ? 'n2' : 'n3', 'PUT', path, `{"value":${i}}`);
        if (status !== 200) throw new Error(`a write was answered ${status}`);
      }
    })();
    const restarted = cluster.startNode('n1');
    for (let i = 0; i < 60; i++) {
      const { items } = await page(cluster, i % 2 === 0 ? 'n3' : 'n2', 'prefix=chain:&limit=1000');
      const values = items.map(({ value }) => Number(value)).toSorted((a, b) => a - b);
      const last = values.at(-1) ?? -1;
      const expected = Array.from({ length: values.length }, (_, j) => last - values.length + 1 + j);
      assert.deepEqual(values, expected, 'the newest of all writes up to one');
    }
    await restarted;
    isOver = true;
    await chain;
  });
});
