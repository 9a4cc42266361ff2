import { describeOperation, type Operation } from './operation.js';
import { knownWrites, type KnownWrite } from './known-writes.js';
import { compareKeys, isInRange, type Scan, type ScanItem } from './scan.js';

export interface ScanViolation {
  readonly rule: 'shape' | 'value' | 'snapshot' | 'missing' | 'future' | 'causality';
  readonly scan: Scan;
  readonly message: string;
}

/**
 * Checks that the scans are strictly serializable snapshots: the first that is not, or null. With unique values and with
 * revisions that order each key's writes no search is needed: a scan at T shows every write up to T and none above.
 *
 * Each write's instant lies between two bounds: it was there when somebody first saw it or a newer one of its key, and was
 * not there when somebody last saw an older one. Where a bound of a write above T lies before one of a write up to T, no
 * instant of the scan can tell them apart as it did.
 *
 * Single keys are left to the linearizability checker, which takes `looksOf` each scan.
 */
export function checkScans(operations: readonly Operation[], scans: readonly Scan[]): ScanViolation | null {
  const writes = knownWrites(operations, scans);
  const byKey = new Map<string, KnownWrite[]>();
  for (const write of writes) byKey.set(write.key, [...(byKey.get(write.key) ?? []), write]);
  const values = new Map<string, Operation>();
  const maybeDeletes = new Map<string, number>();
  for (const operation of operations) {
    const { call, outcome, key, invoked } = operation;
    if (call.kind === 'put') values.set(call.value, operation);
    if (call.kind === 'delete' && outcome.kind === 'unknown') {
      maybeDeletes.set(key, Math.min(invoked, maybeDeletes.get(key) ?? Infinity));
    }
  }
  for (const scan of scans) {
    const violation =
      checkShape(scan) ??
      checkValues(scan, values, byKey) ??
      checkSnapshot(scan, byKey, maybeDeletes) ??
      checkInstant(
        scan,
        writes.filter(({ key }) => isInRange(key, scan)),
      );
    if (violation !== null) return violation;
  }
  return null;
}

function fault(scan: Scan, rule: ScanViolation['rule'], what: string): ScanViolation {
  const { id, client, startKey, endKey, at, invoked, returned } = scan;
  const range = `["${startKey}", ${endKey === null ? 'end' : `"${endKey}"`})`;
  const name = `scan #${id} of client ${client} over ${range} at @${at} [${invoked}, ${returned}]`;
  return { rule, scan, message: `${name}: ${what}` };
}

function checkShape(scan: Scan): ScanViolation | null {
  let last: ScanItem | undefined;
  for (const item of scan.items) {
    if (!isInRange(item.key, scan)) return fault(scan, 'shape', `${item.key} is not in its range`);
    if (last !== undefined && compareKeys(last.key, item.key) >= 0) {
      return fault(scan, 'shape', `${item.key} comes after ${last.key}`);
    }
    if (item.revision > scan.at) return fault(scan, 'shape', `${item.key} has revision @${item.revision}`);
    last = item;
  }
  return null;
}

/** Every value was written to its key, and was not refused, and has its one revision. */
function checkValues(
  scan: Scan,
  values: ReadonlyMap<string, Operation>,
  byKey: ReadonlyMap<string, readonly KnownWrite[]>,
): ScanViolation | null {
  for (const { key, value, revision } of scan.items) {
    const writer = values.get(value);
    if (writer?.key !== key) return fault(scan, 'value', `${key} holds ${value}, which nobody wrote there`);
    const { kind } = writer.outcome;
    if (kind === 'failed' || kind === 'conflict') {
      return fault(
        scan,
        'value',
        `${key} holds the value of a write that did not take place: ${describeOperation(writer)}`,
      );
    }
    const known = byKey.get(key)!.find((write) => write.value === value)!;
    if (known.revision !== revision) {
      return fault(scan, 'value', `${key} holds ${value} @${revision}, which was written @${known.revision}`);
    }
  }
  return null;
}

/** Each key shows its newest write up to the instant. */
function checkSnapshot(
  scan: Scan,
  byKey: ReadonlyMap<string, readonly KnownWrite[]>,
  maybeDeletes: ReadonlyMap<string, number>,
): ScanViolation | null {
  const items = new Map(scan.items.map((item) => [item.key, item]));
  for (const [key, writes] of byKey) {
    if (!isInRange(key, scan)) continue;
    const newest = writes.findLast(({ revision }) => revision <= scan.at);
    const item = items.get(key);
    if (item === undefined) {
      if (newest === undefined || newest.value === null) continue;
      const isMaybeDeleted = (maybeDeletes.get(key) ?? Infinity) < scan.returned;
      if (!isMaybeDeleted) return fault(scan, 'snapshot', `misses ${describe(newest)}`);
    } else if (item.revision !== newest?.revision) {
      const found = `${key} holds ${item.value} @${item.revision}`;
      return fault(scan, 'snapshot', `${found}, expected ${newest === undefined ? 'nothing' : describe(newest)}`);
    }
  }
  return null;
}

/** The writes up to the instant and those above it can be told apart at one point within the scan. */
function checkInstant(scan: Scan, writes: readonly KnownWrite[]): ScanViolation | null {
  let earliestAbove: KnownWrite | null = null;
  let latestBelow: KnownWrite | null = null;
  for (const write of writes) {
    if (write.revision > scan.at) {
      if (write.thereAt < (earliestAbove?.thereAt ?? Infinity)) earliestAbove = write;
    } else if (write.notThereAt > (latestBelow?.notThereAt ?? -Infinity)) latestBelow = write;
  }
  if (latestBelow !== null && latestBelow.notThereAt > scan.returned) {
    return fault(scan, 'future', `${describe(latestBelow)} came later, and lies below it`);
  }
  // A revision that the client named is no instant of the whole cluster.
  if (!scan.isLatest || earliestAbove === null) return null;
  if (earliestAbove.thereAt < scan.invoked) {
    return fault(scan, 'missing', `does not reflect ${describe(earliestAbove)}, which was there before`);
  }
  if (latestBelow !== null && earliestAbove.thereAt < latestBelow.notThereAt) {
    const [a, b] = [describe(earliestAbove), describe(latestBelow)];
    return fault(scan, 'causality', `reflects ${b}, but not ${a}, which was there before that`);
  }
  return null;
}

function describe({ key, value, revision, operation }: KnownWrite): string {
  return `${key} = ${value ?? 'deleted'} @${revision} (${describeOperation(operation)})`;
}
