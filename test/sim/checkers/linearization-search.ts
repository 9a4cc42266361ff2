import type { Operation } from './operation.js';
import { EMPTY_REGISTER, stepRegister, UNTOLD, type RegisterState } from './register.js';

/** One operation in the order that was found, and the state after it. */
export interface Placement {
  readonly operation: Operation;
  readonly after: RegisterState;
}

/** The search's longest order, which can't be made longer. */
export interface Stuck {
  readonly linearized: readonly Placement[];
  readonly state: RegisterState;
  /** What was invoked in time to come next, and did not. */
  readonly open: readonly Operation[];
}

/** An operation that must take place. */
interface Step {
  readonly operation: Operation;
  /** Of an unknown put that somebody saw. */
  readonly learnt: number;
  /** Position among the writes, which their revisions order; -1 for an operation that changes nothing. */
  rank: number;
}

/** An unknown write that nobody saw: it may take place. */
interface Maybe {
  readonly operation: Operation;
  readonly bit: bigint;
}

/** What such a put leaves: nobody can tell which one it was. */
const UNSEEN = 'a value that nobody saw';

/** Maybes that ask for more come first, for the others can stand in for them later. */
const CHOOSY = ['revision', 'absent', 'present', undefined] as const;

/** A point of the search: what was placed so far, and the state it left. */
interface Node {
  readonly parent: Node | null;
  readonly operation: Operation | null;
  readonly depth: number;
  /** All steps before this one are placed... */
  readonly first: number;
  /** ...and these behind it, in ascending order. */
  readonly beyond: readonly number[];
  readonly writes: number;
  readonly maybes: bigint;
  readonly state: RegisterState;
  /** The state before, when the last thing placed was a maybe on which nothing rests so far. */
  readonly without: RegisterState | null;
}

/**
 * The search of Wing and Gong ("Testing and verifying concurrent objects") with Lowe's memory of visited points, for one key.
 * What keeps it short:
 * - revisions order the writes, so only one write can come next;
 * - an operation that changes nothing is placed as soon as the state suits it;
 * - an unknown write that nobody saw takes place only where the next operation needs it, of those that do the same the one
 *   that is of least use later;
 * - a point is left when another was there with the same state, the same steps and no more of the maybes spent.
 */
export class LinearizationSearch {
  readonly #steps: readonly Step[];
  readonly #maybes: readonly Maybe[];
  /** The revisions of the writes that must take place, in ascending order. */
  readonly #given: readonly number[];
  readonly #givenSet: ReadonlySet<number>;
  readonly #visited = new Map<string, bigint[]>();

  constructor(operations: readonly Operation[]) {
    const learnt = learntRevisions(operations);
    const steps: Step[] = [];
    const maybes: Maybe[] = [];
    for (const operation of [...operations].sort((a, b) => a.invoked - b.invoked)) {
      const { call, outcome } = operation;
      if (outcome.kind === 'failed') continue;
      const seen = call.kind === 'put' ? learnt.get(call.value) : undefined;
      if (outcome.kind !== 'unknown') steps.push({ operation, learnt: UNTOLD, rank: -1 });
      else if (seen !== undefined) steps.push({ operation, learnt: seen, rank: -1 });
      else if (call.kind !== 'get') {
        maybes.push({ operation, bit: 1n << BigInt(maybes.length) });
      }
    }
    const writes = steps.filter((step) => revisionOf(step) !== 0).sort((a, b) => revisionOf(a) - revisionOf(b));
    writes.forEach((step, rank) => (step.rank = rank));
    this.#steps = steps;
    this.#maybes = maybes;
    this.#given = writes.map(revisionOf);
    this.#givenSet = new Set(this.#given);
  }

  /** Null when there is an order. */
  run(mostSteps: number): Stuck | 'undecided' | null {
    let deepest: Node = {
      parent: null,
      operation: null,
      depth: 0,
      first: 0,
      beyond: [],
      writes: 0,
      maybes: 0n,
      state: EMPTY_REGISTER,
      without: null,
    };
    const stack: Node[] = [deepest];
    for (let count = 0; count < mostSteps; count++) {
      const next = stack.pop();
      if (next === undefined) return this.#stuck(deepest);
      const node = this.#look(next);
      if (node.first === this.#steps.length) return null;
      // Maybes count for nothing here: the order that explains most of what was answered is the one to show.
      if (node.depth > deepest.depth) deepest = node;
      if (this.#isNew(node)) this.#branch(node, stack);
    }
    return 'undecided';
  }

  /** Places everything that can come next and changes nothing. */
  #look(start: Node): Node {
    let node = start;
    for (let found = true; found;) {
      found = false;
      for (const index of this.#candidates(node)) {
        const { operation, rank } = this.#steps[index]!;
        if (rank !== -1 || stepRegister(node.state, operation, UNTOLD) !== node.state) continue;
        node = this.#place(node, index, node.state);
        found = true;
      }
    }
    return node;
  }

  #branch(node: Node, stack: Node[]): void {
    const { state, without } = node;
    const candidates = this.#candidates(node);
    const latest = candidates.reduce((end, i) => Math.min(end, this.#steps[i]!.operation.returned), Infinity);
    for (const { operation, bit } of this.#choose(node, latest)) {
      const after = this.#step(node, operation, UNTOLD);
      if (after === null) continue;
      const unseen = after.value === null ? after : { ...after, value: UNSEEN };
      if (isIdle(without, operation, UNTOLD, unseen)) continue;
      stack.push({ ...node, parent: node, operation, maybes: node.maybes | bit, state: unseen, without: state });
    }
    for (const index of candidates) {
      const { operation, learnt, rank } = this.#steps[index]!;
      if (rank !== -1 && rank !== node.writes) continue;
      const after = this.#step(node, operation, learnt);
      if (after === null || isIdle(without, operation, learnt, after)) continue;
      stack.push(this.#place(node, index, after));
    }
  }

  /** The state after the operation; null also when it tells an unseen write a revision that can't be that write's. */
  #step({ state, writes }: Node, operation: Operation, learnt: number): RegisterState | null {
    const after = stepRegister(state, operation, learnt);
    if (after === null || state.revision !== UNTOLD) return after;
    const { call, outcome } = operation;
    const demanded = call.kind !== 'get' && call.condition?.kind === 'revision' ? call.condition.revision : 0;
    const told = outcome.kind === 'conflict' ? outcome.revision : demanded;
    return this.#givenSet.has(told) || told > (this.#given[writes] ?? Infinity) ? null : after;
  }

  /** The maybes to try: one put and one delete, and those that demand a revision which is not told yet. */
  #choose({ state, maybes }: Node, latest: number): Maybe[] {
    const chosen: Maybe[] = [];
    const best = new Map<string, { readonly maybe: Maybe; readonly choosiness: number }>();
    for (const maybe of this.#maybes) {
      const { call, invoked } = maybe.operation;
      if (invoked > latest) break;
      if (call.kind === 'get' || (maybes & maybe.bit) !== 0n) continue;
      if (stepRegister(state, maybe.operation, UNTOLD) === null) continue;
      if (state.revision === UNTOLD && call.condition?.kind === 'revision') {
        chosen.push(maybe);
        continue;
      }
      const choosiness = CHOOSY.indexOf(call.condition?.kind);
      if (choosiness < (best.get(call.kind)?.choosiness ?? CHOOSY.length)) best.set(call.kind, { maybe, choosiness });
    }
    for (const { maybe } of best.values()) chosen.push(maybe);
    return chosen;
  }

  /** The maybes among these that could have been of use yet: a revision that is gone never comes back. */
  #useful(maybes: bigint, { floor, revision }: RegisterState): bigint {
    let useful = maybes;
    for (const { operation, bit } of this.#maybes) {
      if ((useful & bit) === 0n || operation.call.kind === 'get') continue;
      const { condition } = operation.call;
      if (condition?.kind === 'revision' && condition.revision <= floor && condition.revision !== revision) {
        useful &= ~bit;
      }
    }
    return useful;
  }

  /** The steps that may come next: invoked before any other that is left returned. */
  #candidates({ first, beyond }: Node): number[] {
    const found: number[] = [];
    let end = Infinity;
    let skip = 0;
    for (let index = first; index < this.#steps.length; index++) {
      const { invoked, returned } = this.#steps[index]!.operation;
      if (invoked > end) break;
      if (beyond[skip] === index) {
        skip++;
        continue;
      }
      end = Math.min(end, returned);
      found.push(index);
    }
    return found;
  }

  #place(parent: Node, index: number, state: RegisterState): Node {
    const { operation, rank } = this.#steps[index]!;
    let { first } = parent;
    let beyond = parent.beyond;
    if (index === first) {
      let gone = 0;
      for (first++; beyond[gone] === first; first++) gone++;
      beyond = beyond.slice(gone);
    } else {
      beyond = [...beyond, index].sort((a, b) => a - b);
    }
    const writes = rank === -1 ? parent.writes : parent.writes + 1;
    const { depth, maybes } = parent;
    return { parent, operation, depth: depth + 1, first, beyond, writes, maybes, state, without: null };
  }

  #isNew({ first, beyond, state, maybes: spent, without }: Node): boolean {
    const maybes = spent === 0n ? spent : this.#useful(spent, state);
    // What may follow depends also on what the last maybe must be good for.
    const needed = without === null ? '' : `${without.value} ${without.revision}`;
    const place = `${first} ${beyond.join()} ${state.value} ${state.revision} ${state.floor} ${needed}`;
    const known = this.#visited.get(place);
    if (known === undefined) {
      this.#visited.set(place, [maybes]);
      return true;
    }
    if (known.some((fewer) => (fewer & maybes) === fewer)) return false;
    known.push(maybes);
    return true;
  }

  #stuck(deepest: Node): Stuck {
    const linearized: Placement[] = [];
    for (let node: Node | null = deepest; node !== null; node = node.parent) {
      if (node.operation !== null) linearized.push({ operation: node.operation, after: node.state });
    }
    const open = this.#candidates(deepest).map((index) => this.#steps[index]!.operation);
    return { linearized: linearized.reverse(), state: deepest.state, open };
  }
}

/** The operation would have done the same without the maybe before it, which then need not have taken place. */
function isIdle(without: RegisterState | null, operation: Operation, learnt: number, after: RegisterState): boolean {
  if (without === null) return false;
  const other = stepRegister(without, operation, learnt);
  return other !== null && other.value === after.value && other.revision === after.revision;
}

/** The revisions of values that somebody saw. */
function learntRevisions(operations: readonly Operation[]): Map<string, number> {
  const learnt = new Map<string, number>();
  for (const { outcome } of operations) {
    if (outcome.kind === 'found' && !learnt.has(outcome.value)) learnt.set(outcome.value, outcome.revision);
  }
  return learnt;
}

/** The revision that the step gives; 0 when it gives none. */
function revisionOf({ operation: { outcome }, learnt }: Step): number {
  if (outcome.kind === 'written' || outcome.kind === 'deleted') return outcome.revision;
  return learnt === UNTOLD ? 0 : learnt;
}
