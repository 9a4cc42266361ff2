import path from 'node:path';
import { startCairn } from '../runner/cairn-node.js';
import { Child, freePort, root } from '../runner/child.js';
import { preload } from '../runner/data-set.js';
import { httpLoad, httpLoadTool } from '../runner/http-load.js';
import type { Bench, Figure, Row } from '../runner/row.js';
import { interleave, ratioFigure } from '../runner/statistics.js';

async function run({ folder, quick, rounds, seconds, say }: Bench): Promise<readonly Figure[]> {
  const node = await startCairn(folder);
  const port = await freePort();
  const ceiling = new Child('bare uWS PUT', process.execPath, [path.join(root, 'dist/bench/ceilings/http-put.js')], {
    PORT: String(port),
    FILE: path.join(folder, 'ceiling.log'),
  });
  await ceiling.line((line) => (line === 'ready' ? true : null));
  await preload(node);
  const figures: Figure[] = [];
  for (const connections of quick ? [64] : [64, 256]) {
    const [ours = [], bare = []] = await interleave(
      rounds,
      seconds,
      [
        { name: 'Cairn PUT', run: async (duration) => await httpLoad('PUT', node.httpUrl, connections, duration) },
        {
          name: 'bare uWS PUT',
          run: async (duration) => await httpLoad('PUT', `http://127.0.0.1:${port}`, connections, duration),
        },
      ],
      say,
    );
    figures.push(
      ratioFigure(
        `http-put-${connections}`,
        `HTTP PUT, ${connections} connections (${httpLoadTool()})`,
        { reach: 0.7, aim: 0.9, better: 'higher' },
        { name: 'Cairn', unit: '/s', rounds: ours },
        { name: 'bare uWS durable PUT', unit: '/s', rounds: bare },
      ),
    );
  }
  await Promise.all([node.child.stop(), ceiling.stop()]);
  return figures;
}

export const httpPut: Row = { name: 'http-put', title: 'durable HTTP PUT against bare uWebSockets.js', run };
