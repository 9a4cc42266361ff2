import { binaryLoad, buildBinaryLoad } from '../runner/binary-load.js';
import { startCairn } from '../runner/cairn-node.js';
import { KEY_COUNT } from '../runner/data-set.js';
import { redisBenchmark, startRedis } from '../runner/redis.js';
import type { Bench, Figure, Row } from '../runner/row.js';
import { interleave, ratioFigure } from '../runner/statistics.js';

const CLIENTS = 50;

async function run({ folder, quick, rounds, seconds, say }: Bench): Promise<readonly Figure[]> {
  buildBinaryLoad();
  const redis = await startRedis(folder, 'synced');
  const node = await startCairn(folder);
  const figures: Figure[] = [];
  for (const { pipeline, reach, aim, requests } of [
    { pipeline: 1, reach: 0.7, aim: 1, requests: 80_000 },
    { pipeline: 16, reach: 0.3, aim: 0.6, requests: 300_000 },
  ]) {
    const load = { op: 'put', port: node.clientPort, connections: CLIENTS, pipeline, keys: KEY_COUNT } as const;
    const [ours = [], theirs = []] = await interleave(
      rounds,
      seconds,
      [
        {
          name: `Cairn binary PUT x${pipeline}`,
          run: async (duration) => (await binaryLoad({ ...load, seconds: duration })).perSecond,
        },
        {
          name: `Redis SET appendfsync always x${pipeline}`,
          run: async () => await redisBenchmark(redis, 'set', CLIENTS, pipeline, quick ? requests / 10 : requests),
        },
      ],
      say,
    );
    figures.push(
      ratioFigure(
        `binary-put-redis-50x${pipeline}`,
        `binary PUT, ${CLIENTS} clients x${pipeline}`,
        { reach, aim, better: 'higher' },
        { name: 'Cairn', unit: '/s', rounds: ours },
        { name: 'Redis SET synced', unit: '/s', rounds: theirs },
      ),
    );
  }
  await Promise.all([node.child.stop(), redis.child.stop()]);
  return figures;
}

export const binaryPut: Row = {
  name: 'binary-put',
  title: 'durable binary PUT against Redis with appendfsync always',
  run,
};
