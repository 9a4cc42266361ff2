import { Option, type Command } from 'commander';
import {
  addConnectionOptions,
  addOutputOption,
  type ConnectionOptions,
  type OutputOptions,
} from './connection-options.js';
import { binaryTargets, httpTargets, type LoadTarget } from './load-targets.js';
import { runLoad, type LoadPlan } from './load.js';
import { positiveNumber, wholeNumber } from './numbers.js';
import { say, table, write, type Terminal } from './output.js';
import { startProgress } from './progress.js';

type Options = ConnectionOptions &
  OutputOptions & {
    readonly op: 'get' | 'put' | 'mixed';
    readonly http?: string;
    readonly connections: number;
    readonly pipeline: number;
    readonly seconds: number;
    readonly rate?: number;
    readonly keys: number;
    readonly valueBytes: number;
    readonly prefix: string;
  };

const PRELOAD_BATCH = 500;

export function addBenchCommand(program: Command, terminal: Terminal): void {
  const bench = program
    .command('bench')
    .description('put load on a node and print its rate and latencies; it writes keys below --prefix')
    .addOption(
      new Option('--op <op>', 'mixed is nine reads to one write').choices(['get', 'put', 'mixed']).default('mixed'),
    )
    .option('--http <url>', 'use the HTTP API at this address instead of the binary protocol')
    .addOption(new Option('--connections <count>').default(16).argParser(wholeNumber(1)))
    .addOption(
      new Option('--pipeline <count>', 'requests under way on each connection (HTTP: 1)')
        .default(8)
        .argParser(wholeNumber(1)),
    )
    .addOption(new Option('--seconds <seconds>', 'how long').default(10).argParser(positiveNumber))
    .addOption(
      new Option(
        '--rate <per second>',
        'open loop: start requests at this rate, and count latency from when each was due',
      ).argParser(positiveNumber),
    )
    .addOption(new Option('--keys <count>', 'different keys').default(100_000).argParser(wholeNumber(1)))
    .addOption(new Option('--value-bytes <bytes>').default(100).argParser(wholeNumber(16)))
    .option('--prefix <prefix>', 'what the keys begin with', 'bench:')
    .addHelpText(
      'after',
      `
Without --rate the loop is closed: each answer starts the next request, so a stall hides the requests that it delays.
The load comes from one Node.js process: above roughly 50,000 requests a second it is the limit, not the node.

Examples:
  cairn bench --op put --connections 50 --pipeline 1 --seconds 5
  cairn bench --rate 5000 --seconds 30 -o table
  cairn bench --http http://127.0.0.1:8080 --op get`,
    )
    .action((options: Options) => runBench(terminal, options));
  addOutputOption(addConnectionOptions(bench));
}

async function runBench(terminal: Terminal, options: Options): Promise<void> {
  const value = Buffer.from(JSON.stringify({ data: 'x'.repeat(options.valueBytes - 11) }));
  const targets = options.http === undefined ? binaryTargets(options) : httpTargets(options.http, options.connections);
  const keyOf = (i: number): string => `${options.prefix}${String(i).padStart(12, '0')}`;
  try {
    if (options.op !== 'put') await preload(terminal, targets[0]!, options.keys, keyOf, value);
    const plan: LoadPlan = { ...options, rate: options.rate ?? 0, value, keyOf };
    const progress = startProgress(terminal, 'bench', Math.ceil(options.seconds));
    const result = await runLoad(plan, targets, (seconds) => progress.update(seconds)).finally(() => progress.stop());
    const members = { op: options.op, protocol: options.http === undefined ? 'binary' : 'http', ...result };
    if (options.output === 'json') await write(terminal, `${JSON.stringify(members)}\n`);
    else if (options.output === 'raw') await write(terminal, `${result.perSecond}\n`);
    else await write(terminal, table(Object.keys(members), [Object.values(members).map(String)]));
    if (result.errors > 0)
      throw new Error(`${result.errors} of ${result.requests} requests failed, the first with: ${result.firstError}`);
  } finally {
    await Promise.all(targets.map((target) => target.close()));
  }
}

/** Reads need something to find. */
async function preload(
  terminal: Terminal,
  target: LoadTarget,
  keys: number,
  keyOf: (i: number) => string,
  value: Uint8Array,
): Promise<void> {
  say(terminal, `writing ${keys} keys first`);
  const progress = startProgress(terminal, 'keys', keys);
  try {
    for (let first = 0; first < keys; first += PRELOAD_BATCH) {
      const count = Math.min(PRELOAD_BATCH, keys - first);
      await target.putMany(
        Array.from({ length: count }, (_, i) => keyOf(first + i)),
        value,
      );
      progress.update(first + count);
    }
  } finally {
    progress.stop();
  }
}
