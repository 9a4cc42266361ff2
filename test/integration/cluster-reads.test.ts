import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { CairnClient } from '../../src/client/index.js';
import { Cluster } from './cluster-processes.js';

const REQUEST_TIMEOUT_MS = 6_000;
/** Keys that fall into nearly all of 64 partitions. */
const KEYS = Array.from({ length: 200 }, (_, i) => `key:${i}`);

test('reads of a cluster of three processes', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'cairn-cluster-reads-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const cluster = await Cluster.start(directory, `${REQUEST_TIMEOUT_MS}ms`);
  t.after(() => cluster.stopAll());
  await cluster.whole();
  const body = JSON.stringify(Object.fromEntries(KEYS.map((key) => [key, key])));
  assert.equal((await cluster.call('n1', 'POST', '/api/v1/kv/batch', body)).status, 200);

  await t.test('a leader is killed: reads through the others wait for the next one, none is refused', async () => {
    await cluster.stopNode('n1', 'SIGKILL');
    const { clientPort } = cluster.servers.get('n3')!;
    const client = new CairnClient({ endpoints: [`127.0.0.1:${clientPort}`] });
    const answers = await Promise.all(KEYS.map((key) => cluster.call('n2', 'GET', `/api/v1/kv/${key}`)));
    const found = await Promise.all(KEYS.map((key) => client.get(key, { deadlineMs: REQUEST_TIMEOUT_MS })));
    await client.close();
    for (const { status, body: text } of answers) assert.equal(status, 200, text);
    assert.deepEqual(
      found.map((version) => version?.value),
      KEYS,
    );
  });

  await t.test('a stale read is answered by the node that is asked, with its bound', async () => {
    const found = await cluster.call('n2', 'GET', '/api/v1/kv/key:1?consistency=stale');
    assert.equal(found.status, 200, found.body);
    assert.ok(Number(found.headers['x-cairn-staleness-ms']) < REQUEST_TIMEOUT_MS);
    const absent = await cluster.call('n3', 'GET', '/api/v1/kv/nothing?consistency=stale');
    assert.equal(absent.status, 404);
    assert.ok(Number(absent.headers['x-cairn-staleness-ms']) < REQUEST_TIMEOUT_MS);
    // Of all partitions: what is asked for below was confirmed by then.
    for (const key of KEYS) await cluster.call('n3', 'GET', `/api/v1/kv/${key}?consistency=stale`);
  });

  await t.test('the majority is gone: a read is 503 with Retry-After at its deadline', async () => {
    await cluster.stopNode('n2', 'SIGKILL');
    const started = performance.now();
    const { status, headers, body: text } = await cluster.call('n3', 'GET', '/api/v1/kv/key:1');
    assert.equal(status, 503, text);
    assert.ok(Number(headers['retry-after']) > 0);
    assert.ok(performance.now() - started > REQUEST_TIMEOUT_MS / 4, 'not at once');
  });

  await t.test('stale reads go on without a majority, and tell how old they may be', async () => {
    const client = new CairnClient({ endpoints: [`127.0.0.1:${cluster.servers.get('n3')!.clientPort}`] });
    const found = await client.get('key:2', { consistency: 'stale' });
    await client.close();
    assert.equal(found?.value, 'key:2');
    assert.ok(found.stalenessMs! > REQUEST_TIMEOUT_MS / 4);
    const { status, headers } = await cluster.call('n3', 'GET', '/api/v1/kv/key:1?consistency=stale');
    assert.equal(status, 200);
    assert.ok(Number(headers['x-cairn-staleness-ms']) > REQUEST_TIMEOUT_MS / 4);
  });

  await t.test('a majority is back: what was written is there', async () => {
    await cluster.startNode('n1');
    await cluster.whole();
    const { status } = await cluster.read('n3', '/api/v1/kv/key:1');
    assert.equal(status, 200);
  });
});
