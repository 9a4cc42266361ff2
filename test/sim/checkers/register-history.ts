import type { Prng } from '../../../src/base/prng.js';
import type { Call, Condition, Operation, Outcome } from './operation.js';

export interface RegisterHistoryOptions {
  readonly clients: number;
  readonly operations: number;
  /** The share of operations whose client hears nothing; half of them take place, some much later. */
  readonly unknownShare: number;
  /** The share of operations that are refused. */
  readonly failedShare: number;
  readonly deletes: boolean;
}

interface Event {
  readonly at: number;
  readonly run: () => void;
}

/** A history of clients of one atomic register, with random delays before and after the instant of each operation. */
export function registerHistory(prng: Prng, options: RegisterHistoryOptions): Operation[] {
  const operations: Operation[] = [];
  const register = new AtomicRegister(prng, options.deletes);
  const events: Event[] = [];
  let begun = 0;
  let now = 0;
  const schedule = (delay: number, run: () => void): void => {
    // Ever so different times, so that no two events share one.
    const at = now + delay + prng.unit() / 1000;
    let place = events.length;
    while (place > 0 && events[place - 1]!.at < at) place--;
    events.splice(place, 0, { at, run });
  };
  const begin = (client: number): void => {
    if (begun === options.operations) return;
    const id = begun++;
    const call = register.anyCall(id);
    const invoked = now;
    const record = (outcome: Outcome, returned: number): void => {
      operations.push({ id, client, key: 'k', call, outcome, invoked, returned });
      schedule(prng.chance(0.3) ? prng.below(40) : 0, () => begin(client));
    };
    if (prng.chance(options.failedShare)) {
      schedule(prng.below(20), () => record({ kind: 'failed' }, now));
    } else if (prng.chance(options.unknownShare)) {
      if (prng.chance(0.5)) schedule(prng.pick([10, 100, 1000]) * prng.unit(), () => void register.apply(call));
      schedule(prng.below(60), () => record({ kind: 'unknown' }, Infinity));
    } else {
      schedule(prng.below(30), () => {
        const outcome = register.apply(call);
        schedule(prng.below(30), () => record(outcome, now));
      });
    }
  };
  for (let client = 0; client < options.clients; client++) schedule(prng.below(20), () => begin(client));
  for (let event = events.pop(); event !== undefined; event = events.pop()) {
    now = event.at;
    event.run();
  }
  return operations;
}

/** What a correct store does, one operation after the other. */
class AtomicRegister {
  readonly #prng: Prng;
  readonly #deletes: boolean;
  readonly #revisions: number[] = [];
  #value: string | null = null;
  #revision = 0;
  #last = 0;

  constructor(prng: Prng, deletes: boolean) {
    this.#prng = prng;
    this.#deletes = deletes;
  }

  anyCall(id: number): Call {
    const kind = this.#prng.below(10);
    if (kind < 4) return { kind: 'get' };
    const condition = this.#prng.chance(0.4) ? this.#anyCondition() : null;
    return kind < 9 || !this.#deletes ? { kind: 'put', value: `v${id}`, condition } : { kind: 'delete', condition };
  }

  apply(call: Call): Outcome {
    if (call.kind === 'get') {
      if (this.#value === null) return { kind: 'absent' };
      return { kind: 'found', value: this.#value, revision: this.#revision };
    }
    if (call.condition !== null && !this.#holds(call.condition)) return { kind: 'conflict', revision: this.#revision };
    if (call.kind === 'delete' && this.#value === null) return { kind: 'nothing' };
    this.#last += this.#prng.between(1, 3);
    this.#revisions.push(this.#last);
    if (call.kind === 'delete') {
      this.#value = null;
      this.#revision = 0;
      return { kind: 'deleted', revision: this.#last };
    }
    this.#value = call.value;
    this.#revision = this.#last;
    return { kind: 'written', revision: this.#last };
  }

  /** Mostly one that holds now, or held a moment ago. */
  #anyCondition(): Condition {
    const kind = this.#prng.below(6);
    if (kind === 0) return { kind: 'absent' };
    if (kind === 1) return { kind: 'present' };
    return { kind: 'revision', revision: this.#revisions.at(-this.#prng.between(1, 2)) ?? 1 };
  }

  #holds(condition: Condition): boolean {
    if (condition.kind === 'revision') return this.#value !== null && this.#revision === condition.revision;
    return (this.#value === null) === (condition.kind === 'absent');
  }
}
