import { assert } from '../../../src/base/assert.js';
import type { Prng } from '../../../src/base/prng.js';
import type { Scheduler } from './scheduler.js';
import type { SimLink } from './sim-link.js';

/** What travels: bytes, the last byte's mark, or the news that the stream is broken. */
export type Segment = Uint8Array | 'end' | 'reset';

export interface SimPipeOptions {
  readonly scheduler: Scheduler;
  readonly prng: Prng;
  readonly link: SimLink;
  /** Nothing sent now gets there, or no acknowledgement comes back. */
  readonly isBlocked: (direction: 'there' | 'back') => boolean;
  /** How long the sender's system tries again before it gives up. */
  readonly stallTimeoutMs: number;
  readonly deliver: (segment: Segment) => void;
  /** The other end took bytes, and there is room for more. */
  readonly onRoom: () => void;
  /** From now on the pipe wants to hear when links heal, as long as it is stalled. */
  readonly onStall: (pipe: SimPipe) => void;
  readonly onTimeout: () => void;
}

/** After an outage TCP's next try comes within the time that the outage took, at most this. */
const LONGEST_RETRY_MS = 3000;

/**
 * One direction of a connection, between the sender's system and the receiver's: segments arrive in order, or wait for the
 * link to heal, or the sender gives up. Acknowledgements need the link back.
 */
export class SimPipe {
  readonly #options: SimPipeOptions;
  readonly #travelling: Segment[] = [];
  #lastDueMs = 0;
  /** Arrivals that came while the link was cut, still at the head of what travels. */
  #owed = 0;
  /** Bytes that the receiver took, and the sender doesn't know. */
  #unacknowledgedBytes = 0;
  #inFlightBytes = 0;
  #stalledSinceMs: number | undefined;

  constructor(options: SimPipeOptions) {
    this.#options = options;
  }

  /** Sent, and not known to be taken. */
  get inFlightBytes(): number {
    return this.#inFlightBytes;
  }

  get isStalled(): boolean {
    return this.#stalledSinceMs !== undefined;
  }

  send(segment: Segment): void {
    const { scheduler, link } = this.#options;
    const bytes = typeof segment === 'string' ? 0 : segment.length;
    this.#inFlightBytes += bytes;
    this.#travelling.push(segment);
    this.#lastDueMs = Math.max(this.#lastDueMs, scheduler.nowMs + link.travelMs(scheduler.nowMs, bytes));
    scheduler.schedule(this.#lastDueMs - scheduler.nowMs, () => this.#arrive());
  }

  /** The receiver took this many bytes. */
  taken(bytes: number): void {
    if (this.#options.isBlocked('back')) {
      this.#unacknowledgedBytes += bytes;
      this.#stall();
    } else {
      this.#acknowledge(bytes);
    }
  }

  /** The links may have healed. */
  retry(): void {
    const { scheduler, prng, isBlocked } = this.#options;
    const since = this.#stalledSinceMs;
    if (since === undefined) return;
    const arrivals = isBlocked('there') ? 0 : this.#owed;
    const acknowledged = isBlocked('back') ? 0 : this.#unacknowledgedBytes;
    if (arrivals === 0 && acknowledged === 0) return;
    this.#owed -= arrivals;
    this.#unacknowledgedBytes -= acknowledged;
    const waitMs = prng.unit() * Math.min(scheduler.nowMs - since, LONGEST_RETRY_MS);
    this.#lastDueMs = Math.max(this.#lastDueMs, scheduler.nowMs + waitMs);
    for (let i = 0; i < arrivals; i++) scheduler.schedule(waitMs, () => this.#arrive());
    if (acknowledged > 0) scheduler.schedule(waitMs, () => this.#acknowledge(acknowledged));
    this.#stalledSinceMs = undefined;
    if (this.#owed > 0 || this.#unacknowledgedBytes > 0) this.#stall();
  }

  /** The sender's system forgets what it would have to send again. What is on its way gets there. */
  giveUp(): void {
    this.#travelling.splice(0, this.#owed);
    this.#owed = 0;
    this.#stalledSinceMs = undefined;
  }

  #arrive(): void {
    // Behind a segment that waits, all wait.
    if (this.#owed > 0 || this.#options.isBlocked('there')) {
      this.#owed++;
      this.#stall();
      return;
    }
    const segment = this.#travelling.shift();
    assert(segment !== undefined, 'every arrival has its segment');
    this.#options.deliver(segment);
  }

  #acknowledge(bytes: number): void {
    this.#inFlightBytes -= bytes;
    assert(this.#inFlightBytes >= 0, 'no more bytes are taken than were sent');
    this.#options.onRoom();
  }

  #stall(): void {
    if (this.#stalledSinceMs !== undefined) return;
    const { scheduler, stallTimeoutMs, onStall, onTimeout } = this.#options;
    const since = scheduler.nowMs;
    this.#stalledSinceMs = since;
    onStall(this);
    scheduler.schedule(stallTimeoutMs, () => {
      if (this.#stalledSinceMs === since) onTimeout();
    });
  }
}
