import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PROTOCOL_MAGIC, encodeRequestFrame } from '../../../src/codec/client-protocol.js';
import { ManualClock, RawClient, bytes, startServer } from './harness.js';

const ROUNDS = Number(process.env['CAIRN_TEST_SEEDS'] ?? 150);
const hello = encodeRequestFrame({ id: 1, hello: { magic: PROTOCOL_MAGIC, versionMajor: 1 } });

/** The server has an error for the connection, then ends it. */
async function refusal(client: RawClient): Promise<string> {
  const answer = await client.next();
  assert.equal(await client.next(), null);
  return answer!.error!.code!;
}

/** Waits until the server has seen what was done; real sockets take a few turns. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}

test('a wrong magic is a typed error, then the connection closes', async (t) => {
  const { server } = await startServer(t);
  const client = await RawClient.connect(t, server.port);
  client.send({ id: 1, hello: { magic: 1, versionMajor: 1 } });
  assert.equal(await refusal(client), 'protocol_error');
});

test('a wrong major version is a typed error that names the right one, then the connection closes', async (t) => {
  const { server } = await startServer(t);
  const client = await RawClient.connect(t, server.port);
  client.send({ id: 1, hello: { magic: PROTOCOL_MAGIC, versionMajor: 2 } });
  const { error } = (await client.next())!;
  assert.deepEqual(
    [error!.code, error!.extra![0]!.name, error!.extra![0]!.number],
    ['protocol_error', 'versionMajor', 1],
  );
  assert.equal(await client.next(), null);
});

test('a client of another cluster is refused', async (t) => {
  const { server } = await startServer(t);
  const client = await RawClient.connect(t, server.port);
  client.send({ id: 1, hello: { magic: PROTOCOL_MAGIC, versionMajor: 1, clusterId: 'other' } });
  assert.equal(await refusal(client), 'protocol_error');
});

test('a request before the hello is refused', async (t) => {
  const { server } = await startServer(t);
  const client = await RawClient.connect(t, server.port);
  client.send({ id: 1, get: { key: bytes('a') } });
  assert.equal(await refusal(client), 'protocol_error');
});

for (const [name, header] of [
  ['4 GiB', Uint8Array.of(255, 255, 255, 255)],
  ['the text GET /', bytes('GET / HTTP/1.1\r\n\r\n')],
] as const) {
  test(`a length of ${name} is a typed error, then the connection closes, before and after the hello`, async (t) => {
    const { server } = await startServer(t);
    const early = await RawClient.connect(t, server.port);
    early.write(header);
    assert.equal(await refusal(early), 'too_large');
    const late = await RawClient.open(t, server.port);
    late.write(header);
    assert.equal(await refusal(late), 'too_large');
  });
}

test('answers that were due come before the error that ends the connection', async (t) => {
  const { server } = await startServer(t);
  const client = await RawClient.open(t, server.port);
  client.write(Buffer.concat([encodeRequestFrame({ id: 2, ping: {} }), Uint8Array.of(255, 255, 255, 255)]));
  assert.equal((await client.next())!.id, 2);
  assert.equal(await refusal(client), 'too_large');
});

test('a request without an id is refused', async (t) => {
  const { server } = await startServer(t);
  const client = await RawClient.open(t, server.port);
  client.send({ ping: {} });
  assert.equal(await refusal(client), 'protocol_error');
});

test('random bytes cost their connection only', async (t) => {
  const { server } = await startServer(t);
  const witness = await RawClient.open(t, server.port);
  let state = 12_345;
  const random = (): number => (state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0) >>> 8;
  for (let round = 0; round < ROUNDS; round++) {
    const client = await RawClient.connect(t, server.port);
    const noise = Uint8Array.from({ length: 1 + (random() % 300) }, () => random());
    // A third begins with noise, the others say hello; half of those frame the noise properly.
    const parts: Uint8Array[] = [];
    if (round % 3 > 0) parts.push(hello);
    if (round % 3 === 2) {
      const header = new Uint8Array(4);
      new DataView(header.buffer).setUint32(0, noise.length, true);
      parts.push(header);
    }
    client.socket.end(Buffer.concat([...parts, noise]));
    while ((await client.next()) !== null);
  }
  witness.send({ id: 2, ping: {} });
  assert.equal((await witness.next())!.body, 'ping');
});

test('damaged requests cost their connection only', async (t) => {
  const { server } = await startServer(t);
  const witness = await RawClient.open(t, server.port);
  const key = bytes('key');
  const frames = [
    { id: 2, put: { key, value: bytes('{"a":1}'), condition: { revisions: [1, 2] } } },
    { id: 3, batch: { operations: [{ put: { key, value: bytes('1') } }, { delete: { key } }] } },
    { id: 4, range: { startKey: key, endKey: bytes('z'), limit: 5, credits: 2 } },
    { id: 5, multiGet: { keys: [key, key] } },
  ].map(encodeRequestFrame);
  for (const frame of frames) {
    for (let at = 4; at < frame.length; at++) {
      const client = await RawClient.connect(t, server.port);
      const damaged = frame.slice();
      damaged[at] = damaged[at]! ^ (1 << (at % 8));
      client.socket.end(Buffer.concat([hello, damaged]));
      while ((await client.next()) !== null);
    }
  }
  witness.send({ id: 2, ping: {} });
  assert.equal((await witness.next())!.body, 'ping');
});

test('a connection without a hello is refused in time', async (t) => {
  const clock = new ManualClock();
  const { server } = await startServer(t, { helloTimeoutMs: 5000 }, clock);
  const client = await RawClient.connect(t, server.port);
  await until(() => server.connectionCount === 1);
  clock.advance(6100);
  assert.equal(await refusal(client), 'protocol_error');
});

test('a frame that never ends is refused in time, however its bytes trickle', async (t) => {
  const clock = new ManualClock();
  const { server } = await startServer(t, { frameTimeoutMs: 10_000, idleTimeoutMs: 1_000_000 }, clock);
  const client = await RawClient.open(t, server.port);
  const answer = refusal(client);
  let refused = false;
  void answer.then(() => (refused = true));
  client.write(Uint8Array.of(200, 0, 0, 0));
  for (let i = 0; i < 100 && !refused; i++) {
    client.write(Uint8Array.of(8));
    clock.advance(1000);
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.equal(await answer, 'protocol_error');
});

test('an idle connection is closed, one that is used or has a range is not', async (t) => {
  const clock = new ManualClock();
  const { server, service } = await startServer(t, { idleTimeoutMs: 10_000, rangeTimeoutMs: 1_000_000 }, clock);
  const idle = await RawClient.open(t, server.port);
  const ranging = await RawClient.open(t, server.port);
  ranging.send({
    id: 2,
    batch: { operations: ['a', 'b'].map((name) => ({ put: { key: bytes(name), value: bytes('1') } })) },
  });
  await ranging.next();
  ranging.send({ id: 3, range: { pageItems: 1 } });
  await ranging.next();
  clock.advance(12_000);
  assert.equal(await idle.next(), null);
  assert.equal(service.openScans, 1);
  ranging.send({ id: 4, ping: {} });
  assert.equal((await ranging.next())!.body, 'ping');
});

test('a range that nobody reads on ends with an error and gives its scan back', async (t) => {
  const clock = new ManualClock();
  const { server, service } = await startServer(t, { rangeTimeoutMs: 10_000 }, clock);
  const client = await RawClient.open(t, server.port);
  client.send({
    id: 2,
    batch: { operations: ['a', 'b'].map((name) => ({ put: { key: bytes(name), value: bytes('1') } })) },
  });
  await client.next();
  client.send({ id: 3, range: { pageItems: 1 } });
  await client.next();
  clock.advance(12_000);
  assert.equal((await client.next())!.error!.code, 'deadline_exceeded');
  assert.equal(service.openScans, 0);
});

test('a reader that takes nothing is not read on, holds a bounded output, and is cut off in time', async (t) => {
  const clock = new ManualClock();
  const { server, service } = await startServer(t, { maxBufferedBytes: 100_000, writeTimeoutMs: 10_000 }, clock);
  const client = await RawClient.open(t, server.port);
  const key = bytes('big');
  client.send({ id: 2, put: { key, value: bytes(`"${'x'.repeat(1_000_000)}"`) } });
  await client.next();
  client.socket.pause();
  let reads = 0;
  const tryGet = service.tryGet.bind(service);
  service.tryGet = (...parameters) => {
    reads++;
    return tryGet(...parameters);
  };
  const gets = Array.from({ length: 1000 }, (_, i) => encodeRequestFrame({ id: i + 3, get: { key } }));
  client.write(Buffer.concat(gets));
  await until(() => reads > 0);
  for (let i = 0; i < 200; i++) await new Promise((resolve) => setImmediate(resolve));
  assert.ok(reads < 100, `expected reading to stop, found ${reads} of 1000 gets answered`);
  for (let i = 0; i < 100 && server.connectionCount > 0; i++) {
    clock.advance(1000);
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.equal(server.connectionCount, 0);
});

test('a slow reader that does read gets everything', async (t) => {
  const { server } = await startServer(t, { maxBufferedBytes: 10_000 });
  const client = await RawClient.open(t, server.port);
  const key = bytes('big');
  client.send({ id: 2, put: { key, value: bytes(`"${'x'.repeat(200_000)}"`) } });
  await client.next();
  client.socket.pause();
  client.write(Buffer.concat(Array.from({ length: 100 }, (_, i) => encodeRequestFrame({ id: i + 3, get: { key } }))));
  for (let i = 0; i < 50; i++) await new Promise((resolve) => setImmediate(resolve));
  client.socket.resume();
  assert.deepEqual(
    (await client.take(100)).map(({ id }) => id),
    Array.from({ length: 100 }, (_, i) => i + 3),
  );
});

test('one connection too many is told so', async (t) => {
  const { server } = await startServer(t, { maxConnections: 1 });
  await RawClient.open(t, server.port);
  const second = await RawClient.connect(t, server.port);
  assert.equal(await refusal(second), 'overloaded');
});

test('a connection that goes while its requests are under way leaves nothing behind', async (t) => {
  const { server, service } = await startServer(t);
  const client = await RawClient.open(t, server.port);
  let open = (): void => undefined;
  service.gate = new Promise((resolve) => (open = resolve));
  client.send({ id: 2, put: { key: bytes('a'), value: bytes('1') } }, { id: 3, multiGet: { keys: [bytes('a')] } });
  client.socket.destroy();
  open();
  service.gate = null;
  await until(() => server.connectionCount === 0);
  const other = await RawClient.open(t, server.port);
  other.send({ id: 2, ping: {} });
  assert.equal((await other.next())!.body, 'ping');
});

test('a shutdown answers what is under way, refuses what comes after, and says when nothing more will be done', async (t) => {
  const { server, service } = await startServer(t);
  const client = await RawClient.open(t, server.port);
  let open = (): void => undefined;
  service.gate = new Promise((resolve) => (open = resolve));
  const key = bytes('a');
  client.send({ id: 2, put: { key, value: bytes('1') } }, { id: 3, ping: {} });
  assert.equal((await client.next())!.id, 3);
  const closed = server.close(10_000);
  assert.equal((await client.next())!.error!.code, 'shutting_down');
  client.send({ id: 4, put: { key, value: bytes('2') } });
  const refused = (await client.next())!;
  assert.deepEqual([refused.id, refused.error!.code], [4, 'shutting_down']);
  open();
  assert.equal((await client.next())!.body, 'put');
  const last = (await client.next())!;
  assert.deepEqual([last.id, last.error!.code, last.error!.extra![0]!.name], [0, 'shutting_down', 'drained']);
  assert.equal(await client.next(), null);
  client.socket.destroy();
  await closed;
});
