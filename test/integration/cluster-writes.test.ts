import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Cluster, NODES } from './cluster-processes.js';
import { afterwards, temporaryDirectory } from './data-directory.js';
import { member } from './http-call.js';

const KEYS = Array.from({ length: 60 }, (_, i) => `key:${i}`);

test('writes of a cluster of three processes', async (t) => {
  const cluster = await Cluster.start(temporaryDirectory(t), '3s');
  afterwards(t, () => cluster.stopAll());
  await cluster.whole();
  const put = (node: string, key: string, value: string): ReturnType<Cluster['call']> =>
    cluster.call(node, 'PUT', `/api/v1/kv/${key}`, JSON.stringify({ value }));

  await t.test('any node takes a write, and all show it with its revision', async () => {
    for (const [i, key] of KEYS.entries()) {
      const node = NODES[i % NODES.length]!;
      const written = await put(node, key, 'first');
      assert.equal(written.status, 200, written.body);
      assert.equal(written.headers['x-cairn-node'], node);
      for (const other of NODES) {
        const { body } = await cluster.read(other, `/api/v1/kv/${key}`);
        assert.deepEqual(
          [member(body, 'value'), member(body, 'revision')],
          ['first', member(written.body, 'revision')],
        );
      }
    }
  });

  await t.test('Promise 3: nobody answers: 504 with the outcome unknown, 503 where nothing was executed', async () => {
    const stopped = ['n2', 'n3'].map((name) => cluster.servers.get(name)!.child);
    for (const child of stopped) child.kill('SIGSTOP');
    const answers = await Promise.all(KEYS.map((key) => put('n1', key, 'second')));
    for (const child of stopped) child.kill('SIGCONT');
    for (const { status, headers, body } of answers) {
      assert.ok(status === 503 || status === 504, `${status} ${body}`);
      if (status === 504) assert.equal(member(body, 'outcome'), 'unknown');
      else assert.ok(Number(headers['retry-after']) > 0);
    }
    assert.ok(answers.some(({ status }) => status === 504));
    await cluster.whole();
    for (const [i, key] of KEYS.entries()) {
      const shown = await Promise.all(NODES.map((node) => cluster.read(node, `/api/v1/kv/${key}`)));
      const values = new Set(shown.map(({ body }) => member(body, 'value')));
      assert.equal(values.size, 1, `${key}: all nodes show the same`);
      if (answers[i]!.status === 503) assert.ok(values.has('first'), `${key} was not executed`);
    }
  });
});
