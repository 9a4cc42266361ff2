import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CairnError } from '../../../src/base/errors.js';
import { encodeRequestFrame, type RequestFields } from '../../../src/codec/client-protocol.js';
import { RawClient, bytes, startServer } from './harness.js';

const key = bytes('user:1');
const value = bytes('{"a":1}');

test('the hello names the node, its cluster, its limits and its version', async (t) => {
  const { server } = await startServer(t);
  const client = await RawClient.connect(t, server.port);
  client.send({ id: 7, hello: { magic: 0x4e52_4943, versionMajor: 1, versionMinor: 99, clientName: 'x' } });
  const answer = (await client.next())!;
  assert.equal(answer.id, 7);
  const { nodeId, clusterId, versionMajor, partitionCount, maxFrameBytes } = answer.hello!;
  assert.deepEqual([nodeId, clusterId, versionMajor, partitionCount], ['memory', 'memory-cluster', 1, 64]);
  assert.equal(maxFrameBytes, 17 << 20);
});

test('a put, a get and a delete are answered by id', async (t) => {
  const { server } = await startServer(t);
  const client = await RawClient.open(t, server.port);
  client.send({ id: 2, put: { key, value } });
  const put = (await client.next())!;
  client.send({ id: 3, get: { key } }, { id: 4, get: { key: bytes('absent') } });
  const [found, absent] = await client.take(2);
  assert.equal(put.id, 2);
  assert.deepEqual(
    [found!.id, Buffer.from(found!.get!.value!).toString(), found!.get!.revision],
    [3, '{"a":1}', put.put!.revision],
  );
  assert.deepEqual([absent!.id, absent!.get!.revision], [4, 0]);
  client.send({ id: 5, delete: { key } });
  assert.equal((await client.next())!.delete!.deleted, true);
});

test('requests in one chunk with the hello are answered', async (t) => {
  const { server } = await startServer(t);
  const client = await RawClient.connect(t, server.port);
  client.send({ id: 1, hello: { magic: 0x4e52_4943, versionMajor: 1 } }, { id: 2, ping: {} });
  assert.deepEqual(
    (await client.take(2)).map(({ body }) => body),
    ['hello', 'ping'],
  );
});

test('answers come out of order: a get in memory overtakes one that waits', async (t) => {
  const { server, service } = await startServer(t);
  const client = await RawClient.open(t, server.port);
  client.send({ id: 2, put: { key, value } });
  await client.next();
  let open = (): void => undefined;
  service.gate = new Promise((resolve) => (open = resolve));
  client.send({ id: 3, get: { key, at: 1 } }, { id: 4, put: { key, value } }, { id: 5, get: { key } });
  assert.equal((await client.next())!.id, 5);
  open();
  assert.deepEqual(
    (await client.take(2)).map(({ id }) => id).sort((a, b) => a - b),
    [3, 4],
  );
});

test('raw values keep their content type, and a ttl shows as an expiry', async (t) => {
  const { server, service } = await startServer(t);
  const client = await RawClient.open(t, server.port);
  client.send({ id: 2, put: { key, value: Uint8Array.of(0, 255), contentType: 'image/png', ttlSeconds: 60 } });
  await client.next();
  for (const blocked of [false, true]) {
    service.blocked = blocked;
    client.send({ id: 3, get: { key } });
    const { get } = (await client.next())!;
    assert.deepEqual(
      [[...get!.value!], get!.contentType, get!.expiresAtMs],
      [[0, 255], 'image/png', 1_800_000_060_000],
    );
  }
});

test('a failed condition names the current revision', async (t) => {
  const { server } = await startServer(t);
  const client = await RawClient.open(t, server.port);
  client.send({ id: 2, put: { key, value, condition: { revisions: [5] } } });
  const { error } = (await client.next())!;
  assert.equal(error!.code, 'precondition_failed');
  assert.deepEqual(
    error!.extra!.map(({ name, number }) => [name, number]),
    [['currentRevision', 0]],
  );
});

const REFUSED: readonly (readonly [string, RequestFields, string])[] = [
  ['an empty key', { put: { key: bytes(''), value } }, 'invalid_key'],
  ['a key of 4,097 bytes', { get: { key: new Uint8Array(4097) } }, 'invalid_key'],
  ['a key of 4,097 bytes in a multi-get', { multiGet: { keys: [key, new Uint8Array(4097)] } }, 'invalid_key'],
  ['a value that is not JSON', { put: { key, value: bytes('{"a":') } }, 'invalid_json'],
  ['no value', { put: { key } }, 'invalid_json'],
  ['a value over the limit', { put: { key, value: new Uint8Array(1001).fill(0x20) } }, 'too_large'],
  ['a content type with a line break', { put: { key, value, contentType: 'a\nb' } }, 'invalid_request'],
  ['too many keys', { multiGet: { keys: Array.from({ length: 11 }, () => key) } }, 'too_large'],
  ['a kind of request that is not known', {}, 'not_implemented'],
  ['a revision in the future', { get: { key, at: 2 ** 52 } }, 'invalid_request'],
];

for (const [what, request, code] of REFUSED) {
  test(`${what} is refused with ${code}, and the connection goes on`, async (t) => {
    const { server } = await startServer(t, { maxValueBytes: 1000, maxBatchKeys: 10 });
    const client = await RawClient.open(t, server.port);
    client.send({ id: 2, ...request }, { id: 3, ping: {} });
    const answers = await client.take(2);
    assert.equal(answers.find(({ id }) => id === 2)!.error!.code, code);
    assert.equal(answers.find(({ id }) => id === 3)!.body, 'ping');
  });
}

test('keys of 4,096 bytes with NUL and 0xff, and a value at the limit, are ordinary', async (t) => {
  const { server } = await startServer(t, { maxValueBytes: 1000 });
  const client = await RawClient.open(t, server.port);
  const long = new Uint8Array(4096).fill(0xff);
  long[0] = 0;
  client.send({ id: 2, put: { key: long, value: bytes(`"${'x'.repeat(998)}"`) } }, { id: 3, get: { key: long } });
  const answers = await client.take(2);
  assert.equal(answers.find(({ id }) => id === 3)!.get!.value!.length, 1000);
});

test('a batch reports each bad operation in its place and does the rest', async (t) => {
  const { server } = await startServer(t);
  const client = await RawClient.open(t, server.port);
  const operations = [
    { put: { key: bytes('a'), value } },
    { put: { key: bytes('b'), value: bytes('nope') } },
    {},
    { delete: { key: bytes('') } },
    { put: { key: bytes('c'), value, condition: { exists: true } } },
    { delete: { key: bytes('a') } },
  ];
  client.send({ id: 2, batch: { operations } });
  const { results } = (await client.next())!.batch!;
  assert.deepEqual(
    results!.map(({ error, deleted }) => error?.code ?? deleted),
    [false, 'invalid_json', 'invalid_request', 'invalid_key', 'invalid_request', true],
  );
});

test('a multi-get answers in the order of the keys, over more keys than one part holds', async (t) => {
  const { server } = await startServer(t);
  const client = await RawClient.open(t, server.port);
  const names = Array.from({ length: 200 }, (_, i) => bytes(`k${i}`));
  client.send({
    id: 2,
    batch: {
      operations: names
        .filter((_, i) => i % 2 === 0)
        .map((name) => ({ put: { key: name, value: name.fill(0x31, 0, 1) } })),
    },
  });
  const { results } = (await client.next())!.batch!;
  client.send({ id: 3, multiGet: { keys: names } });
  const { versions } = (await client.next())!.multiGet!;
  assert.deepEqual(
    versions!.map(({ revision }) => revision),
    names.map((_, i) => (i % 2 === 0 ? results![i / 2]!.revision : 0)),
  );
});

test('an answer over the frame limit is an error, not a frame that the client would refuse', async (t) => {
  const { server } = await startServer(t, { maxFrameBytes: 5000, maxValueBytes: 2000 });
  const client = await RawClient.open(t, server.port);
  client.send({ id: 2, put: { key, value: bytes(`"${'x'.repeat(1900)}"`) } });
  await client.next();
  client.send({ id: 3, multiGet: { keys: [key, key, key] } });
  assert.equal((await client.next())!.error!.code, 'too_large');
});

test('a write error of the service reaches the client with its code', async (t) => {
  const { server, service } = await startServer(t);
  const client = await RawClient.open(t, server.port);
  service.writeError = new CairnError('disk_full', 'no space');
  client.send(
    { id: 2, put: { key, value } },
    { id: 3, delete: { key } },
    { id: 4, batch: { operations: [{ delete: { key } }] } },
  );
  const answers = await client.take(3);
  const codes = answers.map(({ error, batch }) => error?.code ?? batch!.results![0]!.error!.code);
  assert.deepEqual(codes, ['disk_full', 'disk_full', 'disk_full']);
});

test('more requests than may be under way wait unread and are answered in the end', async (t) => {
  const { server, service } = await startServer(t, { maxInFlight: 4, maxWaitingReads: 2 });
  const client = await RawClient.open(t, server.port);
  service.blocked = true;
  const requests: RequestFields[] = [];
  for (let id = 2; id < 202; id++) requests.push(id % 2 === 0 ? { id, put: { key, value } } : { id, get: { key } });
  client.write(Buffer.concat(requests.map(encodeRequestFrame)));
  const answers = await client.take(200);
  assert.deepEqual(
    answers.map(({ id }) => id).sort((a, b) => a - b),
    requests.map(({ id }) => id),
  );
});

test('a client that ends its side still gets the answers to what it sent', async (t) => {
  const { server } = await startServer(t, { maxInFlight: 2 });
  const client = await RawClient.open(t, server.port);
  const requests = Array.from({ length: 10 }, (_, i) => ({ id: i + 2, put: { key, value } }));
  client.socket.end(Buffer.concat(requests.map(encodeRequestFrame)));
  assert.equal((await client.take(10)).length, 10);
  assert.equal(await client.next(), null);
});

test('a range is streamed in pages, as many as the client gave credits for', async (t) => {
  const { server, service } = await startServer(t);
  const client = await RawClient.open(t, server.port);
  client.send({
    id: 2,
    batch: { operations: Array.from({ length: 10 }, (_, i) => ({ put: { key: bytes(`k${i}`), value } })) },
  });
  await client.next();
  client.send({ id: 3, range: { startKey: bytes('k'), pageItems: 3, credits: 2 } });
  const first = await client.take(2);
  assert.deepEqual(
    first.map(({ rangePage }) => [rangePage!.items!.length, rangePage!.done]),
    [
      [3, false],
      [3, false],
    ],
  );
  client.send({ id: 4, ping: {} });
  assert.equal((await client.next())!.body, 'ping');
  client.send({ id: 5, rangeMore: { rangeId: 3, credits: 5 } });
  const rest = await client.take(2);
  assert.deepEqual(
    rest.map(({ id, rangePage }) => [id, rangePage!.items!.length, rangePage!.done]),
    [
      [3, 3, false],
      [3, 1, true],
    ],
  );
  client.send({ id: 6, ping: {} });
  await client.next();
  assert.equal(service.openScans, 0);
});

test('a range keeps to its limit, its end and its direction', async (t) => {
  const { server } = await startServer(t);
  const client = await RawClient.open(t, server.port);
  client.send({
    id: 2,
    batch: { operations: Array.from({ length: 10 }, (_, i) => ({ put: { key: bytes(`k${i}`), value } })) },
  });
  await client.next();
  client.send({
    id: 3,
    range: { startKey: bytes('k2'), endKey: bytes('k8'), reverse: true, keysOnly: true, limit: 4, credits: 9 },
  });
  const { rangePage } = (await client.next())!;
  assert.deepEqual(
    rangePage!.items!.map(({ key: found }) => Buffer.from(found!).toString()),
    ['k7', 'k6', 'k5', 'k4'],
  );
  assert.equal(rangePage!.done, true);
});

test('ranges that are stopped, or whose connection goes, give their scans back', async (t) => {
  const { server, service } = await startServer(t);
  const client = await RawClient.open(t, server.port);
  client.send({
    id: 2,
    batch: { operations: Array.from({ length: 10 }, (_, i) => ({ put: { key: bytes(`k${i}`), value } })) },
  });
  await client.next();
  for (const id of [3, 4]) client.send({ id, range: { pageItems: 1, credits: 1 } });
  await client.take(2);
  assert.equal(service.openScans, 2);
  client.send({ id: 5, rangeStop: { rangeId: 3 } }, { id: 6, ping: {} });
  await client.next();
  assert.equal(service.openScans, 1);
  client.socket.destroy();
  while (server.connectionCount > 0) await new Promise((resolve) => setImmediate(resolve));
  assert.equal(service.openScans, 0);
});

test('more ranges than allowed are refused', async (t) => {
  const { server } = await startServer(t, { maxRanges: 1 });
  const client = await RawClient.open(t, server.port);
  client.send({
    id: 2,
    batch: { operations: [{ put: { key: bytes('a'), value } }, { put: { key: bytes('b'), value } }] },
  });
  await client.next();
  client.send({ id: 3, range: { pageItems: 1 } }, { id: 4, range: { pageItems: 1 } });
  const answers = await client.take(2);
  assert.equal(answers.find(({ id }) => id === 4)!.error!.code, 'overloaded');
});

test('a ttl may have fractions of a second; one that is out of range is refused', async (t) => {
  const { server, service } = await startServer(t);
  const client = await RawClient.open(t, server.port);
  client.send({ id: 2, put: { key, value, ttlSeconds: 9, fractionalTtlSeconds: 0.25 } });
  assert.equal((await client.next())!.body, 'put');
  client.send({ id: 3, get: { key } });
  assert.equal((await client.next())!.get!.expiresAtMs, service.nowMs + 250);
  for (const fractionalTtlSeconds of [-1, 0.0001, 1e10, Infinity, Number.NaN]) {
    client.send({ id: 4, put: { key, value, fractionalTtlSeconds } });
    assert.equal((await client.next())!.error?.code, 'invalid_request', String(fractionalTtlSeconds));
  }
});

test('stale reads ask the service for no more and carry its word on their age; other consistencies are refused', async (t) => {
  const { server, service } = await startServer(t);
  const client = await RawClient.open(t, server.port);
  client.send({ id: 2, put: { key, value } });
  await client.next();
  service.blocked = true;
  service.stalenessMs = 12;
  client.send({ id: 3, get: { key, consistency: 1 } });
  assert.equal((await client.next())!.get!.stalenessMs, 12);
  client.send({ id: 9, get: { key: Buffer.from('nothing'), consistency: 1 } });
  const absent = (await client.next())!.get!;
  assert.deepEqual([absent.revision ?? 0, absent.stalenessMs], [0, 12]);
  client.send({ id: 4, multiGet: { keys: [key], consistency: 1 } });
  assert.equal((await client.next())!.multiGet!.stalenessMs, 12);
  client.send({ id: 5, range: { consistency: 1 } });
  assert.equal((await client.next())!.rangePage!.stalenessMs, 12);
  assert.equal(service.staleReads, 4);
  const unknown = { key, consistency: 7 as 0 };
  client.send(
    { id: 6, get: unknown },
    { id: 7, multiGet: { keys: [key], consistency: 7 as 0 } },
    { id: 8, range: { consistency: 7 as 0 } },
  );
  assert.deepEqual(
    (await client.take(3)).map(({ error }) => error?.code),
    Array(3).fill('invalid_request'),
  );
});
