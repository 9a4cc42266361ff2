import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import { Agent } from 'node:http';
import { join } from 'node:path';
import { test } from 'node:test';
import { afterwards, SMALL, temporaryDirectory, until } from './data-directory.js';
import { call, member } from './http-call.js';
import { compilePreload, FAILING_LOG_SOURCE, preloadObstacle } from './preload.js';
import { startServer } from './server-process.js';

const WRITERS = 8;
const obstacle = preloadObstacle();

test(
  'Raft rule 14: EIO on the log ends the process at once; no write is acknowledged after it, none before it is lost',
  { skip: obstacle ?? false },
  async (t) => {
    const directory = temporaryDirectory(t);
    const trigger = join(directory, 'trigger');
    const shim = compilePreload(directory, 'failing-log', FAILING_LOG_SOURCE);
    const dataDir = join(directory, 'data');
    const server = await startServer(dataDir, SMALL, { ...shim, CAIRN_TEST_TRIGGER: trigger });
    afterwards(t, () => server.stop('SIGKILL'));
    const agent = new Agent({ keepAlive: true });
    afterwards(t, () => agent.destroy());
    const acknowledged = new Map<string, number>();
    const problems: string[] = [];
    let count = 0;
    let isFailing = false;
    let sentAndAcknowledgedLate = 0;
    const write = async (writer: number): Promise<void> => {
      for (let i = 0; ; i++) {
        const key = `key:${writer}:${i % 20}`;
        const sentLate = isFailing;
        try {
          const answer = await call(agent, server.httpPort, 'PUT', `/api/v1/kv/${key}`, JSON.stringify({ value: i }));
          if (answer.status !== 200) {
            problems.push(answer.body);
            continue;
          }
          acknowledged.set(key, i);
          count++;
          if (sentLate) sentAndAcknowledgedLate++;
        } catch (error) {
          if (error instanceof assert.AssertionError) throw error;
          return;
        }
      }
    };
    const writers = Promise.all(Array.from({ length: WRITERS }, (_, writer) => write(writer)));
    await until('200 writes', () => count >= 200);
    writeFileSync(trigger, '');
    isFailing = true;
    const code = await server.exited;
    await writers;
    assert.ok(code !== null && code !== 0, `exit code ${code}`);
    assert.match(server.lines.join('\n') + server.errorOutput(), /EIO/);
    assert.equal(sentAndAcknowledgedLate, 0, 'a write that was sent after the failure was acknowledged');
    for (const problem of problems) assert.doesNotMatch(problem, /"status":200/);

    rmSync(trigger);
    const restarted = await startServer(dataDir, SMALL);
    afterwards(t, () => restarted.stop('SIGKILL'));
    assert.equal(acknowledged.size, WRITERS * 20);
    for (const [key, value] of acknowledged) {
      const answer = await call(agent, restarted.httpPort, 'GET', `/api/v1/kv/${key}`);
      assert.equal(answer.status, 200, `${key}: ${answer.body}`);
      const found = Number(member(answer.body, 'value'));
      assert.ok(found === value || found === value + 20, `${key} holds ${found}, acknowledged was ${value}`);
    }
  },
);
