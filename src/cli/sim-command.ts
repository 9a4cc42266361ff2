import { existsSync } from 'node:fs';
import type { Command } from 'commander';
import { SaidError } from './exit-code.js';
import type { Terminal } from './output.js';

/** Built from test/sim/, and published with the command. */
const SIMULATOR = new URL('../../test/sim/main.js', import.meta.url);

interface Simulator {
  main(
    parameters: readonly string[],
    output: {
      readonly command: string;
      readonly out: (text: string) => void;
      readonly err: (text: string) => void;
      readonly nowMs: () => number;
    },
  ): Promise<number>;
}

export function addSimCommand(program: Command, terminal: Terminal): void {
  program
    .command('sim [options...]')
    .description('whole simulated clusters with faults, checked; one seed replays one run')
    // Its options, --help among them, are the simulator's own.
    .helpOption(false)
    .allowUnknownOption()
    .action((options: readonly string[]) => runSim(terminal, options));
}

async function runSim(terminal: Terminal, options: readonly string[]): Promise<void> {
  if (!existsSync(SIMULATOR)) {
    throw new Error('this installation leaves the simulator out, as container images do; the npm package has it');
  }
  const { main } = (await import(SIMULATOR.href)) as Simulator;
  const exitCode = await main(options, {
    command: 'cairn sim',
    out: (text) => void terminal.stdout.write(text),
    err: (text) => void terminal.stderr.write(text),
    nowMs: () => performance.now(),
  });
  if (exitCode !== 0) throw new SaidError(exitCode);
}
