import type { Operation } from './operation.js';
import type { Scan } from './scan.js';

/** A write that took place for certain, at a revision that somebody was told. */
export interface KnownWrite {
  readonly key: string;
  /** Null for a delete. */
  readonly value: string | null;
  readonly revision: number;
  readonly operation: Operation;
  /** By then it had taken place: the first answer that shows it or a newer write of its key. */
  readonly thereAt: number;
  /** Then it had not taken place yet: the latest question whose answer shows an older write of its key, or its own. */
  readonly notThereAt: number;
}

/** Somebody asked at `invoked` and knew at `returned` that the key had this revision in between. */
interface Evidence {
  readonly revision: number;
  readonly invoked: number;
  readonly returned: number;
}

/** Of all keys, each key's in the order of their revisions. */
export function knownWrites(operations: readonly Operation[], scans: readonly Scan[]): KnownWrite[] {
  const seen = new Map<string, number>();
  const evidence = new Map<string, Evidence[]>();
  const give = (key: string, each: Evidence): void => {
    const own = evidence.get(key);
    if (own === undefined) evidence.set(key, [each]);
    else own.push(each);
  };
  for (const { key, outcome, invoked, returned } of operations) {
    if (outcome.kind === 'found' && !seen.has(outcome.value)) seen.set(outcome.value, outcome.revision);
    if ('revision' in outcome && outcome.revision > 0) give(key, { revision: outcome.revision, invoked, returned });
  }
  for (const { items, isLatest, invoked, returned } of scans) {
    for (const { key, value, revision } of items) {
      if (!seen.has(value)) seen.set(value, revision);
      // A read of the past shows that the write was there at its end, and nothing about its begin.
      give(key, { revision, invoked: isLatest ? invoked : -Infinity, returned });
    }
  }
  const known = operations.flatMap((operation): KnownWrite[] => {
    const { key, call, outcome, invoked } = operation;
    if (call.kind === 'get' || outcome.kind === 'failed' || outcome.kind === 'conflict') return [];
    const value = call.kind === 'put' ? call.value : null;
    const isTold = outcome.kind === 'written' || outcome.kind === 'deleted';
    const revision = isTold ? outcome.revision : value === null ? undefined : seen.get(value);
    if (revision === undefined) return [];
    return [{ key, value, revision, operation, thereAt: Infinity, notThereAt: invoked }];
  });
  known.sort((a, b) => (a.key === b.key ? a.revision - b.revision : a.key < b.key ? -1 : 1));
  for (const each of evidence.values()) each.sort((a, b) => a.revision - b.revision);
  return known.map((write) => bound(write, evidence.get(write.key) ?? []));
}

function bound(write: KnownWrite, evidence: readonly Evidence[]): KnownWrite {
  let { thereAt, notThereAt } = write;
  for (const { revision, invoked, returned } of evidence) {
    if (revision >= write.revision) thereAt = Math.min(thereAt, returned);
    else notThereAt = Math.max(notThereAt, invoked);
  }
  return { ...write, thereAt, notThereAt };
}
