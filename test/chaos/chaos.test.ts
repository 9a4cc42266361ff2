import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { sandboxObstacle } from './sandbox.js';

const COMMAND = fileURLToPath(new URL('./command.js', import.meta.url));
/** Longer runs: `npm run chaos`. */
const SECONDS = process.env['CAIRN_CHAOS_SECONDS'] ?? '16';

async function chaos(t: TestContext, ...flags: readonly string[]): Promise<{ code: number | null; output: string }> {
  const child = spawn(process.execPath, [COMMAND, ...flags], { stdio: ['ignore', 'pipe', 'pipe'] });
  t.after(() => child.kill('SIGTERM'));
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, output };
}

test('promises 1 to 4: three real nodes under kills, stops and faults of the network', async (t) => {
  const obstacle = sandboxObstacle();
  const faults = ['kill-leader', 'stop', 'isolate', 'one-way', 'delay'];
  t.diagnostic(
    obstacle === null
      ? 'chaos: with a network namespace for each node'
      : `chaos: WITHOUT namespaces (${obstacle}): kill, stop, and faults of the network by a relay process`,
  );
  const { code, output } = await chaos(t, '--seconds', SECONDS, '--faults', faults.join(','));
  for (const line of output.trimEnd().split('\n')) t.diagnostic(line);
  assert.equal(code, 0, output);
  assert.match(output, /nothing was broken/);
});

test('the relay process cuts, delays and stalls connections between nodes', async (t) => {
  const { code, output } = await chaos(t, '--relay', '--seconds', '3', '--faults', 'isolate,delay,loss');
  assert.equal(code, 0, output);
  assert.match(output, /lead through a relay process/);
});

test('a wrong option is answered with what is right, --help with the faults', async (t) => {
  const wrong = await chaos(t, '--faults', 'kill,flood');
  assert.equal(wrong.code, 2);
  assert.match(wrong.output, /--faults: expected some of kill, .*found "flood"/);
  const help = await chaos(t, '--help');
  assert.equal(help.code, 0);
  assert.match(help.output, /flip-log +the same with a byte of its log/);
});
