import type { Prng } from '../../../src/base/prng.js';
import type { EventSource, ScheduledEvent } from './scheduler.js';

/**
 * The events of one process. While it is stopped (SIGSTOP) those that come due are held; when it goes on it meets them at once:
 * what the sockets and the disk have, and timers, in either order, as an event loop may. What each of them defers to the end of
 * the turn runs behind all.
 */
export class ProcessEvents implements EventSource {
  readonly #world: EventSource;
  #isPaused = false;
  readonly #arrived: (() => void)[] = [];
  readonly #due: (() => void)[] = [];

  constructor(world: EventSource) {
    this.#world = world;
  }

  get nowMs(): number {
    return this.#world.nowMs;
  }

  get isPaused(): boolean {
    return this.#isPaused;
  }

  schedule(delayMs: number, callback: () => void): ScheduledEvent {
    let isCancelled = false;
    const event = this.#world.schedule(delayMs, () => {
      const run = (): void => {
        if (!isCancelled) callback();
      };
      if (this.#isPaused) this.#due.push(run);
      else callback();
    });
    return {
      cancel: () => {
        isCancelled = true;
        event.cancel();
      },
    };
  }

  defer(callback: () => void): void {
    this.#world.defer(() => {
      if (this.#isPaused) this.#due.push(callback);
      else callback();
    });
  }

  /** Something reaches the process from outside, now or when it goes on. */
  arrive(callback: () => void): void {
    if (this.#isPaused) this.#arrived.push(callback);
    else callback();
  }

  pause(): void {
    this.#isPaused = true;
  }

  /** `prng`: each thing that has come is on a socket of its own, so that they are read in any order; without it in the one in which they came. */
  resume(timersFirst: boolean, prng?: Prng): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    const due = this.#due.splice(0);
    const left = this.#arrived.splice(0);
    const shuffle = (): (() => void)[] =>
      Array.from({ length: left.length }, () => left.splice(prng!.below(left.length), 1)[0]!);
    const arrived = prng === undefined ? left : shuffle();
    // Deferred, so that what they defer in turn comes behind all of them.
    for (const callback of timersFirst ? [...due, ...arrived] : [...arrived, ...due]) this.#world.defer(callback);
  }
}
