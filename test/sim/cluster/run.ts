import { Prng } from '../../../src/base/prng.js';
import { Scheduler } from '../ports/scheduler.js';
import { TraceHash } from '../ports/trace-hash.js';
import { checkHistory } from './check-history.js';
import { ClientHistory } from './client-history.js';
import { drawFaultPlan, type PlannedFault } from './fault-plan.js';
import { inflict, POSSIBLE_FAULTS } from './faults.js';
import { Reached } from './reached.js';
import { SimCluster } from './sim-cluster.js';
import { drawSwarm } from './swarm.js';
import { Workload } from './workload.js';

const HEAL_MS = 5_000;
const DEFAULT_FAULTS_MS = 8_000;
/** Clients that never pause would take minutes to check. */
const MOST_CALLS = 4_000;

export interface RunOptions {
  readonly seed: number;
  /** How long things go wrong, in virtual time. */
  readonly faultsMs?: number;
  /** In place of the seed's own plan. */
  readonly plan?: readonly PlannedFault[];
}

export interface RunResult {
  readonly digest: string;
  readonly plan: readonly PlannedFault[];
  readonly reached: Reached;
  readonly operations: number;
  readonly answered: number;
  readonly virtualMs: number;
}

/** One seed: a cluster, clients and faults, then healing, then every promise is checked. Throws what was broken. */
export async function runCluster({ seed, faultsMs = DEFAULT_FAULTS_MS, plan }: RunOptions): Promise<RunResult> {
  const prng = new Prng(seed);
  const drawn = drawSwarm(prng);
  const swarm = { ...drawn, faults: new Set([...drawn.faults].filter((fault) => POSSIBLE_FAULTS.has(fault))) };
  const faults = plan ?? drawFaultPlan(prng.fork(), swarm, faultsMs);
  const scheduler = new Scheduler(prng);
  const reached = new Reached();
  const history = new ClientHistory(() => scheduler.nowMs);
  const cluster = new SimCluster({ scheduler, prng: prng.fork(), swarm, reached });
  const workload = new Workload({
    prng: prng.fork(),
    shape: swarm.workload,
    history,
    reached,
    sleep: (ms) => scheduler.sleep(ms),
  });
  await scheduler.run(cluster.startAll(), 60_000);
  const clients = Promise.all(
    Array.from({ length: swarm.workload.clients }, (_, number) =>
      workload.run(number, cluster.client(), Math.ceil(MOST_CALLS / swarm.workload.clients)),
    ),
  );
  await scheduler.run(inflict(cluster, scheduler, faults, reached), 600_000);
  await scheduler.runFor(Math.max(0, faultsMs - scheduler.nowMs));
  cluster.network.healAll();
  // Promise 4: a majority that can talk recovers within 5 s, whatever happened before.
  const healed = await scheduler.runUntil(() => cluster.isWhole, HEAL_MS);
  if (!healed) throw new Error(`liveness: not every group has a leader ${HEAL_MS} ms after everything was healed`);
  workload.stop();
  await scheduler.run(clients, 60_000);
  const final = await scheduler.run(workload.readAll(cluster.client(), 50), 60_000);
  if (final === undefined) throw new Error('liveness: not every key could be read after everything was healed');
  checkHistory(history, final);
  const trace = new TraceHash();
  for (const operation of history.operations) trace.event(JSON.stringify(operation));
  trace.event(`${scheduler.eventCount} ${cluster.network.delivered} ${cluster.network.lost}`);
  return {
    digest: trace.digest,
    plan: faults,
    reached,
    operations: history.operations.length,
    answered: history.answered,
    virtualMs: scheduler.nowMs,
  };
}
