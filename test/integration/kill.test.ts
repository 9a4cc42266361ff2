import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { Agent } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { call } from './http-call.js';
import { startServer, type ServerProcess } from './server-process.js';

/** 200 for the long run. */
const ROUNDS = Number(process.env['CAIRN_KILL_ROUNDS'] ?? 8);
const WRITERS = 16;
const KEYS_PER_WRITER = 20;

/** What one key may hold: the last acknowledged write, or one that was sent after it and never answered. */
class KeyHistory {
  acknowledged = 0;
  acknowledgedRevision = 0;
  attempted = 0;
}

/** Writes rising numbers to its own keys until the server is gone. */
async function write(server: ServerProcess, agent: Agent, writer: number, histories: KeyHistory[]): Promise<number> {
  let acknowledged = 0;
  for (let i = 0; ; i++) {
    const history = histories[i % KEYS_PER_WRITER]!;
    const value = ++history.attempted;
    const path = `/api/v1/kv/writer:${writer}:${i % KEYS_PER_WRITER}`;
    try {
      const pad = 'x'.repeat((value * 37) % 600);
      const answer = await call(agent, server.httpPort, 'PUT', path, JSON.stringify({ value: { value, pad } }));
      if (answer.status === 503) {
        // Overload, which a small memtable on a busy machine meets: not written.
        await new Promise((resolve) => setTimeout(resolve, 20));
        continue;
      }
      assert.equal(answer.status, 200, answer.body);
      const { revision } = JSON.parse(answer.body) as { revision: number };
      assert.ok(revision > history.acknowledgedRevision, 'Raft rule 20: a revision went back');
      history.acknowledged = value;
      history.acknowledgedRevision = revision;
      acknowledged++;
    } catch (error) {
      if (error instanceof assert.AssertionError) throw error;
      return acknowledged;
    }
  }
}

test(`promise 1: every acknowledged write is there after each of ${ROUNDS} kill -9 under load`, async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'cairn-kill-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const histories = Array.from({ length: WRITERS }, () =>
    Array.from({ length: KEYS_PER_WRITER }, () => new KeyHistory()),
  );
  let total = 0;
  for (let round = 0; round <= ROUNDS; round++) {
    // A small memtable, so that some kills meet flushes and compactions.
    const server = await startServer(directory, ['--memtable-size-mb', '1']);
    const agent = new Agent({ keepAlive: true, maxSockets: WRITERS });
    try {
      for (const [writer, keys] of histories.entries()) {
        const answers = await Promise.all(
          keys.map((_, key) => call(agent, server.httpPort, 'GET', `/api/v1/kv/writer:${writer}:${key}`)),
        );
        for (const [key, answer] of answers.entries()) {
          const history = keys[key]!;
          const name = `round ${round}: writer:${writer}:${key}`;
          if (answer.status === 404) {
            assert.equal(history.acknowledged, 0, `${name} is lost; ${history.acknowledged} was acknowledged`);
            continue;
          }
          assert.equal(answer.status, 200, answer.body);
          const { value, revision } = JSON.parse(answer.body) as { value: { value: number }; revision: number };
          assert.ok(value.value >= history.acknowledged, `${name} holds ${value.value}, after ${history.acknowledged}`);
          assert.ok(value.value <= history.attempted, `${name} holds ${value.value}, which nobody wrote`);
          history.acknowledged = value.value;
          history.acknowledgedRevision = revision;
        }
      }
      if (round === ROUNDS) break;
      const writers = histories.map((keys, writer) => write(server, agent, writer, keys));
      // Between a kill in the first requests and one after some flushes.
      const killAfterMs = 20 + ((round * 7919) % 400);
      await new Promise((resolve) => setTimeout(resolve, killAfterMs));
      server.child.kill('SIGKILL');
      for (const count of await Promise.all(writers)) total += count;
    } finally {
      agent.destroy();
      await server.stop('SIGKILL');
    }
  }
  t.diagnostic(`${total} acknowledged writes, all found`);
  assert.ok(total > ROUNDS * 20, `only ${total} writes were acknowledged: the test did too little`);
});
