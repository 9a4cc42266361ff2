import { CairnError } from '../../base/errors.js';
import type { Clock, Timer } from '../../ports/clock.js';
import type { Group } from '../../replica/group.js';
import type { TurnLoop } from './turn-loop.js';

const CHECK_MS = 500;

/** Answers what waits too long. Entries stay in the log: their outcome is unknown to the caller. */
export class Deadlines {
  readonly #groups: readonly Group[];
  readonly #clock: Clock;
  readonly #loop: TurnLoop;
  readonly #timeoutMs: number;
  #timer: Timer;

  constructor(groups: readonly Group[], clock: Clock, loop: TurnLoop, timeoutMs: number) {
    this.#groups = groups;
    this.#clock = clock;
    this.#loop = loop;
    this.#timeoutMs = timeoutMs;
    this.#timer = this.#next();
  }

  close(): void {
    this.#timer.cancel();
  }

  #next(): Timer {
    return this.#clock.setTimer(CHECK_MS, () => {
      this.#check();
      this.#timer = this.#next();
    });
  }

  #check(): void {
    const { bounds, applying, reads } = this.#loop;
    const timeoutMs = this.#timeoutMs;
    const latestMs = this.#clock.monotonicMs() - timeoutMs;
    const message = `the log did not become durable within ${timeoutMs} ms; retry`;
    bounds.failBefore(latestMs, () => new CairnError('unavailable', message));
    for (const group of this.#groups) {
      failLateWrites(group, latestMs, timeoutMs);
      const text = `partition ${group.partition} got no answer from a quorum within ${timeoutMs} ms; retry`;
      const late = (): CairnError => new CairnError('unavailable', text);
      applying.failBefore(group, latestMs, late);
      reads.failBefore(group, latestMs, late);
    }
  }
}

function failLateWrites(group: Group, latestMs: number, timeoutMs: number): void {
  for (let i = 0; i < group.pendingCount; i++) {
    const pending = group.pendingAt(i);
    if (pending.appendedAtMs > latestMs) break;
    const { done } = pending;
    pending.done = null;
    const message = `not durable on a quorum after ${timeoutMs} ms; the outcome is unknown`;
    done?.(new CairnError('deadline_exceeded', message, { extra: { outcome: 'unknown' } }), 0);
  }
}
