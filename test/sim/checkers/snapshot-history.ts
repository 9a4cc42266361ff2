import type { Prng } from '../../../src/base/prng.js';
import type { Operation, Outcome } from './operation.js';
import { compareKeys, isInRange, type Scan } from './scan.js';

export interface SnapshotHistoryOptions {
  readonly steps: number;
  readonly clients: number;
  readonly partitions: number;
  readonly keysPerPartition: number;
  readonly unknownShare: number;
  /** Lift the partitions' clocks to a scan's instant, as DESIGN.md section 9 asks. Without it scans reverse causes. */
  readonly raise: boolean;
}

export interface SnapshotHistory {
  readonly operations: Operation[];
  readonly scans: Scan[];
}

interface Version {
  readonly value: string | null;
  readonly revision: number;
}

/** Partitions with clocks of their own, which differ: revisions follow the time within one partition only. */
export function snapshotHistory(prng: Prng, options: SnapshotHistoryOptions): SnapshotHistory {
  const operations: Operation[] = [];
  const scans: Scan[] = [];
  const versions = new Map<string, Version[]>();
  const clocks = Array.from({ length: options.partitions }, () => ({ skew: prng.below(200), last: 0 }));
  const keys = clocks.flatMap((_, partition) =>
    Array.from({ length: options.keysPerPartition }, (_unused, i) => `k${i}:${partition}`),
  );
  keys.sort(compareKeys);
  const busyUntil = Array.from({ length: options.clients }, () => 0);

  const give = (partition: number, now: number): number => {
    const clock = clocks[partition]!;
    clock.last = Math.max(Math.floor(now) + clock.skew, clock.last + 1);
    return clock.last * options.partitions + partition;
  };
  const readAt = (at: number, key: string): Version | undefined =>
    versions.get(key)?.findLast(({ revision }) => revision <= at);

  for (let id = 0; id < options.steps; id++) {
    // Steps take place in order, at `now`; each was invoked before and returns later, as its client is free.
    const now = id * 10 + prng.unit();
    const client = prng.below(options.clients);
    const invoked = Math.max(busyUntil[client]!, now - prng.below(60));
    const returned = now + prng.below(60) + prng.unit();
    if (invoked >= now) continue;
    busyUntil[client] = returned;
    if (prng.chance(0.15)) {
      const newest = Math.max(...clocks.map(({ last }) => last));
      const instant = Math.max(newest, Math.floor(now) + clocks[0]!.skew);
      if (options.raise) for (const clock of clocks) clock.last = Math.max(clock.last, instant);
      const isLatest = prng.chance(0.8);
      const told = operations.flatMap(({ outcome }) => ('revision' in outcome ? [outcome.revision] : []));
      const past = told.length === 0 ? 0 : prng.pick(told);
      const at = isLatest ? instant * options.partitions + options.partitions - 1 : past;
      const [startKey, endKey] = prng.chance(0.5) ? ['', null] : [prng.pick(keys), prng.pick([null, ...keys])];
      const range = { startKey, endKey };
      const items = keys.flatMap((key) => {
        const version = isInRange(key, range) ? readAt(at, key) : undefined;
        const { value = null, revision = 0 } = version ?? {};
        return value === null ? [] : [{ key, value, revision }];
      });
      scans.push({ id, client, ...range, at, isLatest, items, invoked, returned });
      continue;
    }
    const key = prng.pick(keys);
    const partition = Number(key.split(':')[1]);
    const state = versions.get(key)?.at(-1);
    const base = { id, client, key, invoked };
    if (prng.chance(0.2)) {
      const outcome: Outcome =
        state === undefined || state.value === null
          ? { kind: 'absent' }
          : { kind: 'found', value: state.value, revision: state.revision };
      operations.push({ ...base, call: { kind: 'get' }, outcome, returned });
      continue;
    }
    const isDelete = prng.chance(0.15);
    const value = isDelete ? null : `v${id}`;
    const isKnown = !prng.chance(options.unknownShare);
    const call =
      value === null
        ? ({ kind: 'delete', condition: null } as const)
        : ({ kind: 'put', value, condition: null } as const);
    const takesPlace = isKnown || prng.chance(0.5);
    let outcome: Outcome = { kind: 'unknown' };
    if (takesPlace && isDelete && (state?.value ?? null) === null) {
      outcome = { kind: 'nothing' };
    } else if (takesPlace) {
      const revision = give(partition, now);
      versions.set(key, [...(versions.get(key) ?? []), { value, revision }]);
      outcome = { kind: isDelete ? 'deleted' : 'written', revision };
    }
    if (isKnown) operations.push({ ...base, call, outcome, returned });
    else operations.push({ ...base, call, outcome: { kind: 'unknown' }, returned: Infinity });
  }
  return { operations, scans };
}
