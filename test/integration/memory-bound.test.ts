import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { Agent } from 'node:http';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { encodeRequestFrame, PROTOCOL_MAGIC } from '../../src/codec/client-protocol.js';
import { inParallel, put, SMALL, until, valueOf } from './data-directory.js';
import { call, member } from './http-call.js';
import { startServer, type ServerProcess } from './server-process.js';

const KEYS = 1500;
const VALUE_BYTES = 20_000;
const READERS = 64;
const FLOODERS = 16;
const REQUESTS_PER_FLOODER = 5000;
/** All answers together are 1.6 to 1.9 GB; what is bounded for each connection, and garbage, stays far below this. */
const GROWTH_BOUND_BYTES = 400 << 20;
const FLOODED_GROWTH_BOUND_BYTES = 100 << 20;
const LARGE_VALUE_BYTES = 200_000;
const OBSERVED_MS = 2500;

const obstacle = process.platform === 'linux' ? false : 'the memory of another process is read from /proc';
const agent = new Agent({ keepAlive: true, maxSockets: 8 });
const directory = mkdtempSync(join(tmpdir(), 'cairn-memory-'));
let server: ServerProcess;

before(async () => {
  server = await startServer(join(directory, 'data'), [...SMALL, '--block-cache-size-mb', '16']);
  await inParallel(KEYS, 8, (i) => put(agent, server.httpPort, `key:${i}`, valueOf(`key:${i}`, 1, VALUE_BYTES)));
  // What reading costs once: caches, scratch memory, compiled code.
  await (
    await fetch(`${server.url}/api/v1/kv/range?prefix=key`, { headers: { accept: 'application/x-ndjson' } })
  ).text();
});

after(async () => {
  agent.destroy();
  await server.stop('SIGKILL');
  rmSync(directory, { recursive: true, force: true, maxRetries: 3 });
});

function residentBytes(): number {
  const status = readFileSync(`/proc/${server.child.pid}/status`, 'utf8');
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)![1]) * 1024;
}

/** The largest growth within a time in which a node without bounds would have taken everything into memory. */
async function growthWhile(startedAtBytes: number): Promise<number> {
  let most = 0;
  for (let waitedMs = 0; waitedMs < OBSERVED_MS; waitedMs += 50) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    most = Math.max(most, residentBytes() - startedAtBytes);
  }
  return most;
}

/** A connection that sends this and reads at most its first bytes. */
async function deafConnection(port: number, bytes: string | Uint8Array, readsFirst: boolean): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1' });
  socket.on('error', () => undefined);
  await new Promise((resolve) => socket.once('connect', resolve));
  socket.write(bytes);
  if (readsFirst) await new Promise((resolve) => socket.once('data', resolve));
  socket.pause();
  return socket;
}

async function assertBounded(
  name: string,
  open: () => Promise<Socket[]>,
  boundBytes: number,
  diagnostic: (text: string) => void,
): Promise<void> {
  const startedAt = residentBytes();
  const sockets = await open();
  try {
    const growth = await growthWhile(startedAt);
    diagnostic(`${name}: resident memory grew by ${growth >> 20} MiB at most, from ${startedAt >> 20} MiB`);
    assert.ok(growth < boundBytes, `${name}: ${growth} bytes, expected below ${boundBytes}`);
    // Others are served meanwhile.
    const answer = await call(agent, server.httpPort, 'GET', '/api/v1/kv/key:7');
    assert.equal(answer.status, 200);
    await put(agent, server.httpPort, 'other', 'value');
  } finally {
    for (const socket of sockets) socket.destroy();
  }
  const accept = { headers: { accept: 'application/x-ndjson' } };
  const stream = await (await fetch(`${server.url}/api/v1/kv/range?prefix=key`, accept)).text();
  assert.match(stream, new RegExp(`"done":true,"count":${KEYS},`));
}

test(
  'promise 6: 64 readers that stop reading an NDJSON range do not grow the memory',
  { skip: obstacle },
  async (t) => {
    const request = 'GET /api/v1/kv/range?prefix=key HTTP/1.1\r\nHost: h\r\nAccept: application/x-ndjson\r\n\r\n';
    const open = (): Promise<Socket[]> =>
      Promise.all(Array.from({ length: READERS }, () => deafConnection(server.httpPort, request, true)));
    await assertBounded('slow readers', open, GROWTH_BOUND_BYTES, (text) => t.diagnostic(text));
  },
);

test(
  'promise 6: clients on 9090 that send requests and never read do not grow the memory',
  { skip: obstacle },
  async (t) => {
    const key = new TextEncoder().encode('key:7');
    const frames = [encodeRequestFrame({ id: 1, hello: { magic: PROTOCOL_MAGIC, versionMajor: 1, versionMinor: 0 } })];
    for (let id = 2; id < REQUESTS_PER_FLOODER; id++) frames.push(encodeRequestFrame({ id, get: { key } }));
    const open = (): Promise<Socket[]> =>
      Promise.all(
        Array.from({ length: FLOODERS }, () => deafConnection(server.clientPort, Buffer.concat(frames), false)),
      );
    await assertBounded('binary', open, FLOODED_GROWTH_BOUND_BYTES, (text) => t.diagnostic(text));
  },
);

test(
  'promise 6: clients on 8080 that send requests and never read do not grow the memory',
  { skip: obstacle },
  async (t) => {
    const request = 'GET /api/v1/kv/key:7 HTTP/1.1\r\nHost: h\r\n\r\n'.repeat(REQUESTS_PER_FLOODER);
    const open = (): Promise<Socket[]> =>
      Promise.all(Array.from({ length: FLOODERS }, () => deafConnection(server.httpPort, request, false)));
    await assertBounded('HTTP', open, FLOODED_GROWTH_BOUND_BYTES, (text) => t.diagnostic(text));
  },
);

test('a reader that takes its time gets every byte of a large answer, and the next one on the same connection', async () => {
  const value = valueOf('large', 1, LARGE_VALUE_BYTES);
  const keys = Array.from({ length: 20 }, (_, i) => `large:${i}`);
  for (const key of keys) await put(agent, server.httpPort, key, value);
  const socket = connect({ port: server.httpPort, host: '127.0.0.1' });
  const body = JSON.stringify({ keys });
  const request = `POST /api/v1/kv/batch/get HTTP/1.1\r\nHost: h\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
  for (let round = 0; round < 2; round++) {
    socket.write(request);
    await new Promise((resolve) => socket.once('readable', resolve));
    // More than the kernel's buffers hold is left with the node.
    await new Promise((resolve) => setTimeout(resolve, 200));
    let text = '';
    const isWhole = (): boolean => {
      const head = text.indexOf('\r\n\r\n');
      const length = /content-length: (\d+)/i.exec(text);
      return head >= 0 && length !== null && text.length >= head + 4 + Number(length[1]);
    };
    while (!isWhole()) {
      const chunk = socket.read() as Buffer | null;
      if (chunk !== null) text += chunk.toString('latin1');
      else await new Promise((resolve) => socket.once('readable', resolve));
    }
    const results = member(text.slice(text.indexOf('\r\n\r\n') + 4), 'results') as Record<string, { value: string }>;
    for (const key of keys) assert.equal(results[key]!.value, value);
  }
  socket.destroy();
});

test('after all that SIGTERM ends the node with exit code 0', { skip: obstacle }, async () => {
  await until(
    'nothing is under way',
    async () => (await call(agent, server.managementPort, 'GET', '/readyz')).status === 200,
  );
  assert.equal(await server.stop('SIGTERM'), 0, server.errorOutput());
});
