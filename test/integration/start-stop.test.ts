import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { Agent } from 'node:http';
import { connect, createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { crc32c } from '../../src/codec/crc32c.js';
import { afterwards, inParallel, listing, put, SMALL, temporaryDirectory, until, valueOf } from './data-directory.js';
import { call, member } from './http-call.js';
import { failingServer, startServer, type FailedStart } from './server-process.js';

const WRITERS = 16;
/** The first so many of the refused flags are refused without an existing directory, too. */
const FLAGS_OF_NEW_DIRECTORIES = 4;

/** Every file below the directory with the checksum of its content. */
function contents(directory: string): string[] {
  return Object.keys(listing(directory))
    .filter((name) => statSync(join(directory, name)).isFile())
    .map((name) => `${name} ${crc32c(readFileSync(join(directory, name))).toString(16)}`);
}

function assertRefused(failed: FailedStart, what: RegExp, name: string): void {
  assert.ok(failed.code !== null && failed.code !== 0, `${name}: exit code ${failed.code}: ${failed.output}`);
  const lines = failed.stderr.split('\n').filter((line) => line !== '' && line !== '(see --help)');
  assert.equal(lines.length, 1, `${name}: expected one line, found ${failed.stderr}`);
  assert.match(lines[0]!, what, name);
  assert.equal(failed.stdout, '', `${name}: only standard error says why`);
}

test('SIGTERM under load: every answered write is there after the restart, and the exit code is 0', async (t) => {
  const directory = temporaryDirectory(t);
  const server = await startServer(directory, SMALL);
  afterwards(t, () => server.stop('SIGKILL'));
  const agent = new Agent({ keepAlive: true });
  afterwards(t, () => agent.destroy());
  const acknowledged = new Map<string, number>();
  let count = 0;
  const write = async (writer: number): Promise<void> => {
    for (let i = 0; ; i++) {
      const key = `load:${writer}:${i % 10}`;
      try {
        const answer = await call(agent, server.httpPort, 'PUT', `/api/v1/kv/${key}`, JSON.stringify({ value: i }));
        if (answer.status === 503) return;
        assert.equal(answer.status, 200, answer.body);
        acknowledged.set(key, i);
        count++;
      } catch (error) {
        if (error instanceof assert.AssertionError) throw error;
        return;
      }
    }
  };
  const writers = Promise.all(Array.from({ length: WRITERS }, (_, writer) => write(writer)));
  await until('400 writes', () => count >= 400);
  const code = await server.stop('SIGTERM');
  await writers;
  assert.equal(code, 0, server.errorOutput());
  assert.ok(server.lines.at(-1)!.includes('stopped'), server.lines.join('\n'));

  const restarted = await startServer(directory, SMALL);
  afterwards(t, () => restarted.stop('SIGKILL'));
  await inParallel(acknowledged.size, WRITERS, async (i) => {
    const [key, least] = [...acknowledged][i]!;
    const answer = await call(agent, restarted.httpPort, 'GET', `/api/v1/kv/${key}`);
    assert.equal(answer.status, 200, `${key}: ${answer.body}`);
    const value = Number(member(answer.body, 'value'));
    // One more than the last answered: it was sent, and its answer did not arrive.
    assert.ok(value === least || value === least + 10, `${key} holds ${value}, acknowledged was ${least}`);
  });
});

test('SIGTERM: a request whose body is still on its way is finished and answered; readyz says 503 meanwhile', async (t) => {
  const directory = temporaryDirectory(t);
  const server = await startServer(directory, SMALL);
  afterwards(t, () => server.stop('SIGKILL'));
  const agent = new Agent();
  const socket = connect(server.httpPort, '127.0.0.1');
  let answer = '';
  socket.on('data', (chunk: Buffer) => (answer += chunk.toString()));
  const closed = new Promise((resolve) => socket.once('close', resolve));
  const body = '{"value": "finished"}';
  socket.write(`PUT /api/v1/kv/slow HTTP/1.1\r\nHost: h\r\nContent-Length: ${body.length}\r\n\r\n${body.slice(0, 8)}`);
  // Answered after the node has read what was sent before.
  await call(agent, server.httpPort, 'GET', '/api/v1/kv/other');
  server.child.kill('SIGTERM');
  await until('the node says that it stops', () => server.lines.at(-1)!.includes('stopping'));
  assert.equal((await call(agent, server.managementPort, 'GET', '/readyz')).status, 503);
  assert.equal((await call(agent, server.managementPort, 'GET', '/livez')).status, 200);
  socket.write(body.slice(8));
  await closed;
  assert.match(answer, /^HTTP\/1\.1 200 OK\r\n/);
  assert.equal(await server.exited, 0, server.errorOutput());
  const restarted = await startServer(directory, SMALL);
  afterwards(t, () => restarted.stop('SIGKILL'));
  const stored = await call(agent, restarted.httpPort, 'GET', '/api/v1/kv/slow');
  assert.equal(member(stored.body, 'value'), 'finished');
});

test('SIGTERM that comes with the ready line ends the node with exit code 0', async (t) => {
  const server = await startServer(temporaryDirectory(t), SMALL);
  assert.equal(await server.stop('SIGTERM'), 0, server.errorOutput());
});

test('a second node on the same directory is refused in one line and touches nothing', async (t) => {
  const directory = temporaryDirectory(t);
  const server = await startServer(directory, SMALL);
  afterwards(t, () => server.stop('SIGKILL'));
  const agent = new Agent();
  await put(agent, server.httpPort, 'key', 'value');
  const logFiles = (): string => readdirSync(join(directory, 'log')).join(' ');
  await until('the log has its spare and its reserve', () => /reserve/.test(logFiles()) && /spare/.test(logFiles()));
  const before = listing(directory);
  const failed = await failingServer(['--data-dir', directory, ...SMALL]);
  assertRefused(failed, new RegExp(`in use by process ${server.child.pid}`), 'second node');
  assert.deepEqual(listing(directory), before);
  assert.equal((await call(agent, server.httpPort, 'GET', '/api/v1/kv/key')).status, 200);
});

test('a taken port, a wrong option, another node, other partitions, another format: one line, non-zero, nothing touched', async (t) => {
  const directory = temporaryDirectory(t);
  const server = await startServer(directory, SMALL);
  const agent = new Agent();
  afterwards(t, () => agent.destroy());
  await put(agent, server.httpPort, 'key', 'value');
  assert.equal(await server.stop('SIGTERM'), 0);

  const holder = createServer().listen(0, '127.0.0.1');
  afterwards(t, () => holder.close());
  await new Promise((resolve) => holder.once('listening', resolve));
  const { port } = holder.address() as AddressInfo;
  const cases: [string[], RegExp][] = [
    [['--http-port', `${port}`], new RegExp(`--http-port.*${port}`)],
    [['--management-port', `${port}`], new RegExp(`--management-port.*${port}`)],
    [['--client-port', `${port}`], new RegExp(`--client-port.*${port}`)],
    [['--http-port', '70000'], /--http-port.*70000/],
    [['--no-such-option', '1'], /no-such-option/],
    [['--log-segment-size-mb', '1'], /--log-segment-size-mb/],
    [['--node-id', 'n2'], /n1.*n2.*--node-id/],
    [['--partitions', '32'], /--partitions 32.*64/],
    [['--replication-factor', '5'], /--replication-factor 5.*3/],
  ];
  const before = listing(directory);
  await inParallel(cases.length, 3, async (i) => {
    const [flags, what] = cases[i]!;
    assertRefused(await failingServer(['--data-dir', directory, ...SMALL, ...flags]), what, flags.join(' '));
  });
  assert.deepEqual(listing(directory), before);
  const missing = join(directory, 'not', 'made');
  await inParallel(FLAGS_OF_NEW_DIRECTORIES, 3, async (i) => {
    const [flags, what] = cases[i]!;
    assertRefused(await failingServer(['--data-dir', missing, ...SMALL, ...flags]), what, flags.join(' '));
  });
  assert.ok(!existsSync(join(directory, 'not')), 'a directory was made');

  const identity = join(directory, 'identity.json');
  const original = readFileSync(identity);
  for (const format of [0, 2]) {
    const line = original.toString().split('\n')[0]!.replace('"format":1', `"format":${format}`);
    const checksum = crc32c(Buffer.from(line)).toString(16).padStart(8, '0');
    writeFileSync(identity, `${line}\n${checksum}\n`);
    const changed = listing(directory);
    assertRefused(
      await failingServer(['--data-dir', directory, ...SMALL]),
      new RegExp(`format ${format}\\b`),
      'format',
    );
    assert.deepEqual(listing(directory), changed, `format ${format}`);
  }
  writeFileSync(identity, original);

  const restarted = await startServer(directory, SMALL);
  afterwards(t, () => restarted.stop('SIGKILL'));
  const kept = await call(agent, restarted.httpPort, 'GET', '/api/v1/kv/key');
  assert.equal(member(kept.body, 'value'), 'value');
});

test('a directory that lacks its log, CURRENT, MANIFEST, a table or identity.json is refused and can be repaired', async (t) => {
  const directory = temporaryDirectory(t);
  const server = await startServer(directory, SMALL);
  afterwards(t, () => server.stop('SIGKILL'));
  const agent = new Agent({ keepAlive: true });
  afterwards(t, () => agent.destroy());
  const keys = Array.from({ length: 40 }, (_, i) => `key:${i}`);
  await inParallel(keys.length, 8, (i) => put(agent, server.httpPort, keys[i]!, valueOf(keys[i]!, 1, 100)));
  const compacted = await call(agent, server.managementPort, 'POST', '/api/v1/compact');
  assert.equal(compacted.status, 200, compacted.body);
  await put(agent, server.httpPort, 'in-the-log', 'value');
  assert.equal(await server.stop('SIGTERM'), 0);

  const named = (folder: string, pattern: RegExp): string => {
    const name = readdirSync(join(directory, folder)).find((found) => pattern.test(found));
    assert.ok(name !== undefined, `${pattern} in ${folder}`);
    return join(folder, name);
  };
  const missing = ['log', 'CURRENT', named('', /^MANIFEST/), named('tables', /\.sst$/), 'tables', 'identity.json'];
  for (const name of missing) {
    const aside = join(temporaryDirectory(t), 'aside');
    renameSync(join(directory, name), aside);
    const files = (): string[] => contents(directory).filter((line) => !line.startsWith('LOCK'));
    const before = files();
    const what = name === 'tables' ? /\.sst/ : name === 'CURRENT' ? /CURRENT/ : new RegExp(name);
    // The second time it must not take the empty directory that it made for a new one.
    for (const round of [1, 2]) {
      const failed = await failingServer(['--data-dir', directory, ...SMALL]);
      assertRefused(failed, what, `without ${name}, start ${round}`);
      assert.deepEqual(files(), before, `without ${name}`);
    }
    // At most an empty directory was made in its place.
    rmSync(join(directory, name), { recursive: true, force: true });
    renameSync(aside, join(directory, name));
  }

  const restarted = await startServer(directory, SMALL);
  afterwards(t, () => restarted.stop('SIGKILL'));
  for (const key of keys) {
    const answer = await call(agent, restarted.httpPort, 'GET', `/api/v1/kv/${key}`);
    assert.equal(member(answer.body, 'value'), valueOf(key, 1, 100));
  }
  assert.equal((await call(agent, restarted.httpPort, 'GET', '/api/v1/kv/in-the-log')).status, 200);
});

test('the status shows --advertise-host, and --host where it is not given', async (t) => {
  const agent = new Agent({ keepAlive: true });
  afterwards(t, () => agent.destroy());
  for (const [flags, shown] of [
    [['--advertise-host', 'db1.example'], 'db1.example'],
    [[], '127.0.0.1'],
  ] as const) {
    const server = await startServer(temporaryDirectory(t), [...SMALL, ...flags]);
    afterwards(t, () => server.stop('SIGKILL'));
    const answer = await call(agent, server.managementPort, 'GET', '/api/v1/cluster');
    const [node] = member(answer.body, 'nodes') as { advertiseHost: string }[];
    assert.equal(node!.advertiseHost, shown);
  }
});
