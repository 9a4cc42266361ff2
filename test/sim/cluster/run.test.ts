import assert from 'node:assert/strict';
import { test } from 'node:test';
import { main } from '../main.js';
import { runCluster } from './run.js';
import { Totals } from './campaign.js';

const SEEDS = Number(process.env['CAIRN_TEST_SEEDS'] ?? 6);
async function sim(...parameters: string[]): Promise<{ code: number; text: string }> {
  let text = '';
  const say = (more: string): void => {
    text += more;
  };
  const command = 'npm run sim --';
  return { code: await main(parameters, { command, out: say, err: say, nowMs: () => performance.now() }), text };
}

test('clusters under faults keep every promise', async () => {
  const totals = new Totals();
  for (let seed = 1; seed <= SEEDS; seed++) {
    const result = await runCluster({ seed });
    assert.equal(result.failure?.message, undefined, `npm run sim -- --replay ${seed}`);
    totals.add(result);
  }
  assert.equal(totals.shortfall, null);
  assert.ok(totals.answered > 50 * SEEDS, `${totals.answered} calls were answered`);
});

test('a seed is the same run each time, to the event', async () => {
  const digests = new Set<string>();
  for (const [seed, network] of [
    [6, 'streams'],
    [4, 'messages'],
  ] as const) {
    const [first, second] = [await runCluster({ seed }), await runCluster({ seed })];
    assert.equal(first.swarm.network, network);
    assert.equal(first.digest, second.digest);
    digests.add(first.digest);
  }
  assert.equal(digests.size, 2);
});

test('a planted bug is found, shrunk, and the smaller run fails again', async () => {
  const planted = ['--mutation', 'cluster-persisted-before-durable'];
  const { code, text } = await sim('--seeds', '5', '--shrink', '1', ...planted);
  assert.equal(code, 1);
  const smaller = /^smaller: npm run sim -- (.*)$/m.exec(text)?.[1];
  assert.ok(smaller !== undefined, text);
  const again = await sim(...smaller.split(' ').map((word) => word.replaceAll("'", '')));
  assert.equal(again.code, 1, again.text);
  assert.equal((await sim('--seeds', '1', '--first-seed', '6')).code, 0, 'the bug is taken out again');
});

test('--help teaches, --list-mutations names all bugs, wrong options say what is expected', async () => {
  assert.match((await sim('--help')).text, /--replay SEED/);
  assert.match((await sim('--list-mutations')).text, /raft-vote-twice +a second candidate/);
  const wrong = await sim('--mutation', 'none');
  assert.equal(wrong.code, 2);
  assert.match(wrong.text, /--list-mutations names them/);
});
