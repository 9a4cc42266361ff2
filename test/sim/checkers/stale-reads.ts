import { byKey } from './linearizability.js';
import { describeOperation, type Operation } from './operation.js';

/** A read that was allowed to lag. Times are microseconds of the clock of all operations. */
export interface StaleRead {
  readonly id: number;
  readonly client: number;
  readonly key: string;
  /** Null for absent. */
  readonly found: { readonly value: string; readonly revision: number } | null;
  /** The bound that came with the answer. */
  readonly stalenessMs: number;
  readonly invoked: number;
  readonly returned: number;
}

/** Why a stale read breaks its promise. */
export interface StaleReadViolation {
  readonly message: string;
}

/**
 * A stale read shows what somebody wrote, and nothing older than its bound: everything about its key that was answered that long
 * before it was asked for. `slack` is by how much faster than true time a node's clock may run: bounds are in its time. The first
 * violation, or null.
 */
export function checkStaleReads(
  operations: readonly Operation[],
  reads: readonly StaleRead[],
  slack: number,
): StaleReadViolation | null {
  const keys = byKey(operations);
  for (const read of reads) {
    const message = judge(read, keys.get(read.key) ?? [], read.invoked - read.stalenessMs * 1000 * slack);
    if (message !== null) return { message: `${describe(read)}: ${message}` };
  }
  return null;
}

function judge(read: StaleRead, operations: readonly Operation[], bound: number): string | null {
  if (Number.isNaN(bound)) return 'it came without a bound';
  const newest = newestBefore(operations, bound);
  const least = newest === null ? 0 : revisionOf(newest);
  const begun = operations.filter(({ invoked }) => invoked < read.returned);
  if (read.found !== null) {
    const { value, revision } = read.found;
    const writer = begun.find(({ call }) => call.kind === 'put' && call.value === value);
    if (writer === undefined) return 'nobody had written that';
    const { outcome } = writer;
    if (outcome.kind !== 'unknown' && (outcome.kind !== 'written' || outcome.revision !== revision)) {
      return `its write was ${describeOperation(writer)}`;
    }
    return revision < least ? `older than its bound: ${describeOperation(newest!)}` : null;
  }
  if (newest === null || newest.outcome.kind === 'deleted') return null;
  const isMaybeDeleted = begun.some(
    ({ call, outcome }) =>
      call.kind === 'delete' &&
      (outcome.kind === 'unknown' || (outcome.kind === 'deleted' && outcome.revision > least)),
  );
  return isMaybeDeleted ? null : `older than its bound: ${describeOperation(newest)}`;
}

/** What showed the highest revision of all that had been answered by then. */
function newestBefore(operations: readonly Operation[], bound: number): Operation | null {
  let newest: Operation | null = null;
  for (const operation of operations) {
    if (operation.returned >= bound) continue;
    if (revisionOf(operation) > (newest === null ? 0 : revisionOf(newest))) newest = operation;
  }
  return newest;
}

/**
 * The history in which unknown writes that a stale read has shown took place before that was answered: if such a write was not
 * committed, other reads contradict it.
 */
export function provenBy(reads: readonly StaleRead[], operations: readonly Operation[]): Operation[] {
  const shown = new Map<string, { readonly revision: number; returned: number }>();
  for (const { found, returned } of reads) {
    if (found === null) continue;
    const known = shown.get(found.value);
    if (known === undefined) shown.set(found.value, { revision: found.revision, returned });
    else known.returned = Math.min(known.returned, returned);
  }
  return operations.map((operation) => {
    const { call, outcome } = operation;
    const proof = call.kind === 'put' && outcome.kind === 'unknown' ? shown.get(call.value) : undefined;
    if (proof === undefined) return operation;
    return { ...operation, outcome: { kind: 'written', revision: proof.revision }, returned: proof.returned };
  });
}

function revisionOf({ outcome }: Operation): number {
  return 'revision' in outcome ? outcome.revision : 0;
}

function describe({ id, client, key, found, stalenessMs, invoked, returned }: StaleRead): string {
  const what = found === null ? 'absent' : `${found.value.slice(0, 24)} @${found.revision}`;
  return `stale read #${id} of client ${client}: ${key} -> ${what}, at most ${stalenessMs} ms old [${invoked}, ${returned}]`;
}
