import { Prng } from '../../../src/base/prng.js';
import type { Scheduler } from '../ports/scheduler.js';
import { isMutation } from '../ports/sim-disk.js';
import type { PlannedFault } from './fault-plan.js';
import { FlippedRecord } from './flipped-record.js';
import type { Reached } from './reached.js';
import { FINE_WEATHER } from './cluster-network.js';
import { USUAL_LOG_WRITE_MS, type Host, type SimCluster } from './sim-cluster.js';
import type { Fault, Swarm } from './swarm.js';

type Inflict = (cluster: SimCluster, prng: Prng) => (() => Promise<void> | void) | null;

/** How each fault is done; what it returns undoes it. */
const INFLICT: Partial<Record<Fault, Inflict>> = {
  kill: (cluster, prng) => stop(cluster, prng, 'exit'),
  'power-loss': (cluster, prng) => (prng.chance(0.5) ? stop(cluster, prng, 'power-loss') : failInAWrite(cluster, prng)),
  'all-power-loss': (cluster) => {
    const up = cluster.hosts.filter(({ isDown }) => !isDown);
    for (const host of up) cluster.kill(host, 'power-loss');
    return async () => {
      await Promise.all(up.map((host) => restart(cluster, host)));
    };
  },
  pause: (cluster, prng) => {
    const leader = cluster.leaderOf(0);
    const { machine } = prng.chance(0.5) && leader !== undefined ? leader : prng.pick([...cluster.hosts]);
    if (machine.events.isPaused) return null;
    machine.events.pause();
    return () => machine.events.resume(prng.chance(0.5), prng.chance(0.5) ? prng : undefined);
  },
  split: (cluster, prng) => {
    const names = shuffled(prng, cluster.names);
    const size = prng.between(1, names.length - 1);
    return cutPairs(cluster, names.slice(0, size), names.slice(size));
  },
  'one-way-cut': (cluster, prng) => {
    const [from, to] = shuffled(prng, cluster.names) as [string, string];
    cluster.network.cut(from, to);
    return () => cluster.network.heal(from, to);
  },
  bridge: (cluster, prng) => {
    const [bridge, ...others] = shuffled(prng, cluster.names);
    const half = Math.ceil(others.length / 2);
    return bridge === undefined ? null : cutPairs(cluster, others.slice(0, half), others.slice(half));
  },
  'isolate-leader': (cluster) => {
    const leader = cluster.leaderOf(0);
    if (leader === undefined) return null;
    const others = cluster.names.filter((name) => name !== leader.name);
    return cutPairs(cluster, [leader.name], others);
  },
  'packet-loss': ({ network }, prng) => {
    network.change({ lossProbability: prng.pick([0.02, 0.2]), duplicateProbability: prng.pick([0, 0.1]) });
    return () => network.change({ lossProbability: 0, duplicateProbability: 0 });
  },
  'slow-link': ({ network }, prng) => {
    network.change({ longestDelayMs: prng.pick([10, 100, 400]) });
    return () => network.change({ longestDelayMs: FINE_WEATHER.longestDelayMs });
  },
  'break-connections': (cluster, prng) => {
    const [a, b] = shuffled(prng, cluster.names) as [string, string];
    cluster.network.streams!.breakConnections(a, b);
    return () => {};
  },
  'half-open': (cluster, prng) => {
    const [a, b] = shuffled(prng, cluster.names) as [string, string];
    cluster.network.streams!.forgetConnections(a, b);
    return () => {};
  },
  'narrow-link': (cluster, prng) => {
    const [from, to] = shuffled(prng, cluster.names) as [string, string];
    cluster.network.streams!.setLink(from, to, { bytesPerMs: prng.pick([2, 20, 200]) });
    return () => cluster.network.streams!.setLink(from, to, { bytesPerMs: Infinity });
  },
  'flipped-frame': (cluster, prng) => {
    const [from, to] = shuffled(prng, cluster.names) as [string, string];
    cluster.network.streams!.setLink(from, to, { corruptionProbability: prng.pick([0.01, 0.3]) });
    return () => cluster.network.streams!.setLink(from, to, { corruptionProbability: 0 });
  },
  'clock-jump': (cluster, prng) => {
    const { clock } = prng.pick([...cluster.hosts]).machine;
    clock.jumpWall(prng.pick([-86_400_000, -5000, -200, 200, 5000, 86_400_000]));
    cluster.clocks.look();
    return () => {};
  },
  'clock-drift': (cluster, prng) => {
    const { clock } = prng.pick([...cluster.hosts]).machine;
    clock.drift(prng.pick([0.5, 0.9, 1.1, 2]));
    return () => clock.drift(1);
  },
  'disk-full': (cluster, prng) => {
    const host = prng.pick([...cluster.hosts]);
    host.mayFail = true;
    const { disk } = host.machine;
    disk.capacityBytes = disk.usedBytes + prng.pick([0, 5000, 100_000]);
    // A start in between takes the capacity over to the next machine.
    return () => void (host.machine.disk.capacityBytes = Infinity);
  },
  'disk-error': (cluster, prng) => {
    const host = prng.pick([...cluster.hosts]);
    host.mayFail = true;
    const operation = prng.pick(['sync', 'write'] as const);
    host.machine.disk.inject({ operation, code: 'EIO', path: /\/log\//, nth: prng.between(1, 20) });
    return () => host.machine.disk.heal();
  },
  'slow-log': (cluster, prng) => {
    const host = prng.pick([...cluster.hosts]);
    host.logWriteMs = prng.pick([50, 300, 1000]);
    return () => void (host.logWriteMs = USUAL_LOG_WRITE_MS);
  },
  'flipped-disk-byte': (cluster, prng) => {
    // Of one node only: what two of three disks have lost is lost.
    const host = (cluster.damaged ??= prng.pick([...cluster.hosts]));
    if (host.isDown || host.flipped !== null) return null;
    cluster.kill(host, 'exit');
    host.flipped = FlippedRecord.in(host.machine.disk, prng);
    return () => restart(cluster, host);
  },
  'leader-transfer': (cluster) => {
    const leader = cluster.leaderOf(0);
    const raft = leader?.running?.node.host.groups[0]?.raft;
    const heir = raft?.progress.find(({ caughtUp }) => caughtUp);
    if (heir !== undefined) raft!.transferLeadership(heir.id);
    return () => {};
  },
};

/** Whose process or power fails. */
function victim({ hosts, lastReplaced }: SimCluster, prng: Prng): Host {
  const any = prng.pick([...hosts]);
  return prng.chance(0.5) ? (lastReplaced ?? any) : any;
}

function stop(cluster: SimCluster, prng: Prng, end: 'exit' | 'power-loss'): (() => Promise<void>) | null {
  const host = victim(cluster, prng);
  if (host.isDown) return null;
  cluster.kill(host, end);
  return () => restart(cluster, host);
}

/** The power fails in the middle of one of the next operations of the disk: writes are torn, syncs half done. */
function failInAWrite(cluster: SimCluster, prng: Prng): (() => Promise<void>) | null {
  const host = victim(cluster, prng);
  if (host.isDown) return null;
  const { machine } = host;
  let left = prng.between(1, 20);
  const isLogOnly = prng.chance(0.7);
  machine.disk.onOperation = (operation, path) => {
    if (!isMutation(operation) || (isLogOnly && !path.includes('/log/')) || --left !== 0) return;
    machine.disk.powerOff();
    machine.scheduler.schedule(0, () => {
      if (host.machine === machine) cluster.kill(host, 'power-loss');
    });
  };
  return () => {
    machine.disk.onOperation = undefined;
    return restart(cluster, host);
  };
}

/** Somebody else may have started it. */
async function restart(cluster: SimCluster, host: Host): Promise<void> {
  if (host.isDown) await cluster.start(host);
}

function cutPairs(cluster: SimCluster, some: readonly string[], others: readonly string[]): () => void {
  const pairs = some.flatMap((a) => others.flatMap((b) => [[a, b] as const, [b, a] as const]));
  for (const [from, to] of pairs) cluster.network.cut(from, to);
  return () => pairs.forEach(([from, to]) => cluster.network.heal(from, to));
}

function shuffled(prng: Prng, names: readonly string[]): string[] {
  const left = [...names];
  return names.map(() => left.splice(prng.below(left.length), 1)[0]!);
}

const OF_STREAMS: ReadonlySet<Fault> = new Set(['break-connections', 'half-open', 'narrow-link', 'flipped-frame']);

/** Whether this driver can do it. */
export function isPossible(fault: Fault, network: Swarm['network']): boolean {
  return Object.hasOwn(INFLICT, fault) && (network === 'streams' || !OF_STREAMS.has(fault));
}

/** Does what is planned; resolves when everything is undone. */
export async function inflict(
  cluster: SimCluster,
  scheduler: Scheduler,
  plan: readonly PlannedFault[],
  reached: Reached,
): Promise<void> {
  const started = scheduler.nowMs;
  await Promise.all(
    plan.map(async ({ atMs, fault, durationMs, dice }) => {
      await scheduler.sleep(started + atMs - scheduler.nowMs);
      const undo = INFLICT[fault]?.(cluster, new Prng(dice)) ?? null;
      if (undo === null) return;
      reached.count(`fault ${fault}`);
      await scheduler.sleep(durationMs);
      await undo();
    }),
  );
}
