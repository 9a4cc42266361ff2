import type { Logger, LogFields } from '../../base/logger.js';
import type { Clock } from '../../ports/clock.js';

const REPEAT_MS = 60_000;
const MAX_KINDS = 256;

/** Warnings that a wrong peer could cause again and again: each kind is logged once a minute, with how often it was held back. */
export class Complaints {
  readonly #logger: Logger;
  readonly #clock: Clock;
  readonly #kinds = new Map<string, { loggedMs: number; heldBack: number }>();

  constructor(logger: Logger, clock: Clock) {
    this.#logger = logger;
    this.#clock = clock;
  }

  warn(kind: string, fields: LogFields, message: string): void {
    const nowMs = this.#clock.monotonicMs();
    const known = this.#kinds.get(kind);
    if (known !== undefined && nowMs - known.loggedMs < REPEAT_MS) {
      known.heldBack++;
      return;
    }
    this.#logger.warn(known === undefined ? fields : { ...fields, heldBack: known.heldBack }, message);
    // Back to the end of the map, whose first one is the oldest.
    this.#kinds.delete(kind);
    this.#kinds.set(kind, { loggedMs: nowMs, heldBack: 0 });
    if (this.#kinds.size > MAX_KINDS) this.#kinds.delete(this.#kinds.keys().next().value!);
  }
}
