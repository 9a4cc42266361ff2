import type { CairnError } from '../base/errors.js';

/** Called once: with null and a number that the waiter knows the meaning of, or with why there is nothing to wait for any more. */
export type Done = (error: CairnError | null, value: number) => void;

interface Waiter {
  /** What has to be reached. */
  readonly target: number;
  /** Infinity for one that waits as long as it takes. */
  readonly sinceMs: number;
  readonly done: Done;
}

/** Callers that wait for a number to be reached. */
export class Waiters {
  #waiting: Waiter[] = [];

  get count(): number {
    return this.#waiting.length;
  }

  /** When the first of them began to wait. */
  get oldestMs(): number {
    return this.#waiting.reduce((oldest, { sinceMs }) => Math.min(oldest, sinceMs), Infinity);
  }

  add(target: number, sinceMs: number, done: Done): void {
    this.#waiting.push({ target, sinceMs, done });
  }

  settleUpTo(reached: number, error: CairnError | null): void {
    if (this.#waiting.length === 0) return;
    this.#take(
      ({ target }) => target <= reached,
      () => error,
      reached,
    );
  }

  settleAll(error: CairnError | null, value: number): void {
    this.#take(
      () => true,
      () => error,
      value,
    );
  }

  failBefore(latestMs: number, why: () => CairnError): void {
    if (this.#waiting.some(({ sinceMs }) => sinceMs <= latestMs))
      this.#take(({ sinceMs }) => sinceMs <= latestMs, why, 0);
  }

  /** Taken out before any is called: they may come back with the next question. */
  #take(isDue: (waiter: Waiter) => boolean, error: () => CairnError | null, value: number): void {
    const due = this.#waiting.filter(isDue);
    if (due.length === 0) return;
    this.#waiting = this.#waiting.filter((waiter) => !isDue(waiter));
    for (const { done } of due) done(error(), value);
  }
}

export function settling(resolve: () => void, reject: (error: CairnError) => void): Done {
  return (error) => {
    if (error === null) resolve();
    else reject(error);
  };
}
