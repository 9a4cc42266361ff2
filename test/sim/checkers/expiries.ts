import type { Condition, Operation } from './operation.js';

/** Expiries are operations of nobody. */
const NOBODY = -1;

/**
 * What ttls may have done, in the words that all checkers know: for each put with a ttl a delete of just what it wrote, of which nobody
 * was told whether it took place. So a value may be gone at any time after its put began, at once for everybody, and never comes back;
 * clocks that differ or jump can make it no earlier and no later than that. `shown`: revisions of values that somebody saw.
 */
export function expiriesOf(operations: readonly Operation[], shown: ReadonlyMap<string, number>): Operation[] {
  return operations.flatMap(({ id, key, call, outcome, invoked }): Operation[] => {
    if (call.kind !== 'put' || call.expires !== true) return [];
    if (outcome.kind !== 'written' && outcome.kind !== 'unknown') return [];
    const revision = outcome.kind === 'written' ? outcome.revision : shown.get(call.value);
    // Where nobody saw the value, its revision may be known from a conflict: any.
    const condition: Condition | null = revision === undefined ? null : { kind: 'revision', revision };
    const expiry = { kind: 'delete', condition } as const;
    return [{ id: -id, client: NOBODY, key, call: expiry, outcome: { kind: 'unknown' }, invoked, returned: Infinity }];
  });
}
