import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '../../../src/base/prng.js';
import { Scheduler } from '../ports/scheduler.js';
import { TraceHash } from '../ports/trace-hash.js';
import { checkHistory, HistoryViolation } from './check-history.js';
import { ClientHistory } from './client-history.js';
import { Reached } from './reached.js';
import { drawSwarm } from './swarm.js';
import { TOY_BUGS, ToyCluster, type ToyBug } from './toy-cluster.js';
import { Workload } from './workload.js';

const SEEDS = Number(process.env['CAIRN_TEST_SEEDS'] ?? 30);
const CALLS_PER_RUN = 300;

/** What any run of the workload should meet sooner or later. */
const REQUIRED = [
  'get found',
  'get absent',
  'stale get found',
  'stale get absent',
  'put written',
  'put conflict',
  'put unknown',
  'put failed',
  'delete deleted',
  'delete nothing',
  'delete conflict',
  'puts with a ttl',
  'batches',
  'scans',
  'scans of the past',
];

interface Run {
  readonly history: ClientHistory;
  readonly reached: Reached;
  readonly digest: string;
  readonly violation: HistoryViolation | null;
}

async function run(seed: number, bug: ToyBug | null): Promise<Run> {
  const prng = new Prng(seed);
  const { workload: shape, groups } = drawSwarm(prng);
  const scheduler = new Scheduler(prng);
  const history = new ClientHistory(() => scheduler.nowMs);
  const reached = new Reached(REQUIRED);
  const unknownShare = prng.pick([0, 0.02, 0.1]);
  const cluster = new ToyCluster({ scheduler, prng: prng.fork(), partitions: groups, unknownShare, bug });
  const workload = new Workload({
    prng: prng.fork(),
    shape,
    history,
    reached,
    sleep: (ms) => scheduler.sleep(ms),
    nowMs: () => scheduler.nowMs,
  });
  const clients = Array.from({ length: shape.clients }, (_, number) =>
    workload.run(number, cluster.client(), Math.ceil(CALLS_PER_RUN / shape.clients)),
  );
  await scheduler.run(Promise.all(clients));
  await scheduler.runFor(5000);
  const final = await scheduler.run(workload.readAll(cluster.client(), 20));
  assert.ok(final !== undefined, `seed ${seed}: not all keys could be read`);
  const trace = new TraceHash();
  for (const operation of history.operations) trace.event(JSON.stringify(operation));
  for (const scan of history.scans) trace.event(JSON.stringify(scan));
  let violation: HistoryViolation | null = null;
  try {
    checkHistory(history, final);
  } catch (error) {
    if (!(error instanceof HistoryViolation)) throw error;
    violation = error;
  }
  return { history, reached, digest: trace.digest, violation };
}

test('a workload on a correct cluster passes all checks, and meets all that it should', async () => {
  const reached = new Reached(REQUIRED);
  for (let seed = 1; seed <= SEEDS; seed++) {
    const { violation, history, reached: own } = await run(seed, null);
    assert.equal(violation?.message, undefined, `seed ${seed}`);
    assert.ok(history.answered > CALLS_PER_RUN / 2, `seed ${seed}: ${history.answered} answers`);
    reached.add(own);
  }
  reached.assertAll();
});

for (const bug of TOY_BUGS) {
  test(`a workload finds a cluster with this bug: ${bug}`, async () => {
    let seed = 1;
    while (seed <= 40 && (await run(seed, bug)).violation === null) seed++;
    assert.ok(seed <= 40, 'found within 40 seeds');
  });
}

test('a seed gives the same history each time', async () => {
  for (let seed = 1; seed <= 3; seed++) {
    const [first, second] = [await run(seed, null), await run(seed, null)];
    assert.equal(first.digest, second.digest);
  }
  assert.notEqual((await run(1, null)).digest, (await run(2, null)).digest);
});

test('every put of a history has a value of its own', async () => {
  const { history } = await run(4, null);
  const values = history.operations.flatMap(({ call }) => (call.kind === 'put' ? [call.value] : []));
  assert.ok(values.length > 10);
  assert.equal(new Set(values).size, values.length);
});

test('an operation that is still open at the end counts as unknown', () => {
  const history = new ClientHistory(() => 5);
  history.begin(1, 'k', { kind: 'put', value: 'v', condition: null });
  const [operation] = history.operations;
  assert.equal(operation?.outcome.kind, 'unknown');
  assert.equal(operation.returned, Infinity);
});

test('what begins after an answer, at the same time of the clock, is later', () => {
  const history = new ClientHistory(() => 5);
  const first = history.begin(1, 'k', { kind: 'get' });
  history.finish(first, { kind: 'absent' });
  const second = history.begin(2, 'k', { kind: 'get' });
  assert.ok(second.invoked > history.operations[0]!.returned);
});
