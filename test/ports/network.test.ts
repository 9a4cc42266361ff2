import assert from 'node:assert/strict';
import net from 'node:net';
import { test } from 'node:test';
import { Prng } from '../../src/base/prng.js';
import { NodeNetwork } from '../../src/platform/node-network.js';
import type { Connection } from '../../src/ports/network.js';
import { Scheduler } from '../sim/ports/scheduler.js';
import { SimNetwork } from '../sim/ports/sim-network.js';
import { networkConformance, type NetworkWorld } from './network-conformance.js';
import { untilReal } from './port-world.js';

networkConformance('the real network', () => ({
  port: new NodeNetwork(),
  host: '127.0.0.1',
  settle: (promise) => promise,
  until: untilReal,
  close: async () => {},
}));

function simWorld(seed: number): NetworkWorld {
  const prng = new Prng(seed);
  const scheduler = new Scheduler(prng);
  return {
    port: new SimNetwork({ scheduler, prng }).host('a'),
    host: 'a',
    settle: (promise) => scheduler.run(promise),
    until: async (condition) => assert.ok(await scheduler.runUntil(condition), 'the world came to rest too early'),
    close: async () => {},
  };
}

for (const seed of [1, 2, 3]) networkConformance(`the simulated network, seed ${seed}`, () => simWorld(seed));

test('the real network sends the writes of one call back, and of the promises it settles, in one chunk', async () => {
  const network = new NodeNetwork();
  let server: Connection | undefined;
  const listener = await network.listen('127.0.0.1', 0, (connection) => {
    server = connection;
  });
  const chunks: string[] = [];
  const client = net.connect(listener.port, '127.0.0.1');
  client.on('data', (chunk) => chunks.push(chunk.toString()));
  await untilReal(() => server !== undefined);
  const connection = server!;
  setImmediate(() => {
    connection.write(Buffer.from('a'));
    void Promise.resolve()
      .then(() => connection.write(Buffer.from('b')))
      .then(() => connection.write(Buffer.from('c')));
  });
  await untilReal(() => chunks.length > 0);
  assert.deepEqual(chunks, ['abc']);
  client.destroy();
  connection.destroy();
  await listener.close();
});

test('the real network never reuses memory that a slow reader has not taken', async () => {
  const network = new NodeNetwork();
  const servers: Connection[] = [];
  const listener = await network.listen('127.0.0.1', 0, (connection) => servers.push(connection));
  const slow = net.connect(listener.port, '127.0.0.1').pause();
  await untilReal(() => servers.length === 1);
  // Rounds of two small writes go through the shared slab, also long after the system takes no more.
  const rounds = 400;
  for (let round = 0; round < rounds; round++) {
    servers[0]!.write(Buffer.alloc(30_000, round % 251));
    servers[0]!.write(Buffer.alloc(10_000, round % 251));
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.ok(servers[0]!.bufferedBytes > 0);
  const received: Buffer[] = [];
  let length = 0;
  slow.on('data', (chunk) => {
    received.push(chunk);
    length += chunk.length;
  });
  slow.resume();
  await untilReal(() => length === rounds * 40_000);
  const all = Buffer.concat(received);
  for (let round = 0; round < rounds; round++) {
    const part = all.subarray(round * 40_000, (round + 1) * 40_000);
    assert.ok(part.equals(Buffer.alloc(40_000, round % 251)), `round ${round} was changed on its way`);
  }
  slow.destroy();
  servers[0]!.destroy();
  await listener.close();
});

test('a broken stream of the real network closes with its cause', async () => {
  const network = new NodeNetwork();
  let server: Connection | undefined;
  let closedWith: Error | undefined;
  const listener = await network.listen('127.0.0.1', 0, (connection) => {
    server = connection;
    connection.onClose = (error) => {
      closedWith = error;
    };
  });
  const client = net.connect(listener.port, '127.0.0.1');
  await untilReal(() => server !== undefined);
  client.resetAndDestroy();
  await untilReal(() => closedWith !== undefined);
  assert.equal((closedWith as Error & { code?: string }).code, 'ECONNRESET');
  await listener.close();
});

test('connect over a cut link times out, and a healed one works again', async () => {
  const prng = new Prng(1);
  const scheduler = new Scheduler(prng);
  const world = new SimNetwork({ scheduler, prng });
  const listener = await scheduler.run(world.host('b').listen('b', 0, () => {}));
  world.partition('a', 'b');
  await assert.rejects(scheduler.run(world.host('a').connect('b', listener.port)), { code: 'ETIMEDOUT' });
  world.heal();
  await scheduler.run(world.host('a').connect('b', listener.port));
});

test('a one-way cut holds bytes back and delivers them in order when it heals', async () => {
  const prng = new Prng(5);
  const scheduler = new Scheduler(prng);
  const world = new SimNetwork({ scheduler, prng });
  let server: Connection | undefined;
  const listener = await scheduler.run(
    world.host('b').listen('b', 0, (connection) => {
      server = connection;
    }),
  );
  const client = await scheduler.run(world.host('a').connect('b', listener.port));
  let atServer = '';
  let atClient = '';
  server!.onData = (chunk) => (atServer += Buffer.from(chunk).toString());
  client.onData = (chunk) => (atClient += Buffer.from(chunk).toString());
  world.cutLink('a', 'b');
  for (const part of ['1', '2', '3']) client.write(Buffer.from(part));
  server!.write(Buffer.from('x'));
  await scheduler.runFor(10_000);
  assert.equal(atServer, '');
  assert.equal(atClient, 'x');
  world.heal();
  await scheduler.runFor(10_000);
  assert.equal(atServer, '123');
});

test('a crash of a host resets the other ends and silences its own', async () => {
  const prng = new Prng(6);
  const scheduler = new Scheduler(prng);
  const world = new SimNetwork({ scheduler, prng });
  let server: Connection | undefined;
  const listener = await scheduler.run(
    world.host('b').listen('b', 0, (connection) => {
      server = connection;
    }),
  );
  const client = await scheduler.run(world.host('a').connect('b', listener.port));
  let clientError: Error | undefined;
  let serverCalls = 0;
  client.onClose = (error) => {
    clientError = error;
  };
  server!.onData = server!.onEnd = server!.onClose = () => serverCalls++;
  client.write(Buffer.from('too late'));
  world.crashHost('b');
  await scheduler.runFor(1000);
  assert.equal((clientError as Error & { code?: string }).code, 'ECONNRESET');
  assert.equal(serverCalls, 0);
  world.startHost('b');
  await assert.rejects(scheduler.run(world.host('a').connect('b', listener.port)), { code: 'ECONNREFUSED' });
});
