import { binaryLoad, buildBinaryLoad } from '../runner/binary-load.js';
import { metric, startCairn } from '../runner/cairn-node.js';
import type { Bench, Figure, Row } from '../runner/row.js';
import { median } from '../runner/statistics.js';

const BYTES_PER_MB = 1 << 20;
const FULL = 0.93;
const PROBE_WRITES = 10_000;

/** Kills a node whose memtable is all but full, so that all of it is in the log only, and times the next start. */
async function run({ folder, quick, rounds, say }: Bench): Promise<readonly Figure[]> {
  buildBinaryLoad();
  const memtableMb = quick ? 8 : 100;
  const flags = [`--memtable-size-mb=${memtableMb}`];
  const times: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const data = `${folder}/${round}`;
    const first = await startCairn(data, flags);
    // The first writes tell how much room one takes, the rest then fills the memtable to just below its limit.
    const load = { op: 'put', port: first.clientPort, connections: 16, pipeline: 16 } as const;
    await binaryLoad({ ...load, keys: 100_000_000, requests: PROBE_WRITES });
    const probeBytes = await metric(first, 'cairn_memtable_bytes');
    const writes = Math.floor(((FULL * memtableMb * BYTES_PER_MB - probeBytes) * PROBE_WRITES) / probeBytes);
    await binaryLoad({ ...load, keys: writes, requests: writes, sequential: true });
    const usedMb = (await metric(first, 'cairn_memtable_bytes')) / BYTES_PER_MB;
    if (usedMb < 0.8 * memtableMb)
      throw new Error(`expected a full memtable of ${memtableMb} MB, found ${usedMb.toFixed(1)} MB`);
    await first.child.stop('SIGKILL');
    const second = await startCairn(data, flags);
    times.push(second.startedInMs / 1000);
    say(
      `ready ${(second.startedInMs / 1000).toFixed(2)} s after its start with ${usedMb.toFixed(0)} MB in the memtable`,
    );
    await second.child.stop();
  }
  return [
    {
      name: 'restart',
      title: `start after kill -9, full ${memtableMb} MB memtable in the log`,
      against: '',
      value: median(times),
      unit: 's',
      bar: { reach: 4, aim: 1, better: 'lower' },
      ours: { name: 'ready', unit: 's', rounds: times },
      reference: null,
    },
  ];
}

export const restart: Row = { name: 'restart', title: 'start after kill -9 with a full memtable in the log', run };
