import path from 'node:path';
import { startCairn } from '../runner/cairn-node.js';
import { Child, freePort, root } from '../runner/child.js';
import { preload } from '../runner/data-set.js';
import { httpLoad, httpLoadTool } from '../runner/http-load.js';
import type { Bench, Figure, Row } from '../runner/row.js';
import { interleave, ratioFigure } from '../runner/statistics.js';

const CONNECTIONS = 64;

async function run({ folder, rounds, seconds, say }: Bench): Promise<readonly Figure[]> {
  const node = await startCairn(folder);
  const port = await freePort();
  const ceiling = new Child('bare uWS GET', process.execPath, [path.join(root, 'dist/bench/ceilings/http-get.js')], {
    PORT: String(port),
  });
  await ceiling.line((line) => (line === 'ready' ? true : null));
  await preload(node);
  const [ours = [], bare = []] = await interleave(
    rounds,
    seconds,
    [
      { name: 'Cairn GET', run: async (duration) => await httpLoad('GET', node.httpUrl, CONNECTIONS, duration) },
      {
        name: 'bare uWS GET',
        run: async (duration) => await httpLoad('GET', `http://127.0.0.1:${port}`, CONNECTIONS, duration),
      },
    ],
    say,
  );
  await Promise.all([node.child.stop(), ceiling.stop()]);
  return [
    ratioFigure(
      'http-get-64',
      `HTTP GET, ${CONNECTIONS} connections (${httpLoadTool()})`,
      { reach: 0.8, aim: 0.92, better: 'higher' },
      { name: 'Cairn', unit: '/s', rounds: ours },
      { name: 'bare uWS GET', unit: '/s', rounds: bare },
    ),
  ];
}

export const httpGet: Row = { name: 'http-get', title: 'HTTP GET against bare uWebSockets.js', run };
