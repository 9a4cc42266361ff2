import { Prng } from '../../../src/base/prng.js';
import { Scheduler } from '../ports/scheduler.js';
import { checkHistory } from './check-history.js';
import { ClientHistory } from './client-history.js';
import { drawFaultPlan, type PlannedFault } from './fault-plan.js';
import { inflict, isPossible } from './faults.js';
import { Reached } from './reached.js';
import { areLevel, checkSameState } from './same-state.js';
import { SimCluster } from './sim-cluster.js';
import { drawSwarm, type Swarm } from './swarm.js';
import { Workload } from './workload.js';

/** Promise 4: a majority that can talk recovers within this, whatever happened before. */
const HEAL_MS = 5_000;
/** How long things go wrong, in virtual time. */
export const FAULTS_MS = 8_000;
/** A run's calls; many more would take long to check. */
const CALLS = 1_500;
/** A new leader is asked at once, before and after it may answer. */
const PROBES = 4;
const PROBE_WITHIN_MS = 12;
const PROBE_CLIENT = 1000;
/** A clock may run at half of its speed (`clock-drift`). */
const SLOWEST_CLOCK = 2;
/** No event of a run takes longer than this in virtual time; a run that waits longer is stuck. */
const STUCK_MS = 60_000;

export interface RunOptions {
  readonly seed: number;
  /** Only these faults of the seed's plan, by number. */
  readonly only?: ReadonlySet<number>;
  /** Heals everything this early. */
  readonly untilMs?: number;
}

export interface RunResult {
  readonly seed: number;
  /** A fingerprint of every event: the same each time. */
  readonly digest: string;
  readonly swarm: Swarm;
  readonly plan: readonly PlannedFault[];
  readonly reached: Reached;
  readonly operations: number;
  readonly answered: number;
  readonly virtualMs: number;
  /** What was broken. */
  readonly failure: Error | null;
}

/** One seed: a cluster, clients and faults, then healing, then every promise is checked. */
export async function runCluster({ seed, only, untilMs = FAULTS_MS }: RunOptions): Promise<RunResult> {
  const prng = new Prng(seed);
  const drawn = drawSwarm(prng);
  const swarm = { ...drawn, faults: new Set([...drawn.faults].filter((fault) => isPossible(fault, drawn.network))) };
  const plan = shortened(drawFaultPlan(prng.fork(), swarm, FAULTS_MS), only, untilMs);
  const scheduler = new Scheduler(prng);
  const reached = new Reached();
  const history = new ClientHistory(() => scheduler.nowMs);
  const cluster = new SimCluster({ scheduler, prng: prng.fork(), swarm, reached });
  const { workload: shape } = swarm;
  const workload = new Workload({
    prng: prng.fork(),
    shape,
    history,
    reached,
    sleep: (ms) => scheduler.sleep(ms),
    nowMs: () => scheduler.nowMs,
    callEveryMs: (FAULTS_MS * shape.clients) / CALLS,
  });
  let failure: Error | null = null;
  try {
    await live(scheduler, cluster, workload, swarm, plan, untilMs, reached, history);
  } catch (error) {
    failure = error instanceof Error ? error : new Error(String(error));
  }
  cluster.countRunning();
  cluster.stopAll();
  const { trace } = scheduler;
  for (const operation of history.operations) trace.event(JSON.stringify(operation));
  for (const read of history.staleReads) trace.event(JSON.stringify(read));
  trace.event(scheduler.eventCount, ...cluster.network.fingerprint);
  return {
    seed,
    digest: trace.digest,
    swarm,
    plan,
    reached,
    operations: history.operations.length,
    answered: history.answered,
    virtualMs: scheduler.nowMs,
    failure,
  };
}

async function live(
  scheduler: Scheduler,
  cluster: SimCluster,
  workload: Workload,
  { workload: { clients }, faults }: Swarm,
  plan: readonly PlannedFault[],
  untilMs: number,
  reached: Reached,
  history: ClientHistory,
): Promise<void> {
  const running = Promise.all([
    cluster.startAll(),
    ...Array.from({ length: clients }, (_, number) =>
      workload.run(number, cluster.client(), Math.ceil(CALLS / clients)),
    ),
  ]);
  const probes: Promise<void>[] = [];
  cluster.onElected = (node) => {
    for (let i = 0; i < PROBES; i++) {
      const client = cluster.client(node);
      scheduler.schedule(
        PROBE_WITHIN_MS * ((i + 1) / PROBES),
        () => void probes.push(workload.once(PROBE_CLIENT + i, client)),
      );
    }
  };
  await scheduler.run(inflict(cluster, scheduler, plan, reached), STUCK_MS);
  await scheduler.runFor(Math.max(0, untilMs - scheduler.nowMs));
  cluster.healAll();
  const healedMs = scheduler.nowMs + HEAL_MS;
  const isWhole = await scheduler.runUntil(() => cluster.isWhole, HEAL_MS);
  if (!isWhole) throw new Error(`liveness: not every group has a leader ${HEAL_MS} ms after everything was healed`);
  const isWritten = await scheduler.run(workload.writeAll(cluster.client(), healedMs), STUCK_MS);
  if (!isWritten) throw new Error(`liveness: not every key was written ${HEAL_MS} ms after everything was healed`);
  workload.stop();
  await scheduler.run(running, STUCK_MS);
  // Nobody writes while all is read.
  await scheduler.run(Promise.all(probes), STUCK_MS);
  const final = await scheduler.run(workload.readAll(cluster.client(), 20), STUCK_MS);
  if (final === undefined) throw new Error('liveness: not every key could be read after everything was healed');
  checkHistory(history, final, faults.has('clock-drift') ? SLOWEST_CLOCK : 1);
  const isLevel = await scheduler.runUntil(() => areLevel(cluster), HEAL_MS);
  if (!isLevel)
    throw new Error(`liveness: not every replica has applied everything ${HEAL_MS} ms after the last write`);
  await scheduler.run(checkSameState(cluster, workload.keys), STUCK_MS);
}

function shortened(
  plan: readonly PlannedFault[],
  only: ReadonlySet<number> | undefined,
  untilMs: number,
): PlannedFault[] {
  return plan
    .filter(({ number, atMs }) => atMs < untilMs && (only === undefined || only.has(number)))
    .map((fault) => ({ ...fault, durationMs: Math.min(fault.durationMs, untilMs - fault.atMs) }));
}
