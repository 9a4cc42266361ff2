import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { choosePorts } from '../../src/cli/playground/addresses.js';
import { readLogLine } from '../../src/cli/playground/log-line.js';
import type { PlaygroundNode } from '../../src/cli/playground/playground.js';
import { isAlive, PlaygroundProcess } from './playground-process.js';

function directory(t: TestContext): string {
  const name = mkdtempSync(join(tmpdir(), 'cairn-test-playground-'));
  t.after(() => rmSync(name, { recursive: true, force: true }));
  return name;
}

async function put({ http }: PlaygroundNode, key: string): Promise<number> {
  const body = '{"value":1}';
  return (await fetch(`${http}/api/v1/kv/${key}`, { method: 'PUT', body })).status;
}

test('three nodes serve; one that is killed is reported with its last lines; SIGTERM stops the rest and removes the data', async () => {
  const playground = new PlaygroundProcess(['--nodes', '3', '--port', '0']);
  const { directory: home, nodes } = await playground.ready();
  assert.deepEqual(
    nodes.map(({ id }) => id),
    ['n1', 'n2', 'n3'],
  );
  assert.equal(await put(nodes[0]!, 'a'), 200);
  assert.equal((await fetch(`${nodes[2]!.http}/api/v1/kv/a`)).status, 200);
  process.kill(nodes[1]!.pid, 'SIGKILL');
  await playground.says(/node n2 ended: signal SIGKILL\. Its last lines:\n.*\n? {2}n2 \| .*info ready/);
  assert.match(playground.errorOutput, /cairn serve --node-id n2 --data-dir \S+n2 /);
  playground.child.kill('SIGTERM');
  assert.equal(await playground.exited, 0, playground.errorOutput);
  assert.ok(!existsSync(home));
  assert.deepEqual(
    nodes.map(({ pid }) => isAlive(pid)),
    [false, false, false],
  );
});

test('a directory that was given keeps data, logs and ports for the next run', async (t) => {
  const home = directory(t);
  const first = new PlaygroundProcess(['--nodes', '1', '--port', '0', '--dir', home]);
  const { nodes } = await first.ready();
  assert.equal(await put(nodes[0]!, 'kept'), 200);
  first.child.kill('SIGINT');
  assert.equal(await first.exited, 0, first.errorOutput);
  for (const { id } of nodes) assert.match(readFileSync(join(home, `${id}.log`), 'utf8'), /"msg":"stopped"\}\n$/);
  const second = new PlaygroundProcess(['--dir', home]);
  const again = await second.ready();
  assert.deepEqual(
    again.nodes.map(({ http, peer }) => [http, peer]),
    nodes.map(({ http, peer }) => [http, peer]),
  );
  assert.equal((await fetch(`${again.nodes[0]!.http}/api/v1/kv/kept`)).status, 200);
  second.child.kill('SIGTERM');
  assert.equal(await second.exited, 0, second.errorOutput);
  const other = new PlaygroundProcess(['--nodes', '3', '--dir', home]);
  assert.equal(await other.exited, 2);
  assert.match(other.errorOutput, /has a playground with 1/);
});

test('nodes stop by themselves when the playground is killed', async (t) => {
  const playground = new PlaygroundProcess(['--nodes', '1', '--port', '0', '--dir', directory(t)]);
  const { nodes } = await playground.ready();
  playground.child.kill('SIGKILL');
  await playground.exited;
  // Its own parent may leave it a zombie, so its port tells.
  for (;;) {
    const gone = await fetch(`${nodes[0]!.management}/livez`).then(
      () => false,
      () => true,
    );
    if (gone) break;
    await new Promise((resolve) => setImmediate(resolve));
  }
});

test('a second signal kills the nodes; the data is removed all the same', async () => {
  const playground = new PlaygroundProcess(['--nodes', '1', '--port', '0']);
  const { directory: home, nodes } = await playground.ready();
  // A node that can't listen to its signal.
  process.kill(nodes[0]!.pid, 'SIGSTOP');
  playground.child.kill('SIGTERM');
  await playground.says(/stopping the nodes/);
  playground.child.kill('SIGINT');
  assert.equal(await playground.exited, 1);
  assert.ok(!existsSync(home));
});

test('a node that does not start ends the playground with what it said', async () => {
  const playground = new PlaygroundProcess(['--nodes', '1', '--port', '0', '--', '--memtable-size-mb', 'big']);
  assert.equal(await playground.exited, 1);
  assert.match(playground.errorOutput, /n1 \| .*expected an integer from 1 to 1024, found "big"/);
  assert.match(playground.errorOutput, /error: node n1 ended before the playground was ready/);
});

test('a port that is taken, and one too high, are wrong usage', async (t) => {
  const taken = createServer().listen(0, '127.0.0.1');
  t.after(() => taken.close());
  await once(taken, 'listening');
  const { port } = taken.address() as AddressInfo;
  const playground = new PlaygroundProcess(['--nodes', '1', '--port', String(port)]);
  assert.equal(await playground.exited, 2);
  assert.match(playground.errorOutput, new RegExp(`port ${port} \\(http of n1\\) is taken by another process`));
  await assert.rejects(choosePorts(1, 65_533), /4 ports from there go beyond 65535/);
});

test('a usual port that is taken gives way to a free one, and no port is given twice', async () => {
  const [one, two] = [await choosePorts(5, undefined), await choosePorts(5, 0)];
  for (const ports of [one, two]) assert.equal(new Set(ports.flatMap((node) => Object.values(node))).size, 20);
});

test('a directory of something else is refused', async (t) => {
  const home = directory(t);
  writeFileSync(join(home, 'playground.json'), '{"name":"swing"}');
  const playground = new PlaygroundProcess(['--dir', home]);
  assert.equal(await playground.exited, 2);
  assert.match(playground.errorOutput, /playground\.json is not from a playground/);
});

test('a line of a log reads as level, message and the rest; anything else is trouble as it stands', () => {
  assert.deepEqual(readLogLine('{"level":30,"time":"2026-11-22T10:00:00.123Z","peer":"n2","msg":"peer connected"}'), {
    isTrouble: false,
    text: '10:00:00.123 info peer connected {"peer":"n2"}',
  });
  assert.deepEqual(readLogLine('{"level":60,"msg":"the node ends","err":{"message":"EIO"}}'), {
    isTrouble: true,
    text: 'fatal the node ends: EIO',
  });
  assert.deepEqual(readLogLine('Segmentation fault'), { isTrouble: true, text: 'Segmentation fault' });
});
