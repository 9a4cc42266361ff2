import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  type Response,
  decodeResponse,
  encodeForwardHeaderFrame,
  encodeRequestFrame,
} from '../../../src/codec/client-protocol.js';
import { encodeInstantRequest } from '../../../src/codec/instant-protocol.js';
import { FrameWalk, encodeEnvelope } from '../../../src/server/routing/envelope.js';
import { RoutingWorld } from './routing-world.js';

const key = Buffer.from('a');
const value = Buffer.from('{"a":1}');
const RUNS = Number(process.env['CAIRN_TEST_SEEDS'] ?? 300);

function world(leader: string | null = 'n1', options = {}): RoutingWorld {
  const made = new RoutingWorld(1, ['n1', 'n2'], options);
  made.elect(leader);
  return made;
}

async function answersOf(at: RoutingWorld, body: Uint8Array): Promise<Response[]> {
  const walk = new FrameWalk(await at.run(at.node('n1').receiver.handle(body)));
  const answers: Response[] = [];
  while (walk.next()) answers.push(decodeResponse(walk.bytes, walk.start, walk.end));
  return answers.sort((a, b) => a.id - b.id);
}

function envelope(timeLimitMs: number, ...requests: Parameters<typeof encodeRequestFrame>[0][]): Uint8Array {
  return encodeEnvelope(
    timeLimitMs,
    requests.map((request, i) => encodeRequestFrame({ id: i + 1, ...request })),
  );
}

test('every kind of request is executed and answered under its id', async () => {
  const at = world();
  at.node('n1').local.values.set('a', { value, revision: 5, expiresAtMs: 0, contentType: '' });
  const answers = await answersOf(
    at,
    envelope(
      500,
      { put: { key, value } },
      { put: { key, value, contentType: 'text/plain' } },
      { delete: { key } },
      { batch: { operations: [{ put: { key, value } }, { delete: { key } }] } },
      { get: { key } },
    ),
  );
  assert.deepEqual(
    answers.map(({ id, body }) => [id, body]),
    [
      [1, 'put'],
      [2, 'put'],
      [3, 'delete'],
      [4, 'batch'],
      [5, 'get'],
    ],
  );
  assert.equal(answers[4]!.get!.revision, 5);
  assert.equal(at.appended.length, 5);
});

test('what this node does not lead is refused with the leader that it knows', async () => {
  for (const leader of ['n2', null]) {
    const at = world(leader);
    const answers = await answersOf(
      at,
      envelope(
        500,
        { put: { key, value } },
        { put: { key, value, ttlSeconds: 1 } },
        { delete: { key } },
        { batch: { operations: [{ put: { key, value } }] } },
      ),
    );
    const errors = [...answers.slice(0, 3).map(({ error }) => error!), answers[3]!.batch!.results![0]!.error!];
    for (const error of errors) {
      assert.equal(error.code, 'not_leader');
      assert.equal(error.extra?.find(({ name }) => name === 'leader')?.text, leader ?? undefined);
    }
    assert.equal(at.appended.length, 0);
  }
});

test('an invalid request is answered as one and takes no other with it', async () => {
  const at = world();
  const answers = await answersOf(
    at,
    envelope(
      500,
      { put: { key: new Uint8Array(5000), value } },
      { put: { key, value } },
      { put: { key, value, fractionalTtlSeconds: -1 } },
      { get: { key, consistency: 7 as 0 } },
    ),
  );
  assert.deepEqual(
    answers.map(({ error }) => error?.code),
    ['invalid_key', undefined, 'invalid_request', 'invalid_request'],
  );
});

test('what is not answered within the time limit is unknown, what is comes with it', async () => {
  const at = world();
  let calls = 0;
  at.node('n1').local.delayMs = () => (++calls === 2 ? 10_000 : 1);
  const answers = await answersOf(
    at,
    envelope(200, { put: { key, value } }, { put: { key, value } }, { put: { key, value } }),
  );
  assert.deepEqual(
    answers.map(({ error }) => error?.code),
    [undefined, 'deadline_exceeded', undefined],
  );
  assert.equal(at.clock.monotonicMs(), 200);
  assert.equal(at.node('n1').receiver.requestsUnderWay, 3);
  await at.scheduler.runFor(20_000);
  assert.equal(at.node('n1').receiver.requestsUnderWay, 0);
});

test('a bound on what is under way: more is refused whole, executed in nothing', async () => {
  const at = world('n1', { receiver: { maxRequests: 3 } });
  const two = envelope(500, { put: { key, value } }, { put: { key, value } });
  const first = at.node('n1').receiver.handle(two);
  const [refusal, ...more] = await answersOf(at, two);
  assert.deepEqual([refusal!.id, refusal!.error!.code, more.length], [0, 'overloaded', 0]);
  await at.run(first);
  assert.equal(at.appended.length, 2);
  assert.equal((await answersOf(at, two)).length, 2);
});

test('a body that is not one of ours is refused before anything of it is executed', async () => {
  const put = encodeRequestFrame({ id: 1, put: { key, value } });
  const good = encodeEnvelope(500, [put]);
  const bodies: Record<string, Uint8Array> = {
    empty: new Uint8Array(0),
    'no time limit': encodeEnvelope(0, [put]),
    'no requests': encodeEnvelope(500, []),
    'a cut frame': good.subarray(0, good.length - 1),
    'bytes behind': Buffer.concat([good, Uint8Array.of(1)]),
    'an id twice': encodeEnvelope(500, [put, put]),
    'no id': encodeEnvelope(500, [encodeRequestFrame({ put: { key, value } })]),
    'a range': encodeEnvelope(500, [put, encodeRequestFrame({ id: 2, range: {} })]),
    'nothing known': encodeEnvelope(500, [put, encodeRequestFrame({ id: 2 })]),
    'requests behind a step of a read': Buffer.concat([
      encodeForwardHeaderFrame(
        500,
        encodeInstantRequest({ step: 'now', revision: 0, hold: 0, holdMs: 0, partitions: [0] }),
      ),
      encodeRequestFrame({ id: 1, put: { key, value } }),
    ]),
    'a huge length': Buffer.concat([good, Uint8Array.of(255, 255, 255, 255)]),
  };
  for (const [what, body] of Object.entries(bodies)) {
    const at = world();
    const [refusal, ...more] = await answersOf(at, body);
    assert.deepEqual([refusal!.id, refusal!.error!.code, more.length], [0, 'protocol_error', 0], what);
    assert.equal(at.appended.length, 0, what);
  }
});

test('Promise 6: any bytes are answered, and whatever they ask for is counted out again', async () => {
  const good = envelope(
    500,
    { put: { key, value } },
    { delete: { key } },
    { batch: { operations: [{ put: { key, value } }] } },
    { get: { key } },
  );
  const random = fc.uint8Array({ maxLength: 200 });
  const damaged = fc
    .record({
      at: fc.nat(good.length - 1),
      byte: fc.nat(255),
      cut: fc.nat(good.length),
      more: fc.uint8Array({ maxLength: 8 }),
    })
    .map(({ at, byte, cut, more }) => {
      const body = new Uint8Array([...good.subarray(0, cut), ...more]);
      if (at < body.length) body[at] = byte;
      return body;
    });
  await fc.assert(
    fc.asyncProperty(fc.oneof(random, damaged), async (body) => {
      const at = world();
      const answers = await answersOf(at, body);
      assert.ok(answers.length > 0);
      await at.scheduler.runFor(1000);
      assert.equal(at.node('n1').receiver.requestsUnderWay, 0);
    }),
    { numRuns: RUNS },
  );
});
