import { assert } from '../base/assert.js';
import { Fifo } from '../base/fifo.js';
import type { MemberId } from './entry.js';

export interface WaitingRead {
  /** The round that must be confirmed; 0: none, who asks is all that the quorum lacked. */
  readonly round: number;
  /** Who asks: this member's own host, or a follower's with a token of its own. */
  readonly from: MemberId;
  readonly token: number;
  /** The leader's clock when it was asked. */
  readonly clock: number;
  /** The write with which this node's own clock can't fall below that; 0: it can't already. */
  readonly durableAt: number;
  /** The commit index when it was asked; -1 while no entry of the leader's own term is committed. */
  index: number;
}

/**
 * A leader's ReadIndex requests of one term (Raft rules 6 and 7). Round tokens ascend, so an acknowledgement of one round, which was
 * sent after all earlier ones, confirms those too: one number per voter says everything, and a lost round is made up for
 * by the next one.
 */
export class ReadRounds {
  readonly #waiting = new Fifo<WaitingRead>();
  readonly #confirmed = new Fifo<WaitingRead>();
  /** The newest round asked for, and the newest one that went out. */
  newest = 0;
  sent = 0;

  get isEmpty(): boolean {
    return this.#waiting.length === 0 && this.#confirmed.length === 0;
  }

  /** Some need a round. */
  get waiting(): boolean {
    return this.#waiting.length > 0;
  }

  /** A read that needs no round, and waits for this node's disk at most. */
  addConfirmed(read: WaitingRead): void {
    this.#confirmed.push(read);
  }

  add(read: WaitingRead): void {
    assert(read.round >= this.newest, `round tokens ascend: ${read.round} behind ${this.newest}`);
    assert(read.round > this.sent, `round ${read.round} went out before this request came`);
    this.newest = read.round;
    this.#waiting.push(read);
  }

  /**
   * The first entry of the term is committed: what was committed before the reads came lies below it, so it serves all
   * of them.
   */
  committedInTerm(index: number): void {
    for (let i = 0; i < this.#waiting.length; i++) {
      const read = this.#waiting.at(i)!;
      if (read.index < 0) read.index = index;
    }
  }

  /** The next read that can be answered when all rounds up to `confirmed` and all writes up to `completed` are; or undefined. */
  take(confirmed: number, completed: number): WaitingRead | undefined {
    const asked = this.#confirmed.peek();
    if (asked !== undefined && asked.durableAt <= completed) return this.#confirmed.shift();
    const read = this.#waiting.peek();
    if (read === undefined || read.round > confirmed || read.durableAt > completed || read.index < 0) return undefined;
    return this.#waiting.shift();
  }

  /** Any read, to refuse it. */
  takeAny(): WaitingRead | undefined {
    return this.#confirmed.shift() ?? this.#waiting.shift();
  }
}
