/** 512 entries take about a millisecond. */
const STEPS = 512;

/**
 * How many entries that nobody may see the visible cursors of one scan pass, all together, before a call gives up its turn:
 * a range of a million tombstones must not hold the event loop.
 */
export class StepBudget {
  readonly #steps: number;
  #left: number;

  constructor(steps = STEPS) {
    this.#steps = steps;
    this.#left = steps;
  }

  /** Takes a step; false when none is left. */
  take(): boolean {
    return this.#left-- > 0;
  }

  refill(): void {
    this.#left = this.#steps;
  }
}
