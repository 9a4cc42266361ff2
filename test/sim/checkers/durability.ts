import { byKey } from './linearizability.js';
import { describeOperation, type Operation } from './operation.js';

export interface FinalValue {
  readonly value: string;
  readonly revision: number;
}

export interface DurabilityViolation {
  readonly key: string;
  readonly message: string;
}

/**
 * Every acknowledged write, and everything that a read has shown, is there at the end, or something newer is: all keys that
 * break this. `final` holds what was read of each key once all was quiet, null for absent.
 */
export function checkDurability(
  operations: readonly Operation[],
  final: ReadonlyMap<string, FinalValue | null>,
): DurabilityViolation[] {
  const violations: DurabilityViolation[] = [];
  for (const [key, own] of byKey(operations)) {
    const found = final.get(key);
    const message = found === undefined ? 'was not read at the end' : judge(own, found);
    if (message !== null) violations.push({ key, message: `${key}: ${message}` });
  }
  return violations;
}

function judge(operations: readonly Operation[], found: FinalValue | null): string | null {
  const newest = newestShown(operations);
  if (found === null) {
    if (newest === null || newest.outcome.kind === 'deleted') return null;
    const isMaybeDeleted = operations.some((operation) => mayDelete(operation, revisionOf(newest)));
    return isMaybeDeleted ? null : `absent at the end, lost ${describeOperation(newest)}`;
  }
  const text = `${found.value} @${found.revision} at the end`;
  const writer = operations.find(({ call }) => call.kind === 'put' && call.value === found.value);
  if (writer === undefined) return `${text}, which nobody wrote`;
  if (newest !== null && found.revision < revisionOf(newest)) return `${text}, lost ${describeOperation(newest)}`;
  if (writer.outcome.kind === 'unknown') {
    const owner = operations.find(({ outcome }) => givesRevision(outcome) && outcome.revision === found.revision);
    return owner === undefined ? null : `${text}, the revision of ${describeOperation(owner)}`;
  }
  const isRight = writer.outcome.kind === 'written' && writer.outcome.revision === found.revision;
  return isRight ? null : `${text}, but its write was ${describeOperation(writer)}`;
}

/** The operation that showed the highest revision. */
function newestShown(operations: readonly Operation[]): Operation | null {
  let newest: Operation | null = null;
  for (const operation of operations) {
    if (revisionOf(operation) > (newest === null ? 0 : revisionOf(newest))) newest = operation;
  }
  return newest;
}

function revisionOf({ outcome }: Operation): number {
  return 'revision' in outcome ? outcome.revision : 0;
}

function givesRevision(outcome: Operation['outcome']): outcome is { kind: 'written' | 'deleted'; revision: number } {
  return outcome.kind === 'written' || outcome.kind === 'deleted';
}

/** A delete without an answer, which may have hit this revision or a later one. */
function mayDelete({ call, outcome }: Operation, revision: number): boolean {
  if (call.kind !== 'delete' || outcome.kind !== 'unknown') return false;
  return call.condition?.kind !== 'revision' || call.condition.revision >= revision;
}
