import type { Clock } from '../../ports/clock.js';

class Round<T> {
  readonly partitions = new Set<number>();
  resolve!: (result: T) => void;
  reject!: (error: unknown) => void;
  readonly outcome = new Promise<T>((resolve, reject) => {
    this.resolve = resolve;
    this.reject = reject;
  });

  covers(partitions: readonly number[]): boolean {
    return partitions.every((partition) => this.partitions.has(partition));
  }
}

/** Finds an instant for these partitions, and calls back when nobody may join any more. */
export type RunRound<T> = (partitions: readonly number[], onHeld: () => void) => Promise<T>;

/**
 * One round after the other: whoever comes while one gathers its leaders shares it, if it reads what that one does; who comes later
 * waits for the next one together with others.
 */
export class SharedRounds<T> {
  readonly #clock: Clock;
  readonly #run: RunRound<T>;
  #gathering: Round<T> | null = null;
  #coming: Round<T> | null = null;

  constructor(clock: Clock, run: RunRound<T>) {
    this.#clock = clock;
    this.#run = run;
  }

  get isIdle(): boolean {
    return this.#gathering === null && this.#coming === null;
  }

  join(partitions: readonly number[]): Promise<T> {
    const gathering = this.#gathering;
    if (gathering !== null && gathering.covers(partitions)) return gathering.outcome;
    if (this.#coming === null) {
      this.#coming = new Round();
      // At the end of the turn: its other reads come along.
      if (gathering === null) this.#clock.defer(() => this.#begin());
    }
    for (const partition of partitions) this.#coming.partitions.add(partition);
    return this.#coming.outcome;
  }

  #begin(): void {
    const round = this.#coming;
    if (round === null || this.#gathering !== null) return;
    this.#coming = null;
    this.#gathering = round;
    const gathered = (): void => {
      if (this.#gathering !== round) return;
      this.#gathering = null;
      this.#begin();
    };
    this.#run([...round.partitions], gathered).then(
      (result) => {
        gathered();
        round.resolve(result);
      },
      (error: unknown) => {
        gathered();
        round.reject(error);
      },
    );
  }
}
