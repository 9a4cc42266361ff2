import { Option, type Command } from 'commander';
import { fetchOverview } from './cluster/fetch-status.js';
import { renderOverview, renderRaw } from './cluster/render.js';
import { addOutputOption, type OutputOptions } from './connection-options.js';
import { messageOf, NotServingError } from './exit-code.js';
import { positiveNumber, wholeNumber } from './numbers.js';
import { say, write, type Terminal } from './output.js';

type Options = OutputOptions & {
  readonly management: string;
  readonly endpoints?: string;
  readonly timeoutMs: number;
  readonly partitions?: true;
  readonly json?: true;
  readonly watch?: true;
  readonly interval: number;
  readonly times?: number;
};

const CLEAR_SCREEN = '\u001b[H\u001b[2J';

export function addClusterCommand(program: Command, terminal: Terminal): void {
  const cluster = program.command('cluster').description('look at a cluster');
  const status = cluster
    .command('status')
    .description('nodes, leaders, terms, and how far followers are behind')
    .addOption(
      new Option('--management <list>', 'host:port of management ports, separated by commas')
        .env('CAIRN_MANAGEMENT')
        .default('127.0.0.1:8081'),
    )
    .option('--endpoints <list>', 'the same as --management')
    .option('--partitions', 'list every partition, not only those without a leader or with followers behind')
    .option('--json', 'the same as -o json')
    .option('--watch', 'again and again')
    .addOption(new Option('--interval <seconds>', 'between two looks').default(2).argParser(positiveNumber))
    .addOption(new Option('--times <count>', 'how many looks; until Ctrl-C when not given').argParser(wholeNumber(1)))
    .addOption(new Option('--timeout-ms <ms>', 'the most that one node takes').default(5000).argParser(wholeNumber(1)))
    .addHelpText(
      'after',
      `
A node tells what it knows: itself, whether it reaches the others, who leads what. How far followers are behind only the leader
knows, so name the management ports of all nodes for the whole picture. Exit code 6 when a partition has no leader (a
majority of its nodes is gone, or an election is on), or when no node answers.

Examples:
  cairn cluster status
  cairn cluster status --management a:8081,b:8081,c:8081 --partitions
  cairn cluster status --watch
  cairn cluster status --json | jq .withoutLeader`,
    )
    .action((options: Options) => runStatus(terminal, options));
  addOutputOption(status);
  status.setOptionValueWithSource('output', 'table', 'default');
}

async function runStatus(terminal: Terminal, options: Options): Promise<void> {
  if (options.watch !== true) return await look(terminal, options, '');
  const clear = terminal.stdout.isTTY === true ? CLEAR_SCREEN : '';
  const times = options.times ?? Infinity;
  for (let i = 1; ; i++) {
    try {
      await look(terminal, options, clear);
      if (i >= times) return;
    } catch (error) {
      if (!(error instanceof NotServingError) || i >= times) throw error;
      say(terminal, messageOf(error));
    }
    await new Promise((resolve) => setTimeout(resolve, options.interval * 1000));
  }
}

/** Prints one overview; throws when a partition has no leader. */
async function look(terminal: Terminal, options: Options, clear: string): Promise<void> {
  const overview = await fetchOverview(options.endpoints ?? options.management, options.timeoutMs);
  const { groups, withoutLeader } = overview;
  const output = options.json === true ? 'json' : options.output;
  if (output === 'json') await write(terminal, `${JSON.stringify(overview)}\n`);
  else if (output === 'raw') await write(terminal, renderRaw(overview));
  else await write(terminal, clear + renderOverview(overview, options.partitions === true, Date.now()));
  if (withoutLeader.length > 0) {
    throw new NotServingError(`${withoutLeader.length} of ${groups.length} partitions have no leader`);
  }
}
