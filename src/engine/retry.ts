import { CairnError } from '../base/errors.js';
import { SILENT_LOGGER, type Logger } from '../base/logger.js';
import type { Clock } from '../ports/clock.js';
import { DiskError } from '../ports/disk.js';

const FIRST_DELAY_MS = 50;
const LONGEST_DELAY_MS = 5_000;

export function isOutOfSpace(error: unknown): boolean {
  return error instanceof DiskError && (error.code === 'ENOSPC' || error.code === 'EDQUOT');
}

/** A worker that died, or no file descriptor left: the same work may succeed later. */
export function isPassing(error: unknown): boolean {
  if (error instanceof DiskError) return error.code === 'EMFILE' || error.code === 'ENFILE';
  return error instanceof CairnError && error.code === 'unavailable';
}

/** Ends the waiting for a better time, when the engine closes. */
export class EngineClosing extends CairnError {
  constructor() {
    super('shutting_down', 'the engine is closing');
  }
}

/**
 * Repeats work that background threads owe the tree until it succeeds: a full disk is waited for, a dead worker replaced. Any
 * other failure (EIO above all) is passed on, because nobody may go on from it (Raft rule 14).
 */
export class Retry {
  readonly #clock: Clock;
  readonly #log: Logger;
  #full = 0;
  #closing = false;
  readonly #wakers = new Set<() => void>();

  constructor(clock: Clock, log: Logger = SILENT_LOGGER) {
    this.#clock = clock;
    this.#log = log;
  }

  /** Some work is waiting for disk space. */
  get diskFull(): boolean {
    return this.#full > 0;
  }

  get closing(): boolean {
    return this.#closing;
  }

  /** Rejects with EngineClosing when `close` comes before success. */
  async run<T>(what: string, work: () => Promise<T>): Promise<T> {
    let delayMs = FIRST_DELAY_MS;
    let waitsForSpace = false;
    try {
      for (;;) {
        if (this.#closing) throw new EngineClosing();
        try {
          return await work();
        } catch (error) {
          if (!isOutOfSpace(error) && !isPassing(error)) throw error;
          if (isOutOfSpace(error) && !waitsForSpace) {
            waitsForSpace = true;
            this.#full++;
          }
          this.#log.warn({ work: what, delayMs, error: String(error) }, 'work failed and is repeated');
        }
        await this.#sleep(delayMs);
        delayMs = Math.min(delayMs * 2, LONGEST_DELAY_MS);
      }
    } finally {
      if (waitsForSpace) this.#full--;
    }
  }

  /** Waiting work gives up; work that is under way ends by itself. */
  close(): void {
    this.#closing = true;
    for (const wake of this.#wakers) wake();
  }

  #sleep(delayMs: number): Promise<void> {
    if (this.#closing) return Promise.resolve();
    return new Promise((resolve) => {
      const wake = (): void => {
        timer.cancel();
        this.#wakers.delete(wake);
        resolve();
      };
      const timer = this.#clock.setTimer(delayMs, wake);
      this.#wakers.add(wake);
    });
  }
}
