import assert from 'node:assert/strict';
import { connect, type Socket } from 'node:net';
import { once } from 'node:events';
import test from 'node:test';
import { rawExchange, startFixture, type Fixture } from './http-fixture.js';

const GET_A = 'GET /api/v1/kv/a HTTP/1.1\r\nHost: x\r\n\r\n';

/** The server still answers others. */
async function stillServes(fixture: Fixture): Promise<void> {
  await fixture.put('well', 1);
  assert.equal((await fixture.fetch('/api/v1/kv/well')).status, 200);
}

function statuses(text: string): string[] {
  return [...text.matchAll(/HTTP\/1\.1 (\d+)/g)].map((match) => match[1]!);
}

async function opened(port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => {});
  await once(socket, 'connect');
  return socket;
}

test('Content-Length together with Transfer-Encoding is refused and the connection closed', async (t) => {
  const fixture = await startFixture(t);
  for (const headers of [
    'Content-Length: 5\r\nTransfer-Encoding: chunked',
    'Transfer-Encoding: chunked\r\nContent-Length: 5',
  ]) {
    const request = `PUT /api/v1/kv/a HTTP/1.1\r\nHost: x\r\n${headers}\r\n\r\n0\r\n\r\n${GET_A}`;
    const { text, closed } = await rawExchange(fixture.port, [request]);
    assert.ok(closed);
    // The older library closes without a word.
    assert.deepEqual(
      statuses(text).filter((status) => status !== '400'),
      [],
    );
  }
  await stillServes(fixture);
});

test('two lengths, a length that is no number and an unknown transfer coding are 400 and the connection is closed', async (t) => {
  const fixture = await startFixture(t);
  for (const method of ['PUT', 'GET', 'DELETE', 'POST']) {
    for (const headers of [
      'Content-Length: 2\r\nContent-Length: 3',
      'Content-Length: 2, 2',
      'Content-Length: +2',
      'Transfer-Encoding: gzip, chunked',
    ]) {
      if (method === 'GET' && headers.startsWith('Transfer')) continue;
      const path = method === 'POST' ? '/api/v1/kv/batch' : '/api/v1/kv/a';
      const { text, closed } = await rawExchange(fixture.port, [
        `${method} ${path} HTTP/1.1\r\nHost: x\r\n${headers}\r\n\r\n{}`,
      ]);
      assert.ok(closed, `${method} ${headers}`);
      assert.deepEqual(
        statuses(text).filter((status) => status !== '400'),
        [],
        `${method} ${headers}`,
      );
    }
  }
  await stillServes(fixture);
});

test('headers of a megabyte, and garbage instead of a request, cost only their connection', async (t) => {
  const fixture = await startFixture(t);
  const { text, closed } = await rawExchange(fixture.port, [
    `GET /api/v1/kv/a HTTP/1.1\r\nHost: x\r\nX: ${'a'.repeat(1 << 20)}\r\n\r\n`,
  ]);
  assert.ok(closed);
  assert.deepEqual(
    statuses(text).filter((status) => status !== '431'),
    [],
  );
  const garbage = await opened(fixture.port);
  garbage.write(Buffer.from([0, 1, 2, 255, 13, 10, 13, 10]));
  await stillServes(fixture);
  garbage.destroy();
});

test('raw bytes in a path are taken as UTF-8, and refused when they are not', async (t) => {
  const fixture = await startFixture(t);
  const get = (path: Buffer): Promise<{ text: string }> =>
    rawExchange(fixture.port, [
      Buffer.concat([
        Buffer.from('GET /api/v1/kv/'),
        path,
        Buffer.from(' HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'),
      ]),
    ]);
  await fixture.put('é', 1);
  assert.deepEqual(statuses((await get(Buffer.from('é'))).text), ['200']);
  assert.match((await get(Buffer.from([0xff, 0xfe]))).text, /400 Bad Request[^]*invalid_key/);
  assert.match((await get(Buffer.from('%EF%BF%BD'))).text, /404/);
});

test('pipelined reads are answered in order', async (t) => {
  const fixture = await startFixture(t);
  const revision = await fixture.put('a', 'one');
  await fixture.put('b', 'two');
  const requests = `${GET_A}${GET_A.replace('kv/a', 'kv/b')}${GET_A.replace('kv/a', 'kv/none')}${GET_A}`;
  const { text } = await rawExchange(
    fixture.port,
    [requests],
    (soFar) => soFar.split(`"revision":${revision}}`).length === 3,
  );
  assert.deepEqual(statuses(text), ['200', '200', '404', '200']);
  assert.ok(text.indexOf('"one"') < text.indexOf('"two"'));
});

test('a request behind one that still waits never takes its answer', async (t) => {
  const fixture = await startFixture(t);
  const put =
    'PUT /api/v1/kv/a HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n{"value":1}';
  const { text } = await rawExchange(fixture.port, [put + GET_A], (soFar) => statuses(soFar).length === 2);
  // uWebSockets closes such a connection; a library that queues would answer both, in order.
  if (statuses(text).length > 0) assert.match(text, /^HTTP\/1\.1 200 OK[^]*"revision":\d+\}/);
  await stillServes(fixture);
});

test('clients that leave before the answer, in the middle of a body or of a head harm nobody', async (t) => {
  const fixture = await startFixture(t);
  let release!: () => void;
  fixture.service.gate = new Promise((resolve) => (release = resolve));
  fixture.service.blocked = true;
  const parts = [
    'GET /api/v1/kv/a HTTP/1.1\r\nHost: x\r\n\r\n',
    'GET /api/v1/kv/a?at=1 HTTP/1.1\r\nHost: x\r\n\r\n',
    'PUT /api/v1/kv/a HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n{"value":1}',
    'DELETE /api/v1/kv/a HTTP/1.1\r\nHost: x\r\n\r\n',
    'POST /api/v1/kv/batch HTTP/1.1\r\nHost: x\r\nContent-Length: 7\r\n\r\n{"a":1}',
    'POST /api/v1/kv/batch/get HTTP/1.1\r\nHost: x\r\nContent-Length: 14\r\n\r\n{"keys":["a"]}',
    'GET /api/v1/kv/range?prefix=a HTTP/1.1\r\nHost: x\r\n\r\n',
    'PUT /api/v1/kv/a HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{"value":',
    'PUT /api/v1/kv/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"val',
    'PUT /api/v1/kv/a HTTP/1.1\r\nHo',
  ];
  const sockets = await Promise.all(parts.map(() => opened(fixture.port)));
  for (const [i, socket] of sockets.entries()) socket.write(parts[i]!);
  // Behind the others in the same order, so the server has seen them all when this is answered.
  assert.equal((await fixture.fetch('/api/v1/kv/%zz')).status, 400);
  for (const [i, socket] of sockets.entries()) {
    if (i % 2 === 0) socket.resetAndDestroy();
    else socket.end();
  }
  await Promise.all(sockets.map(async (socket) => (socket.closed ? [] : once(socket.resume(), 'close'))));
  assert.equal((await fixture.fetch('/api/v1/kv/%zz')).status, 400);
  release();
  fixture.service.blocked = false;
  await stillServes(fixture);
  assert.match(await fixture.metrics.text(), /cairn_http_aborted_total [1-9]/);
});

test('a body over the limit is answered with 413 though the client sends all of it before it reads', async (t) => {
  const fixture = await startFixture(t, { maxValueBytes: 1000 });
  const body = 'x'.repeat(2_000_000);
  const head = 'PUT /api/v1/kv/a HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\n';
  const sized = await rawExchange(fixture.port, [`${head}Content-Length: ${body.length}\r\n\r\n`, body], (text) =>
    text.includes('too_large'),
  );
  assert.deepEqual(statuses(sized.text), ['413']);
  const chunk = `${(100_000).toString(16)}\r\n${'x'.repeat(100_000)}\r\n`;
  const chunked = await rawExchange(
    fixture.port,
    [`${head}Transfer-Encoding: chunked\r\n\r\n`, chunk.repeat(20), '0\r\n\r\n'],
    (text) => text.includes('too_large'),
  );
  assert.deepEqual(statuses(chunked.text), ['413']);
  await stillServes(fixture);
});

test('a body that says it is far over the limit is refused before it comes', async (t) => {
  const fixture = await startFixture(t, { maxValueBytes: 1000 });
  const head = 'PUT /api/v1/kv/a HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: ';
  for (const length of ['900000000', '4294967296', '99999999999999']) {
    const { text, closed } = await rawExchange(fixture.port, [`${head}${length}\r\n\r\n`, 'xxx'], (soFar) =>
      soFar.includes('too_large'),
    );
    // The older library closes without a word at ten digits.
    if (!closed || length.length < 10) assert.deepEqual(statuses(text), ['413']);
  }
  await stillServes(fixture);
});

test('after a refused body the next request on the connection is read in the right place', async (t) => {
  const fixture = await startFixture(t, { maxValueBytes: 1000 });
  const put = `PUT /api/v1/kv/a HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 100000\r\n\r\n${'x'.repeat(100_000)}`;
  const { text } = await rawExchange(fixture.port, [put, GET_A], (soFar) => soFar.includes('key_not_found'));
  assert.deepEqual(statuses(text), ['413', '404']);
});

test('two hundred connections in the middle of a head or of a body keep nobody from being served', async (t) => {
  const fixture = await startFixture(t);
  const starts = [
    'GET /api/v1/kv/a HTTP/1.1\r\nX: ',
    'PUT /api/v1/kv/a HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{',
  ];
  const sockets = await Promise.all(Array.from({ length: 200 }, () => opened(fixture.port)));
  for (let round = 0; round < 3; round++) {
    for (const [i, socket] of sockets.entries()) socket.write(round === 0 ? starts[i % 2]! : ' ');
    await stillServes(fixture);
  }
  for (const socket of sockets) socket.destroy();
});

test('a chunked body without end is cut off', async (t) => {
  const fixture = await startFixture(t, { maxValueBytes: 1000 });
  const socket = await opened(fixture.port);
  let text = '';
  socket.on('data', (data) => (text += data.toString('latin1')));
  socket.write(
    'PUT /api/v1/kv/a HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n',
  );
  const chunk = Buffer.from(`${(1 << 20).toString(16)}\r\n${'x'.repeat(1 << 20)}\r\n`);
  const closed = new Promise((resolve) => socket.on('close', resolve));
  for (let i = 0; i < 40 && !socket.destroyed; i++) {
    if (!socket.write(chunk)) await Promise.race([once(socket, 'drain').catch(() => {}), closed]);
  }
  await closed;
  assert.deepEqual(
    statuses(text).filter((status) => status !== '413'),
    [],
  );
  await stillServes(fixture);
});

test('a body that comes in single bytes is put together, plain and chunked', async (t) => {
  const fixture = await startFixture(t);
  const body = '{"value":"slow","ttl":60}';
  for (const chunked of [false, true]) {
    const socket = await opened(fixture.port);
    socket.setNoDelay(true);
    const framing = chunked ? 'Transfer-Encoding: chunked' : `Content-Length: ${body.length}`;
    socket.write(`PUT /api/v1/kv/slow HTTP/1.1\r\nHost: x\r\n${framing}\r\n\r\n`);
    for (const character of body) {
      await new Promise((resolve) => socket.write(chunked ? `1\r\n${character}\r\n` : character, resolve));
      await new Promise(setImmediate);
    }
    if (chunked) socket.write('0\r\n\r\n');
    const [answer] = (await once(socket, 'data')) as [Buffer];
    assert.match(answer.toString(), /^HTTP\/1\.1 200 OK/);
    socket.destroy();
  }
});

test('a body on a GET or DELETE is skipped and the next request is read in the right place', async (t) => {
  const fixture = await startFixture(t);
  const requests = `GET /api/v1/kv/a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello${GET_A}`;
  const { text } = await rawExchange(fixture.port, [requests], (soFar) => soFar.split('key_not_found').length === 5);
  assert.deepEqual(statuses(text), ['404', '404']);
});

test('a reader of NDJSON that stops reading holds little memory, and its scan ends when it leaves', async (t) => {
  const fixture = await startFixture(t);
  const value = Buffer.from(JSON.stringify('x'.repeat(100_000)));
  for (let i = 0; i < 1000; i++) {
    const key = Buffer.from(`k${i}`);
    fixture.service.put(key, 0, key.length, value, { contentType: '', ttlSeconds: 0, condition: null }, () => {});
  }
  const socket = await opened(fixture.port);
  socket.write('GET /api/v1/kv/range?prefix=k HTTP/1.1\r\nHost: x\r\nAccept: application/x-ndjson\r\n\r\n');
  const [first] = (await once(socket, 'data')) as [Buffer];
  assert.match(first.toString('latin1'), /application\/x-ndjson/);
  socket.pause();
  // The stream stands still when the scan is asked for nothing more between two looks.
  let before = -1;
  while (fixture.service.scannedItems !== before) {
    before = fixture.service.scannedItems;
    for (let i = 0; i < 5; i++) await fixture.fetch('/api/v1/kv/k0').then((response) => response.text());
  }
  assert.ok(before < 500, `read ${before} of 1000 items ahead of the reader`);
  assert.equal(fixture.service.openScans, 1);
  socket.destroy();
  while (fixture.service.openScans > 0) await fixture.fetch('/api/v1/kv/none').then((response) => response.text());
  assert.equal(fixture.service.scannedItems, before);
});

test('a reader of NDJSON that is slow gets everything', async (t) => {
  const fixture = await startFixture(t);
  const value = Buffer.from(JSON.stringify('x'.repeat(50_000)));
  for (let i = 0; i < 400; i++) {
    const key = Buffer.from(`k${String(i).padStart(3, '0')}`);
    fixture.service.put(key, 0, key.length, value, { contentType: '', ttlSeconds: 0, condition: null }, () => {});
  }
  const response = await fixture.fetch('/api/v1/kv/range?prefix=k', { headers: { Accept: 'application/x-ndjson' } });
  let text = '';
  const decoder = new TextDecoder();
  for await (const chunk of response.body!) {
    text += decoder.decode(chunk as Uint8Array, { stream: true });
    await new Promise(setImmediate);
  }
  const lines = text.trimEnd().split('\n');
  assert.equal(lines.length, 401);
  assert.match(lines.at(-1)!, /"done":true,"count":400/);
});
