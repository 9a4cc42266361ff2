import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test, type TestContext } from 'node:test';
import type { Overview } from '../../src/cli/cluster/overview.js';
import { clusterStatus, type ClusterStatus } from '../../src/server/management/cluster-status.js';
import { MemoryService } from '../server/memory-service.js';
import { startServer } from '../server/tcp/harness.js';
import { runCli, type Ran } from './run-cli.js';

interface GroupPart {
  readonly leader: string | null;
  readonly term?: number;
  /** Of the node that answers, when it leads. */
  readonly followerLags?: Readonly<Record<string, number>>;
}

/** What a node of the cluster n1, n2, n3 answers. */
function answerOf(nodeId: string, groups: readonly GroupPart[], unreached: readonly string[] = []): ClusterStatus {
  const status = new MemoryService().status();
  const others = ['n1', 'n2', 'n3'].filter((id) => id !== nodeId);
  return clusterStatus(
    {
      ...status,
      nodeId,
      partitions: groups.map(({ leader, term = 1, followerLags = {} }, partition) => ({
        ...status.partitions[0]!,
        partition,
        leader: leader ?? '',
        role: leader === nodeId ? 'leader' : 'follower',
        term,
        followers: Object.entries(followerLags).map(([id, lagEntries]) => ({
          nodeId: id,
          state: 'replicate',
          lagEntries,
        })),
      })),
      peers: others.map((id) => ({ nodeId: id, isUp: !unreached.includes(id), roundTripMs: 0.5 })),
    },
    true,
  );
}

/** A management port that answers so; its host:port. */
async function serve(t: TestContext, answer: object, code = 200): Promise<string> {
  const server = createServer((_, response) => {
    response.writeHead(code, { 'content-type': 'application/json', connection: 'close' });
    response.end(JSON.stringify(answer));
  });
  t.after(() => server.close());
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** Where nobody listens any more. */
async function closedPort(): Promise<string> {
  const server = createServer();
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return `127.0.0.1:${port}`;
}

function status(endpoints: readonly string[], ...flags: readonly string[]): Promise<Ran> {
  return runCli(['cluster', 'status', '--management', endpoints.join(','), ...flags]);
}

test('one node shows what it knows; what only other leaders know is said to be unknown', async (t) => {
  const n1 = await serve(
    t,
    answerOf('n1', [{ leader: 'n1', followerLags: { n2: 0, n3: 4 } }, { leader: 'n2' }], ['n3']),
  );
  const { code, out, err } = await status([n1]);
  assert.deepEqual([code, err], [0, '']);
  assert.match(out, /^n1 +serving +1 +- /m);
  assert.match(out, /^n2 +connected +1 +0\.5 ms +-/m);
  assert.match(out, /^n3 +not reached +0 /m);
  assert.match(out, /2 partitions: each with a leader, terms 1 to 1, at most 4 entries behind \(1 not known/);
  assert.match(out, /^PARTITION .*\n0 +n1 +1 +0 +n2 0, n3 4\n$/m);
});

test('several nodes make one picture: each knows itself, a later term counts more than an earlier one', async (t) => {
  const n1 = await serve(t, answerOf('n1', [{ leader: 'n1', term: 4, followerLags: { n2: 9 } }]));
  const n2 = await serve(t, answerOf('n2', [{ leader: 'n2', term: 5, followerLags: { n1: 2, n3: 0 } }]));
  const { code, out } = await status([n2, n1], '--json');
  assert.equal(code, 0);
  const { nodes, groups } = JSON.parse(out) as Overview;
  assert.deepEqual(
    nodes.map(({ id, state, answered, partitionsLed }) => [id, state, answered, partitionsLed]),
    [
      ['n1', 'serving', true, 0],
      ['n2', 'serving', true, 1],
      ['n3', 'connected', false, 0],
    ],
  );
  assert.deepEqual(
    groups.map(({ leader, term, followers }) => [leader, term, followers?.map(({ lag }) => lag)]),
    [['n2', 5, [2, 0]]],
  );
});

test('a partition without a leader is shown and makes the exit code 6', async (t) => {
  const n1 = await serve(t, answerOf('n1', [{ leader: null, term: 7 }, { leader: 'n1' }]));
  const { code, out, err } = await status([n1]);
  assert.equal(code, 6);
  assert.match(out, /2 partitions: 1 WITHOUT A LEADER/);
  assert.match(out, /^0 +none +7 /m);
  assert.match(err, /1 of 2 partitions have no leader/);
  assert.equal((await status([n1], '-o', 'raw')).out, '0\t-\t7\t-\n1\tn1\t1\t0\n');
});

test('a node that does not answer is named; none that answers is exit code 6', async (t) => {
  const n1 = await serve(t, answerOf('n1', [{ leader: 'n1' }]));
  const gone = await closedPort();
  const some = await status([n1, gone], '--partitions');
  assert.equal(some.code, 0);
  assert.ok(some.out.includes(`not asked: ${gone}: nobody listens there`));
  assert.match(some.out, /^0 +n1 /m);
  const none = await status([gone]);
  assert.deepEqual([none.code, none.out], [6, '']);
  assert.ok(none.err.includes(`no node answered; ${gone}: nobody listens there`));
});

test('another port than a management port, another cluster and a wrong address are told', async (t) => {
  const other = await serve(t, { code: 'route_not_found' }, 404);
  const wrong = await status([other]);
  assert.equal(wrong.code, 6);
  assert.match(wrong.err, /expected a management port, found one that answers 404/);
  const binary = (await startServer(t)).server.port;
  assert.match((await status([`127.0.0.1:${binary}`])).err, /found one that does not speak HTTP/);
  const n1 = await serve(t, answerOf('n1', [{ leader: 'n1' }]));
  assert.equal((await runCli(['cluster', 'status', '--endpoints', n1])).code, 0);
  const stranger = await serve(t, { ...answerOf('n2', [{ leader: 'n2' }]), clusterId: 'other' });
  assert.equal((await status([n1, stranger])).code, 2);
  assert.equal((await status(['not a host'])).code, 2);
});

test('watch looks again and goes on while there is no leader; the last look gives the exit code', async (t) => {
  const n1 = await serve(t, answerOf('n1', [{ leader: null }]));
  const { code, out, err } = await status([n1], '--watch', '--interval', '0.01', '--times', '3', '--json');
  assert.equal(code, 6);
  assert.equal(out.trim().split('\n').length, 3);
  assert.equal(err.trim().split('\n').length, 3);
});
