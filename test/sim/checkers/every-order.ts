import type { Condition, Operation } from './operation.js';

interface State {
  readonly value: string | null;
  readonly revision: number;
  /** The newest write's, also a delete's. */
  readonly last: number;
}

/**
 * The slow, obvious oracle beside the linearizability checker, for histories of one key and a few operations: tries every
 * order, every choice of the unknown operations that take place, and every revision that they may have got.
 */
export function hasOrder(operations: readonly Operation[]): boolean {
  const revisions = candidateRevisions(operations);
  const tryNext = (state: State, left: readonly Operation[]): boolean => {
    const due = left.filter(({ outcome }) => outcome.kind !== 'unknown');
    if (due.length === 0) return true;
    const end = Math.min(...due.map(({ returned }) => returned));
    return left.some((operation) => {
      if (operation.invoked > end) return false;
      const rest = left.filter((other) => other !== operation);
      return successors(state, operation, revisions).some((next) => tryNext(next, rest));
    });
  };
  return tryNext(
    { value: null, revision: 0, last: 0 },
    operations.filter(({ outcome }) => outcome.kind !== 'failed'),
  );
}

/** All that somebody named, and one in each gap between two of them. */
function candidateRevisions(operations: readonly Operation[]): number[] {
  const named = operations.flatMap(({ call, outcome }) => {
    const told = 'revision' in outcome ? [outcome.revision] : [];
    return call.kind !== 'get' && call.condition?.kind === 'revision' ? [...told, call.condition.revision] : told;
  });
  const sorted = [0, ...new Set(named)].sort((a, b) => a - b);
  // An unknown write in a gap needs a place of its own there; halves of what is left do for a few.
  return sorted.flatMap((revision, i) => {
    const next = sorted[i + 1] ?? revision + 1;
    return [revision, ...[1, 2, 3, 4, 5].map((part) => revision + ((next - revision) * part) / 6)];
  });
}

function successors(state: State, { call, outcome }: Operation, revisions: readonly number[]): State[] {
  const { value, revision, last } = state;
  const only = (isRight: boolean): State[] => (isRight ? [state] : []);
  if (call.kind === 'get') {
    if (outcome.kind === 'found') return only(value === outcome.value && revision === outcome.revision);
    return only(outcome.kind === 'unknown' || (outcome.kind === 'absent' && value === null));
  }
  const isMet = call.condition === null || meets(state, call.condition);
  if (outcome.kind === 'conflict') return only(!isMet && revision === outcome.revision);
  if (!isMet) return only(outcome.kind === 'unknown');
  if (call.kind === 'delete' && value === null) return only(outcome.kind === 'nothing' || outcome.kind === 'unknown');
  const isTold = outcome.kind === 'written' || outcome.kind === 'deleted';
  if (!isTold && outcome.kind !== 'unknown') return [];
  if (isTold && (outcome.kind === 'written') !== (call.kind === 'put')) return [];
  const given = (isTold ? [outcome.revision] : revisions).filter((each) => each > last);
  return given.map((each) =>
    call.kind === 'put' ? { value: call.value, revision: each, last: each } : { value: null, revision: 0, last: each },
  );
}

function meets({ value, revision }: State, condition: Condition): boolean {
  if (condition.kind === 'revision') return value !== null && revision === condition.revision;
  return (value === null) === (condition.kind === 'absent');
}
