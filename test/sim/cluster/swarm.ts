import type { Prng } from '../../../src/base/prng.js';

/** Everything that may go wrong. */
export const FAULTS = [
  'kill',
  'power-loss',
  'all-power-loss',
  'pause',
  'split',
  'one-way-cut',
  'bridge',
  'isolate-leader',
  'break-connections',
  'half-open',
  'slow-link',
  'packet-loss',
  'narrow-link',
  'flipped-frame',
  'clock-jump',
  'clock-drift',
  'disk-full',
  'disk-error',
  'slow-log',
  'flipped-disk-byte',
  'leader-transfer',
  'membership',
] as const;

export type Fault = (typeof FAULTS)[number];

export const CALLS = [
  'get',
  'put',
  'conditional-put',
  'delete',
  'conditional-delete',
  'batch',
  'scan',
  'past-scan',
  'stale-get',
] as const;

export type CallKind = (typeof CALLS)[number];

/** With it followers that are behind get snapshots, whatever the log still holds. */
export const LEAST_KEPT_ENTRIES = 5;

/** Sizes so small that flushes, segments, snapshots and full windows come all the time; each driver takes what it knows. */
export interface SwarmLimits {
  readonly memtableSizeBytes: number;
  readonly logSegmentSizeBytes: number;
  /** About so many applied entries stay in memory for followers that are behind. */
  readonly snapshotAfterEntries: number;
  /** Of appends to one follower. */
  readonly inFlightBytes: number;
  readonly sendQueueBytes: number;
  readonly windowBytes: number;
  readonly entriesPerMessage: number;
  readonly historyWindowMs: number;
  /** To one node, from one node or waiting for a leader; more are refused. */
  readonly requestsUnderWay: number;
}

export interface WorkloadShape {
  readonly clients: number;
  readonly keys: number;
  /** How often each call comes, relative to the others; those left out do not come. */
  readonly calls: ReadonlyMap<CallKind, number>;
  /** The share of calls that go to one key. */
  readonly hotShare: number;
  readonly longestPauseMs: number;
  /** Whether there are times in which nobody writes. */
  readonly lulls: boolean;
  readonly longestBatch: number;
  readonly longestValueBytes: number;
  /** The share of puts with a ttl. */
  readonly ttlShare: number;
}

export interface Swarm {
  readonly nodes: 3 | 5;
  readonly groups: number;
  /**
   * The nodes' own transport and routing over streams of bytes, or single messages, which can be lost, come twice and in any order,
   * and clients that find the leader.
   */
  readonly network: 'streams' | 'messages';
  readonly faults: ReadonlySet<Fault>;
  /** The mean time between two faults. */
  readonly faultEveryMs: number;
  readonly limits: SwarmLimits;
  readonly workload: WorkloadShape;
}

/**
 * One seed's configuration. Each leaves about half of the faults and some kinds of calls out (Groce et al., "Swarm testing"):
 * with all of them on, frequent ones hide what only a few of them together reach.
 */
export function drawSwarm(prng: Prng): Swarm {
  return {
    nodes: prng.chance(0.8) ? 3 : 5,
    groups: prng.pick([1, 1, 2, 4, 8]),
    network: prng.chance(0.6) ? 'streams' : 'messages',
    faults: new Set(FAULTS.filter(() => prng.chance(0.5))),
    faultEveryMs: prng.pick([100, 400, 1000, 3000]),
    limits: {
      memtableSizeBytes: prng.pick([16, 64, 256]) * 1024,
      logSegmentSizeBytes: prng.pick([32, 64, 256]) * 1024,
      snapshotAfterEntries: prng.pick([LEAST_KEPT_ENTRIES, 20, 100, 10_000]),
      inFlightBytes: prng.pick([200, 2000, 1 << 20]),
      sendQueueBytes: prng.pick([0, 0, 1 << 20]),
      windowBytes: prng.pick([500, 5000, 65_536]),
      entriesPerMessage: prng.pick([1, 3, 100]),
      historyWindowMs: prng.pick([0, 200, 600_000]),
      requestsUnderWay: prng.pick([2, 16, 16_384]),
    },
    workload: drawWorkload(prng),
  };
}

function drawWorkload(prng: Prng): WorkloadShape {
  const calls = new Map<CallKind, number>();
  for (const kind of CALLS) if (prng.chance(0.7)) calls.set(kind, prng.between(1, 5));
  // Without a look and a change nothing can be found.
  if (!calls.has('put') && !calls.has('batch')) calls.set('put', 3);
  if (!calls.has('get') && !calls.has('scan')) calls.set('get', 3);
  return {
    clients: prng.pick([1, 3, 8, 16]),
    keys: prng.pick([1, 3, 8, 30]),
    calls,
    hotShare: prng.pick([0, 0.3, 0.9]),
    longestPauseMs: prng.pick([0, 10, 60]),
    longestBatch: prng.pick([1, 4, 12]),
    longestValueBytes: prng.pick([0, 100, 3000]),
    lulls: prng.chance(0.3),
    ttlShare: prng.pick([0, 0, 0.1, 0.5]),
  };
}
