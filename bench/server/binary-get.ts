import path from 'node:path';
import { binaryLoad, buildBinaryLoad } from '../runner/binary-load.js';
import { startCairn } from '../runner/cairn-node.js';
import { Child, root } from '../runner/child.js';
import { KEY_COUNT } from '../runner/data-set.js';
import { redisBenchmark, startRedis } from '../runner/redis.js';
import type { Bench, Figure, Row } from '../runner/row.js';
import { interleave, ratioFigure } from '../runner/statistics.js';

const keys = KEY_COUNT;

/** Fills a node with the keys that the load generator reads. */
export async function fillBinary(port: number, keyCount: number): Promise<void> {
  await binaryLoad({
    op: 'put',
    port,
    connections: 4,
    pipeline: 64,
    keys: keyCount,
    requests: keyCount,
    sequential: true,
  });
}

async function againstRedis({ folder, quick, rounds, seconds, say }: Bench): Promise<readonly Figure[]> {
  buildBinaryLoad();
  const redis = await startRedis(folder, 'memory');
  const node = await startCairn(folder);
  await fillBinary(node.clientPort, keys);
  // Random keys: three times their number leaves one in twenty absent.
  await redisBenchmark(redis, 'set', 16, 16, 3 * keys);
  const figures: Figure[] = [];
  for (const { connections, pipeline, bar, requests } of [
    { connections: 50, pipeline: 1, bar: { reach: 0.8, aim: 1, better: 'higher' }, requests: 150_000 },
    {
      connections: 16,
      pipeline: 16,
      bar: { reach: 0.5, aim: 0.5, better: 'higher', stretch: true },
      requests: 1_000_000,
    },
  ] as const) {
    const [ours = [], theirs = []] = await interleave(
      rounds,
      seconds,
      [
        {
          name: `Cairn binary GET ${connections} x${pipeline}`,
          run: async (duration) =>
            (await binaryLoad({ op: 'get', port: node.clientPort, connections, pipeline, keys, seconds: duration }))
              .perSecond,
        },
        {
          name: `Redis GET ${connections} x${pipeline}`,
          run: async () => await redisBenchmark(redis, 'get', connections, pipeline, quick ? requests / 10 : requests),
        },
      ],
      say,
    );
    figures.push(
      ratioFigure(
        `binary-get-redis-${connections}x${pipeline}`,
        `binary GET, ${connections} clients x${pipeline}${pipeline === 1 ? '' : ' against Redis'}`,
        bar,
        { name: 'Cairn', unit: '/s', rounds: ours },
        { name: 'Redis GET', unit: '/s', rounds: theirs },
      ),
    );
  }
  await Promise.all([node.child.stop(), redis.child.stop()]);
  return figures;
}

async function againstPlainServer({ folder, rounds, seconds, say }: Bench): Promise<readonly Figure[]> {
  buildBinaryLoad();
  const plain = new Child('plain protobuf server', process.execPath, [
    path.join(root, 'dist/bench/peers/naive-server.js'),
  ]);
  const { port } = await plain.line((line) =>
    line.startsWith('{"port"') ? (JSON.parse(line) as { port: number }) : null,
  );
  await fillBinary(port, keys);
  const node = await startCairn(folder);
  await fillBinary(node.clientPort, keys);
  const load = { op: 'get', connections: 16, pipeline: 16, keys } as const;
  const [ours = [], theirs = []] = await interleave(
    rounds,
    seconds,
    [
      {
        name: 'Cairn binary GET 16 x16',
        run: async (duration) => (await binaryLoad({ ...load, port: node.clientPort, seconds: duration })).perSecond,
      },
      {
        name: 'node:net + protobufjs GET 16 x16',
        run: async (duration) => (await binaryLoad({ ...load, port, seconds: duration })).perSecond,
      },
    ],
    say,
  );
  await Promise.all([node.child.stop(), plain.stop()]);
  return [
    ratioFigure(
      'binary-get-plain-16x16',
      'binary GET, 16 clients x16',
      { reach: 0.9, aim: 1.5, better: 'higher' },
      { name: 'Cairn', unit: '/s', rounds: ours },
      { name: 'node:net + protobufjs', unit: '/s', rounds: theirs },
    ),
  ];
}

export const binaryGetRedis: Row = { name: 'binary-get-redis', title: 'binary GET against Redis', run: againstRedis };
export const binaryGetPlain: Row = {
  name: 'binary-get-plain',
  title: 'binary GET against a plain node:net + protobufjs server',
  run: againstPlainServer,
};
