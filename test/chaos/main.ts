import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Prng } from '../../src/base/prng.js';
import { MUTATIONS } from '../../src/base/mutations.js';
import { Campaign } from './campaign.js';
import { measureFailovers } from './failovers.js';
import { FAULTS, FAULT_NAMES, type FaultName, type World } from './faults.js';
import { PartitionProbes } from './partition-probes.js';
import { endWithStarter, isInside, runInside, sandboxObstacle } from './sandbox.js';
import { spread } from './system.js';
import { ChaosViolation } from './violation.js';
import { buildWorld } from './world.js';

const USAGE = `npm run chaos -- [--minutes M | --seconds S] [--seed K] [--faults kill,stop,...] [--nodes 3] [--clients 8] [--relay] [--keep]
npm run chaos -- --failovers 50

Runs real nodes, a process each, under clients of both protocols that read and write the same keys through all nodes, while things
go wrong. Checks every answer with the simulator's checkers: each key's history is linearizable, every acknowledged write is there
at the end, through each node; a majority that can talk takes writes to all partitions; after each fault all is well again. No node ends by itself.

  --minutes M, --seconds S  how long things go wrong (1 minute)
  --seed K        draws the faults, whom they hit, how long they last, and what the clients ask (1). The order in which
                  things happen is the machine's, so a seed that failed may have to be run more than once
  --faults A,B    only these (all that the machine can do)
  --nodes N       3 or 5
  --clients N     that call at the same time (8)
  --relay         without namespaces, as where they are missing: faults of the network are made by a relay process
  --keep          keeps the directory with data and logs also when nothing was broken
  --mutation NAME  the nodes have a bug (npm run sim -- --list-mutations); the run should fail then
  --failovers N   measures instead how long partitions are not written after kill -9 of the node that leads them, N times

Faults:
${Object.entries(FAULTS)
  .map(([name, { what }]) => `  ${name.padEnd(12)}  ${what}`)
  .join('\n')}

Exit code 0: nothing was broken; 1: something was, or too little was answered to say so; 2: wrong usage.`;

const PROGRESS_MS = 5000;
const FIRST_LIMIT_MS = 60_000;
/** More than a memtable of the nodes holds. */
const FIRST_BULK_BYTES = 3 << 20;
const LONGEST_MS = { short: 2500, long: 8000 };
const SHORT_RUN_MS = 60_000;
/** Fewer of the calls answered show too little. */
const ANSWERED_SHARE = 0.3;
/** More histories whose check would take too long do too. */
const UNDECIDED_SHARE = 0.05;
/** Per key, 100 ms apart, when all is well at the end. */
const READ_ATTEMPTS = 100;
const NEEDS_SMALL_DISK: FaultName = 'disk-full';

type Say = (text: string) => void;

/** Returns the exit code. */
export async function main(parameters: readonly string[], out: Say): Promise<number> {
  let wishes;
  try {
    wishes = read(parameters);
  } catch (error) {
    out(`${(error as Error).message}\n\n${USAGE}\n`);
    return 2;
  }
  if (wishes === null) {
    out(`${USAGE}\n`);
    return 0;
  }
  if (isInside()) endWithStarter();
  else if (!wishes.relay) {
    const obstacle = sandboxObstacle();
    if (obstacle === null) return runInside(parameters);
    out(`chaos: no namespaces on this machine (${obstacle}): faults of the network by a relay process, no full disk\n`);
  }
  return runWorld(wishes, out);
}

interface Wishes {
  readonly durationMs: number;
  readonly seed: number;
  readonly faults: readonly FaultName[];
  readonly nodes: number;
  readonly clients: number;
  readonly mutation: string | null;
  readonly relay: boolean;
  readonly keep: boolean;
  readonly failovers: number;
}

/** Null when help is asked for. */
function read(parameters: readonly string[]): Wishes | null {
  const { values } = parseArgs({
    args: [...parameters],
    options: {
      minutes: { type: 'string' },
      seconds: { type: 'string' },
      seed: { type: 'string', default: '1' },
      faults: { type: 'string' },
      nodes: { type: 'string', default: '3' },
      clients: { type: 'string', default: '8' },
      failovers: { type: 'string', default: '0' },
      mutation: { type: 'string' },
      relay: { type: 'boolean', default: false },
      keep: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h' },
    },
  });
  if (values.help === true) return null;
  const number = (name: 'minutes' | 'seconds' | 'seed' | 'nodes' | 'clients' | 'failovers'): number => {
    const value = Number(values[name] ?? 0);
    if (value >= 0) return value;
    throw new Error(`--${name}: expected a number, found "${values[name]}"`);
  };
  const faults = values.faults?.split(',') ?? FAULT_NAMES;
  const strange = faults.find((name) => !FAULT_NAMES.includes(name as FaultName));
  if (strange !== undefined)
    throw new Error(`--faults: expected some of ${FAULT_NAMES.join(', ')}, found "${strange}"`);
  if (![3, 5].includes(number('nodes'))) throw new Error(`--nodes: expected 3 or 5, found "${values.nodes}"`);
  const { mutation = null } = values;
  if (mutation !== null && !Object.hasOwn(MUTATIONS, mutation)) {
    throw new Error(`--mutation: no bug is named "${mutation}"; npm run sim -- --list-mutations names them`);
  }
  const durationMs = number('minutes') * 60_000 + number('seconds') * 1000;
  return {
    durationMs: durationMs === 0 ? 60_000 : durationMs,
    seed: number('seed'),
    faults: faults as FaultName[],
    nodes: number('nodes'),
    clients: number('clients'),
    mutation,
    relay: values.relay,
    keep: values.keep,
    failovers: number('failovers'),
  };
}

async function runWorld(wishes: Wishes, out: Say): Promise<number> {
  const directory = mkdtempSync(join(tmpdir(), 'cairn-chaos-'));
  const startedMs = performance.now();
  const say = (line: string): void =>
    out(`${((performance.now() - startedMs) / 1000).toFixed(0).padStart(5)} s  ${line}\n`);
  const prng = new Prng(wishes.seed);
  const { nodes, clients } = wishes;
  const hasSmallDisk = wishes.failovers === 0 && wishes.faults.includes(NEEDS_SMALL_DISK);
  const world = await buildWorld({ directory, nodes, clients, prng: prng.fork(), hasSmallDisk });
  world.cluster.mutation = wishes.mutation;
  let code = 1;
  try {
    out(`chaos: seed ${wishes.seed}, ${nodes} nodes in ${directory}\nchaos: ${world.links.description}\n`);
    const crashed = new Promise<never>((_, reject) => {
      world.cluster.onCrash = (name, lines) => reject(new ChaosViolation(`${name} ended by itself:\n${lines}`));
    });
    crashed.catch(() => undefined);
    await Promise.race([world.cluster.startAll(), crashed]);
    const probes = new PartitionProbes(world.cluster);
    const ready = await Promise.race([
      probes.allWritten(world.cluster.names, performance.now(), FIRST_LIMIT_MS),
      crashed,
    ]);
    say(`all nodes run; all partitions written after ${Math.round(ready)} ms`);
    if (wishes.failovers > 0) {
      out(`${await Promise.race([measureFailovers(world.cluster, probes, wishes.failovers, say), crashed])}\n`);
      code = 0;
    } else {
      code = await runCampaign(wishes, world, probes, prng, crashed, { out, say });
    }
  } catch (error) {
    const known = error instanceof ChaosViolation;
    out(`\nBROKEN: ${known ? error.message : String((error as Error).stack)}\n`);
    if (known && error.historyFile !== null) out(`history: ${error.historyFile}\n`);
    out(
      `logs and data: ${directory}\nagain: npm run chaos -- --seed ${wishes.seed} --faults ${wishes.faults.join(',')}\n`,
    );
  }
  await world.cluster.killAll();
  if (code === 0 && !wishes.keep) await remove(directory, world);
  else keepSmallDisk(directory, world);
  return code;
}

async function runCampaign(
  { durationMs, faults }: Wishes,
  world: World,
  probes: PartitionProbes,
  prng: Prng,
  crashed: Promise<never>,
  { out, say }: { readonly out: Say; readonly say: Say },
): Promise<number> {
  const { load, cluster } = world;
  const possible = faults.filter((name) => name !== NEEDS_SMALL_DISK || world.smallDisk !== null);
  if (possible.length < faults.length)
    out(`chaos: left out: ${NEEDS_SMALL_DISK}, for there is no tmpfs without namespaces\n`);
  await load.writeBulk(FIRST_BULK_BYTES);
  await Promise.all(cluster.names.map((name) => cluster.compact(name)));
  await load.findScans();
  out(
    `chaos: scans are ${load.hasScans ? 'asked for too' : 'not answered by this version of a cluster, and left out'}\n`,
  );

  const loaded = load.run();
  const failed = Promise.race([crashed, loaded.then(() => new Promise<never>(() => undefined))]);
  failed.catch(() => undefined);
  const longestMs = durationMs > SHORT_RUN_MS ? LONGEST_MS.long : LONGEST_MS.short;
  const campaign = new Campaign({ world, probes, prng: prng.fork(), faults: possible, longestMs, say, failed });
  const startedMs = performance.now();
  const rate = (sinceMs: number, count: number): string => (count / ((performance.now() - sinceMs) / 1000)).toFixed(0);
  const { tally } = load;
  let last = { ms: startedMs, calls: 0 };
  const progress = setInterval(() => {
    const { ok, unknown, failed: refused, all } = tally;
    say(
      `${campaign.count} faults; ${rate(last.ms, all - last.calls)} calls/s; ${ok} ok, ${unknown} unknown, ${refused} failed; ${load.checked} generations checked`,
    );
    last = { ms: performance.now(), calls: all };
  }, PROGRESS_MS);
  try {
    await campaign.run(startedMs + durationMs);
    load.stop();
    await Promise.race([loaded, crashed]);
    for (const name of cluster.names) {
      const { told, untold } = await Promise.race([load.readAgain(name, READ_ATTEMPTS), crashed]);
      if (untold > 0) throw new ChaosViolation(`promise 4: ${untold} keys can't be read through ${name} at the end`);
      say(
        `${told} keys of ${load.checked + load.undecided} generations and of the bulk read through ${name}: all as they were acknowledged`,
      );
    }
  } finally {
    clearInterval(progress);
  }
  out(`${summary(campaign, load, Number(rate(startedMs, tally.all)))}\n`);
  const isDecided = load.undecided <= load.checked * UNDECIDED_SHARE;
  if (campaign.count > 0 && tally.ok >= tally.all * ANSWERED_SHARE && isDecided) return 0;
  const answered = `${tally.ok} of ${tally.all} calls answered, ${load.undecided} generations undecided`;
  out(`this run shows too little: ${campaign.count} faults, ${answered}\n`);
  return 1;
}

function summary(campaign: Campaign, { tally, checked, undecided, operations }: World['load'], rate: number): string {
  const rows = (times: ReadonlyMap<FaultName, readonly number[]>): string[] =>
    [...times].map(([name, values]) => `  ${name.padEnd(12)} ${spread(values)}`);
  return [
    `\n${campaign.count} faults; ${operations} calls in ${checked} generations checked, ${undecided} undecided; ${rate} calls/s`,
    `${tally.ok} ok, ${tally.unknown} unknown, ${tally.failed} failed for sure`,
    `time until writes to all partitions through a majority that can talk were acknowledged:`,
    ...rows(campaign.serving),
    `time from the end of a fault (starts included) until the same through all nodes:`,
    ...rows(campaign.healed),
    `nothing was broken`,
  ].join('\n');
}

async function remove(directory: string, { smallDisk }: World): Promise<void> {
  await smallDisk?.unmount();
  rmSync(directory, { recursive: true, force: true });
}

/** The small disk's contents would end with the sandbox. */
function keepSmallDisk(directory: string, { smallDisk, cluster }: World): void {
  if (smallDisk === null) return;
  smallDisk.release();
  cpSync(cluster.dataDirectory(smallDisk.node), join(directory, `${smallDisk.node}-copy`), { recursive: true });
}
