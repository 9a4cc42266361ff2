import { metric, startCairn } from '../runner/cairn-node.js';
import { httpLoad } from '../runner/http-load.js';
import type { Bench, Figure, Row } from '../runner/row.js';
import { median } from '../runner/statistics.js';

const CONNECTIONS = 256;
const SAMPLE = 'cairn_event_loop_delay_seconds{quantile="0.99"}';

async function run({ folder, rounds, seconds, say }: Bench): Promise<readonly Figure[]> {
  const node = await startCairn(folder);
  await httpLoad('PUT', node.httpUrl, CONNECTIONS, Math.min(seconds, 2));
  const delays: number[] = [];
  for (let round = 0; round < rounds; round++) {
    // The node reports what it saw since the last scrape.
    await metric(node, SAMPLE);
    const perSecond = await httpLoad('PUT', node.httpUrl, CONNECTIONS, seconds);
    const delayMs = (await metric(node, SAMPLE)) * 1000;
    delays.push(delayMs);
    say(`event-loop delay p99 ${delayMs.toFixed(2)} ms at ${Math.round(perSecond).toLocaleString('en')} PUT/s`);
  }
  await node.child.stop();
  return [
    {
      name: 'loop-delay-p99',
      title: `event-loop delay p99, PUT with ${CONNECTIONS} connections`,
      against: '',
      value: median(delays),
      unit: 'ms',
      bar: { reach: 20, aim: 5, better: 'lower' },
      ours: { name: 'event-loop delay p99', unit: 'ms', rounds: delays },
      reference: null,
    },
  ];
}

export const loopDelay: Row = { name: 'loop-delay', title: 'event-loop delay under full write load', run };
