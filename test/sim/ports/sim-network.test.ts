import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '../../../src/base/prng.js';
import { NetworkError, type Connection } from '../../../src/ports/network.js';
import { drawDelayMs, uniform, type Delay } from './delay.js';
import { Scheduler } from './scheduler.js';
import { SimNetwork, type SimNetworkOptions } from './sim-network.js';
import { TraceHash } from './trace-hash.js';

const SEEDS = Number(process.env['CAIRN_TEST_SEEDS'] ?? 15);
const PORT = 9091;

/** What one end has heard. */
class End {
  readonly connection: Connection;
  received = Buffer.alloc(0);
  ended = false;
  closed = false;
  code: string | undefined;

  constructor(connection: Connection) {
    this.connection = connection;
    connection.onData = (chunk) => {
      this.received = Buffer.concat([this.received, chunk]);
    };
    connection.onEnd = () => {
      this.ended = true;
    };
    connection.onClose = (error) => {
      assert.ok(!this.closed, 'closed once');
      this.closed = true;
      this.code = error instanceof NetworkError ? error.code : undefined;
    };
  }

  get text(): string {
    return this.received.toString();
  }

  write(text: string): void {
    this.connection.write(Buffer.from(text));
  }
}

/** Hosts a, b and c; b listens. */
class World {
  readonly scheduler: Scheduler;
  readonly network: SimNetwork;
  readonly servers: End[] = [];

  constructor(seed: number, options: Partial<SimNetworkOptions> = {}) {
    const prng = new Prng(seed);
    this.scheduler = new Scheduler(prng);
    this.network = new SimNetwork({ scheduler: this.scheduler, prng, stallTimeoutMs: 5000, ...options });
  }

  async serve(host = 'b'): Promise<void> {
    const listening = this.network
      .host(host)
      .listen(host, PORT, (connection) => this.servers.push(new End(connection)));
    await this.scheduler.run(listening);
  }

  async connect(from = 'a', to = 'b'): Promise<End> {
    return new End(await this.scheduler.run(this.network.host(from).connect(to, PORT)));
  }

  /** A connection from a to b, both ends. */
  async pair(): Promise<{ client: End; server: End }> {
    await this.serve();
    const client = await this.connect();
    await this.scheduler.runUntil(() => this.servers.length > 0);
    return { client, server: this.servers[0]! };
  }
}

test('delays follow their distribution', () => {
  const prng = new Prng(1);
  const draw = (delay: Delay): number[] => Array.from({ length: 2000 }, () => drawDelayMs(delay, prng));
  const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;
  const even = draw(uniform(1, 3));
  assert.ok(Math.min(...even) >= 1 && Math.max(...even) <= 3);
  const tailed = draw({ kind: 'exponential', shortestMs: 1, meanMs: 5 });
  assert.ok(Math.min(...tailed) >= 1 && Math.max(...tailed) > 20);
  assert.ok(Math.abs(mean(tailed) - 5) < 0.5, String(mean(tailed)));
  const spiky = draw({ kind: 'spiky', shortestMs: 1, longestMs: 2, spikeProbability: 0.1, spikeMs: 500 });
  const spikes = spiky.filter((each) => each === 500).length;
  assert.ok(spikes > 120 && spikes < 300, String(spikes));
});

test('a cut shorter than the time-out stalls a stream, which then goes on without a gap', async () => {
  const world = new World(1);
  const { client, server } = await world.pair();
  client.write('1');
  await world.scheduler.runFor(100);
  world.network.cutLink('a', 'b');
  client.write('2');
  client.write('3');
  await world.scheduler.runFor(4000);
  assert.equal(server.text, '1');
  world.network.heal();
  client.write('4');
  await world.scheduler.runFor(10_000);
  assert.equal(server.text, '1234');
  assert.ok(!client.closed && !server.closed);
});

test('a sender behind a cut gives up at the time-out; the other end stays half-open until it sends', async () => {
  const world = new World(2);
  const { client, server } = await world.pair();
  world.network.cutLink('a', 'b');
  client.write('lost');
  await world.scheduler.runFor(6000);
  assert.equal(client.code, 'ETIMEDOUT');
  assert.ok(!server.closed);
  world.network.heal();
  await world.scheduler.runFor(60_000);
  assert.ok(!server.closed);
  assert.equal(server.text, '');
  server.write('anybody there?');
  await world.scheduler.runFor(100);
  assert.equal(server.code, 'ECONNRESET');
});

test('an end that has nothing to send does not notice a cut', async () => {
  const world = new World(3);
  const { client, server } = await world.pair();
  world.network.partition('a', 'b');
  await world.scheduler.runFor(100_000);
  world.network.heal();
  client.write('still here');
  await world.scheduler.runFor(100);
  assert.equal(server.text, 'still here');
});

test('with the way back cut bytes arrive, but the sender hears of none and gives up', async () => {
  const world = new World(4, { windowBytes: 10 });
  const { client, server } = await world.pair();
  world.network.cutLink('b', 'a');
  client.write('0123456789abcdef');
  await world.scheduler.runFor(1000);
  assert.equal(server.text, '0123456789');
  assert.equal(client.connection.bufferedBytes, 6);
  await world.scheduler.runFor(5000);
  assert.equal(client.code, 'ETIMEDOUT');
});

test('split hosts can not connect, a bridge reaches both sides, and one link heals by itself', async () => {
  const world = new World(5);
  await world.serve('a');
  await world.serve('b');
  world.network.split(['a'], ['b']);
  await assert.rejects(world.connect('a', 'b'), { code: 'ETIMEDOUT' });
  await assert.rejects(world.connect('b', 'a'), { code: 'ETIMEDOUT' });
  await world.connect('c', 'a');
  await world.connect('c', 'b');
  world.network.healLink('a', 'b');
  await assert.rejects(world.connect('a', 'b'), { code: 'ETIMEDOUT' });
  world.network.healLink('b', 'a');
  await world.connect('a', 'b');
});

test('a connect begun behind a cut succeeds when it heals in time', async () => {
  const world = new World(6, { connectTimeoutMs: 10_000 });
  await world.serve();
  world.network.partition('a', 'b');
  world.scheduler.schedule(2000, () => world.network.heal());
  await world.connect();
});

test('lost packets cost time, and neither bytes nor order', async () => {
  const plain = new World(7);
  const lossy = new World(7, { link: { lossProbability: 0.5 } });
  const expected = Array.from({ length: 100 }, (_, i) => `${i},`).join('');
  const times: number[] = [];
  for (const world of [plain, lossy]) {
    const { client, server } = await world.pair();
    const began = world.scheduler.nowMs;
    for (let i = 0; i < 100; i++) {
      client.write(`${i},`);
      await world.scheduler.runFor(1);
    }
    await world.scheduler.runUntil(() => server.text.length === expected.length);
    assert.equal(server.text, expected);
    times.push(world.scheduler.nowMs - began);
  }
  assert.ok(times[1]! > times[0]! + 200, times.join());
});

test('the bandwidth of a link is shared by its connections, and the way back has its own', async () => {
  const world = new World(8);
  const { client, server } = await world.pair();
  const second = await world.connect();
  await world.scheduler.runUntil(() => world.servers.length === 2);
  world.network.setLink('a', 'b', { bytesPerMs: 100 });
  const began = world.scheduler.nowMs;
  client.connection.write(Buffer.alloc(200_000));
  second.connection.write(Buffer.alloc(200_000));
  server.connection.write(Buffer.alloc(200_000));
  await world.scheduler.runUntil(() => client.received.length === 200_000);
  assert.ok(world.scheduler.nowMs - began < 100);
  await world.scheduler.runUntil(() => world.servers.every(({ received }) => received.length === 200_000));
  const tookMs = world.scheduler.nowMs - began;
  assert.ok(tookMs >= 4000 && tookMs < 4100, String(tookMs));
  world.network.restoreLinks();
  client.connection.write(Buffer.alloc(200_000));
  await world.scheduler.runUntil(() => server.received.length === 400_000);
  assert.ok(world.scheduler.nowMs - began < tookMs + 100);
});

test('a stopped process takes bytes up to its window, and hears everything in order when it goes on', async () => {
  const world = new World(9, { windowBytes: 1000 });
  const { client, server } = await world.pair();
  world.network.pauseHost('b');
  for (let i = 0; i < 30; i++) client.connection.write(Buffer.alloc(100, i));
  await world.scheduler.runFor(60_000);
  assert.equal(server.received.length, 0);
  assert.equal(client.connection.bufferedBytes, 2000);
  assert.ok(!client.closed, 'a full window is no time-out');
  client.connection.end();
  world.network.resumeHost('b');
  await world.scheduler.runUntil(() => server.ended);
  assert.deepEqual(server.received, Buffer.concat(Array.from({ length: 30 }, (_, i) => Buffer.alloc(100, i))));
  assert.ok(!world.network.isPaused('b'));
});

test('the system of a stopped process takes connections, which it hears of later with their bytes', async () => {
  const world = new World(10);
  await world.serve();
  world.network.pauseHost('b');
  const client = await world.connect();
  client.write('early');
  await world.scheduler.runFor(1000);
  assert.equal(world.servers.length, 0);
  world.network.resumeHost('b');
  await world.scheduler.runFor(100);
  assert.equal(world.servers[0]!.text, 'early');
});

test('a stopped process sends nothing from its own buffers, and hears of its broken connections when it goes on', async () => {
  const world = new World(11, { windowBytes: 100 });
  const { client, server } = await world.pair();
  client.connection.write(Buffer.alloc(500));
  world.network.pauseHost('a');
  await world.scheduler.runFor(1000);
  assert.equal(server.received.length, 0);
  server.connection.destroy();
  await world.scheduler.runFor(1000);
  assert.ok(!client.closed);
  world.network.resumeHost('a');
  await world.scheduler.runFor(1000);
  assert.equal(client.code, 'ECONNRESET');
});

test('a killed process resets its connections, and the next one on the host listens anew', async () => {
  const world = new World(12);
  const { client } = await world.pair();
  const before = world.network.host('b');
  world.network.crashHost('b');
  await world.scheduler.runFor(100);
  assert.equal(client.code, 'ECONNRESET');
  await assert.rejects(world.connect(), { code: 'ECONNREFUSED' });
  world.network.startHost('b');
  await world.serve();
  await world.connect();
  let settled = false;
  void before.connect('a', PORT).catch(() => (settled = true));
  await world.scheduler.runFor(10_000);
  assert.ok(!settled, 'the dead process does nothing any more');
});

test('a host without power leaves its peers waiting until they give up, or until it is back and knows nothing', async () => {
  const world = new World(13);
  const { client } = await world.pair();
  const idle = await world.connect();
  world.network.crashHost('b', 'hang');
  client.write('hello?');
  await world.scheduler.runFor(1000);
  assert.ok(!client.closed);
  await assert.rejects(world.connect(), { code: 'ETIMEDOUT' });
  await world.scheduler.runFor(5000);
  assert.equal(client.code, 'ETIMEDOUT');
  world.network.startHost('b');
  await world.scheduler.runFor(1000);
  assert.ok(!idle.closed);
  idle.write('hello?');
  await world.scheduler.runFor(1000);
  assert.equal(idle.code, 'ECONNRESET');
});

test('a killed process behind a cut can not tell its peers, who hear of it when they send', async () => {
  const world = new World(14);
  const { client } = await world.pair();
  world.network.cutLink('b', 'a');
  world.network.crashHost('b');
  world.network.heal();
  await world.scheduler.runFor(10_000);
  assert.ok(!client.closed);
  client.write('hello?');
  await world.scheduler.runFor(100);
  assert.equal(client.code, 'ECONNRESET');
});

test('a forgotten connection is half-open until the other end sends', async () => {
  const world = new World(15);
  const { client, server } = await world.pair();
  world.network.forgetConnections('a', 'b');
  await world.scheduler.runFor(100_000);
  assert.equal(client.code, 'ETIMEDOUT');
  assert.ok(!server.closed);
  server.write('hello?');
  await world.scheduler.runFor(100);
  assert.equal(server.code, 'ECONNRESET');
});

test('the end of a connection that was closed behind a cut arrives when it heals', async () => {
  const world = new World(16);
  const { client, server } = await world.pair();
  world.network.cutLink('a', 'b');
  client.connection.destroy();
  await world.scheduler.runFor(1000);
  assert.ok(!server.closed);
  world.network.heal();
  await world.scheduler.runFor(5000);
  assert.equal(server.code, 'ECONNRESET');
});

test('corruption flips one bit of a segment, only where it is asked for', async () => {
  const world = new World(17);
  const { client, server } = await world.pair();
  client.connection.write(Buffer.alloc(1000));
  await world.scheduler.runUntil(() => server.received.length === 1000);
  assert.equal(world.network.corruptedSegments, 0);
  world.network.setLink('a', 'b', { corruptionProbability: 1 });
  const sent = Buffer.alloc(1000);
  client.connection.write(sent);
  await world.scheduler.runUntil(() => server.received.length === 2000);
  const flipped = [...server.received].filter((byte) => byte !== 0);
  assert.equal(flipped.length, world.network.corruptedSegments);
  assert.ok(flipped.length > 0 && flipped.every((byte) => Math.log2(byte) % 1 === 0));
  assert.ok(
    sent.every((byte) => byte === 0),
    "the sender's bytes stay as they are",
  );
});

/** Hosts that talk while everything happens to the network; checks that each stream is a prefix of what was sent. */
async function storm(seed: number): Promise<{ digest: string; events: number; reached: Set<string> }> {
  const trace = new TraceHash();
  const world = new World(seed, {
    trace,
    windowBytes: 500,
    link: { latency: { kind: 'exponential', shortestMs: 0.1, meanMs: 3 } },
  });
  const { scheduler, network } = world;
  const prng = new Prng(seed);
  const hosts = ['a', 'b', 'c'];
  const reached = new Set<string>();
  const sent = new Map<string, Buffer>();
  let streams = 0;
  const speak = (end: End, name: string): void => {
    const bytes = Buffer.alloc(prng.between(1, 900), prng.between(1, 255));
    if (end.closed) return;
    sent.set(name, Buffer.concat([sent.get(name) ?? Buffer.alloc(0), bytes]));
    end.connection.write(bytes);
  };
  const ears: { end: End; name: string }[] = [];
  const serve = (host: string): Promise<unknown> =>
    network.host(host).listen(host, PORT, (connection) => {
      const end = new End(connection);
      // The first bytes name the stream.
      ears.push({ end, name: '' });
    });
  for (const host of hosts) await scheduler.run(serve(host));
  const clients: { end: End; name: string }[] = [];
  for (let step = 0; step < 150; step++) {
    const [from, to] = [prng.pick(hosts), prng.pick(hosts)];
    switch (prng.below(14)) {
      case 0:
        network.cutLink(from, to);
        break;
      case 1:
        network.split(
          [from],
          hosts.filter((host) => host !== from),
        );
        break;
      case 2:
      case 3:
        network.heal();
        break;
      case 4:
        network.breakConnections(from, to);
        break;
      case 5:
        network.forgetConnections(from, to);
        break;
      case 6:
        network.pauseHost(from);
        break;
      case 7:
        for (const host of hosts) network.resumeHost(host);
        break;
      case 8:
        network.crashHost(from, prng.pick(['reset', 'hang']));
        network.startHost(from);
        if (prng.chance(0.7)) void serve(from);
        break;
      case 9:
        network.setLink(from, to, { bytesPerMs: prng.pick([1, 100, Infinity]), lossProbability: prng.pick([0, 0.3]) });
        break;
      default: {
        const name = `${String(streams++).padStart(4, '0')}`;
        void network
          .host(from)
          .connect(to, PORT)
          .then((connection) => {
            const client = { end: new End(connection), name };
            clients.push(client);
            client.end.write(name);
            sent.set(name, Buffer.from(name));
            for (let i = prng.below(5); i > 0; i--) speak(client.end, name);
          })
          .catch((error: { code: string }) => reached.add(error.code));
        for (const { end, name: older } of clients) if (prng.chance(0.2)) speak(end, older);
      }
    }
    await scheduler.runFor(prng.below(300));
  }
  for (const host of hosts) network.resumeHost(host);
  network.heal();
  network.restoreLinks();
  await scheduler.runFor(60_000);
  for (const { end } of ears) {
    if (end.received.length < 4) continue;
    const whole = sent.get(end.received.subarray(0, 4).toString())!;
    assert.ok(
      whole.subarray(0, end.received.length).equals(end.received),
      `seed ${seed}: a stream is a prefix of what was sent`,
    );
    if (whole.length === end.received.length) reached.add('complete');
    reached.add(end.code ?? (end.closed ? 'closed' : 'open'));
  }
  return { digest: trace.digest, events: scheduler.eventCount, reached };
}

test('whatever happens, a stream is a prefix of what was sent, and a seed gives the same events each time', async () => {
  const digests = new Set<string>();
  const reached = new Set<string>();
  for (let seed = 1; seed <= SEEDS; seed++) {
    const first = await storm(seed);
    const again = await storm(seed);
    assert.equal(first.digest, again.digest, `seed ${seed}`);
    assert.equal(first.events, again.events, `seed ${seed}`);
    digests.add(first.digest);
    for (const each of first.reached) reached.add(each);
  }
  assert.equal(digests.size, SEEDS);
  for (const each of ['complete', 'open', 'ECONNRESET', 'ETIMEDOUT', 'ECONNREFUSED'])
    assert.ok(reached.has(each) || SEEDS < 10, each);
});

test('the trace hash tells order, kinds and numbers apart', () => {
  const digest = (...events: readonly (readonly (string | number)[])[]): string => {
    const trace = new TraceHash();
    for (const event of events) trace.event(...event);
    return trace.digest;
  };
  const digests = [
    digest(),
    digest(['a']),
    digest(['a'], ['b']),
    digest(['b'], ['a']),
    digest(['ab']),
    digest(['a', 1]),
    digest(['a', 1.5]),
    digest(['a', 2 ** 40]),
    digest(['a', '1']),
  ];
  assert.equal(new Set(digests).size, digests.length);
  assert.equal(digest(['a', 1]), digest(['a', 1]));
  assert.match(digests[0]!, /^[0-9a-f]{16}$/);
});
