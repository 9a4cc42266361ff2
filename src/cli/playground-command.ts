import { Option, type Command } from 'commander';
import { addOutputOption, type OutputOptions } from './connection-options.js';
import { wholeNumber } from './numbers.js';
import { colour, say, table, write, type Terminal } from './output.js';
import { openHome, type Home } from './playground/home.js';
import { Playground, type PlaygroundNode } from './playground/playground.js';

type Options = OutputOptions & {
  readonly nodes?: string;
  readonly port?: number;
  readonly dir?: string;
  readonly keep?: true;
  readonly verbose?: true;
};

const DEFAULT_NODES = 3;
const KEY = 'user:123';

export function addPlaygroundCommand(program: Command, terminal: Terminal): void {
  const playground = program
    .command('playground [serve-options...]')
    .description('a whole cluster on this machine, each node a process; Ctrl-C stops it')
    .addOption(new Option('--nodes <count>', `how many (default: ${DEFAULT_NODES})`).choices(['1', '2', '3', '4', '5']))
    .addOption(
      new Option(
        '--port <first>',
        'consecutive ports from this one, four a node; 0: any free ones (default: those of cairn serve for n1, 100 more for each further node; another free one where one is taken)',
      ).argParser(wholeNumber(0)),
    )
    .option('--dir <path>', 'where data and logs lie and stay (default: a temporary directory, removed at the end)')
    .option('--keep', 'leave the temporary directory behind')
    .option('--verbose', 'show every line of the logs, not only warnings')
    .addHelpText(
      'after',
      `
Each node writes its log to a file beside its data. A node that dies is reported and not started again; three nodes bear
the loss of one, five of two. Nodes have 16 MiB memtables and a 64 MiB block cache; options behind -- go to every node.
Ctrl-C or SIGTERM stops the nodes one after the other; once more kills them.

Examples:
  cairn playground
  cairn playground --nodes 5 --port 7000
  cairn playground --dir ./playground        again with the same command: the same data and ports
  cairn playground -- --memtable-size-mb 100 --log-level debug`,
    )
    .action((serveFlags: readonly string[], options: Options) => runPlayground(terminal, serveFlags, options));
  addOutputOption(playground);
  playground.setOptionValueWithSource('output', 'table', 'default');
}

async function runPlayground(terminal: Terminal, serveFlags: readonly string[], options: Options): Promise<void> {
  const home = await openHome({
    directory: options.dir ?? null,
    keep: options.keep === true,
    nodes: options.nodes === undefined ? undefined : Number(options.nodes),
    defaultNodes: DEFAULT_NODES,
    firstPort: options.port,
  });
  const playground = new Playground({
    home,
    serveFlags,
    environment: terminal.environment,
    verbose: options.verbose === true,
    say: (text) => say(terminal, text),
  });
  say(terminal, `starting ${home.ports.length} ${home.ports.length === 1 ? 'node' : 'nodes'} in ${home.directory}`);
  // Whatever ends this process, no node is left behind.
  const onExit = (): void => {
    playground.kill();
    home.removeAtOnce();
  };
  process.once('exit', onExit);
  let isKilled = false;
  const interrupted = untilInterrupted(() => {
    isKilled = true;
    playground.kill();
  });
  try {
    const isReady = await Promise.race([playground.ready().then(() => true), interrupted.then(() => false)]);
    if (isReady) {
      await tell(terminal, options, home, playground.nodes);
      const first = await Promise.race([
        interrupted.then(() => 'interrupted'),
        playground.allEnded.then(() => 'all ended'),
      ]);
      if (first === 'all ended') throw new Error('no node is left');
    }
    say(terminal, 'stopping the nodes');
  } finally {
    await playground.stop();
    const reason = home.remove();
    if (reason !== null) say(terminal, `${home.directory} stays: ${reason}`);
    else if (home.staysBehind) say(terminal, `data and logs are in ${home.directory}`);
    process.off('exit', onExit);
  }
  if (isKilled) throw new Error('the nodes were killed before they had stopped');
}

/** Resolves with the first signal to end; a second one is for the impatient. */
function untilInterrupted(onSecond: () => void): Promise<void> {
  return new Promise((resolve) => {
    let signals = 0;
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      process.on(signal, () => {
        if (++signals > 1) onSecond();
        resolve();
      });
    }
  });
}

async function tell(
  terminal: Terminal,
  { output }: Options,
  home: Home,
  nodes: readonly PlaygroundNode[],
): Promise<void> {
  if (output === 'json') {
    await write(terminal, `${JSON.stringify({ directory: home.directory, nodes })}\n`);
  } else if (output === 'raw') {
    await write(terminal, nodes.map(({ http }) => `${http}\n`).join(''));
  } else {
    const rows = nodes.map(({ id, http, management, client, pid, dataDir }) => [
      ...[id, http, management, client, String(pid), dataDir],
    ]);
    await write(terminal, table(['NODE', 'HTTP', 'MANAGEMENT', 'CLIENT', 'PID', 'DATA'], rows));
    await write(terminal, `\nTry, in another terminal:\n${examples(nodes)}\n`);
  }
  const after = home.staysBehind
    ? `data and logs stay in ${home.directory}`
    : `its data in ${home.directory} is removed`;
  say(terminal, `${colour(terminal, 'green', 'Ready.')} Ctrl-C stops the cluster; ${after}.`);
}

function examples(nodes: readonly PlaygroundNode[]): string {
  const [first, last] = [nodes[0]!, nodes.at(-1)!];
  const lines = [
    `curl -X PUT ${first.http}/api/v1/kv/${KEY} -d '{"value": {"name": "John", "age": 30}}'`,
    `curl ${last.http}/api/v1/kv/${KEY}`,
    `cairn get ${KEY} --endpoints ${nodes.map(({ client }) => client).join(',')}`,
    `cairn cluster status --management ${nodes.map(({ management }) => management.slice('http://'.length)).join(',')}`,
    ...(nodes.length < 3 ? [] : [`kill -9 ${first.pid}    # ${first.id} dies, the others go on`]),
  ];
  return lines.map((line) => `  ${line}\n`).join('');
}
