import { LinearizationSearch, type Placement, type Stuck } from './linearization-search.js';
import { describeOperation, type Operation } from './operation.js';
import { describeState } from './register.js';

/** Why one key's history is not linearizable. */
export interface LinearizabilityViolation {
  readonly key: string;
  /** The operation whose return ends the smallest prefix that is not linearizable. */
  readonly culprit: Operation;
  /** How many operations had returned by then. */
  readonly prefixLength: number;
  /** The longest order that was found for that prefix, and where it gets stuck. */
  readonly linearized: readonly Placement[];
  readonly message: string;
}

const SHOWN = 12;

/** Thrown when the search would take too long. It says nothing of the history. */
export class UndecidedError extends Error {
  override readonly name = 'UndecidedError';
}

/** Steps of the search for one key; a history of a correct register takes few more than it has operations. */
const MOST_STEPS = 2_000_000;

/** Checks each key's history by itself, for linearizability is local. The first violation, or null. */
export function checkLinearizable(
  operations: readonly Operation[],
  mostSteps = MOST_STEPS,
): LinearizabilityViolation | null {
  for (const [key, own] of byKey(operations)) {
    const violation = checkKey(key, own, mostSteps);
    if (violation !== null) return violation;
  }
  return null;
}

export function byKey(operations: readonly Operation[]): Map<string, Operation[]> {
  const keys = new Map<string, Operation[]>();
  for (const operation of operations) {
    const own = keys.get(operation.key);
    if (own === undefined) keys.set(operation.key, [operation]);
    else own.push(operation);
  }
  return keys;
}

function checkKey(key: string, operations: readonly Operation[], mostSteps: number): LinearizabilityViolation | null {
  if (stuckAt(operations, mostSteps) === null) return null;
  // A prefix of a linearizable history is linearizable, so the smallest bad one is found by halving.
  const ends = operations
    .map(({ returned }) => returned)
    .filter((returned) => returned !== Infinity)
    .sort((a, b) => a - b);
  let low = 0;
  let high = ends.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (stuckAt(prefix(operations, ends[middle]!), mostSteps) === null) low = middle + 1;
    else high = middle;
  }
  const end = ends[low]!;
  const culprit = operations.find(({ returned }) => returned === end)!;
  const stuck = stuckAt(prefix(operations, end), mostSteps)!;
  const message = explain(key, operations, culprit, low + 1, stuck);
  return { key, culprit, prefixLength: low + 1, linearized: stuck.linearized, message };
}

function stuckAt(operations: readonly Operation[], mostSteps: number): Stuck | null {
  const result = new LinearizationSearch(operations).run(mostSteps);
  if (result === 'undecided') {
    throw new UndecidedError(
      `${operations.length} operations on ${operations[0]!.key}: no verdict in ${mostSteps} steps`,
    );
  }
  return result;
}

/** What had happened at `end`: operations that were under way then may or may not take place. */
function prefix(operations: readonly Operation[], end: number): Operation[] {
  return operations
    .filter(({ invoked }) => invoked <= end)
    .map((operation) => {
      if (operation.returned <= end || operation.outcome.kind === 'failed') return operation;
      return { ...operation, outcome: { kind: 'unknown' }, returned: Infinity };
    });
}

function explain(
  key: string,
  operations: readonly Operation[],
  culprit: Operation,
  prefixLength: number,
  { linearized, state, open }: Stuck,
): string {
  const lines = [
    `${key} is not linearizable: the first ${prefixLength} of ${operations.length} operations that returned have no order.`,
    `can't be placed: ${describeOperation(culprit)}`,
  ];
  const { outcome } = culprit;
  if (outcome.kind === 'found') {
    const writer = operations.find(({ call }) => call.kind === 'put' && call.value === outcome.value);
    lines.push(writer === undefined ? 'nobody wrote that value' : `that value's write: ${describeOperation(writer)}`);
  }
  lines.push(`state at the last linearized point: ${describeState(state)}`);
  lines.push(`the longest order found has ${linearized.length} operations, at its end:`);
  for (const { operation, after } of linearized.slice(-SHOWN)) {
    lines.push(`  ${describeOperation(operation)}  =>  ${describeState(after)}`);
  }
  if (open.length > 0) lines.push('not placed yet, or never:');
  for (const operation of open.slice(0, SHOWN)) lines.push(`  ${describeOperation(operation)}`);
  return lines.join('\n');
}
