import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { test, type TestContext } from 'node:test';
import { CairnError } from '../../src/base/errors.js';
import {
  AuthError,
  CairnClient,
  ConflictError,
  DeadlineError,
  HistoryGoneError,
  InvalidRequestError,
  UnavailableError,
  type ClientOptions,
} from '../../src/client/index.js';
import { encodeResponseFrame } from '../../src/codec/client-protocol.js';
import { NodeClock } from '../../src/platform/node-clock.js';
import { NodeNetwork } from '../../src/platform/node-network.js';
import { TcpServer } from '../../src/server/tcp/tcp-server.js';
import { startServer } from '../server/tcp/harness.js';

function clientFor(t: TestContext, port: number, options: Partial<ClientOptions> = {}): CairnClient {
  const client = new CairnClient({ endpoints: [`127.0.0.1:${port}`], backoffMs: 1, ...options });
  t.after(() => client.close());
  return client;
}

/** Relays to a server, and cuts all connections when told. */
async function proxy(
  t: TestContext,
  target: () => number,
): Promise<{ port: number; cut(): void; connections(): number }> {
  const sockets = new Set<net.Socket>();
  let accepted = 0;
  const server = net.createServer((socket) => {
    accepted++;
    const upstream = net.connect(target(), '127.0.0.1');
    for (const [one, other] of [
      [socket, upstream],
      [upstream, socket],
    ] as const) {
      sockets.add(one);
      one.on('error', () => other.destroy());
      one.on('close', () => other.destroy());
      one.pipe(other);
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const cut = (): void => {
    for (const socket of sockets) socket.destroy();
    sockets.clear();
  };
  t.after(() => {
    cut();
    server.close();
  });
  return { port: (server.address() as net.AddressInfo).port, cut, connections: () => accepted };
}

/** Accepts, and does with each connection's bytes what it is told. */
async function fakeServer(t: TestContext, onData: (socket: net.Socket, chunk: Buffer) => void): Promise<number> {
  const sockets = new Set<net.Socket>();
  const server = net.createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('data', (chunk) => onData(socket, chunk));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return (server.address() as net.AddressInfo).port;
}

const HELLO = encodeResponseFrame({ id: 1, hello: { magic: 0x4e52_4943, versionMajor: 1, nodeId: 'fake' } });

async function rejection(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => assert.fail('expected a rejection'),
    (error: unknown) => error,
  );
}

test('a value comes back as it was put, with its revision; nothing is null', async (t) => {
  const { server } = await startServer(t);
  const client = clientFor(t, server.port);
  const user = { name: 'J\u00f6rg \u{1f600}', tags: [1, null, true], nested: { __proto__x: 1 } };
  const { revision } = await client.put('user:1', user);
  assert.deepEqual(await client.get('user:1'), { value: user, revision });
  assert.equal(await client.get('user:2'), null);
});

test('getRaw gives the JSON text as it was put, with every digit', async (t) => {
  const { server } = await startServer(t);
  const client = clientFor(t, server.port);
  const text = '{"n": 12345678901234567890123}';
  await client.putRaw('n', Buffer.from(text), { contentType: 'application/json' });
  const raw = await client.getRaw('n');
  assert.deepEqual([Buffer.from(raw!.bytes).toString(), raw!.contentType], [text, 'application/json']);
});

test('bytes keep their content type, and binary keys are keys like any other', async (t) => {
  const { server } = await startServer(t);
  const client = clientFor(t, server.port);
  const key = Uint8Array.of(0, 255, 128);
  await client.putRaw(key, Uint8Array.of(1, 2, 0), { contentType: 'image/png', ttlSeconds: 5 });
  const raw = (await client.getRaw(key))!;
  assert.deepEqual([[...raw.bytes], raw.contentType, raw.expiresAt instanceof Date], [[1, 2, 0], 'image/png', true]);
  assert.deepEqual([...(await client.get<Uint8Array>(key))!.value], [1, 2, 0]);
});

test('a failed condition is a ConflictError with the current revision', async (t) => {
  const { server } = await startServer(t);
  const client = clientFor(t, server.port);
  const { revision } = await client.put('a', 1);
  const error = await rejection(client.put('a', 2, { ifRevision: revision - 1 }));
  assert.ok(error instanceof ConflictError);
  assert.deepEqual([error.currentRevision, error.outcome], [revision, 'refused']);
  await client.put('a', 2, { ifRevision: revision });
  assert.ok((await rejection(client.put('a', 3, { ifAbsent: true }))) instanceof ConflictError);
  assert.ok((await rejection(client.delete('b', { ifExists: true }))) instanceof ConflictError);
});

test('delete says whether there was a value', async (t) => {
  const { server } = await startServer(t);
  const client = clientFor(t, server.port);
  await client.put('a', 1);
  assert.equal((await client.delete('a')).deleted, true);
  assert.equal((await client.delete('a')).deleted, false);
});

test('a batch gives a result for each operation', async (t) => {
  const { server } = await startServer(t);
  const client = clientFor(t, server.port);
  const results = await client.batch([
    { put: 'a', value: { x: 1 } },
    { put: 'b', bytes: Buffer.from('hi'), contentType: 'text/plain' },
    { put: '', value: 1 },
    { delete: 'a' },
  ]);
  assert.deepEqual(
    results.map((result) => (result.error === undefined ? result.deleted : result.error.code)),
    [false, false, 'invalid_key', true],
  );
});

test('getMany keeps the order of its keys', async (t) => {
  const { server } = await startServer(t);
  const client = clientFor(t, server.port);
  await client.batch(['a', 'b', 'c'].map((put) => ({ put, value: put })));
  const entries = await client.getMany(['c', 'nope', 'a']);
  assert.deepEqual(
    entries.map((entry) => entry?.value ?? null),
    ['c', null, 'a'],
  );
});

test('a range streams pages in byte order, within its prefix, limit and direction', async (t) => {
  const { server, service } = await startServer(t);
  const client = clientFor(t, server.port);
  const names = Array.from({ length: 250 }, (_, i) => `k:${String(i).padStart(3, '0')}`);
  await client.batch([...names, 'j', 'l', 'k;'].map((put) => ({ put, value: put })));
  const found: string[] = [];
  for await (const { key, value } of client.range({ prefix: 'k:', pageItems: 20 })) {
    assert.equal(key, value);
    found.push(key);
  }
  assert.deepEqual(found, names);
  const last: string[] = [];
  for await (const { key } of client.range({ prefix: 'k:', reverse: true, limit: 3 })) last.push(key);
  assert.deepEqual(last, names.slice(-3).reverse());
  const keys: string[] = [];
  for await (const { keyBytes } of client.rangeKeys({ startKey: 'k:248', endKey: 'l' }))
    keys.push(Buffer.from(keyBytes).toString());
  assert.deepEqual(keys, ['k:248', 'k:249', 'k;']);
  assert.equal(service.openScans, 0);
});

test('leaving a range early gives its scan back', async (t) => {
  const { server, service } = await startServer(t);
  const client = clientFor(t, server.port);
  await client.batch(Array.from({ length: 100 }, (_, i) => ({ put: `k${i}`, value: i })));
  for await (const item of client.range({ pageItems: 5 })) {
    assert.equal(typeof item.value, 'number');
    break;
  }
  await client.ping();
  assert.equal(service.openScans, 0);
});

test('a range whose connection is lost goes on behind the last key, without a gap or a repetition', async (t) => {
  const { server } = await startServer(t);
  const { port, cut, connections } = await proxy(t, () => server.port);
  const client = clientFor(t, port);
  const names = Array.from({ length: 100 }, (_, i) => `k${String(i).padStart(3, '0')}`);
  await client.batch(names.map((put) => ({ put, value: 1 })));
  for (const reverse of [false, true]) {
    const found: string[] = [];
    for await (const { key } of client.range({ pageItems: 7, reverse, limit: 80 })) {
      found.push(key);
      if (found.length % 30 === 0) cut();
    }
    assert.deepEqual(found, (reverse ? [...names].reverse() : names).slice(0, 80));
  }
  assert.ok(connections() >= 4);
});

test('hundreds of calls at once are pipelined over one connection', async (t) => {
  const { server } = await startServer(t);
  const client = clientFor(t, server.port);
  await Promise.all(Array.from({ length: 3000 }, (_, i) => client.put(`k${i}`, i)));
  const entries = await Promise.all(Array.from({ length: 3000 }, (_, i) => client.get(`k${i}`)));
  assert.deepEqual(
    entries.map((entry) => entry?.value),
    Array.from({ length: 3000 }, (_, i) => i),
  );
  assert.equal(server.connectionCount, 1);
});

test('a read whose connection is lost is repeated on a new one', async (t) => {
  const { server, service } = await startServer(t);
  const { port, cut, connections } = await proxy(t, () => server.port);
  const client = clientFor(t, port);
  await client.put('a', 1);
  let open = (): void => undefined;
  service.blocked = true;
  service.gate = new Promise((resolve) => (open = resolve));
  const read = client.get('a');
  await new Promise((resolve) => setImmediate(resolve));
  cut();
  open();
  assert.equal((await read)!.value, 1);
  assert.ok(connections() >= 2);
});

test('Promise 3: a write whose connection is lost is not repeated; its outcome is unknown', async (t) => {
  const { server, service } = await startServer(t);
  const { port, cut } = await proxy(t, () => server.port);
  const client = clientFor(t, port);
  await client.ping();
  service.gate = new Promise(() => undefined);
  let puts = 0;
  const put = service.put.bind(service);
  service.put = (...parameters) => {
    puts++;
    put(...parameters);
    cut();
  };
  const error = await rejection(client.put('a', 1));
  assert.ok(error instanceof UnavailableError);
  assert.deepEqual([error.outcome, puts], ['unknown', 1]);
});

test('a write that was refused before it was executed is repeated', async (t) => {
  const { server, service } = await startServer(t);
  const client = clientFor(t, server.port);
  service.writeError = new CairnError('overloaded', 'busy');
  const put = service.put.bind(service);
  let puts = 0;
  service.put = (...parameters) => {
    if (++puts === 3) service.writeError = null;
    put(...parameters);
  };
  await client.put('a', 1);
  assert.equal(puts, 3);
});

test('with maxAttempts reached the last refusal is the error', async (t) => {
  const { server, service } = await startServer(t);
  const client = clientFor(t, server.port, { maxAttempts: 2 });
  service.writeError = new CairnError('overloaded', 'busy');
  const error = await rejection(client.put('a', 1));
  assert.ok(error instanceof UnavailableError);
  assert.deepEqual([error.code, error.outcome], ['overloaded', 'not_executed']);
});

test('a deadline that passes without an answer leaves a write unknown', async (t) => {
  const { server, service } = await startServer(t);
  const client = clientFor(t, server.port);
  await client.ping();
  let open = (): void => undefined;
  service.gate = new Promise((resolve) => (open = resolve));
  const error = await rejection(client.put('a', 1, { deadlineMs: 20 }));
  assert.ok(error instanceof DeadlineError);
  assert.equal(error.outcome, 'unknown');
  open();
  service.gate = null;
  assert.equal((await client.get('a'))!.value, 1);
});

test('nobody there is an UnavailableError, and nothing was executed', async () => {
  const client = new CairnClient({ endpoints: ['127.0.0.1:1'], maxAttempts: 2, backoffMs: 1 });
  const error = await rejection(client.put('a', 1));
  assert.ok(error instanceof UnavailableError);
  assert.equal(error.outcome, 'not_executed');
  await client.close();
});

test('nobody there until the deadline is an UnavailableError that says why', async () => {
  const client = new CairnClient({ endpoints: ['127.0.0.1:1'], deadlineMs: 50, backoffMs: 5 });
  const error = await rejection(client.get('a'));
  assert.ok(error instanceof UnavailableError);
  assert.match(error.message, /ECONNREFUSED/);
  await client.close();
});

test('the next endpoint is used when one is not there', async (t) => {
  const { server } = await startServer(t);
  const client = new CairnClient({ endpoints: ['127.0.0.1:1', `127.0.0.1:${server.port}`], backoffMs: 1 });
  t.after(() => client.close());
  assert.ok((await client.ping()) >= 0);
});

test('an abort rejects with the signal\u2019s reason, before and during a call', async (t) => {
  const { server, service } = await startServer(t);
  const client = clientFor(t, server.port);
  const reason = new Error('enough');
  assert.equal(await rejection(client.get('a', { signal: AbortSignal.abort(reason) })), reason);
  await client.ping();
  let open = (): void => undefined;
  service.blocked = true;
  service.gate = new Promise((resolve) => (open = resolve));
  const controller = new AbortController();
  const read = client.get('a', { signal: controller.signal });
  controller.abort(reason);
  assert.equal(await rejection(read), reason);
  open();
  service.gate = null;
  assert.equal(await client.get('a'), null);
});

test('an abort ends a range', async (t) => {
  const { server, service } = await startServer(t);
  const client = clientFor(t, server.port);
  await client.batch(Array.from({ length: 100 }, (_, i) => ({ put: `k${i}`, value: i })));
  const controller = new AbortController();
  const reason = new Error('enough');
  const error = await rejection(
    (async () => {
      for await (const item of client.range({ pageItems: 1, signal: controller.signal })) {
        assert.ok(item.key);
        controller.abort(reason);
      }
    })(),
  );
  assert.equal(error, reason);
  await client.ping();
  assert.equal(service.openScans, 0);
});

test('a node that shuts down and comes back loses no call: what it did not execute is sent again', async (t) => {
  const { server, service } = await startServer(t);
  let port = server.port;
  const { port: stable } = await proxy(t, () => port);
  const client = clientFor(t, stable);
  let failed: unknown = null;
  let puts = 0;
  let stop = false;
  const writer = (async () => {
    while (!stop) {
      await client.put(`k${puts++}`, 1).catch((error: unknown) => (failed = error));
      await new Promise((resolve) => setImmediate(resolve));
    }
  })();
  await client.ping();
  await server.close(5000);
  const next = await TcpServer.listen({
    service,
    network: new NodeNetwork(),
    clock: new NodeClock(),
    host: '127.0.0.1',
    port: 0,
    checkJson: () => null,
  });
  t.after(() => next.close(0));
  port = next.port;
  await client.ping();
  stop = true;
  await writer;
  assert.equal(failed, null);
});

test('error codes of the server become typed errors', async (t) => {
  const { server, service } = await startServer(t);
  const client = clientFor(t, server.port);
  const get = service.get.bind(service);
  service.blocked = true;
  service.get = async (...parameters) => {
    await get(...parameters);
    throw new CairnError('history_gone', 'gone', { extra: { minRevision: 77 } });
  };
  const error = await rejection(client.get('a'));
  assert.ok(error instanceof HistoryGoneError);
  assert.equal(error.minRevision, 77);
});

test('a refused hello is an error at once, not tried again', async (t) => {
  const refusal = encodeResponseFrame({ id: 1, error: { code: 'unauthenticated', message: 'no' } });
  let connections = 0;
  const port = await fakeServer(t, (socket) => {
    connections++;
    socket.end(refusal);
  });
  const client = clientFor(t, port);
  assert.ok((await rejection(client.get('a'))) instanceof AuthError);
  assert.equal(connections, 1);
});

test('answers that are no frames of the protocol end the connection, not the process', async (t) => {
  const port = await fakeServer(
    t,
    (socket, chunk) => void socket.write(chunk.length > 60 ? HELLO : Uint8Array.of(2, 0, 0, 0, 0xff, 0xff)),
  );
  const client = clientFor(t, port, { maxAttempts: 2, clientName: 'x'.repeat(60) });
  assert.ok((await rejection(client.get('a'))) instanceof UnavailableError);
});

test('a peer that has gone without a word is left at the deadline, and the next call connects again', async (t) => {
  let connections = 0;
  const port = await fakeServer(t, (socket, chunk) => {
    if (chunk.length > 60) {
      connections++;
      socket.write(HELLO);
    }
  });
  const client = clientFor(t, port, { clientName: 'x'.repeat(60), deadlineMs: 400 });
  assert.ok((await rejection(client.get('a'))) instanceof DeadlineError);
  assert.ok((await rejection(client.get('a'))) instanceof DeadlineError);
  assert.equal(connections, 2);
});

test('what JSON can\u2019t hold, a bad endpoint and a bad ttl are refused before anything is sent', async (t) => {
  const { server } = await startServer(t);
  const client = clientFor(t, server.port);
  assert.ok((await rejection(client.put('a', undefined))) instanceof InvalidRequestError);
  assert.ok((await rejection(client.put('a', 1, { ttlSeconds: 1.5 }))) instanceof InvalidRequestError);
  assert.throws(() => new CairnClient({ endpoints: ['nowhere'] }), InvalidRequestError);
  assert.throws(() => new CairnClient({ endpoints: [] }), InvalidRequestError);
});

test('close lets calls under way finish and refuses later ones', async (t) => {
  const { server } = await startServer(t);
  const client = clientFor(t, server.port);
  const put = client.put('a', 1);
  const closed = client.close();
  assert.ok((await put).revision > 0);
  await closed;
  assert.ok((await rejection(client.get('a'))) instanceof UnavailableError);
});
