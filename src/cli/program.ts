import { readFileSync } from 'node:fs';
import { Command } from 'commander';
import { addBatchCommand } from './batch-command.js';
import { addBenchCommand } from './bench-command.js';
import { addDoctorCommand } from './doctor-command.js';
import { addClusterCommand } from './cluster-command.js';
import { exitCodeOf, messageOf, SaidError } from './exit-code.js';
import { addKeyCommands } from './key-commands.js';
import { colour, say, type Terminal } from './output.js';
import { addPlaygroundCommand } from './playground-command.js';
import { addRangeCommand } from './range-command.js';
import { addServeCommand } from './serve-command.js';
import { addSimCommand } from './sim-command.js';

const MANIFEST = new URL('../../../package.json', import.meta.url);

function buildProgram(terminal: Terminal): Command {
  const { version } = JSON.parse(readFileSync(MANIFEST, 'utf8')) as { version: string };
  const program = new Command('cairn')
    .description('Cairn, a distributed JSON key/value store')
    .version(version)
    .showHelpAfterError('(see --help)')
    .exitOverride()
    .configureOutput({
      writeOut: (text) => void terminal.stdout.write(text),
      writeErr: (text) => void terminal.stderr.write(text),
    })
    .addHelpText(
      'after',
      `
Data goes to standard output, messages to standard error.
Exit codes: 0 done, 1 error, 2 wrong usage, 3 not found, 4 condition failed, 5 not allowed, 6 unavailable.

Examples:
  cairn serve                                     a node with its data in ./data
  cairn playground --nodes 3                      a cluster on this machine; Ctrl-C stops it
  cairn put user:123 '{"name":"John","age":30}'
  cairn get user:123
  cairn range user: -o table
  cairn cluster status                            nodes, leaders, lag
  cairn bench --op put --seconds 5
  cairn sim --seeds 20                            simulated clusters that try to break it
  cairn doctor                                    what could keep a node from running well`,
    );
  addServeCommand(program, terminal);
  addPlaygroundCommand(program, terminal);
  addKeyCommands(program, terminal);
  addRangeCommand(program, terminal);
  addBatchCommand(program, terminal);
  addClusterCommand(program, terminal);
  addBenchCommand(program, terminal);
  addDoctorCommand(program, terminal);
  addSimCommand(program, terminal);
  return program;
}

/** Runs one command line (without node and script); resolves with the exit code. */
export async function run(commandLine: readonly string[], terminal: Terminal): Promise<number> {
  try {
    await buildProgram(terminal).parseAsync([...commandLine], { from: 'user' });
    return 0;
  } catch (error) {
    // Commander has said already what is wrong.
    const isSaid = error instanceof SaidError || (error instanceof Error && error.name === 'CommanderError');
    if (!isSaid) say(terminal, `${colour(terminal, 'red', 'error')}: ${messageOf(error)}`);
    return exitCodeOf(error);
  }
}
