import type { Condition, Operation } from './operation.js';

/** Of a present value whose revision nobody was told yet. */
export const UNTOLD = -1;

/** One key's state. `floor` is the highest revision that is known to be given: the next write's lies above it. */
export interface RegisterState {
  readonly value: string | null;
  /** 0 when absent. */
  readonly revision: number;
  readonly floor: number;
}

export const EMPTY_REGISTER: RegisterState = { value: null, revision: 0, floor: 0 };

/**
 * The state after the operation took place in this state with the outcome that its client was told; null when that is
 * impossible. The same state object comes back when nothing changed. An unknown write gets `learnt` as its revision,
 * which is `UNTOLD` when nobody saw it; one that changes nothing is null too, for then it need not take place.
 */
export function stepRegister(state: RegisterState, operation: Operation, learnt: number): RegisterState | null {
  const { call, outcome } = operation;
  switch (outcome.kind) {
    case 'failed':
      return null;
    case 'found':
      if (state.value !== outcome.value) return null;
      return tell(state, outcome.revision);
    case 'absent':
      return state.value === null ? state : null;
    case 'nothing':
      return state.value === null && call.kind === 'delete' && meet(call.condition, state) === state ? state : null;
    case 'conflict': {
      const told = tell(state, outcome.revision);
      if (told === null || call.kind === 'get' || call.condition === null) return null;
      return holds(call.condition, told) ? null : told;
    }
    default:
      return write(state, operation, learnt);
  }
}

function write(state: RegisterState, { call, outcome }: Operation, learnt: number): RegisterState | null {
  if (call.kind === 'get') return null;
  const before = meet(call.condition, state);
  if (before === null) return null;
  const revision = outcome.kind === 'written' || outcome.kind === 'deleted' ? outcome.revision : learnt;
  if (revision !== UNTOLD && revision <= before.floor) return null;
  const floor = revision === UNTOLD ? before.floor : revision;
  if (call.kind === 'put') return outcome.kind === 'deleted' ? null : { value: call.value, revision, floor };
  return outcome.kind === 'written' || before.value === null ? null : { value: null, revision: 0, floor };
}

/** The state, now that its revision is told to be this one (0 for absent); null when it can't be. */
function tell(state: RegisterState, revision: number): RegisterState | null {
  if (state.revision === revision) return state;
  return state.revision === UNTOLD && revision > state.floor ? { ...state, revision, floor: revision } : null;
}

/** The state in which the condition holds; null when it doesn't. */
function meet(condition: Condition | null, state: RegisterState): RegisterState | null {
  if (condition === null) return state;
  if (condition.kind === 'revision') return state.value === null ? null : tell(state, condition.revision);
  return holds(condition, state) ? state : null;
}

function holds(condition: Condition, state: RegisterState): boolean {
  if (condition.kind === 'revision') return state.value !== null && state.revision === condition.revision;
  return (state.value === null) === (condition.kind === 'absent');
}

export function describeState({ value, revision, floor }: RegisterState): string {
  if (value === null) return floor === 0 ? 'absent' : `absent, last known revision @${floor}`;
  return revision === UNTOLD ? `${value} at a revision above @${floor}` : `${value} @${revision}`;
}
