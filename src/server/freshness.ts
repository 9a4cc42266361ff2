import { mutated } from '../base/mutations.js';
import type { Revision } from '../lsm/row-key.js';
import type { Clock, Timer } from '../ports/clock.js';

/** A stale read of a group that was confirmed longer ago starts the next round, and does not wait for it. */
const REFRESH_AFTER_MS = 100;
/** While stale reads are asked for, all groups are confirmed this often: one round for all that share a leader. */
const REFRESH_ALL_MS = 1000;
/** Nobody has asked for so long; then a read waits for a round that is young, but not for one that a lost quorum keeps. */
const OLD_MS = 2 * REFRESH_ALL_MS;
const PATIENCE_MS = 250;
/** What the protocols have room for: 49 days. */
const MAX_STALENESS_MS = 0xffff_ffff;

/** A state of a group that a quorum has confirmed and this replica has applied. */
export interface Confirmed {
  /** In monotonic time of this node: everything that was answered before is applied. */
  readonly asOfMs: number;
  /** Expiry is judged at it: the leader's clock in that round. */
  readonly instant: Revision;
}

/** The part of `GroupHost` that this needs. */
export interface Rounds<G> {
  readonly groups: readonly G[];
  linearize(group: G): Promise<Revision>;
}

interface State {
  confirmed: Confirmed | null;
  triedMs: number;
  round: Promise<Confirmed> | null;
}

/**
 * How old what this node has applied can be at most. A ReadIndex round that this node asked for at some time of its own clock shows
 * that everything answered before that time is here, so no other node's clock has to be trusted. Linearizable reads show it by the way;
 * stale reads start rounds when the last one is old, so groups that nobody reads so cost nothing.
 */
export class Freshness<G extends { readonly partition: number }> {
  readonly #host: Rounds<G>;
  readonly #clock: Clock;
  readonly #states: readonly State[];
  #refreshedAllMs = -Infinity;

  constructor(host: Rounds<G>, clock: Clock) {
    this.#host = host;
    this.#clock = clock;
    this.#states = host.groups.map(() => ({ confirmed: null, triedMs: -Infinity, round: null }));
  }

  /**
   * The last confirmed state that is known. Waits only when none is, or for a moment when nobody has asked for long. Rejects
   * as `linearize` does while nothing was confirmed since the node started: then it can't say how old its data may be.
   */
  async last(group: G): Promise<Confirmed> {
    const state = this.#states[group.partition]!;
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - this.#refreshedAllMs >= REFRESH_ALL_MS) {
      this.#refreshedAllMs = nowMs;
      for (const other of this.#host.groups) this.#refresh(other, nowMs, REFRESH_ALL_MS);
    }
    this.#refresh(group, nowMs, REFRESH_AFTER_MS);
    if (state.confirmed === null) return state.round ?? this.pass(group);
    const isOld = nowMs - state.confirmed.asOfMs > OLD_MS;
    const leftMs = state.triedMs + PATIENCE_MS - nowMs;
    if (isOld && state.round !== null && leftMs > 0) await this.#settled(state.round, leftMs);
    return state.confirmed;
  }

  /** Of an answer that is given now from that state. */
  stalenessMs({ asOfMs }: Confirmed): number {
    return Math.min(MAX_STALENESS_MS, Math.max(0, Math.ceil(this.#clock.monotonicMs() - asOfMs)));
  }

  #refresh(group: G, nowMs: number, afterMs: number): void {
    const state = this.#states[group.partition]!;
    const isFresh = state.confirmed !== null && nowMs - state.confirmed.asOfMs < afterMs;
    if (isFresh || state.round !== null || nowMs - state.triedMs < REFRESH_AFTER_MS) return;
    state.triedMs = nowMs;
    state.round = this.pass(group);
    const over = (): void => void (state.round = null);
    state.round.then(over, over);
  }

  /** Passes a round, as `GroupHost.linearize`. */
  async pass(group: G): Promise<Confirmed> {
    const state = this.#states[group.partition]!;
    const askedMs = this.#clock.monotonicMs();
    const instant = await this.#host.linearize(group);
    const asOfMs = mutated('server-stale-bound-late') ? this.#clock.monotonicMs() : askedMs;
    const known = state.confirmed;
    if (known === null || asOfMs >= known.asOfMs) {
      // Rounds of two leaders may be answered in any order; what has expired stays so.
      state.confirmed = { asOfMs, instant: Math.max(instant, known?.instant ?? 0) };
    }
    return { asOfMs, instant };
  }

  /** Resolves when the round is over, well or not, or after `limitMs`. */
  #settled(round: Promise<unknown>, limitMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer: Timer = this.#clock.setTimer(limitMs, resolve);
      const over = (): void => {
        timer.cancel();
        resolve();
      };
      round.then(over, over);
    });
  }
}
