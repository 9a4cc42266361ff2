import fs from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { root, stopAll } from './runner/child.js';
import { json, table, type RowResult } from './runner/report.js';
import { Unavailable, type Bench, type Row } from './runner/row.js';
import { rows } from './server/rows.js';

const FILL_GB = 5;
const QUICK_FILL_GB = 0.05;
const USAGE = `npm run bench [-- --only NAME[,NAME]] [--json FILE] [--list] [--quick]

  --only NAME   only rows whose name contains NAME; several by commas
  --long        long rows too, which run only when --only names them otherwise
  --fill-gb N   how much the long fill writes (5; with --quick 0.05)
  --json FILE   writes every round of every figure as JSON
  --list        names the rows
  --quick       one short round with little data: shows that everything runs, its numbers mean little

Data lies in .build/bench (or CAIRN_BENCH_DIR) on the disk that is measured.`;

interface Options {
  readonly only: readonly string[];
  readonly json: string | undefined;
  readonly list: boolean;
  readonly long: boolean;
  readonly quick: boolean;
  readonly fillGigabytes: number;
}

function options(): Options {
  try {
    const { values } = parseArgs({
      options: {
        only: { type: 'string' },
        json: { type: 'string' },
        list: { type: 'boolean', default: false },
        long: { type: 'boolean', default: false },
        'fill-gb': { type: 'string' },
        quick: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    });
    if (values.help) {
      process.stdout.write(`${USAGE}\n`);
      process.exit(0);
    }
    const fillGigabytes = Number(values['fill-gb'] ?? (values.quick ? QUICK_FILL_GB : FILL_GB));
    if (!(fillGigabytes > 0)) throw new Error(`--fill-gb: expected a number above 0, found "${values['fill-gb']}"`);
    return { ...values, json: values.json, only: values.only?.split(',') ?? [], fillGigabytes };
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n\n${USAGE}\n`);
    process.exit(2);
  }
}

function say(text: string): void {
  process.stderr.write(`  ${text}\n`);
}

async function runRow(row: Row, { quick, fillGigabytes }: Options, index: number): Promise<RowResult> {
  const base = process.env.CAIRN_BENCH_DIR ?? path.join(root, '.build/bench');
  const folder = path.join(base, `${process.pid}-${index}`);
  fs.mkdirSync(folder, { recursive: true });
  const bench: Bench = { quick, rounds: quick ? 1 : 3, seconds: quick ? 1 : 4, fillGigabytes, folder, say };
  process.stderr.write(`${row.name}: ${row.title}\n`);
  try {
    return { name: row.name, figures: await row.run(bench), skipped: null, failed: null };
  } catch (error) {
    if (error instanceof Unavailable) return { name: row.name, figures: [], skipped: error.message, failed: null };
    process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
    return {
      name: row.name,
      figures: [],
      skipped: null,
      failed: error instanceof Error ? error.message : String(error),
    };
  } finally {
    await stopAll();
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

const chosenOptions = options();
const { only, json: jsonFile, list, long, quick } = chosenOptions;
const chosen = rows.filter(({ name, isLong }) =>
  only.length === 0 ? long || isLong !== true : only.some((word) => name.includes(word)),
);
if (list) {
  for (const { name, title, isLong } of rows)
    process.stdout.write(`${name.padEnd(24)} ${title}${isLong === true ? ' (long)' : ''}\n`);
  process.exit(0);
}
if (chosen.length === 0) {
  process.stderr.write(`no row matches ${only.join(', ')}; --list names them\n`);
  process.exit(2);
}
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    void stopAll().then(() => process.exit(130));
  });
}
const results: RowResult[] = [];
for (const [index, row] of chosen.entries()) results.push(await runRow(row, chosenOptions, index));
process.stdout.write(`${table(results)}\n`);
if (jsonFile !== undefined) fs.writeFileSync(jsonFile, json(results, quick));
// A figure below its bar is for a person to judge; a row that could not run is an error.
process.exit(results.some(({ failed }) => failed !== null) ? 1 : 0);
