import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { startServer } from '../server/tcp/harness.js';
import { runCli, type Ran } from './run-cli.js';

async function cairn(port: number, commandLine: readonly string[], input = ''): Promise<Ran> {
  const before = process.env['CAIRN_ENDPOINTS'];
  process.env['CAIRN_ENDPOINTS'] = `127.0.0.1:${port}`;
  try {
    return await runCli(commandLine, input);
  } finally {
    if (before === undefined) delete process.env['CAIRN_ENDPOINTS'];
    else process.env['CAIRN_ENDPOINTS'] = before;
  }
}

async function node(t: TestContext): Promise<number> {
  return (await startServer(t)).server.port;
}

test('put, get and del print JSON to stdout and nothing to stderr', async (t) => {
  const port = await node(t);
  const put = await cairn(port, ['put', 'user:1', '{"n": 12345678901234567890}']);
  const { revision } = JSON.parse(put.out) as { revision: number };
  assert.deepEqual([put.code, put.err], [0, '']);
  const get = await cairn(port, ['get', 'user:1']);
  assert.equal(get.out, `{"key":"user:1","value":{"n": 12345678901234567890},"revision":${revision}}\n`);
  const del = await cairn(port, ['del', 'user:1']);
  assert.equal((JSON.parse(del.out) as { deleted: boolean }).deleted, true);
});

test('-o raw prints the value alone, -o table a table', async (t) => {
  const port = await node(t);
  await cairn(port, ['put', 'a', '[1,2]']);
  assert.equal((await cairn(port, ['get', 'a', '-o', 'raw'])).out, '[1,2]\n');
  assert.match((await cairn(port, ['get', 'a', '-o', 'table'])).out, /^KEY {2}REVISION .*VALUE\na {4}\d+ +\[1,2\]\n$/);
});

test('a value comes from standard input, as text, or as bytes with a content type', async (t) => {
  const port = await node(t);
  assert.equal((await cairn(port, ['put', 'a'], '{"from":"stdin"}')).code, 0);
  assert.equal((await cairn(port, ['get', 'a', '-o', 'raw'])).out, '{"from":"stdin"}\n');
  await cairn(port, ['put', 'b', '--string', 'say "hi"']);
  assert.equal((await cairn(port, ['get', 'b', '-o', 'raw'])).out, '"say \\"hi\\""\n');
  await cairn(port, ['put', 'c', '--content-type', 'text/plain', 'plain']);
  assert.equal((await cairn(port, ['get', 'c', '-o', 'raw'])).out, 'plain');
  assert.match((await cairn(port, ['get', 'c'])).out, /"valueBase64":"cGxhaW4=","contentType":"text\/plain"/);
});

test('exit codes tell not found, conflict, wrong usage and unavailable apart', async (t) => {
  const port = await node(t);
  await cairn(port, ['put', 'a', '1']);
  const codes = await Promise.all([
    cairn(port, ['get', 'nope']),
    cairn(port, ['put', 'a', '2', '--if-absent']),
    cairn(port, ['put', 'a', 'not json']),
    cairn(port, ['put', 'a', '1', '--ttl', '0']),
    cairn(port, ['get']),
    cairn(port, ['nosuch']),
    cairn(port, ['get', 'a', '-o', 'xml']),
    cairn(port, ['get', 'a', '--endpoints', 'nowhere']),
    cairn(1, ['get', 'a', '--endpoints', '127.0.0.1:1', '--timeout-ms', '300']),
  ]);
  assert.deepEqual(
    codes.map(({ code }) => code),
    [3, 4, 2, 2, 2, 2, 2, 2, 6],
  );
  for (const { err, out } of codes) assert.ok(err !== '' && out === '', `${out}${err}`);
});

test('range prints one object a line in the order of the keys, and batch takes that as its input', async (t) => {
  const port = await node(t);
  const lines = Array.from({ length: 20 }, (_, i) => `{"key":"k${String(i).padStart(2, '0')}","value":${i}}`);
  const batch = await cairn(port, ['batch', '--batch-size', '7'], lines.join('\n'));
  assert.deepEqual([batch.code, batch.out], [0, '{"written":20,"failed":0}\n']);
  const range = await cairn(port, ['range', 'k']);
  assert.deepEqual(
    range.out
      .trim()
      .split('\n')
      .map((line) => (JSON.parse(line) as { value: number }).value),
    lines.map((_, i) => i),
  );
  const copy = await node(t);
  await cairn(copy, ['batch'], range.out);
  assert.equal((await cairn(copy, ['range', '-o', 'raw'])).out, lines.map((_, i) => `${i}\n`).join(''));
  assert.equal(
    (await cairn(port, ['range', 'k1', '--reverse', '--limit', '2', '--keys-only', '-o', 'raw'])).out,
    'k19\nk18\n',
  );
  assert.match(
    (await cairn(port, ['range', 'k0', '--limit', '1', '-o', 'table'])).out,
    /^KEY {2}REVISION {2}VALUE\nk00/,
  );
});

test('batch keeps every digit, takes deletes, and names the line of a mistake', async (t) => {
  const port = await node(t);
  await cairn(
    port,
    ['batch'],
    '{"key":"a","value":0.1234567890123456789}\n\n{"delete":"b"}\n{"keyBase64":"/w==","valueBase64":"AAE="}\n',
  );
  assert.equal((await cairn(port, ['get', 'a', '-o', 'raw'])).out, '0.1234567890123456789\n');
  const wrong = await cairn(port, ['batch'], '{"key":"a","value":1}\n{"key":"a"}\n');
  assert.equal(wrong.code, 2);
  assert.match(wrong.err, /line 2/);
  const refused = await cairn(port, ['batch'], '{"key":"a","value":1}\n{"key":"","value":1}\n');
  assert.deepEqual([refused.code, refused.out], [1, '{"written":1,"failed":1}\n']);
  assert.match(refused.err, /line 2: invalid_key/);
});

test('help teaches with examples, for the program and for each command', async (t) => {
  const port = await node(t);
  for (const command of [
    [],
    ['serve'],
    ['playground'],
    ['get'],
    ['put'],
    ['del'],
    ['range'],
    ['batch'],
    ['bench'],
    ['doctor'],
  ]) {
    const { code, out } = await cairn(port, [...command, '--help']);
    assert.equal(code, 0);
    assert.match(out, /Examples:\n {2}cairn|Examples:\n {2}\S+/, command.join(' '));
  }
});

test('bench prints its rate and latencies for a closed and an open loop', async (t) => {
  const port = await node(t);
  for (const loop of [[], ['--rate', '500']]) {
    const { code, out } = await cairn(port, [
      'bench',
      '--seconds',
      '0.2',
      '--keys',
      '10',
      '--connections',
      '2',
      ...loop,
    ]);
    const result = JSON.parse(out) as { requests: number; errors: number; p99Ms: number };
    assert.deepEqual([code, result.errors], [0, 0]);
    assert.ok(result.requests > 0 && result.p99Ms > 0);
  }
});

test('doctor reports each check and leaves nothing behind', async (t) => {
  const port = await node(t);
  const { out } = await cairn(port, [
    'doctor',
    '-o',
    'json',
    '--syncs',
    '3',
    '--data-dir',
    '/tmp/cairn-doctor-absent',
    '--ports',
    String(port),
  ]);
  const findings = JSON.parse(out) as { check: string; status: string; detail: string }[];
  const of = (check: string) => findings.find((finding) => finding.check === check)!;
  assert.match(of('synced write').detail, /p50 .* ms, p99 .* ms/);
  assert.equal(of('node').status, 'ok');
  assert.equal(of(`port ${port}`).status, 'warn');
});
