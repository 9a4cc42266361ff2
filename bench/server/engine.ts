import path from 'node:path';
import { root, runTool } from '../runner/child.js';
import type { Bench, Figure, Row } from '../runner/row.js';
import { ratioFigure } from '../runner/statistics.js';

interface MicroResult {
  readonly result: readonly { readonly name: string; readonly engine: number; readonly level: number }[];
}

const BARS: Readonly<Record<string, { title: string; reach: number; aim: number }>> = {
  fill: { title: 'engine fill, batches of 100', reach: 0.7, aim: 1.2 },
  get: { title: 'engine random read, data 5x the cache', reach: 1, aim: 2 },
  scan: { title: 'engine scan', reach: 1, aim: 1.5 },
};

/** bench/micro/engine.ts interleaves its own rounds and gives medians. */
async function run({ folder, quick, rounds, say }: Bench): Promise<readonly Figure[]> {
  const entries = quick ? 50_000 : 300_000;
  const program = path.join(root, 'dist/bench/micro/engine.js');
  const flags = ['--json', '--entries', String(entries), '--rounds', String(rounds)];
  const output = await runTool(process.execPath, [program, ...flags], { TMPDIR: folder });
  const { result } = JSON.parse(output) as MicroResult;
  return result.map(({ name, engine, level }) => {
    const bar = BARS[name];
    if (bar === undefined)
      throw new Error(`expected one of ${Object.keys(BARS).join(', ')} from the engine's benchmark, found ${name}`);
    say(`${name}: engine ${engine.toLocaleString('en')}/s, classic-level ${level.toLocaleString('en')}/s`);
    return ratioFigure(
      `engine-${name}`,
      bar.title,
      { reach: bar.reach, aim: bar.aim, better: 'higher' },
      { name: 'engine', unit: '/s', rounds: [engine] },
      { name: 'classic-level', unit: '/s', rounds: [level] },
    );
  });
}

export const engine: Row = { name: 'engine', title: 'the engine alone against classic-level (LevelDB)', run };
