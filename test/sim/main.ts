import { parseArgs } from 'node:util';
import { MUTATIONS, plantMutations, type Mutation } from '../../src/base/mutations.js';
import { campaign, Totals } from './cluster/campaign.js';
import { FAULTS_MS, runCluster, type RunResult } from './cluster/run.js';
import { shrink } from './cluster/shrink.js';

const usage = (
  command: string,
): string => `${command} [--seeds N] [--first-seed K] [--minutes M] [--mutation NAME] [--json] [--verbose]
${command} --replay SEED [--faults 3,7] [--until MS] [--mutation NAME] [--json] [--verbose]
${command} --list-mutations

Runs whole clusters of 3 or 5 nodes in this process, production code over a simulated clock, network, disk and pool of threads. A
seed gives the cluster, the clients, the faults and the order of everything: the same seed is the same run, to the event. Each
run lets things go wrong for ${FAULTS_MS / 1000} s of virtual time, heals everything, and checks: Raft's safety after every event, that all groups serve
and all keys are writable within 5 s, that every acknowledged write is there, and that each key's history is linearizable.

  --seeds N         how many seeds (100)
  --first-seed K    the first of them (1)
  --minutes M       stops after that time, with what is done by then
  --replay SEED     runs one seed and prints its faults
  --seed SEED       the same; with --seeds: the first of them
  --faults A,B      in a replay: only the faults with these numbers; none: --faults ''
  --until MS        in a replay: heals everything after so many virtual milliseconds
  --shrink SECONDS  how long to look for a smaller run that fails too (30; 0: not at all)
  --mutation NAME   plants a bug; the run should fail then
  --list-mutations  names the bugs that can be planted
  --json            one JSON object instead of text
  --verbose         a line for each seed

Examples:
  ${command} --seeds 20                    a quick look
  ${command} --seeds 2000 --minutes 3      as many as fit
  ${command} --mutation raft-vote-twice    has to fail
  ${command} --replay 74 --verbose         one seed again

Exit code 0: nothing was broken; 1: something was, or too little was reached to say so; 2: wrong usage.`;

const DEFAULT_SEEDS = 100;
const DEFAULT_FIRST_SEED = 1;

interface Output {
  /** How it was started, for what it prints: `cairn sim`, `npm run sim --`. */
  readonly command: string;
  out(text: string): void;
  err(text: string): void;
  readonly nowMs: () => number;
}

/** Returns the exit code. */
export async function main(parameters: readonly string[], output: Output): Promise<number> {
  let values;
  try {
    values = read(parameters);
  } catch (error) {
    output.err(`${(error as Error).message}\n\n${usage(output.command)}\n`);
    return 2;
  }
  if (values.help === true) {
    output.out(`${usage(output.command)}\n`);
    return 0;
  }
  if (values['list-mutations'] === true) {
    const width = Math.max(...Object.keys(MUTATIONS).map(({ length }) => length));
    for (const [name, what] of Object.entries(MUTATIONS)) output.out(`${name.padEnd(width)}  ${what}\n`);
    return 0;
  }
  const { mutation } = values;
  if (mutation !== undefined) plantMutations([mutation as Mutation]);
  try {
    const single = values.replay ?? (values.seeds === undefined ? values.seed : undefined);
    return single === undefined ? await runMany(values, output) : await replay(values, single, output);
  } finally {
    plantMutations([]);
  }
}

type Values = ReturnType<typeof read>;

function read(parameters: readonly string[]) {
  const { values } = parseArgs({
    args: [...parameters],
    options: {
      seeds: { type: 'string' },
      'first-seed': { type: 'string' },
      seed: { type: 'string' },
      minutes: { type: 'string' },
      replay: { type: 'string' },
      faults: { type: 'string' },
      until: { type: 'string', default: String(FAULTS_MS) },
      shrink: { type: 'string', default: '30' },
      mutation: { type: 'string' },
      'list-mutations': { type: 'boolean' },
      json: { type: 'boolean' },
      verbose: { type: 'boolean' },
      help: { type: 'boolean', short: 'h' },
    },
  });
  for (const name of ['seeds', 'first-seed', 'seed', 'minutes', 'replay', 'until', 'shrink'] as const) {
    const value = values[name];
    if (value !== undefined && !(Number(value) >= 0)) throw new Error(`--${name}: expected a number, found "${value}"`);
  }
  const { mutation } = values;
  if (mutation !== undefined && !Object.hasOwn(MUTATIONS, mutation)) {
    throw new Error(`--mutation: no bug is named "${mutation}"; --list-mutations names them`);
  }
  return values;
}

async function runMany(values: Values, output: Output): Promise<number> {
  const { out, err, nowMs } = output;
  const startedMs = nowMs();
  const endMs = values.minutes === undefined ? Infinity : startedMs + Number(values.minutes) * 60_000;
  const totals = new Totals();
  const seeds = {
    first: Number(values['first-seed'] ?? values.seed ?? DEFAULT_FIRST_SEED),
    count: Number(values.seeds ?? DEFAULT_SEEDS),
  };
  let saidMs = startedMs;
  const failed = await campaign(
    seeds,
    totals,
    () => nowMs() >= endMs,
    (result) => {
      if (values.verbose === true) err(`${seedLine(result)}\n`);
      else if (nowMs() - saidMs > 2000) {
        saidMs = nowMs();
        err(`${totals.seeds}/${seeds.count} seeds, ${perSecond(totals.seeds, nowMs() - startedMs)} a second\n`);
      }
    },
  );
  const { shortfall } = totals;
  if (values.json === true) {
    const failure = failed === null ? null : failureJson(failed, values.mutation, output.command);
    out(`${JSON.stringify({ ...totalsJson(totals, nowMs() - startedMs), failure, shortfall })}\n`);
    return failed === null && shortfall === null ? 0 : 1;
  }
  out(`${summary(totals, nowMs() - startedMs)}\n`);
  if (failed !== null) {
    const shrinkMs = Number(values.shrink) * 1000;
    await tellFailure(failed, values.mutation, shrinkMs, output);
    return 1;
  }
  if (shortfall === null) return 0;
  out(`these runs show too little: ${shortfall}\n`);
  return 1;
}

async function tellFailure(
  failed: RunResult,
  mutation: string | undefined,
  shrinkMs: number,
  { command, out, err, nowMs }: Output,
): Promise<void> {
  out(`\nseed ${failed.seed} is broken\n  ${describe(failed)}\n`);
  const replayed = replayCommand(failed.seed, mutation, command);
  if (shrinkMs === 0) {
    out(`\nagain: ${replayed}\n`);
    return;
  }
  err('looking for a smaller run that fails\n');
  const until = nowMs() + shrinkMs;
  const { result, only, untilMs, runs } = await shrink(failed, () => nowMs() >= until);
  out(
    `\n${failed.plan.length} faults, after ${runs} smaller runs ${result.plan.length} in ${untilMs} ms:\n${planText(result)}`,
  );
  out(
    `  ${describe(result)}\n\nagain: ${replayed}\nsmaller: ${replayed} --faults '${[...only].join(',')}' --until ${untilMs}\n`,
  );
}

function replayCommand(seed: number, mutation: string | undefined, command: string): string {
  return `${command} --replay ${seed}${mutation === undefined ? '' : ` --mutation ${mutation}`}`;
}

function failureJson({ seed, failure }: RunResult, mutation: string | undefined, command: string): object {
  const replayed = replayCommand(seed, mutation, command);
  return { seed, name: failure?.name, message: failure?.message, replay: replayed };
}

function totalsJson({ seeds, operations, answered, virtualMs, reached }: Totals, elapsedMs: number): object {
  return {
    seeds,
    elapsedSeconds: elapsedMs / 1000,
    simulatedHours: virtualMs / 3_600_000,
    operations,
    answered,
    reached: Object.fromEntries(reached.counts()),
  };
}

async function replay(values: Values, seed: string, { command, out }: Output): Promise<number> {
  const faults = values.faults?.split(',').filter((text) => text !== '');
  const only = faults === undefined ? {} : { only: new Set(faults.map(Number)) };
  const result = await runCluster({ seed: Number(seed), untilMs: Number(values.until), ...only });
  const { swarm } = result;
  if (values.json === true) {
    const { digest, plan, operations, answered, virtualMs, failure } = result;
    const said = failure === null ? null : failureJson(result, values.mutation, command);
    const counts = { faults: plan.length, operations, answered, virtualMs };
    out(`${JSON.stringify({ seed: result.seed, digest, nodes: swarm.nodes, ...counts, failure: said })}\n`);
    return failure === null ? 0 : 1;
  }
  out(`seed ${seed}: ${swarm.nodes} nodes, ${swarm.groups} groups, ${result.plan.length} faults\n${planText(result)}`);
  if (values.verbose === true) out(`${result.reached.table()}\n`);
  out(`${seedLine(result)}\n`);
  if (result.failure === null) return 0;
  out(`  ${describe(result)}\n${values.verbose === true ? `${result.failure.stack}\n` : ''}`);
  return 1;
}

function describe({ failure }: RunResult): string {
  return failure === null ? 'nothing is broken' : `${failure.name}: ${failure.message}`;
}

function planText({ plan }: RunResult): string {
  return plan
    .map(({ number, atMs, fault, durationMs }) => {
      return `  ${String(number).padStart(3)}  at ${atMs.toFixed(0).padStart(5)} ms for ${durationMs.toFixed(0).padStart(5)} ms  ${fault}\n`;
    })
    .join('');
}

function seedLine({ seed, digest, swarm, operations, answered, plan, virtualMs, failure }: RunResult): string {
  const what = `${swarm.nodes} nodes, ${swarm.groups} groups, ${plan.length} faults, ${answered}/${operations} calls answered`;
  return `seed ${seed}: ${digest}, ${what}, ${(virtualMs / 1000).toFixed(1)} s${failure === null ? '' : ', BROKEN'}`;
}

function summary({ seeds, operations, answered, virtualMs, reached }: Totals, elapsedMs: number): string {
  const hours = (virtualMs / 3_600_000).toFixed(2);
  const speed = `${(elapsedMs / 1000).toFixed(0)} s, ${perSecond(seeds, elapsedMs)} seeds a second`;
  return `${reached.table()}\n\n${seeds} seeds in ${speed}; ${hours} simulated hours, ${operations} operations, ${answered} answered`;
}

function perSecond(count: number, elapsedMs: number): string {
  return (count / Math.max(0.001, elapsedMs / 1000)).toFixed(1);
}
