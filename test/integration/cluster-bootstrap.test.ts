import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Cluster, RECOVERY_MS } from './cluster-processes.js';
import { call } from './http-call.js';

async function readiness(cluster: Cluster, name: string): ReturnType<typeof call> {
  return call(cluster.agent, cluster.servers.get(name)!.managementPort, 'GET', '/readyz');
}

async function until(cluster: Cluster, name: string, text: string): Promise<void> {
  for (let waited = 0; ; waited += 50) {
    const { status, body } = await readiness(cluster, name);
    assert.equal(status, 503, body);
    if (body.includes(text)) return;
    assert.ok(waited < RECOVERY_MS, `expected ${text}, found ${body}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

test('Raft rule 11: a new directory takes part only when every member has met it, so wiped disks never form a majority', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'cairn-bootstrap-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const cluster = await Cluster.start(directory, '5s', ['n1', 'n2']);
  t.after(() => cluster.stopAll());
  for (const name of ['n1', 'n2']) await until(cluster, name, 'waits for n3');
  await cluster.startNode('n3');
  await cluster.whole();

  await t.test('later starts need a majority only', async () => {
    await cluster.stopNode('n1', 'SIGKILL');
    await cluster.stopNode('n2', 'SIGKILL');
    await cluster.startNode('n2');
    await cluster.whole();
  });

  await t.test('two wiped disks of three wait for the node that knew them, which refuses them', async () => {
    await Promise.all(['n2', 'n3'].map((name) => cluster.stopNode(name, 'SIGKILL')));
    for (const name of ['n2', 'n3']) {
      rmSync(cluster.directory(name), { recursive: true });
      await cluster.startNode(name);
    }
    for (const name of ['n2', 'n3']) await until(cluster, name, 'waits for n1');
    await cluster.startNode('n1');
    const { lines } = cluster.servers.get('n1')!;
    for (const name of ['n2', 'n3']) {
      const refusal = `node \\"${name}\\" had another data directory before`;
      for (let waited = 0; !lines.some((line) => line.includes(refusal)); waited += 50) {
        assert.ok(waited < RECOVERY_MS, `n1 says that it refuses ${name}`);
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      await until(cluster, name, 'waits for n1');
    }
  });
});
