import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Cluster, NODES, RECOVERY_MS } from './cluster-processes.js';
import { call } from './http-call.js';
import { failingServer } from './server-process.js';

const ROUNDS = Number(process.env['CAIRN_CLUSTER_KILL_ROUNDS'] ?? 4);
const WRITERS = 6;
const KEYS_PER_WRITER = 10;
const WRITE_MS = 1500;

class KeyHistory {
  /** The last write that was answered with success, and the last that was sent. */
  acknowledged = 0;
  attempted = 0;
  revision = 0;
}

/** Writes rising numbers to its own keys, each time through another node, until it is told to stop. */
async function write(cluster: Cluster, writer: number, keys: readonly KeyHistory[], until: number): Promise<number> {
  let acknowledged = 0;
  for (let i = 0; performance.now() < until; i++) {
    const names = [...cluster.servers.keys()];
    const name = names[(i + writer) % names.length];
    if (name === undefined) break;
    const history = keys[i % keys.length]!;
    const value = ++history.attempted;
    const path = `/api/v1/kv/writer:${writer}:${i % keys.length}`;
    const answer = await cluster.call(name, 'PUT', path, JSON.stringify({ value })).catch(() => null);
    if (answer === null) {
      // The node was killed: nobody knows.
      await new Promise((resolve) => setTimeout(resolve, 10));
      continue;
    }
    assert.ok([200, 503, 504].includes(answer.status), `${answer.status} ${answer.body}`);
    if (answer.status !== 200) continue;
    const { revision } = JSON.parse(answer.body) as { revision: number };
    assert.ok(revision > history.revision, `Raft rule 20: revision ${revision} came after ${history.revision}`);
    history.acknowledged = value;
    history.revision = revision;
    acknowledged++;
  }
  return acknowledged;
}

async function check(cluster: Cluster, histories: readonly (readonly KeyHistory[])[], round: number): Promise<void> {
  for (const [writer, keys] of histories.entries()) {
    for (const [key, history] of keys.entries()) {
      for (const name of cluster.servers.keys()) {
        const answer = await cluster.read(name, `/api/v1/kv/writer:${writer}:${key}`);
        const what = `round ${round}, ${name}: writer:${writer}:${key}`;
        if (answer.status === 404) {
          assert.equal(history.acknowledged, 0, `${what} is lost; ${history.acknowledged} was acknowledged`);
          continue;
        }
        assert.equal(answer.status, 200, `${what}: ${answer.body}`);
        const { value, revision } = JSON.parse(answer.body) as { value: number; revision: number };
        assert.ok(value >= history.acknowledged, `${what} holds ${value}, after ${history.acknowledged}`);
        assert.ok(value <= history.attempted, `${what} holds ${value}, which nobody wrote`);
        // A read is as good as an answer to the write: no later one may show less.
        history.acknowledged = value;
        history.revision = revision;
      }
    }
  }
}

test(`promise 1: three nodes keep every acknowledged write over ${ROUNDS} rounds of kill -9 of one or all nodes`, async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'cairn-cluster-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const cluster = await Cluster.start(directory);
  t.after(() => cluster.stopAll());
  const histories = Array.from({ length: WRITERS }, () =>
    Array.from({ length: KEYS_PER_WRITER }, () => new KeyHistory()),
  );
  let total = 0;
  const recoveries: number[] = [];
  for (let round = 1; round <= ROUNDS; round++) {
    await cluster.whole();
    const until = performance.now() + WRITE_MS;
    const writers = Promise.all(histories.map((keys, writer) => write(cluster, writer, keys, until)));
    await new Promise((resolve) => setTimeout(resolve, WRITE_MS / 3));
    const victims = round % 4 === 0 ? NODES : [NODES[round % NODES.length]!];
    await Promise.all(victims.map((name) => cluster.stopNode(name, 'SIGKILL')));
    if (victims.length === 1) recoveries.push(await cluster.whole());
    total += (await writers).reduce((sum, count) => sum + count, 0);
    await Promise.all(victims.map((name) => cluster.startNode(name)));
    await cluster.whole();
    await check(cluster, histories, round);
  }
  assert.ok(total > ROUNDS * 20, `only ${total} writes were acknowledged`);
  const recovered = recoveries.map((ms) => `${Math.round(ms)} ms`).join(', ');
  t.diagnostic(`${total} acknowledged writes, all found; writes through both others after ${recovered}`);

  await t.test('SIGTERM hands leadership over and ends with 0; writes go on', async () => {
    const writers = Promise.all(
      histories.map((keys, writer) => write(cluster, writer, keys, performance.now() + 1000)),
    );
    assert.equal(await cluster.stopNode('n1', 'SIGTERM'), 0);
    await writers;
    await check(cluster, histories, ROUNDS + 1);
    await cluster.startNode('n1');
    await cluster.whole();
  });

  await t.test('Raft rule 11: a node with a wiped disk does not go on under its old name', async () => {
    await cluster.stopNode('n2', 'SIGKILL');
    rmSync(cluster.directory('n2'), { recursive: true });
    await cluster.startNode('n2');
    const refused = (): boolean =>
      [...cluster.servers.values()].some(({ lines }) =>
        lines.some((line) => line.includes('had another data directory')),
      );
    for (let waited = 0; !refused(); waited += 50) {
      assert.ok(waited < RECOVERY_MS, 'the others say that they refuse it');
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    const { managementPort } = cluster.servers.get('n2')!;
    assert.equal((await call(cluster.agent, managementPort, 'GET', '/readyz')).status, 503);
    await cluster.stopNode('n2', 'SIGKILL');
    await cluster.whole();
    await check(cluster, histories, ROUNDS + 2);
  });

  await t.test('a directory of a cluster is refused without it, or with other members', async () => {
    await cluster.stopNode('n3', 'SIGTERM');
    const data = ['--data-dir', cluster.directory('n3'), '--node-id', 'n3'];
    const alone = await failingServer(data);
    assert.equal(alone.code === 0, false);
    assert.match(alone.output, /belongs to a cluster of n1, n2, n3/);
    const others = await failingServer([...data, '--cluster', cluster.members.replace('n1=', 'n9=')]);
    assert.match(others.output, /belongs to a cluster of n1, n2, n3, found n2, n3, n9/);
  });
});
