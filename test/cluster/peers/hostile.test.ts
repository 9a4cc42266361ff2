import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '../../../src/base/prng.js';
import { writeUint32 } from '../../../src/base/bytes.js';
import { FrameBuilder } from '../../../src/cluster/peers/frame-builder.js';
import { writeMessage } from '../../../src/cluster/peers/message-writer.js';
import { PeerFrameSplitter, encodePeerFrame } from '../../../src/codec/peer-frame.js';
import {
  PEER_MAGIC,
  decodePeerFrame,
  encodePeerFields,
  type HelloFields,
  type PeerFrame,
} from '../../../src/codec/peer-protocol.js';
import type { Connection } from '../../../src/ports/network.js';
import type { Message } from '../../../src/raft/message.js';
import { append } from './messages.js';
import { PEER_PORT, SimPeers, allUp, type TestNode } from './peer-world.js';

/** The other end of a connection, by hand. */
class RawPeer {
  readonly connection: Connection;
  readonly frames: PeerFrame[] = [];
  isClosed = false;

  constructor(connection: Connection) {
    this.connection = connection;
    const splitter = new PeerFrameSplitter(1 << 26);
    connection.onData = (chunk) => {
      splitter.push(chunk);
      while (splitter.next()) this.frames.push(decodePeerFrame(splitter.bytes, splitter.start, splitter.end));
    };
    connection.onEnd = () => {
      this.isClosed = true;
    };
    connection.onClose = () => {
      this.isClosed = true;
    };
  }

  get refusal(): string | undefined {
    return this.frames.find(({ refusal }) => refusal)?.refusal!.code ?? undefined;
  }

  write(...frames: readonly Uint8Array[]): void {
    this.connection.write(Buffer.concat(frames));
  }
}

function hello(fields: HelloFields = {}): Uint8Array {
  return encodePeerFields({
    hello: {
      magic: PEER_MAGIC,
      versionMajor: 1,
      versionMinor: 0,
      clusterId: 'test',
      nodeId: 'x',
      incarnation: 'disk of x',
      toNodeId: 'a',
      purpose: 'raft',
      ...fields,
    },
  });
}

function frameOf(...messages: readonly Message[]): Uint8Array {
  const frame = new FrameBuilder();
  for (const message of messages) writeMessage(frame, message as never, Infinity);
  return frame.take()!;
}

/** Nodes a and b that are connected, and x, which is anything. */
class HostileWorld extends SimPeers {
  a!: TestNode;
  b!: TestNode;

  static async make(seed: number): Promise<HostileWorld> {
    const world = new HostileWorld(seed);
    world.addresses.set('x', { host: 'x', port: PEER_PORT });
    world.a = await world.start('a');
    world.b = await world.start('b');
    await allUp(world, world.a, world.b);
    return world;
  }

  async connect(...frames: readonly Uint8Array[]): Promise<RawPeer> {
    const peer = new RawPeer(await this.settle(this.network.host('x').connect('a', PEER_PORT)));
    peer.write(...frames);
    return peer;
  }

  /** What went wrong cost one connection: the others are as they were. */
  async checkUnharmed(): Promise<void> {
    const before = this.a.messages.length;
    this.b.transport.send('a', append(1000));
    await this.within(1000, () => this.a.messages.length > before);
    assert.deepEqual(this.a.changes, ['+b']);
    assert.deepEqual(this.b.changes, ['+a']);
  }
}

test('a hello that does not fit is refused with its reason, and the connection ends', async () => {
  const cases: readonly (readonly [string, Uint8Array])[] = [
    ['magic', hello({ magic: 0x4e52_4943 })],
    ['magic', encodePeerFields({ ping: { id: 1 } })],
    ['magic', encodePeerFrame(new Uint8Array(0))],
    ['version', hello({ versionMajor: 2 })],
    ['version', hello({ versionMajor: 0 })],
    ['cluster', hello({ clusterId: 'other' })],
    ['cluster', hello({ clusterId: '' })],
    ['protocol', hello({ nodeId: '' })],
    ['protocol', hello({ incarnation: '' })],
    ['protocol', hello({ incarnation: 'x'.repeat(300) })],
    ['self', hello({ nodeId: 'a' })],
    ['self', hello({ nodeId: 'a', incarnation: 'disk of a' })],
    ['wrong_node', hello({ toNodeId: 'b' })],
    ['not_admitted', hello({ nodeId: 'stranger' })],
    ['incarnation', hello({ nodeId: 'b', incarnation: 'another disk' })],
    ['purpose', hello({ purpose: 'tea' })],
    ['purpose', hello({ purpose: 'bulk' })],
    ['too_large', hello({ purpose: 'x'.repeat(20_000) })],
    ['protocol', encodePeerFrame(Uint8Array.of(0x42, 200))],
  ];
  const world = await HostileWorld.make(1);
  for (const [code, frame] of cases) {
    const peer = await world.connect(frame, frameOf(append(1)));
    await world.within(1000, () => peer.isClosed);
    assert.equal(peer.refusal, code);
    assert.ok(!peer.frames.some((each) => each.hello));
    assert.ok(world.a.warned(code));
  }
  assert.equal(world.a.messages.length, 0);
  assert.equal(world.a.transport.stats().refusedConnections, cases.length);
  await world.checkUnharmed();
});

test('each reason is logged once a minute', async () => {
  const world = await HostileWorld.make(2);
  for (let i = 0; i < 20; i++) {
    const peer = await world.connect(hello({ versionMajor: 2 }));
    await world.within(1000, () => peer.isClosed);
  }
  assert.equal(world.a.warnings.length, 1);
  await world.scheduler.runFor(60_000);
  await world.connect(hello({ versionMajor: 2 }));
  await world.within(1000, () => world.a.warnings.length === 2);
});

test('a newer minor version with unknown fields is accepted', async () => {
  const world = await HostileWorld.make(3);
  const body = Uint8Array.from([...hello({ versionMinor: 7 }).subarray(8), 0xc2, 12, 3, 1, 2, 3]);
  const peer = await world.connect(encodePeerFrame(body), frameOf(append(1)));
  await world.within(1000, () => world.a.messages.length === 1 && peer.frames.length > 0);
  const answer = peer.frames[0]!.hello!;
  assert.deepEqual(
    [answer.nodeId, answer.incarnation, answer.clusterId, answer.versionMajor, answer.toNodeId],
    ['a', 'disk of a', 'test', 1, 'x'],
  );
  assert.deepEqual(world.a.messages, [{ from: 'x', message: append(1) }]);
});

test('another data directory under a node id is refused while the first is connected, and welcome after it', async () => {
  const world = await HostileWorld.make(4);
  const first = await world.connect(hello());
  await world.within(1000, () => first.frames.length > 0);
  const second = await world.connect(hello({ incarnation: 'a new disk' }));
  await world.within(1000, () => second.isClosed);
  assert.equal(second.refusal, 'incarnation');
  assert.ok(!first.isClosed);
  first.connection.destroy();
  await world.scheduler.runFor(100);
  const third = await world.connect(hello({ incarnation: 'a new disk' }));
  await world.within(1000, () => third.frames.length > 0);
  assert.ok(third.frames[0]!.hello);
});

test('the host decides who is admitted, also while a peer is connected', async () => {
  const world = new SimPeers(5);
  const asked: string[] = [];
  let reason: string | null = null;
  const admit = ({ nodeId, incarnation }: { nodeId: string; incarnation: string }): string | null => {
    asked.push(`${nodeId} ${incarnation}`);
    return reason;
  };
  const a = await world.start('a', { admit });
  const peer = new RawPeer(await world.settle(world.network.host('x').connect('a', PEER_PORT)));
  peer.write(hello({ nodeId: 'stranger' }));
  await world.within(1000, () => peer.frames.some((each) => each.hello));
  assert.ok(asked.includes('stranger disk of x'));
  reason = 'it was removed';
  await world.within(1000, () => peer.isClosed);
  assert.equal(peer.refusal, 'not_admitted');
  assert.equal(a.transport.stats().incomingConnections, 0);
});

test('a second connection of a node takes the place of the first', async () => {
  const world = await HostileWorld.make(6);
  const first = await world.connect(hello());
  await world.within(1000, () => first.frames.length > 0);
  const second = await world.connect(hello(), frameOf(append(1)));
  await world.within(1000, () => first.isClosed && world.a.messages.length === 1);
  assert.ok(!second.isClosed);
  assert.equal(world.a.transport.stats().incomingConnections, 2);
});

test('a node that reaches itself, or another node than it called, does not talk to it', async () => {
  const world = new SimPeers(7);
  const a = world.make('a');
  const b = world.make('b');
  const c = world.make('c');
  world.addresses.set('b', { host: 'a', port: PEER_PORT });
  world.addresses.set('c', { host: 'b', port: PEER_PORT });
  for (const node of [a, b, c]) await world.settle(node.transport.listen());
  await world.scheduler.runFor(5000);
  assert.ok(a.warned('self'));
  assert.ok(a.warned('wrong_node'));
  assert.ok(!a.transport.isUp('b') && !a.transport.isUp('c'));
});

test('every flipped byte of a frame costs the connection and nothing else; what came before it counts', async () => {
  const world = await HostileWorld.make(8);
  const frame = frameOf(append(2, 30));
  for (let at = 0; at < frame.length; at++) {
    const damaged = frame.slice();
    damaged[at]! ^= 1 << (at % 8);
    const before = world.a.messages.length;
    const peer = await world.connect(hello(), frameOf(append(1)), damaged, frameOf(append(3)));
    // A length that became larger ends with the silence.
    await world.within(4000, () => peer.isClosed);
    assert.deepEqual(world.a.messages.slice(before), [{ from: 'x', message: append(1) }], `byte ${at}`);
  }
  assert.ok(world.a.warned('corruption'));
  await world.checkUnharmed();
});

test('lengths of up to 4 GiB are refused at once and cost no memory', async () => {
  const world = await HostileWorld.make(9);
  for (const length of [(40 << 20) + 5, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff]) {
    const head = new Uint8Array(8);
    writeUint32(head, 0, length);
    const early = await world.connect(head);
    const late = await world.connect(hello(), head);
    await world.within(500, () => early.isClosed && late.isClosed);
    assert.deepEqual([early.refusal, late.refusal], ['too_large', 'too_large']);
  }
  await world.checkUnharmed();
});

test('random bytes, before and behind the hello, cost the connection only', async () => {
  const world = await HostileWorld.make(10);
  const prng = new Prng(10);
  for (let i = 0; i < 60; i++) {
    const noise = new Uint8Array(prng.between(1, 200));
    prng.fill(noise);
    // Half of them in a frame whose checksum is right.
    const bytes = i % 2 === 0 ? noise : encodePeerFrame(noise);
    const peer = await (i % 4 < 2 ? world.connect(bytes) : world.connect(hello(), bytes));
    peer.connection.end();
    await world.within(5000, () => peer.isClosed);
  }
  await world.scheduler.runFor(5000);
  assert.equal(world.a.transport.stats().incomingConnections, 1);
  await world.checkUnharmed();
});

test('a peer that says nothing, or that never finishes its frame, is hung up on', async () => {
  const world = await HostileWorld.make(11);
  const mute = await world.connect();
  const silent = await world.connect(hello());
  const slow = await world.connect(hello(), frameOf(append(1)).subarray(0, 20));
  await world.within(2500, () => mute.isClosed);
  assert.equal(mute.refusal, 'late');
  await world.within(2000, () => silent.isClosed && slow.isClosed);
  await world.checkUnharmed();
});

test('a frame that grows for too long is given up', async () => {
  const world = await HostileWorld.make(12);
  const head = new Uint8Array(8);
  writeUint32(head, 0, 40 << 20);
  const peer = await world.connect(hello(), head);
  const feed = (): void => {
    if (peer.isClosed) return;
    peer.write(new Uint8Array(5000));
    world.scheduler.schedule(90, feed);
  };
  feed();
  await world.within(65_000, () => peer.isClosed);
  assert.equal(peer.refusal, 'late');
  await world.checkUnharmed();
});

test('more connections than allowed are refused', async () => {
  const world = new SimPeers(13);
  const a = await world.start('a', { limits: { maxConnections: 3 } });
  const peers: RawPeer[] = [];
  for (let i = 0; i < 5; i++) {
    peers.push(new RawPeer(await world.settle(world.network.host('x').connect('a', PEER_PORT))));
  }
  await world.within(1000, () => peers.filter(({ isClosed }) => isClosed).length === 2);
  assert.deepEqual(
    peers.map(({ refusal }) => refusal),
    [undefined, undefined, undefined, 'busy', 'busy'],
  );
  assert.equal(a.transport.stats().incomingConnections, 3);
});

test('more requests than allowed are refused unseen', async () => {
  const world = new SimPeers(14);
  world.addresses.set('x', { host: 'x', port: PEER_PORT });
  const a = await world.start('a', { limits: { maxRequests: 2 } });
  const seen: string[] = [];
  a.onRequest = (_from, body) => void seen.push(Buffer.from(body).toString());
  const peer = new RawPeer(await world.settle(world.network.host('x').connect('a', PEER_PORT)));
  const requests = ['one', 'two', 'three'].map((text, i) => ({ id: i + 1, body: Buffer.from(text) }));
  peer.write(hello(), encodePeerFields({ requests }));
  await world.within(1000, () => peer.frames.some(({ answers }) => answers && answers.length > 0));
  assert.deepEqual(seen, ['one', 'two']);
  const answer = peer.frames.flatMap(({ answers }) => answers ?? []);
  assert.deepEqual([answer.length, answer[0]!.id, answer[0]!.status], [1, 3, 1]);
});

test('a bulk stream that breaks its rules is refused', async () => {
  const open = encodePeerFields({ bulkOpen: { header: Uint8Array.of(1) } });
  const chunk = encodePeerFields({ bulkChunk: { data: Uint8Array.of(1, 2) } });
  const end = (totalBytes: number): Uint8Array => encodePeerFields({ bulkEnd: { totalBytes } });
  const damaged = chunk.slice();
  damaged[9]! ^= 1;
  const cases: readonly (readonly [string, readonly Uint8Array[]])[] = [
    ['protocol', [chunk]],
    ['protocol', [end(0)]],
    ['protocol', [open, open]],
    ['protocol', [open, chunk, end(3)]],
    ['protocol', [open, chunk, end(2), chunk]],
    ['protocol', [open, chunk, end(2), end(2)]],
    ['corruption', [open, damaged]],
  ];
  const world = new SimPeers(15);
  world.addresses.set('x', { host: 'x', port: PEER_PORT });
  const outcomes: string[] = [];
  const a = await world.start('a', {
    onBulk: (_from, _header, stream) => {
      void (async () => {
        while ((await stream.next()) !== null);
        return 'complete';
      })().then(
        (outcome) => outcomes.push(outcome),
        () => outcomes.push('broken'),
      );
    },
  });
  for (const [code, frames] of cases) {
    const peer = new RawPeer(await world.settle(world.network.host('x').connect('a', PEER_PORT)));
    peer.write(hello({ purpose: 'bulk' }), ...frames);
    await world.within(1000, () => peer.isClosed);
    assert.equal(peer.refusal, code);
  }
  await world.within(1000, () => a.transport.stats().bulkStreams === 0);
  // Those whose end was right were complete before the fault behind it.
  assert.deepEqual(outcomes, ['broken', 'broken', 'complete', 'complete', 'broken']);
});

test('more bulk streams than allowed are refused', async () => {
  const world = new SimPeers(16);
  world.addresses.set('x', { host: 'x', port: PEER_PORT });
  await world.start('a', { limits: { maxBulkStreams: 1 }, onBulk: () => {} });
  const first = new RawPeer(await world.settle(world.network.host('x').connect('a', PEER_PORT)));
  first.write(hello({ purpose: 'bulk' }));
  await world.within(1000, () => first.frames.length > 0);
  const second = new RawPeer(await world.settle(world.network.host('x').connect('a', PEER_PORT)));
  second.write(hello({ purpose: 'bulk' }));
  await world.within(1000, () => second.isClosed);
  assert.equal(second.refusal, 'busy');
  assert.ok(!first.isClosed);
});

/** A server by hand under the name x, which a calls; it answers each connection's hello with `answer`. */
async function callee(world: SimPeers, answer: readonly Uint8Array[]): Promise<RawPeer[]> {
  const peers: RawPeer[] = [];
  const listening = world.network.host('x').listen('x', PEER_PORT, (connection) => {
    const peer = new RawPeer(connection);
    peers.push(peer);
    peer.write(...answer);
  });
  world.addresses.set('x', { host: 'x', port: PEER_PORT });
  await world.settle(listening);
  return peers;
}

test('a called node that answers wrongly is refused and called again with growing delays', async () => {
  const damaged = hello();
  damaged[20]! ^= 4;
  const cases: readonly (readonly [string, Uint8Array])[] = [
    ['version', hello({ versionMajor: 3 })],
    ['cluster', hello({ clusterId: 'other' })],
    ['wrong_node', hello({ nodeId: 'y' })],
    ['corruption', damaged],
  ];
  for (const [code, answer] of cases) {
    const world = new SimPeers(17);
    const peers = await callee(world, [answer]);
    const a = await world.start('a');
    await world.scheduler.runFor(10_000);
    assert.ok(!a.transport.isUp('x') && a.warned(code), code);
    assert.ok(peers.length >= 6 && peers.length < 20, String(peers.length));
    assert.equal(peers[0]!.refusal, code);
    assert.ok(peers.slice(0, -1).every(({ isClosed }) => isClosed));
    assert.equal(a.warnings.length, 1);
  }
});

test('damaged bytes on the way back cost the connection, which is made anew', async () => {
  const world = new SimPeers(18);
  const pong = encodePeerFields({ pong: { id: 1 } });
  pong[8]! ^= 1;
  const peers = await callee(world, [hello(), pong]);
  const a = await world.start('a');
  await world.within(2000, () => peers.length >= 2);
  assert.deepEqual(a.changes.slice(0, 2), ['+x', '-x']);
  assert.equal(peers[0]!.refusal, 'corruption');
});

test('answers to requests that nobody made, and messages on the way back, are ignored', async () => {
  const world = new SimPeers(19);
  await callee(world, [
    hello(),
    encodePeerFields({ answers: [{ id: 7, body: Uint8Array.of(1) }], pong: { id: 99 }, requests: [{ id: 1 }] }),
    frameOf(append(1)),
  ]);
  const a = await world.start('a');
  await world.within(1000, () => a.transport.isUp('x'));
  await world.scheduler.runFor(1000);
  assert.ok(a.transport.isUp('x'));
  assert.equal(a.messages.length, 0);
  assert.equal(a.transport.stats().receivedRequests, 0);
});
