import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { BulkStream } from '../../../src/cluster/peers/bulk-receiver.js';
import { append, heartbeat } from './messages.js';
import { RealPeers, SimPeers, allUp, type PeerWorld, type TestNode } from './peer-world.js';

// What holds on a simulated network and on real sockets alike.

const worlds: readonly (readonly [string, () => PeerWorld])[] = [
  ['simulated', () => new SimPeers(7)],
  ['real', () => new RealPeers()],
];

function both(name: string, body: (world: PeerWorld) => Promise<void>): void {
  for (const [kind, make] of worlds) {
    test(`${name} (${kind})`, async () => {
      const world = make();
      try {
        await body(world);
      } finally {
        await world.close();
      }
    });
  }
}

async function pair(world: PeerWorld): Promise<{ a: TestNode; b: TestNode }> {
  const a = await world.start('a');
  const b = await world.start('b');
  await allUp(world, a, b);
  return { a, b };
}

both('messages of one loop turn travel in one frame, in order, and are handed over together', async (world) => {
  const { a, b } = await pair(world);
  const framesBefore = a.transport.stats().sentFrames;
  const sent = Array.from({ length: 40 }, (_, i) => append(i + 1));
  for (const message of sent) a.transport.send('b', message);
  a.transport.send('b', heartbeat(1));
  await world.until(() => b.messages.length === 41);
  assert.equal(a.transport.stats().sentFrames, framesBefore + 1);
  assert.deepEqual(
    b.messages.map(({ message }) => message),
    [...sent, heartbeat(1)],
  );
  assert.deepEqual(b.batches, [41]);
  assert.equal(a.messages.length, 0);
});

both('both directions and large messages', async (world) => {
  const { a, b } = await pair(world);
  const large = append(1, 3 << 20);
  a.transport.send('b', large);
  a.transport.send('b', append(2));
  b.transport.send('a', append(3));
  await world.until(() => b.messages.length === 2 && a.messages.length === 1);
  assert.deepEqual(
    b.messages.map(({ message }) => message),
    [large, append(2)],
  );
  assert.deepEqual(a.messages, [{ from: 'b', message: append(3) }]);
});

both('requests are answered out of order, each with its own answer', async (world) => {
  const { a, b } = await pair(world);
  const waiting: (() => void)[] = [];
  b.onRequest = (from, body, answer, timeoutMs) => {
    assert.deepEqual([from, timeoutMs], ['a', 5000]);
    const copy = Buffer.from(body);
    waiting.push(() => answer(Buffer.concat([copy, Buffer.from('!')])));
  };
  const requests = ['one', '', 'three'].map((text) => a.transport.request('b', Buffer.from(text), 5000));
  await world.until(() => waiting.length === 3);
  for (const answer of waiting.reverse()) answer();
  const answers = await world.settle(Promise.all(requests));
  assert.deepEqual(
    answers.map((each) => Buffer.from(each).toString()),
    ['one!', '!', 'three!'],
  );
});

both('a request to a node that is not connected is unavailable: it was not executed', async (world) => {
  const a = await world.start('a');
  await assert.rejects(world.settle(a.transport.request('b', Buffer.from('x'), 1000)), { code: 'unavailable' });
  a.transport.send('b', append(1));
  assert.equal(a.transport.stats().droppedMessages, 1);
  assert.equal(a.transport.isUp('b'), false);
  assert.equal(a.transport.roundTripMs('b'), null);
});

both('a request without an answer in time may have been executed', async (world) => {
  const { a, b } = await pair(world);
  b.onRequest = () => {};
  const request = a.transport.request('b', Buffer.from('x'), 20);
  await assert.rejects(world.settle(request), { code: 'deadline_exceeded', extra: { outcome: 'unknown' } });
  assert.ok(b.transport.stats().receivedRequests === 1);
});

both('a request whose connection ends may have been executed; one that was not sent was not', async (world) => {
  const { a, b } = await pair(world);
  const seen: string[] = [];
  b.onRequest = (_, body) => void seen.push(Buffer.from(body).toString());
  const first = a.transport.request('b', Buffer.from('sent'), 60_000);
  first.catch(() => {});
  await world.until(() => seen.length === 1);
  await world.settle(b.transport.close());
  await assert.rejects(world.settle(first), { code: 'deadline_exceeded', extra: { outcome: 'unknown' } });
  await world.until(() => !a.transport.isUp('b'));
  assert.deepEqual(a.changes, ['+b', '-b']);
  await assert.rejects(world.settle(a.transport.request('b', Buffer.from('x'), 1000)), { code: 'unavailable' });
});

both('round trips are measured', async (world) => {
  const { a } = await pair(world);
  await world.until(() => a.transport.roundTripMs('b') !== null);
  assert.ok(a.transport.roundTripMs('b')! > 0);
  const [peer] = a.transport.stats().peers;
  assert.deepEqual([peer!.nodeId, peer!.up, peer!.queuedBytes], ['b', true, 0]);
});

both('a node of another cluster is refused, by both ends', async (world) => {
  const a = await world.start('a');
  const b = await world.start('b', { clusterId: 'other' });
  await world.until(() => a.warned('cluster') && b.warned('cluster'));
  await world.until(() => a.transport.stats().refusedConnections >= 2 && b.transport.stats().refusedConnections >= 2);
  assert.ok(!a.transport.isUp('b') && !b.transport.isUp('a'));
  // Once a minute for each direction.
  assert.ok(a.warnings.length <= 2, JSON.stringify(a.warnings));
});

/** Reads all of a stream; returns its bytes. */
async function drain(stream: BulkStream): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for (;;) {
    const chunk = await stream.next();
    if (chunk === null) return Buffer.concat(chunks);
    chunks.push(chunk);
  }
}

both('a bulk stream carries its bytes in order and brings back the answer', async (world) => {
  const a = await world.start('a');
  let header = '';
  const b = await world.start('b', {
    onBulk: (from, headerBytes, stream) => {
      header = `${from} ${Buffer.from(headerBytes).toString()}`;
      void drain(stream).then((bytes) => {
        let sum = 0;
        for (const byte of bytes) sum = (Math.imul(sum, 31) + byte) | 0;
        stream.finish(Buffer.from(`${bytes.length} ${sum}`));
      });
    },
  });
  await allUp(world, a, b);
  const bytes = Buffer.alloc(3_000_001, 1);
  for (let i = 0; i < bytes.length; i += 7) bytes[i] = i;
  let sum = 0;
  for (const byte of bytes) sum = (Math.imul(sum, 31) + byte) | 0;
  const sending = (async () => {
    const sender = await a.transport.openBulk('b', Buffer.from('snapshot 5'));
    for (let at = 0; at < bytes.length; at += 700_000) await sender.write(bytes.subarray(at, at + 700_000));
    await sender.write(new Uint8Array(0));
    return sender.end();
  })();
  assert.equal(Buffer.from(await world.settle(sending)).toString(), `${bytes.length} ${sum}`);
  assert.equal(header, 'a snapshot 5');
  await world.until(() => a.transport.stats().bulkStreams === 0 && b.transport.stats().bulkStreams === 0);
  assert.equal(b.transport.stats().bulkReceivedBytes, bytes.length);
  assert.ok(a.transport.isUp('b'));
});

both('a receiver refuses a bulk stream with its reason', async (world) => {
  const a = await world.start('a');
  const b = await world.start('b', { onBulk: (_from, _header, stream) => stream.refuse('no room on the disk') });
  await allUp(world, a, b);
  const sending = (async () => {
    const sender = await a.transport.openBulk('b', new Uint8Array(0));
    for (;;) await sender.write(new Uint8Array(100_000));
  })();
  await assert.rejects(world.settle(sending), { code: 'unavailable', message: /no room on the disk/ });
});

both('a sender aborts a bulk stream; the reader hears the reason behind what came before', async (world) => {
  const a = await world.start('a');
  const heard: string[] = [];
  const b = await world.start('b', {
    onBulk: (_from, _header, stream) => {
      void drain(stream).then(
        () => heard.push('end'),
        (error: unknown) => heard.push((error as Error).message),
      );
    },
  });
  await allUp(world, a, b);
  const sender = await world.settle(a.transport.openBulk('b', new Uint8Array(0)));
  await world.settle(sender.write(new Uint8Array(10)));
  sender.abort('another leader');
  await world.until(() => heard.length === 1);
  assert.match(heard[0]!, /another leader/);
  await assert.rejects(world.settle(sender.write(new Uint8Array(1))), { code: 'unavailable' });
});

both('a bulk stream to a node that takes none, or that is not there, is refused', async (world) => {
  const { a } = await pair(world);
  await assert.rejects(world.settle(a.transport.openBulk('b', new Uint8Array(0))), { message: /takes no bulk/ });
  await assert.rejects(world.settle(a.transport.openBulk('z', new Uint8Array(0))), { code: 'unavailable' });
});

both('closing ends everything that is under way', async (world) => {
  const a = await world.start('a');
  const b = await world.start('b', { onBulk: () => {} });
  await allUp(world, a, b);
  b.onRequest = () => {};
  const request = a.transport.request('b', Buffer.from('x'), 60_000);
  request.catch(() => {});
  const sender = await world.settle(a.transport.openBulk('b', new Uint8Array(0)));
  const opening = a.transport.openBulk('b', new Uint8Array(0));
  opening.catch(() => {});
  const end = sender.end();
  end.catch(() => {});
  await world.settle(a.transport.close());
  await assert.rejects(world.settle(request), { code: 'deadline_exceeded' });
  await assert.rejects(world.settle(end), { code: 'unavailable' });
  await assert.rejects(world.settle(opening), { code: 'unavailable' });
  await assert.rejects(world.settle(a.transport.openBulk('b', new Uint8Array(0))), { code: 'unavailable' });
  await world.until(() => !b.transport.isUp('a') && b.transport.stats().incomingConnections === 0);
});
