import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { test, type TestContext } from 'node:test';
import { CairnError } from '../../src/base/errors.js';
import { BinaryClient } from '../../src/client/client.js';
import { CairnClient, DeadlineError, UnavailableError, type ClientOptions } from '../../src/client/index.js';
import { encodeResponseFrame } from '../../src/codec/client-protocol.js';
import { NodeNetwork } from '../../src/platform/node-network.js';
import { NodeRandom } from '../../src/platform/node-random.js';
import { ManualClock, startServer } from '../server/tcp/harness.js';

const HELLO = encodeResponseFrame({ id: 1, hello: { magic: 0x4e52_4943, versionMajor: 1, nodeId: 'silent' } });

function clientOf(t: TestContext, ports: readonly number[], options: Partial<ClientOptions> = {}): CairnClient {
  const client = new CairnClient({ endpoints: ports.map((port) => `127.0.0.1:${port}`), backoffMs: 1, ...options });
  t.after(() => client.close());
  return client;
}

/** Answers the hello and nothing else: a node that was stopped. `onRequest` sees each chunk after the hello. */
async function silentNode(t: TestContext, onRequest: (socket: net.Socket) => void = () => undefined): Promise<number> {
  const sockets = new Set<net.Socket>();
  const server = net.createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.once('data', () => {
      socket.write(HELLO);
      socket.on('data', () => onRequest(socket));
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return (server.address() as net.AddressInfo).port;
}

test('a node that says it is not available is left for the next endpoint, with writes and reads', async (t) => {
  for (const code of ['unavailable', 'shutting_down', 'not_leader'] as const) {
    const [isolated, healthy] = [await startServer(t), await startServer(t)];
    const client = clientOf(t, [isolated.server.port, healthy.server.port]);
    isolated.service.writeError = new CairnError(code, 'no quorum here');
    const { revision } = await client.put('a', 1);
    assert.equal((await client.get('a'))?.revision, revision, code);
    assert.equal(isolated.service.tryGet(Buffer.from('a'), 0, 1), 'absent');
  }
});

test('a busy node is not left: the others would only pass the work on to it', async (t) => {
  const [busy, other] = [await startServer(t), await startServer(t)];
  const client = clientOf(t, [busy.server.port, other.server.port]);
  busy.service.writeError = new CairnError('overloaded', 'busy');
  setImmediate(() => (busy.service.writeError = null));
  await client.put('a', 1);
  assert.equal(other.service.tryGet(Buffer.from('a'), 0, 1), 'absent');
});

test('endpoints that are all unavailable are asked in turn, with pauses, until the deadline', async (t) => {
  const servers = [await startServer(t), await startServer(t)];
  for (const { service } of servers) service.writeError = new CairnError('unavailable', 'no quorum');
  const client = clientOf(
    t,
    servers.map(({ server }) => server.port),
    { deadlineMs: 300 },
  );
  await assert.rejects(
    client.put('a', 1),
    (error) => error instanceof UnavailableError && error.outcome === 'not_executed',
  );
});

test('Promise 3: when the connection is lost a read goes to the next endpoint, a write stays unknown', async (t) => {
  const { server, service } = await startServer(t);
  const dying = (): Promise<number> => silentNode(t, (socket) => socket.destroy());
  assert.equal(await clientOf(t, [await dying(), server.port]).get('a'), null);
  const client = clientOf(t, [await dying(), server.port]);
  await assert.rejects(client.put('a', 1), (error) => error instanceof UnavailableError && error.outcome === 'unknown');
  assert.equal(service.tryGet(Buffer.from('a'), 0, 1), 'absent');
  await client.put('b', 1);
});

test('Promise 3: a node that hangs is given up: a read goes on elsewhere, a write is unknown before its deadline', async (t) => {
  const { server, service } = await startServer(t);
  const hanging = await silentNode(t);
  const client = clientOf(t, [hanging, server.port], { silenceMs: 20, deadlineMs: 60_000 });
  const [read, write] = await Promise.allSettled([client.get('a'), client.put('a', 1)]);
  assert.deepEqual(read, { status: 'fulfilled', value: null });
  assert.ok(
    write.status === 'rejected' && write.reason instanceof UnavailableError && write.reason.outcome === 'unknown',
  );
  assert.equal(service.tryGet(Buffer.from('a'), 0, 1), 'absent');
});

test('a node that is slow but answers pings is waited for', async (t) => {
  const [slow, other] = [await startServer(t), await startServer(t)];
  const clock = new ManualClock();
  const endpoints = [slow, other].map(({ server }) => `127.0.0.1:${server.port}`);
  const ports = { network: new NodeNetwork(), clock, random: new NodeRandom() };
  const client = new BinaryClient({ endpoints, silenceMs: 1000, deadlineMs: 60_000 }, ports);
  t.after(() => client.close());
  let open: () => void = () => undefined;
  slow.service.gate = new Promise((resolve) => (open = resolve));
  await client.ping();
  const answer = client.put('a', 1);
  for (let i = 0; i < 5; i++) {
    clock.advance(1000);
    // Its answer comes behind that of the channel's own ping.
    await client.ping();
  }
  open();
  assert.ok((await answer).revision > 0);
});

test('with one endpoint a silent node is waited for until the deadline', async (t) => {
  const client = clientOf(t, [await silentNode(t)], { silenceMs: 5, deadlineMs: 100 });
  await assert.rejects(client.put('a', 1), (error) => error instanceof DeadlineError && error.outcome === 'unknown');
});

test('a stale read says so to the node, and how far behind it is to the caller', async (t) => {
  const { server, service } = await startServer(t);
  const client = clientOf(t, [server.port]);
  await client.put('a', 1);
  service.blocked = true;
  service.stalenessMs = 7;
  assert.equal((await client.get('a', { consistency: 'stale' }))?.stalenessMs, 7);
  assert.equal((await client.getMany(['a'], { consistency: 'stale' }))[0]?.stalenessMs, 7);
  assert.equal((await client.get('a'))?.stalenessMs, undefined);
  for await (const item of client.range({ consistency: 'stale' })) assert.equal(item.key, 'a');
  assert.equal(service.staleReads, 3);
});
