import { binaryLoad, buildBinaryLoad } from '../runner/binary-load.js';
import { metric, startCairn } from '../runner/cairn-node.js';
import { Unavailable, type Bench, type Figure, type Row } from '../runner/row.js';

const MEMTABLE_MB = 100;
const BLOCK_CACHE_MB = 256;
const ALLOWANCE_MB = 300;
const BYTES_PER_MB = 1 << 20;

async function run({ folder, quick, say }: Bench): Promise<readonly Figure[]> {
  buildBinaryLoad();
  const writes = quick ? 100_000 : 10_000_000;
  const node = await startCairn(folder, [
    `--memtable-size-mb=${MEMTABLE_MB}`,
    `--block-cache-size-mb=${BLOCK_CACHE_MB}`,
  ]);
  if (Number.isNaN(node.child.residentMegabytes()))
    throw new Unavailable('resident memory is read from /proc, which is not here');
  const { perSecond } = await binaryLoad({
    ...{ op: 'put', port: node.clientPort, connections: 16, pipeline: 16 },
    ...{ keys: writes, requests: writes, sequential: true },
  });
  const resident = node.child.residentMegabytes();
  const memtables = (await metric(node, 'cairn_memtable_arena_bytes')) / BYTES_PER_MB;
  const cache = (await metric(node, 'cairn_block_cache_bytes')) / BYTES_PER_MB;
  // They are cached too, but this cache has no bound of its own, so it counts as what the bar allows beside the caches.
  const meta = (await metric(node, 'cairn_table_meta_bytes')) / BYTES_PER_MB;
  say(
    `${writes.toLocaleString('en')} writes at ${Math.round(perSecond).toLocaleString('en')}/s: ${Math.round(resident)} MB resident, ${Math.round(meta)} MB of it indexes and filters of tables`,
  );
  await node.child.stop();
  const rest = resident - memtables - cache;
  return [
    {
      name: 'memory',
      title: `memory after ${writes.toLocaleString('en')} writes, beside memtables and cache`,
      against: `memtables ${Math.round(memtables)} MB, block cache ${Math.round(cache)} MB`,
      value: rest,
      unit: 'MB',
      bar: { reach: ALLOWANCE_MB, aim: ALLOWANCE_MB, better: 'lower' },
      ours: { name: 'resident', unit: 'MB', rounds: [resident] },
      reference: null,
    },
  ];
}

export const memory: Row = { name: 'memory', title: 'resident memory after many writes', run };
