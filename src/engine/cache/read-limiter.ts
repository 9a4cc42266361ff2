/**
 * Lets a bounded number of tasks run at once, the others wait in order. Block reads share libuv's pool with everything else
 * (4 threads by default), so they must never take all of it: a manifest sync would wait behind them.
 */
export class ReadLimiter {
  readonly #most: number;
  #running = 0;
  readonly #waiting: (() => void)[] = [];
  #head = 0;

  constructor(most: number) {
    this.#most = most;
  }

  async run<T>(task: () => Promise<T>): Promise<T> {
    if (this.#running >= this.#most) await new Promise<void>((resolve) => void this.#waiting.push(resolve));
    else this.#running++;
    try {
      return await task();
    } finally {
      this.#release();
    }
  }

  #release(): void {
    if (this.#head === this.#waiting.length) {
      this.#running--;
      return;
    }
    // The place passes on directly, so nobody can come between.
    const next = this.#waiting[this.#head++]!;
    if (this.#head > 1024 && this.#head * 2 > this.#waiting.length) {
      this.#waiting.splice(0, this.#head);
      this.#head = 0;
    }
    next();
  }
}
