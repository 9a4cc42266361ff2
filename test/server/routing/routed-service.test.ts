import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CairnError } from '../../../src/base/errors.js';
import { encodeResponseFrame } from '../../../src/codec/client-protocol.js';
import type { BatchOperation, Caller, ReadOptions } from '../../../src/server/service.js';
import { type Fate, RoutingWorld, TIMEOUT_MS, keyIn, putOperation } from './routing-world.js';

const THREE = ['n1', 'n2', 'n3'];

function worldLedBy(leader: string | null, options = {}): RoutingWorld {
  const world = new RoutingWorld(1, THREE, options);
  world.elect(leader);
  return world;
}

/** The fates of the requests in their order; the rest arrive. */
function fates(world: RoutingWorld, ...script: Fate[]): void {
  world.fate = () => script.shift() ?? { kind: 'delivered', thereMs: 1, backMs: 1 };
}

test('a write for another leader is done there, with all its options, and answered here', async () => {
  const world = worldLedBy('n2');
  const node = world.node('n1');
  const condition = { revisions: [7, 8] };
  assert.equal((await world.run(node.put('a', '1'))).code, 'ok');
  assert.equal((await world.run(node.put('b', 'x', { contentType: 'text/plain', ttlSeconds: 0.75 }))).code, 'ok');
  assert.equal((await world.run(node.put('c', '{}', { condition, ttlSeconds: 3 }))).code, 'ok');
  assert.equal(
    (await world.run(node.put('d', '', { contentType: 'text/plain', condition: { absent: true } }))).code,
    'ok',
  );
  assert.deepEqual(await world.run(node.delete('e', { exists: true })), {
    code: 'ok',
    revision: 1005,
    deleted: true,
    tookMs: 3,
  });
  assert.deepEqual(
    world.appended.map(({ node: at, key, value, options }) => [at, key, value, options]),
    [
      ['n2', 'a', '1', { contentType: '', ttlSeconds: 0, condition: null }],
      ['n2', 'b', 'x', { contentType: 'text/plain', ttlSeconds: 0.75, condition: null }],
      ['n2', 'c', '{}', { contentType: '', ttlSeconds: 3, condition }],
      ['n2', 'd', '', { contentType: 'text/plain', ttlSeconds: 0, condition: { absent: true } }],
      ['n2', 'e', 'deleted', null],
    ],
  );
});

test('a write for a partition that this node leads asks nobody', async () => {
  const world = worldLedBy('n1');
  const node = world.node('n1');
  assert.equal((await world.run(node.put('a', '1'))).code, 'ok');
  assert.equal((await world.run(node.put('a', '1', { condition: { exists: true } }))).code, 'ok');
  assert.equal((await world.run(node.delete('a'))).deleted, true);
  assert.equal((await world.run(node.batch([putOperation('a', '1')])))[0]!.code, 'ok');
  assert.equal(world.requests.length, 0);
});

test('the writes of one loop turn travel together, one request for each leader', async () => {
  const world = worldLedBy('n2');
  world.elect('n3', [0, 1, 2]);
  const answers = Array.from({ length: 50 }, (_, i) => world.node('n1').put(`k${i}`, String(i)));
  const outcomes = await world.run(Promise.all(answers));
  assert.ok(outcomes.every(({ code }) => code === 'ok'));
  assert.deepEqual(world.requests.map(({ to }) => to).sort(), ['n2', 'n3']);
  assert.equal(new Set(world.appended.map(({ value }) => value)).size, 50);
});

test('large values do not share one huge request', async () => {
  const world = worldLedBy('n2');
  const value = 'x'.repeat(100_000);
  await world.run(Promise.all(Array.from({ length: 10 }, (_, i) => world.node('n1').put(`k${i}`, value))));
  assert.equal(world.requests.length, 5);
  assert.equal(world.appended.length, 10);
});

test('an error of the leader is the answer here, with its extras', async () => {
  const world = worldLedBy('n2');
  const refusal = new CairnError('precondition_failed', 'no', { extra: { currentRevision: 12 } });
  world.node('n2').local.refusal = refusal;
  const error = await world.run(
    new Promise<CairnError | null>((resolve) =>
      world
        .node('n1')
        .routed.put(
          Buffer.from('a'),
          0,
          1,
          Buffer.from('1'),
          { contentType: '', ttlSeconds: 0, condition: { revisions: [1] } },
          resolve,
        ),
    ),
  );
  assert.deepEqual([error?.code, error?.message, error?.extra], [refusal.code, 'no', { currentRevision: 12 }]);
});

test('a batch is done by the leaders of its keys; the results are in the order of its operations', async () => {
  const world = worldLedBy('n2');
  world.elect('n3', [0, 1]);
  world.elect('n1', [2, 3]);
  const operations: BatchOperation[] = Array.from({ length: 40 }, (_, i) =>
    i % 5 === 4 ? { kind: 'delete', key: Buffer.from(`k${i}`) } : putOperation(`k${i}`, String(i)),
  );
  operations.splice(7, 0, putOperation('invalid', '1'));
  const outcomes = await world.run(world.node('n1').batch(operations));
  assert.equal(outcomes.length, 41);
  outcomes.forEach((outcome, i) => {
    assert.equal(outcome.code, i === 7 ? 'invalid_request' : 'ok');
    assert.equal(outcome.deleted, operations[i]!.kind === 'delete');
  });
  assert.deepEqual(new Set(world.appended.map(({ node }) => node)), new Set(THREE));
  assert.equal(world.appended.length, 40);
});

test('an empty batch is answered after the call', async () => {
  const world = worldLedBy('n2');
  assert.deepEqual(await world.run(world.node('n1').batch([])), []);
});

test('Promise 3: a write that the peer certainly did not get is tried again', async () => {
  const world = worldLedBy('n2');
  fates(world, { kind: 'unreachable', afterMs: 1 }, { kind: 'unreachable', afterMs: 1 });
  const outcome = await world.run(world.node('n1').put('a', '1'));
  assert.equal(outcome.code, 'ok');
  assert.ok(outcome.tookMs >= 15, `back-off of 5 and 10 ms, found ${outcome.tookMs}`);
  assert.equal(world.appended.length, 1);
  assert.equal(world.requests.length, 3);
});

test('Promise 3: a write whose answer was lost is unknown and never sent again', async () => {
  for (const delivered of [true, false]) {
    const world = worldLedBy('n2');
    fates(world, { kind: 'lost', delivered, afterMs: 20 });
    const outcomes = await world.run(
      Promise.all([
        world.node('n1').put('a', '1'),
        world.node('n1').delete('b'),
        world.node('n1').batch([putOperation('c', '1')]),
      ]),
    );
    assert.deepEqual(
      outcomes.flat().map(({ code }) => code),
      Array(3).fill('deadline_exceeded'),
    );
    await world.scheduler.runFor(2 * TIMEOUT_MS);
    assert.equal(world.requests.length, 1);
    assert.equal(world.appended.length, delivered ? 3 : 0);
  }
});

test('Promise 3: an answer that nobody can read leaves a write unknown', async () => {
  const bodies = [
    new Uint8Array(0),
    Uint8Array.of(1, 2, 3),
    encodeResponseFrame({ id: 9, put: { revision: 1 } }),
    encodeResponseFrame({ id: 1, delete: { revision: 1 } }),
  ];
  for (const bytes of bodies) {
    const world = worldLedBy('n2');
    fates(world, { kind: 'garbled', bytes });
    assert.equal((await world.run(world.node('n1').put('a', '1'))).code, 'deadline_exceeded');
    await world.scheduler.runFor(TIMEOUT_MS);
    assert.equal(world.appended.length, 1);
  }
});

test('a silent leader: the outcome is unknown at the deadline, not later', async () => {
  const world = worldLedBy('n2');
  fates(world, { kind: 'delivered', thereMs: 10 * TIMEOUT_MS, backMs: 1 });
  const outcome = await world.run(world.node('n1').put('a', '1'));
  assert.deepEqual([outcome.code, outcome.tookMs], ['deadline_exceeded', TIMEOUT_MS]);
});

test('no leader until the deadline: unavailable, nothing executed', async () => {
  const world = worldLedBy(null);
  const outcomes = await world.run(
    Promise.all([
      world.node('n1').put('a', '1'),
      world.node('n1').delete('b'),
      world.node('n1').batch([putOperation('c', '1')]),
    ]),
  );
  for (const { code, tookMs } of outcomes.flat()) assert.deepEqual([code, tookMs], ['unavailable', TIMEOUT_MS]);
  assert.equal(world.node('n1').routed.routing.heldCalls, 0);
  assert.equal(world.node('n1').routed.routing.heldBytes, 0);
});

test('a leader that cannot be reached until the deadline: unavailable, nothing executed', async () => {
  const world = worldLedBy('n2');
  world.fate = () => ({ kind: 'unreachable', afterMs: 0 });
  const { code, tookMs } = await world.run(world.node('n1').put('a', '1'));
  assert.deepEqual([code, tookMs], ['unavailable', TIMEOUT_MS]);
  assert.ok(world.requests.length < 20, 'the back-off grows to 100 ms');
});

test('a write waits for a leader to be elected, also when that is this node', async () => {
  for (const leader of ['n1', 'n3']) {
    const world = worldLedBy(null);
    const answers = Promise.all([
      world.node('n1').put('a', '1'),
      world.node('n1').batch([putOperation('b', '1'), { kind: 'delete', key: Buffer.from('c') }]),
    ]);
    world.scheduler.schedule(300, () => world.elect(leader));
    assert.deepEqual(
      (await world.run(answers)).flat().map(({ code }) => code),
      ['ok', 'ok', 'ok'],
    );
    assert.deepEqual(
      world.appended.map(({ node }) => node),
      [leader, leader, leader],
    );
  }
});

test('a node that does not lead any more names who does, and the write goes there', async () => {
  const world = worldLedBy('n3');
  world.node('n1').known.fill('n2');
  const outcome = await world.run(world.node('n1').put('a', '1'));
  assert.equal(outcome.code, 'ok');
  assert.deepEqual(
    world.requests.map(({ to }) => to),
    ['n2', 'n3'],
  );
  assert.deepEqual(
    world.appended.map(({ node }) => node),
    ['n3'],
  );
});

test('a forwarded request is never forwarded again', async () => {
  const world = worldLedBy('n3');
  for (const name of ['n1', 'n2']) world.node(name).known.fill('n2');
  world.node('n2').known.fill('n1');
  const { code } = await world.run(world.node('n1').put('a', '1'));
  assert.equal(code, 'unavailable');
  assert.ok(world.requests.every(({ from, to }) => from === 'n1' && to === 'n2'));
  assert.equal(world.appended.length, 0);
});

test('leadership that goes while a condition waits for the disk: the write follows it', async () => {
  for (const first of ['n1', 'n2']) {
    const world = worldLedBy(first);
    for (const node of world.nodes.values()) node.local.fetchMs = 50;
    const node = world.node('n1');
    const answers = Promise.all([
      node.put('a', '1', { condition: { absent: true } }),
      node.delete('b'),
      node.batch(['c', 'd'].map((key) => ({ kind: 'delete', key: Buffer.from(key) }))),
    ]);
    world.scheduler.schedule(20, () => world.elect('n3'));
    assert.deepEqual(
      (await world.run(answers)).flat().map(({ code }) => code),
      ['ok', 'ok', 'ok', 'ok'],
    );
    assert.deepEqual([...new Set(world.appended.map((write) => write.node))], ['n3']);
    assert.equal(world.appended.length, 4);
  }
});

test('a leader that shuts down refuses, and the write goes to the next one', async () => {
  const world = worldLedBy('n2');
  world.node('n2').local.refusal = new CairnError('shutting_down', 'bye');
  world.scheduler.schedule(60, () => world.elect('n3'));
  assert.equal((await world.run(world.node('n1').put('a', '1'))).code, 'ok');
  assert.deepEqual(
    world.appended.map(({ node }) => node),
    ['n3'],
  );
});

test('overload and lost quorum at the leader are told, not tried again', async () => {
  for (const code of ['overloaded', 'unavailable', 'disk_full'] as const) {
    const world = worldLedBy('n2');
    world.node('n2').local.refusal = new CairnError(code, 'no');
    assert.equal((await world.run(world.node('n1').put('a', '1'))).code, code);
    assert.equal(world.requests.length, 1);
  }
});

test('a partition that is stuck does not keep the answers of others back for long', async () => {
  const world = worldLedBy('n2');
  const stuck = 3;
  world.node('n2').local.delayMs = (partition) => (partition === stuck ? 100 * TIMEOUT_MS : 1);
  const blocked = world.node('n1').put(keyIn(stuck), '1');
  await world.scheduler.runFor(150);
  const [blockedToo, ...others] = [stuck, 0, 1, 2].map((partition) => world.node('n1').put(keyIn(partition), '2'));
  for (const { code, tookMs } of await world.run(Promise.all(others)))
    assert.ok(code === 'ok' && tookMs < 10, `${code} after ${tookMs} ms`);
  for (const answer of [blocked, blockedToo!]) assert.equal((await world.run(answer)).code, 'deadline_exceeded');
});

test('what shares a request with a stuck partition is answered with its own outcome in time', async () => {
  const world = worldLedBy('n2');
  world.node('n2').local.delayMs = (partition) => (partition === 3 ? 100 * TIMEOUT_MS : 1);
  const answers = [3, 0, 1].map((partition) => world.node('n1').put(keyIn(partition), '1'));
  const outcomes = await world.run(Promise.all(answers));
  assert.deepEqual(
    outcomes.map(({ code }) => code),
    ['deadline_exceeded', 'ok', 'ok'],
  );
  assert.equal(world.requests.length, 1);
});

test('what waits is bounded: more is refused as overloaded, and there is room again later', async () => {
  const world = worldLedBy(null, { routed: { maxCalls: 10 } });
  const answers = Array.from({ length: 15 }, (_, i) => world.node('n1').put(`k${i}`, '1'));
  world.scheduler.schedule(100, () => world.elect('n2'));
  const codes = (await world.run(Promise.all(answers))).map(({ code }) => code);
  assert.deepEqual(codes, [...Array(10).fill('ok'), ...Array(5).fill('overloaded')]);
  assert.equal((await world.run(world.node('n1').put('k', '1'))).code, 'ok');
});

test('so are its bytes; one value that is larger than the bound still goes through alone', async () => {
  const world = worldLedBy('n2', { routed: { maxBytes: 1000 } });
  const big = 'x'.repeat(2000);
  const answers = [world.node('n1').put('a', big), world.node('n1').put('b', '1')];
  assert.deepEqual(
    (await world.run(Promise.all(answers))).map(({ code }) => code),
    ['ok', 'overloaded'],
  );
});

test('a read of memory is answered here when this node may, else it is left to get, with its partition', async () => {
  const world = worldLedBy('n2');
  const key = Buffer.from(keyIn(5));
  const { routed } = world.node('n1');
  assert.equal(routed.tryGet(key, 0, key.length), 'blocked');
  assert.equal(routed.found.partition, 5);
  world.elect('n1');
  assert.equal(routed.tryGet(key, 0, key.length), 'absent');
});

test('a get is served by this node when it has the data, with all its options', async () => {
  const world = worldLedBy('n2');
  const node = world.node('n1');
  await world.run(node.routed.get(Buffer.from('a'), { at: 5, consistency: 'stale' }));
  assert.deepEqual(node.local.readOptions, { at: 5, consistency: 'stale' });
  assert.equal(world.requests.length, 0);
});

test('a get of a partition without a replica here is asked of its leader, again when its answer is lost', async () => {
  const world = worldLedBy('n2');
  const node = world.node('n1');
  node.replicas = false;
  const version = {
    value: Buffer.from('1'),
    revision: 9,
    expiresAtMs: 1e12,
    contentType: 'text/plain',
  };
  world.node('n2').local.stalenessMs = 4;
  world.node('n2').local.values.set('a', version);
  fates(world, { kind: 'lost', delivered: true, afterMs: 5 }, { kind: 'unreachable', afterMs: 1 });
  const told: number[] = [];
  const onStaleness = (ms: number): void => void told.push(ms);
  const found = await world.run(node.routed.get(Buffer.from('a'), { at: 5, consistency: 'stale', onStaleness }));
  assert.deepEqual(told, [4]);
  assert.deepEqual({ ...found, value: Buffer.from(found!.value) }, version);
  const { at, consistency } = world.node('n2').local.readOptions!;
  assert.deepEqual({ at, consistency }, { at: 5, consistency: 'stale' });
  assert.equal(await world.run(node.routed.get(Buffer.from('b'), { at: 0 })), null);
  world.fate = () => ({ kind: 'lost', delivered: true, afterMs: 5 });
  await assert.rejects(world.run(node.routed.get(Buffer.from('a'), { at: 0 })), { code: 'unavailable' });
});

function get(world: RoutingWorld, key: string, caller?: Caller): Promise<{ code: string; tookMs: number }> {
  const startedMs = world.clock.monotonicMs();
  const answer = (code: string): { code: string; tookMs: number } => ({
    code,
    tookMs: world.clock.monotonicMs() - startedMs,
  });
  const scratch = Buffer.from(key);
  const read = world.node('n1').routed.get(scratch, { at: 0, ...(caller === undefined ? {} : { caller }) });
  scratch.fill(0x7a);
  return read.then(
    () => answer('ok'),
    (error: CairnError) => answer(error.code),
  );
}

test('a read waits for a leader to be elected, whoever that is, and is answered here', async () => {
  for (const leader of ['n1', 'n3']) {
    const world = worldLedBy(null);
    const answer = get(world, 'a');
    world.scheduler.schedule(300, () => world.elect(leader));
    const { code, tookMs } = await world.run(answer);
    assert.equal(code, 'ok');
    assert.ok(tookMs >= 300 && tookMs <= 410, `${tookMs} ms`);
    const { local, routed } = world.node('n1');
    assert.deepEqual([local.reads, world.requests.length, routed.routing.heldCalls], [1, 0, 0]);
  }
});

test('a read that finds no leader until its deadline is unavailable then, not at once', async () => {
  const world = worldLedBy(null);
  assert.deepEqual(await world.run(get(world, 'a')), { code: 'unavailable', tookMs: TIMEOUT_MS });
  assert.deepEqual(world.node('n1').routed.routing.heldCalls, 0);
});

test('a read whose leader goes while it is under way is asked again', async () => {
  const world = worldLedBy('n2');
  world.node('n1').local.readMs = 50;
  const answer = get(world, 'a');
  world.scheduler.schedule(20, () => world.elect(null));
  world.scheduler.schedule(200, () => world.elect('n3'));
  assert.equal((await world.run(answer)).code, 'ok');
  assert.equal(world.node('n1').local.reads, 2);
});

test('a read that waited has only the rest of its time: a silent quorum does not keep it beyond its deadline', async () => {
  const world = worldLedBy(null);
  world.node('n1').local.readMs = 10 * TIMEOUT_MS;
  const answer = get(world, 'a');
  world.scheduler.schedule(700, () => world.elect('n2'));
  assert.deepEqual(await world.run(answer), { code: 'unavailable', tookMs: TIMEOUT_MS });
  await world.scheduler.runFor(20 * TIMEOUT_MS);
  assert.equal(world.node('n1').routed.routing.heldCalls, 0);
});

test('reads that wait for a leader are bounded, and those whose clients have gone make room', async () => {
  const world = worldLedBy(null, { routed: { maxCalls: 3 } });
  const callers = Array.from({ length: 3 }, () => ({ isOpen: true }));
  const answers = callers.map((caller, i) => get(world, `k${i}`, caller));
  assert.equal((await world.run(get(world, 'x'))).code, 'overloaded');
  for (const caller of callers.slice(0, 2)) caller.isOpen = false;
  await world.scheduler.runFor(150);
  assert.equal(world.node('n1').routed.routing.heldCalls, 1);
  const late = get(world, 'y');
  world.elect('n2');
  assert.equal((await world.run(late)).code, 'ok');
  assert.equal((await world.run(answers[2]!)).code, 'ok');
  assert.equal(world.node('n1').local.reads, 2, 'nobody asks for those who have gone');
});

test('reads of several keys that wait for leaders are bounded too', async () => {
  const world = worldLedBy(null, { routed: { maxCalls: 3 } });
  const { routed, local } = world.node('n1');
  let open = (): void => undefined;
  local.gate = new Promise((resolve) => void (open = resolve));
  const read = (): Promise<unknown> => routed.multiGet([Buffer.from('a')], { at: 0 });
  const reads = [read(), read(), read()];
  await assert.rejects(read(), { code: 'overloaded' });
  await assert.rejects(
    routed.openScan({ startKey: Buffer.from('a'), endKey: null, reverse: false, keysOnly: true, at: 0 }),
    {
      code: 'overloaded',
    },
  );
  open();
  await Promise.all(reads);
  assert.deepEqual([routed.routing.heldCalls, routed.routing.heldBytes], [0, 0]);
});

test('a plain write that the local leader refuses in the very step of a hand-over follows the leadership, as others do', async () => {
  for (const code of ['not_ready', 'not_leader'] as const) {
    const world = worldLedBy('n1');
    const node = world.node('n1');
    node.local.refusals = Array.from({ length: 2 }, () => new CairnError(code, 'being handed over'));
    const answers = Promise.all([node.put('a', '1'), node.batch([putOperation('b', '2')])]);
    world.elect('n2');
    const outcomes = (await world.run(answers)).flat();
    assert.deepEqual(
      outcomes.map((outcome) => outcome.code),
      ['ok', 'ok'],
    );
    assert.deepEqual(
      world.appended.map(({ node: at, key, value }) => [at, key, value]),
      [
        ['n2', 'a', '1'],
        ['n2', 'b', '2'],
      ],
    );
  }
});

test('Promise 3: a write that waited and was then taken by this node is unknown at its deadline, not a time-out later', async () => {
  const world = worldLedBy(null);
  world.node('n1').local.delayMs = () => 10 * TIMEOUT_MS;
  const answers = Promise.all([
    world.node('n1').put('a', '1'),
    world.node('n1').delete('b'),
    world.node('n1').batch([putOperation('c', '1')]),
  ]);
  world.scheduler.schedule(700, () => world.elect('n1'));
  for (const { code, tookMs } of (await world.run(answers)).flat())
    assert.deepEqual([code, tookMs], ['deadline_exceeded', TIMEOUT_MS]);
  await world.scheduler.runFor(20 * TIMEOUT_MS);
  assert.equal(world.appended.length, 3);
});

test('a stale read is answered here while nobody leads; when its age is not known it waits for a leader', async () => {
  const world = worldLedBy(null);
  const node = world.node('n1');
  node.local.stalenessMs = 7;
  const told: number[] = [];
  const stale: ReadOptions = { at: 0, consistency: 'stale', onStaleness: (ms) => void told.push(ms) };
  assert.equal(await world.run(node.routed.get(Buffer.from('a'), stale)), null);
  assert.deepEqual([told, world.requests.length, world.clock.monotonicMs()], [[7], 0, 1]);
  node.local.isConfirmed = false;
  const answer = node.routed.get(Buffer.from('a'), stale);
  world.scheduler.schedule(200, () => world.elect('n2'));
  assert.equal(await world.run(answer), null);
  assert.ok(world.clock.monotonicMs() >= 200);
});
