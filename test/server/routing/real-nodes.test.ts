import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SILENT_LOGGER } from '../../../src/base/logger.js';
import { Prng } from '../../../src/base/prng.js';
import { InstantHolds } from '../../../src/cluster/instants/instant-holds.js';
import { ForwardedRequests } from '../../../src/server/routing/forwarded-requests.js';
import type { PartitionMap } from '../../../src/server/routing/partition-map.js';
import { RoutedService } from '../../../src/server/routing/routed-service.js';
import { PLAIN_PUT, type BatchResult, type PutOptions } from '../../../src/server/service.js';
import { SimNode } from '../../cluster/sim-node.js';
import { SimMachine } from '../../sim/sim-machine.js';

const PARTITIONS = 8;

interface Member {
  readonly node: SimNode;
  readonly routed: RoutedService;
}

/** Real nodes, each with a data directory and a part of the partitions to lead, joined by direct calls. */
async function threeNodes(machine: SimMachine): Promise<Member[]> {
  const nodes: SimNode[] = [];
  for (const name of ['n1', 'n2', 'n3']) {
    machine.disk.blocking.makeDirectory(`/${name}`);
    const options = { nodeId: name, dataDir: `/${name}`, partitions: PARTITIONS };
    nodes.push(await machine.scheduler.run(SimNode.open(machine, options)));
  }
  const { clock } = machine;
  const maps = nodes.map((_, self): PartitionMap => {
    const leaders = nodes.map((_node, i) => ({ nodeId: String(i), isLocal: i === self }));
    return {
      leaderOf: (partition) => leaders[partition % nodes.length]!,
      isLed: () => true,
      localCanRead: (partition) => partition % nodes.length === self,
      hasReplica: (partition) => partition % nodes.length === self,
    };
  });
  const receivers = nodes.map(
    ({ service, node }, i) =>
      new ForwardedRequests({
        local: service,
        map: maps[i]!,
        holds: new InstantHolds(node.host, clock),
        clock,
        logger: SILENT_LOGGER,
      }),
  );
  const request = async (to: string, body: Uint8Array): Promise<Uint8Array> => {
    await machine.scheduler.sleep(1);
    return receivers[Number(to)]!.handle(body);
  };
  return nodes.map((node, i) => ({
    node,
    routed: new RoutedService({
      local: node.service,
      map: maps[i]!,
      peers: { request },
      clock,
      partitionCount: PARTITIONS,
      requestTimeoutMs: 10_000,
    }),
  }));
}

function put({ routed }: Member, name: string, value: string, options: Partial<PutOptions> = {}): Promise<string> {
  const key = Buffer.from(name);
  return new Promise((resolve) =>
    routed.put(key, 0, key.length, Buffer.from(value), { ...PLAIN_PUT, ...options }, (error) =>
      resolve(error?.code ?? 'ok'),
    ),
  );
}

async function get({ routed }: Member, name: string): Promise<string | null> {
  const version = await routed.get(Buffer.from(name), { at: 0 });
  return version === null ? null : Buffer.from(version.value).toString();
}

test('whatever node is asked, what was written through one is read through all, at the leader alone it is stored', async () => {
  const machine = SimMachine.first(new Prng(1));
  const members = await threeNodes(machine);
  const { scheduler } = machine;
  const names = Array.from({ length: 60 }, (_, i) => `key-${i}`);
  const writes = names.map((name, i) =>
    put(members[i % 3]!, name, String(i), i % 4 === 0 ? { condition: { absent: true } } : {}),
  );
  assert.deepEqual(new Set(await scheduler.run(Promise.all(writes))), new Set(['ok']));
  for (const member of members) {
    const values = await scheduler.run(Promise.all(names.map((name) => get(member, name))));
    assert.deepEqual(
      values,
      names.map((_, i) => String(i)),
    );
  }
  const stored = await scheduler.run(Promise.all(members.map(({ node }) => node.scan())));
  assert.ok(stored.every((keys) => keys.length > 0));
  assert.deepEqual(stored.flat().sort(), [...names].sort());
  assert.equal(
    await scheduler.run(put(members[1]!, 'key-0', 'x', { condition: { absent: true } })),
    'precondition_failed',
  );
});

test('64 clients on three nodes that count one key up by its revision lose no step', async () => {
  const machine = SimMachine.first(new Prng(2));
  const members = await threeNodes(machine);
  let conflicts = 0;
  const countUp = async (member: Member): Promise<void> => {
    for (;;) {
      const version = await member.routed.get(Buffer.from('counter'), { at: 0 });
      const next = version === null ? 1 : Number(Buffer.from(version.value).toString()) + 1;
      const condition = version === null ? { absent: true as const } : { revisions: [version.revision] };
      const code = await put(member, 'counter', String(next), { condition });
      if (code === 'ok') return;
      assert.equal(code, 'precondition_failed');
      conflicts++;
    }
  };
  await machine.scheduler.run(Promise.all(Array.from({ length: 64 }, (_, i) => countUp(members[i % 3]!))));
  assert.equal(await machine.scheduler.run(get(members[0]!, 'counter')), '64');
  assert.ok(conflicts > 0);
});

test('a batch over all nodes is stored by each in its part and answered in order', async () => {
  const machine = SimMachine.first(new Prng(3));
  const members = await threeNodes(machine);
  const names = Array.from({ length: 40 }, (_, i) => `key-${i}`);
  await machine.scheduler.run(put(members[2]!, 'key-7', '0'));
  const results = await machine.scheduler.run(
    new Promise<readonly BatchResult[]>((resolve) =>
      members[0]!.routed.batch(
        names.map((name, i) =>
          i % 8 === 7
            ? { kind: 'delete', key: Buffer.from(name) }
            : { kind: 'put', key: Buffer.from(name), value: Buffer.from('1'), contentType: '', ttlSeconds: 0 },
        ),
        resolve,
      ),
    ),
  );
  assert.ok(results.every(({ error }) => error === null));
  assert.deepEqual(
    results.flatMap(({ deleted }, i) => (deleted ? [i] : [])),
    [7],
  );
});
