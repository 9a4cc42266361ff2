import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Cluster, NODES, PROBES } from './cluster-processes.js';
import { afterwards, temporaryDirectory } from './data-directory.js';
import { member } from './http-call.js';
import { compilePreload, preloadObstacle, SHIFTED_CLOCK_SOURCE } from './preload.js';

const DAY_SECONDS = 86_400;
/** As in src/replica/revision-clock.ts. */
const REVISION_EPOCH_MS = Date.UTC(2025, 0, 1);
const REVISIONS_PER_MS = 4096;
/** Half a second, and what the clocks of one machine's processes and a crash may add. */
const MOST_AHEAD_MS = 10_000;

test(
  'Raft rule 20: of three processes one has its clock a day ahead: revisions of all partitions stay at the time of the others',
  { skip: preloadObstacle() ?? false },
  async (t) => {
    const directory = temporaryDirectory(t);
    const shim = {
      ...compilePreload(directory, 'clock', SHIFTED_CLOCK_SOURCE),
      CAIRN_TEST_CLOCK_OFFSET: `${DAY_SECONDS}`,
    };
    const cluster = await Cluster.start(directory, '5s', []);
    afterwards(t, () => cluster.stopAll());
    await Promise.all(NODES.map((name) => cluster.startNode(name, name === 'n1' ? shim : {})));
    const { time } = JSON.parse(cluster.servers.get('n1')!.lines.at(-1)!) as { time: number | string };
    assert.ok(new Date(time).getTime() > Date.now() + (DAY_SECONDS - 600) * 1000, `the clock of n1 says ${time}`);
    const check = async (): Promise<void> => {
      for (let probe = 0; probe < PROBES; probe++) {
        const answer = await cluster.call('n2', 'PUT', `/api/v1/kv/key:${probe}`, '{"value":1}');
        if (answer.status !== 200) continue;
        const aheadMs = Number(member(answer.body, 'revision')) / REVISIONS_PER_MS + REVISION_EPOCH_MS - Date.now();
        assert.ok(aheadMs < MOST_AHEAD_MS, `key:${probe} is ${Math.round(aheadMs)} ms ahead`);
      }
    };
    await cluster.whole();
    await check();
    await cluster.stopNode('n1', 'SIGKILL');
    await cluster.whole();
    await check();
    await cluster.startNode('n1', shim);
    await cluster.whole();
    await check();
  },
);
