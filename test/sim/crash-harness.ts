import { Prng } from '../../src/base/prng.js';
import { PowerLoss } from './ports/power-loss.js';
import { isMutation, type DiskOperation, type SimDiskOptions } from './ports/sim-disk.js';
import { SimMachine } from './sim-machine.js';

/**
 * Something that writes to a disk, and what must hold after its machine stopped at any point. `State` is the test's own
 * memory (what was asked for, what was promised): it is not lost with the machine. It must be all that is carried from call to
 * call.
 */
export interface CrashScript<State> {
  /** The test's memory before the first start. Decide here, from the generator, what the script will do. */
  begin(prng: Prng): State;
  /** One life of the process, from its start to its own end. Repeatable: the machine's generator is the only chance. */
  run(machine: SimMachine, state: State): Promise<void>;
  /** The next start and all checks. It throws when a promise was broken; it may be stopped and called again. */
  recover(machine: SimMachine, state: State): Promise<void>;
}

export interface CrashOptions {
  readonly firstSeed?: number;
  readonly seeds: number;
  /** At most so many points for each seed, chosen by the seed; all of them unless told. */
  readonly pointsPerSeed?: number;
  /** How often the first recovery is stopped as well, and another one follows; 0.3 unless told. */
  readonly secondCrashProbability?: number;
  readonly disk?: Partial<SimDiskOptions>;
}

export interface CrashReport {
  /** Operations that can change the disk, over the whole runs of all seeds. */
  readonly mutations: number;
  readonly crashes: number;
  /** Crashes while a recovery was under way. */
  readonly secondCrashes: number;
  /** At how many crashes each kind of operation was under way. */
  readonly byOperation: ReadonlyMap<DiskOperation, number>;
}

type Ending =
  | { readonly kind: 'done' }
  | { readonly kind: 'off'; readonly operation: DiskOperation; readonly path: string };

/**
 * Runs the script once for each seed to count the operations that can change the disk, then once for each of these with
 * the machine stopped in the middle of it (power lost or, for one in four, only the process killed), and lets the
 * script recover and check. A failure names the seed and the point; `crashAt` repeats it.
 */
export async function crashEverywhere<State>(script: CrashScript<State>, options: CrashOptions): Promise<CrashReport> {
  const report = { mutations: 0, crashes: 0, secondCrashes: 0, byOperation: new Map<DiskOperation, number>() };
  const { firstSeed = 1, seeds, pointsPerSeed = Infinity } = options;
  for (let seed = firstSeed; seed < firstSeed + seeds; seed++) {
    const mutations = await runWhole(script, seed, options);
    report.mutations += mutations;
    for (const point of choosePoints(mutations, pointsPerSeed, seed)) {
      const { operation, isSecond } = await crashAt(script, seed, point, options);
      report.crashes++;
      if (isSecond) report.secondCrashes++;
      report.byOperation.set(operation, (report.byOperation.get(operation) ?? 0) + 1);
    }
  }
  return report;
}

/** Runs the script to its end, restarts and checks; returns how many operations could have changed the disk. */
async function runWhole<State>(script: CrashScript<State>, seed: number, options: CrashOptions): Promise<number> {
  return named(`seed ${seed}, no crash`, async () => {
    const state = script.begin(new Prng(seed));
    const machine = SimMachine.first(new Prng(seed), options.disk);
    await live(machine, () => script.run(machine, state), Infinity);
    const next = machine.restart(new Prng(seed));
    await live(next, () => script.recover(next, state), Infinity);
    return machine.disk.mutationCount;
  });
}

/** One crash, in the middle of the operation number `point`, counted from 1. */
export async function crashAt<State>(
  script: CrashScript<State>,
  seed: number,
  point: number,
  options: CrashOptions = { seeds: 1 },
): Promise<{ operation: DiskOperation; isSecond: boolean }> {
  const chance = new Prng(seed * 1_000_003 + point);
  const state = script.begin(new Prng(seed));
  let machine = SimMachine.first(new Prng(seed), options.disk);
  let where = `seed ${seed}, point ${point}`;
  const next = (ending: Ending): void => {
    const isPowerLost = chance.chance(0.75);
    const at = ending.kind === 'off' ? ` at ${ending.operation} ${ending.path}` : '';
    where += `, ${isPowerLost ? 'power lost' : 'process killed'}${at}`;
    machine = isPowerLost ? machine.crash(chance) : machine.restart(chance);
  };

  const first = await named(where, () => live(machine, () => script.run(machine, state), point));
  if (first.kind === 'done') throw new Error(`${where}: the script ended before; it does not repeat for its seed`);
  next(first);
  let isSecond = false;
  if (chance.chance(options.secondCrashProbability ?? 0.3)) {
    const recovering = machine;
    const second = await named(where, () =>
      live(recovering, () => script.recover(recovering, state), chance.between(1, 40)),
    );
    isSecond = second.kind === 'off';
    next(second);
  }
  await named(where, () => live(machine, () => script.recover(machine, state), Infinity));
  return { operation: first.operation, isSecond };
}

/** Begins the life and runs the world until it ends or the machine is stopped in the middle of the operation of that number. */
async function live(machine: SimMachine, begin: () => Promise<void>, stopAt: number): Promise<Ending> {
  const { disk, scheduler } = machine;
  let ending: Ending = { kind: 'done' };
  disk.onOperation = (operation, path) => {
    if (!isMutation(operation) || disk.mutationCount !== stopAt) return;
    ending = { kind: 'off', operation, path };
    machine.powerOff();
  };
  let settled = false;
  let failure: { readonly error: unknown } | undefined;
  void begin().then(
    () => {
      settled = true;
    },
    (error: unknown) => {
      settled = true;
      failure = { error };
    },
  );
  try {
    const ended = await scheduler.runUntil(() => settled || disk.isOff);
    if (!ended) throw new Error(`stuck at ${scheduler.nowMs} ms: nothing is left to happen`);
  } catch (error) {
    if (!(error instanceof PowerLoss && disk.isOff)) throw error;
  }
  if (disk.isOff) return ending;
  if (failure !== undefined) throw failure.error;
  return ending;
}

/** All points, or a choice of them that the seed makes, spread over the whole. */
function choosePoints(mutations: number, atMost: number, seed: number): number[] {
  if (mutations <= atMost) return Array.from({ length: mutations }, (_, i) => i + 1);
  const prng = new Prng(seed);
  const stride = mutations / atMost;
  return Array.from({ length: atMost }, (_, i) => 1 + Math.min(mutations - 1, Math.floor((i + prng.unit()) * stride)));
}

async function named<T>(where: string, body: () => Promise<T>): Promise<T> {
  try {
    return await body();
  } catch (error) {
    throw new Error(`${where}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
}
