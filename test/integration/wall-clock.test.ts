import assert from 'node:assert/strict';
import { Agent } from 'node:http';
import { join } from 'node:path';
import { test } from 'node:test';
import { afterwards, SMALL, temporaryDirectory, until } from './data-directory.js';
import { call, member } from './http-call.js';
import { compilePreload, preloadObstacle, SHIFTED_CLOCK_SOURCE } from './preload.js';
import { startServer } from './server-process.js';

const DAY_SECONDS = 86_400;
const KEYS = 64;

for (const end of ['SIGTERM', 'SIGKILL'] as const) {
  test(
    `Raft rule 20: with the wall clock set back a day after ${end}, revisions go up and expired keys stay expired`,
    { skip: preloadObstacle() ?? false },
    async (t) => {
      const directory = temporaryDirectory(t);
      const dataDir = join(directory, 'data');
      const shim = compilePreload(directory, 'clock', SHIFTED_CLOCK_SOURCE);
      const agent = new Agent({ keepAlive: true, maxSockets: 8 });
      afterwards(t, () => agent.destroy());
      const path = (key: string): string => `/api/v1/kv/${key}`;

      const first = await startServer(dataDir, SMALL);
      afterwards(t, () => first.stop('SIGKILL'));
      const putAll = async (port: number): Promise<Map<string, number>> => {
        const revisions = new Map<string, number>();
        for (let i = 0; i < KEYS; i++) {
          const answer = await call(agent, port, 'PUT', path(`key:${i}`), JSON.stringify({ value: i }));
          revisions.set(`key:${i}`, Number(member(answer.body, 'revision')));
        }
        return revisions;
      };
      const before = await putAll(first.httpPort);
      await call(agent, first.httpPort, 'PUT', path('short'), JSON.stringify({ value: 1, ttl: 1 }));
      await call(agent, first.httpPort, 'PUT', path('long'), JSON.stringify({ value: 1, ttl: 2 * DAY_SECONDS }));
      const gone = async (port: number): Promise<boolean> =>
        (await call(agent, port, 'GET', path('short'))).status === 404;
      await until('the key expires', () => gone(first.httpPort));
      await first.stop(end);

      const second = await startServer(dataDir, SMALL, { ...shim, CAIRN_TEST_CLOCK_OFFSET: String(-DAY_SECONDS) });
      afterwards(t, () => second.stop('SIGKILL'));
      // The shim works: the node's log lines are a day old.
      const { time } = JSON.parse(second.lines.at(-1)!) as { time: number | string };
      assert.ok(new Date(time).getTime() < Date.now() - (DAY_SECONDS - 600) * 1000, `the node's clock says ${time}`);

      assert.ok(await gone(second.httpPort), 'an expired key came back');
      assert.equal((await call(agent, second.httpPort, 'GET', path('long'))).status, 200);
      const range = await call(agent, second.httpPort, 'GET', '/api/v1/kv/range?prefix=short');
      assert.deepEqual(member(range.body, 'items'), [], 'an expired key came back in a range');
      const highest = Math.max(...before.values());
      assert.ok(Number(member(range.body, 'revision')) >= highest, 'a range sees an instant before the writes');
      const after = await putAll(second.httpPort);
      for (const [key, revision] of after) {
        assert.ok(revision > highest, `${key} got revision ${revision}, after ${highest} had been given`);
      }
      // A new time to live counts from the node's own time, which did not go back.
      const put = await call(agent, second.httpPort, 'PUT', path('fresh'), JSON.stringify({ value: 1, ttl: 60 }));
      assert.equal(put.status, 200);
      const fresh = await call(agent, second.httpPort, 'GET', path('fresh'));
      assert.equal(fresh.status, 200, fresh.body);
      await second.stop(end);

      const third = await startServer(dataDir, SMALL);
      afterwards(t, () => third.stop('SIGKILL'));
      assert.ok(await gone(third.httpPort), 'an expired key came back');
      const latest = Math.max(...after.values());
      for (const revision of (await putAll(third.httpPort)).values()) assert.ok(revision > latest);
    },
  );
}
