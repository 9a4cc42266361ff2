import { binaryLoad, buildBinaryLoad } from '../runner/binary-load.js';
import { startCairn, type CairnNode } from '../runner/cairn-node.js';
import { KEY_COUNT } from '../runner/data-set.js';
import type { Bench, Figure, Row } from '../runner/row.js';
import { interleave, median, ratioFigure } from '../runner/statistics.js';

const CONNECTIONS = 64;
/** Bounds what is under way in the open loop; what is due beyond it waits, and its latency counts. */
const OPEN_LOOP_PIPELINE = 64;
/** So small that at half the maximum a memtable fills within a few seconds and the next flush is never far. */
const BUSY_MEMTABLE_MB = 8;

/** Asks for one whole compaction after the other until told to stop. */
function keepCompacting({ managementUrl }: CairnNode): { stop: () => Promise<number> } {
  let running = true;
  let compactions = 0;
  const loop = async (): Promise<void> => {
    while (running) {
      const answer = await fetch(`${managementUrl}/api/v1/compact`, { method: 'POST' });
      if (!answer.ok) throw new Error(`compact: expected 2xx, found ${answer.status}: ${await answer.text()}`);
      await answer.arrayBuffer();
      compactions++;
    }
  };
  const done = loop();
  return {
    async stop() {
      running = false;
      await done;
      return compactions;
    },
  };
}

async function run({ folder, quick, rounds, seconds, say }: Bench): Promise<readonly Figure[]> {
  buildBinaryLoad();
  const rest = await startCairn(`${folder}/rest`);
  const busy = await startCairn(`${folder}/busy`, [`--memtable-size-mb=${BUSY_MEMTABLE_MB}`]);
  const puts = { op: 'put', connections: CONNECTIONS, keys: KEY_COUNT } as const;
  for (const { clientPort } of [rest, busy]) {
    await binaryLoad({ ...puts, port: clientPort, pipeline: 16, requests: KEY_COUNT, sequential: true });
  }
  const maximum: number[] = [];
  for (let i = 0; i < (quick ? 1 : 3); i++)
    maximum.push(
      (await binaryLoad({ ...puts, port: rest.clientPort, pipeline: 1, seconds: Math.min(seconds, 2) })).perSecond,
    );
  const perSecond = Math.round(median(maximum) / 2);
  say(`fixed rate: ${perSecond.toLocaleString('en')} PUT/s, half of the maximum`);
  const duration = quick ? 1 : 15;
  const p99Us = async (node: CairnNode): Promise<number> => {
    const result = await binaryLoad({
      ...puts,
      port: node.clientPort,
      pipeline: OPEN_LOOP_PIPELINE,
      ratePerSecond: perSecond,
      seconds: duration,
    });
    say(`p50 ${result.p50Ms.toFixed(2)} ms, p99 ${result.p99Ms.toFixed(2)} ms, max ${result.maxMs.toFixed(1)} ms`);
    return result.p99Ms * 1000;
  };
  const [atRest = [], underWork = []] = await interleave(
    rounds,
    duration,
    [
      { name: 'p99 at rest, us', run: async () => await p99Us(rest) },
      {
        name: 'p99 with flush and compaction, us',
        run: async () => {
          const compactions = keepCompacting(busy);
          const p99 = await p99Us(busy);
          say(`${await compactions.stop()} whole compactions in that time`);
          return p99;
        },
      },
    ],
    say,
  );
  await Promise.all([rest.child.stop(), busy.child.stop()]);
  return [
    ratioFigure(
      'put-p99-busy',
      `PUT p99 at ${perSecond.toLocaleString('en')}/s, flush and compaction running`,
      { reach: 3, aim: 1.5, better: 'lower' },
      { name: 'busy', unit: 'us', rounds: underWork },
      { name: 'at rest', unit: 'us', rounds: atRest },
    ),
  ];
}

export const tailLatency: Row = {
  name: 'tail-latency',
  title: 'p99 of PUT during flush and compaction, open loop',
  run,
};
