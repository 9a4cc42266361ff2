import { assert } from '../../../src/base/assert.js';
import type { Prng } from '../../../src/base/prng.js';
import { TraceHash } from './trace-hash.js';

/** Ends every promise that waits for something of a world that was switched off: it never settles. */
export function never<T>(): Promise<T> {
  return new Promise<T>(() => {});
}

interface Event {
  readonly dueMs: number;
  /** Random: orders events that are due at the same time. */
  readonly tie: number;
  readonly number: number;
  run: (() => void) | undefined;
}

function isBefore(a: Event, b: Event): boolean {
  if (a.dueMs !== b.dueMs) return a.dueMs < b.dueMs;
  if (a.tie !== b.tie) return a.tie < b.tie;
  return a.number < b.number;
}

export interface ScheduledEvent {
  /** No effect once it has run. */
  cancel(): void;
}

/** What simulated ports need of the world: time, and being called later. */
export type EventSource = Pick<Scheduler, 'nowMs' | 'schedule' | 'defer'>;

/** So many turns without time going on are a loop that would take all of a processor. */
const LONGEST_STAND_TURNS = 50_000;

/**
 * Virtual time and the order of everything that happens in a simulated world. Events run one after the other in an order
 * that depends on the seed only. A loop turn is one or a few events that are due, then what they deferred.
 *
 * Promises: after each event and each deferred call the scheduler waits for a macrotask of the real process, so all
 * microtasks have run before the next event. That is repeatable as long as the code under test waits for nothing but
 * simulated ports: no real I/O, timers or threads may be pending in between.
 */
export class Scheduler {
  readonly #prng: Prng;
  readonly #heap: Event[] = [];
  #deferred: (() => void)[] = [];
  #nowMs = 0;
  #scheduled = 0;
  #ran = 0;
  #running = false;
  #standing = 0;
  #failure: { readonly error: unknown } | undefined;
  /** Takes in the time and place of every event that runs: equal between two runs of one seed. */
  readonly trace = new TraceHash();

  constructor(prng: Prng) {
    this.#prng = prng.fork();
  }

  /** Virtual milliseconds since the world began. */
  get nowMs(): number {
    return this.#nowMs;
  }

  /** Events run so far; equal between two runs of one seed. */
  get eventCount(): number {
    return this.#ran;
  }

  /** Nothing is scheduled or deferred. */
  get isIdle(): boolean {
    return this.#heap.length === 0 && this.#deferred.length === 0;
  }

  /** Runs the call back `delayMs` from now. Events due at the same time run in random order. */
  schedule(delayMs: number, callback: () => void): ScheduledEvent {
    assert(delayMs >= 0, `a delay is not negative, found ${delayMs}`);
    const event: Event = {
      dueMs: this.#nowMs + delayMs,
      tie: this.#prng.uint32(),
      number: this.#scheduled++,
      run: callback,
    };
    this.#push(event);
    return {
      cancel: () => {
        event.run = undefined;
      },
    };
  }

  /** Runs the call back at the end of this turn; calls deferred meanwhile wait for the next turn's end. */
  defer(callback: () => void): void {
    this.#deferred.push(callback);
  }

  /** Ends the run with this error, as an uncaught exception would. */
  fail(error: unknown): void {
    this.#failure ??= { error };
  }

  /** Runs turns until the condition holds (true) or nothing is left to run or the time is over (false). */
  async runUntil(condition: () => boolean, limitMs = Infinity): Promise<boolean> {
    assert(!this.#running, 'the scheduler is already running');
    this.#running = true;
    const endMs = this.#nowMs + limitMs;
    try {
      await drainMicrotasks();
      while (!condition()) {
        if (!(await this.#turn(endMs))) return condition();
      }
      return true;
    } finally {
      this.#running = false;
    }
  }

  /** Runs everything that is due in the next `durationMs`; time then stands exactly there. */
  async runFor(durationMs: number): Promise<void> {
    const endMs = this.#nowMs + durationMs;
    await this.runUntil(() => false, durationMs);
    this.#nowMs = Math.max(this.#nowMs, endMs);
  }

  /**
   * Runs the world until the promise settles and hands on its outcome. An error when nothing is left to run before
   * that: the promise waits for something that can't happen.
   */
  async run<T>(promise: Promise<T>, limitMs = Infinity): Promise<T> {
    let settled = false;
    const watch = promise.then(
      () => {
        settled = true;
      },
      () => {
        settled = true;
      },
    );
    if (!(await this.runUntil(() => settled, limitMs))) {
      throw new Error(`stuck at ${this.#nowMs} ms: the promise has not settled and no event is left`);
    }
    await watch;
    return promise;
  }

  /** Virtual time that passes while nothing else is done. */
  sleep(durationMs: number): Promise<void> {
    return new Promise((resolve) => void this.schedule(durationMs, resolve));
  }

  /** One turn; false when no event is due until `endMs`. */
  async #turn(endMs: number): Promise<boolean> {
    const first = this.#peek();
    const deferred = this.#deferred;
    if (deferred.length === 0 && (first === undefined || first.dueMs > endMs)) return false;
    // Deferred calls keep the loop from sleeping: time advances only in a turn that starts with none.
    if (deferred.length === 0) {
      if (first!.dueMs > this.#nowMs) this.#standing = 0;
      this.#nowMs = Math.max(this.#nowMs, first!.dueMs);
    }
    if (++this.#standing > LONGEST_STAND_TURNS) {
      throw new Error(`spins: ${LONGEST_STAND_TURNS} turns at ${this.#nowMs} ms, and time does not go on`);
    }
    for (let events = this.#prng.between(1, 3); events > 0; events--) {
      const next = this.#peek();
      if (next === undefined || next.dueMs > this.#nowMs) break;
      this.#pop();
      this.trace.event(next.dueMs, next.tie, next.number);
      await this.#call(next.run!);
    }
    const ending = this.#deferred;
    this.#deferred = [];
    if (ending.length > 0) this.trace.event(-1, ending.length);
    for (const callback of ending) await this.#call(callback);
    return true;
  }

  async #call(callback: () => void): Promise<void> {
    this.#ran++;
    callback();
    await drainMicrotasks();
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  /** The next event that is not cancelled. */
  #peek(): Event | undefined {
    while (this.#heap.length > 0 && this.#heap[0]!.run === undefined) this.#pop();
    return this.#heap[0];
  }

  #push(event: Event): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(event);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!isBefore(event, heap[parent]!)) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = event;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop()!;
    if (heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++;
      if (!isBefore(heap[child]!, last)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
  }
}

function drainMicrotasks(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
