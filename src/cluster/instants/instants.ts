import { CairnError } from '../../base/errors.js';
import { mutated } from '../../base/mutations.js';
import type { InstantAnswer, InstantRequest } from '../../codec/instant-protocol.js';
import type { Engine } from '../../engine/engine.js';
import type { RevisionPin } from '../../engine/tree/history.js';
import type { Revision } from '../../lsm/row-key.js';
import type { Clock, Timer } from '../../ports/clock.js';
import type { Random } from '../../ports/random.js';
import type { GroupHost } from '../group-host.js';
import type { InstantHolds } from './instant-holds.js';
import { addIndexes, HOLD_ENDED, InstantRound, NO_FIELDS, type AskNode, type Confirmed } from './instant-round.js';
import { SharedRounds } from './shared-rounds.js';

/** How long leaders hold commits back for one attempt; twice as long after one that this was too short for, half as long after success. */
const HOLD_MS = 50;
const LONGEST_HOLD_MS = 800;
/** For this the leaders are asked without a hold whether they can commit at all. */
const SETTLE_MS = LONGEST_HOLD_MS;
/** An answer may take so much longer than the hold; then another attempt may find another leader. */
const ANSWER_MS = 450;
const FIRST_PAUSE_MS = 5;
const LAST_PAUSE_MS = 100;
/** While this node's replica is behind: a snapshot that it needs may wait for the end of the very read that waits for it. */
const FLOOR_CHECK_MS = 20;

export interface InstantsOptions {
  readonly nodeId: string;
  readonly host: Pick<GroupHost, 'groups' | 'now' | 'leaderOf' | 'notServing' | 'whenReached'>;
  readonly engine: Pick<Engine, 'historyFloor' | 'pinRevision'>;
  /** Of the leaders on this node. */
  readonly holds: Pick<InstantHolds, 'handle'>;
  /** Asks another node. */
  readonly ask: AskNode;
  readonly clock: Clock;
  readonly random: Random;
  readonly requestTimeoutMs: number;
}

/**
 * Instants at which this node can read partitions that other nodes lead (DESIGN.md section 9): what it chooses is strictly
 * serializable, what a client named is the same each time. `InstantHolds` says why.
 */
export class Instants {
  readonly #options: InstantsOptions;
  readonly #clock: Clock;
  readonly #rounds: SharedRounds<Confirmed>;
  /** Further attempts, by the nodes that they need. */
  readonly #roundsAgain = new Map<string, SharedRounds<Confirmed>>();
  /** By partition: this node's replica has everything that will ever be at or below. */
  readonly #complete: Float64Array;
  /** By partition: the newest of the reads that make it complete further. */
  readonly #completing = new Map<number, { readonly upTo: Revision; readonly done: Promise<void> }>();
  #holdMs = HOLD_MS;
  /** After a hold that was too short writes go on for as long, whoever wants to read. */
  #restUntilMs = -Infinity;
  /** Since the start. */
  rounds = 0;
  failedRounds = 0;
  /** Rounds that failed because a hold was too short. */
  endedHolds = 0;

  constructor(options: InstantsOptions) {
    this.#options = options;
    this.#clock = options.clock;
    this.#rounds = new SharedRounds(options.clock, (partitions, onHeld) => this.#round(partitions, onHeld, false));
    this.#complete = new Float64Array(options.host.groups.length);
  }

  /**
   * Chooses an instant that lies within this call. Pinned for the caller, who releases it. Rejects with `unavailable` when the time of
   * a request is over.
   */
  take(partitions: readonly number[]): Promise<RevisionPin> {
    return this.#untilDeadline(async (attempt) => {
      const { engine } = this.#options;
      // Where a partition has no leader, only those who read it wait.
      const leaders = this.#leaders(partitions);
      const round = attempt === 0 ? this.#rounds.join(partitions) : this.#again(leaders, partitions);
      const { revision, indexes } = await round;
      if (revision < engine.historyFloor) throw overtaken();
      const pin = engine.pinRevision(revision);
      try {
        await this.#bringHere(partitions, indexes, revision);
        return pin;
      } catch (error) {
        pin.release();
        throw error;
      }
    });
  }

  /** Resolves when these partitions can be read here at `revision`, which lies in the past and is pinned: now and for ever the same. */
  async reach(revision: Revision, partitions: readonly number[]): Promise<void> {
    if (mutated('cluster-past-without-round')) return;
    if (partitions.every((partition) => this.#complete[partition]! >= revision)) return;
    await this.#untilDeadline(async () => {
      const indexes = new Map<number, number>();
      const request = { ...NO_FIELDS, step: 'reach', revision } as const;
      await this.#askLeaders(partitions, request, HOLD_MS + ANSWER_MS, (nodeId, led, answer) =>
        addIndexes(indexes, nodeId, led, answer),
      );
      await this.#bringHere(partitions, indexes, revision);
    });
  }

  /** This replica has everything that will ever be at or below in the partition. */
  completeUpTo(partition: number): Revision {
    return this.#complete[partition]!;
  }

  /**
   * For a read that was judged at `now` and met a version that has expired at `expiry`: resolves when every write from before the expiry is
   * decided and applied here. One that is appended and not committed yet would otherwise take effect after the answer "absent". Reads
   * that meet such versions at a time share this, and it settles all that expired before.
   */
  complete(partition: number, expiry: Revision, now: Revision): Promise<void> {
    const coming = this.#completing.get(partition);
    if (coming !== undefined && coming.upTo >= expiry) return coming.done;
    const over = (): void => {
      if (this.#completing.get(partition) === completing) this.#completing.delete(partition);
    };
    const completing = { upTo: now, done: this.reach(now, [partition]).finally(over) };
    this.#completing.set(partition, completing);
    return completing.done;
  }

  /** The latest of the clocks of this node and of those that lead these partitions. */
  async latestClock(partitions: readonly number[]): Promise<Revision> {
    return this.#untilDeadline(async () => {
      let latest = this.#options.host.now();
      const request = { ...NO_FIELDS, step: 'now' } as const;
      await this.#askLeaders(partitions, request, HOLD_MS + ANSWER_MS, (_nodeId, _led, { revision }) => {
        latest = Math.max(latest, revision);
      });
      return latest;
    });
  }

  /** What failed with others may be the fault of a leader that is not needed here; those that need the same ones go on together. */
  async #again(leaders: ReadonlyMap<string, unknown>, partitions: readonly number[]): Promise<Confirmed> {
    const key = [...leaders.keys()].sort((a, b) => (a < b ? -1 : 1)).join(' ');
    let rounds = this.#roundsAgain.get(key);
    if (rounds === undefined) {
      rounds = new SharedRounds(this.#clock, (all, onHeld) => this.#round(all, onHeld, true));
      this.#roundsAgain.set(key, rounds);
    }
    try {
      return await rounds.join(partitions);
    } finally {
      if (rounds.isIdle && this.#roundsAgain.get(key) === rounds) this.#roundsAgain.delete(key);
    }
  }

  async #round(partitions: readonly number[], onHeld: () => void, isAgain: boolean): Promise<Confirmed> {
    const { host, engine } = this.#options;
    if (isAgain || this.#holdMs > HOLD_MS) {
      // For leaders that can't commit now, or are silent, nobody else is held.
      await this.#askLeaders(partitions, { ...NO_FIELDS, step: 'reach', revision: host.now() }, SETTLE_MS, () => {});
    }
    const restMs = this.#restUntilMs - this.#clock.monotonicMs();
    if (restMs > 0) await this.#sleep(restMs);
    const from = Math.max(host.now(), engine.historyFloor);
    const holdMs = this.#holdMs;
    const pin = engine.pinRevision(from);
    this.rounds++;
    try {
      const confirmed = await new InstantRound({
        leaders: this.#leaders(partitions),
        from,
        holdMs,
        timeoutMs: holdMs + ANSWER_MS,
        ask: (nodeId, request, timeoutMs) => this.#ask(nodeId, request, timeoutMs),
        onHeld,
      }).run();
      this.#holdMs = Math.max(HOLD_MS, holdMs / 2);
      return confirmed;
    } catch (error) {
      this.failedRounds++;
      if (error instanceof CairnError && error.code === HOLD_ENDED) {
        this.endedHolds++;
        this.#holdMs = Math.max(this.#holdMs, Math.min(2 * holdMs, LONGEST_HOLD_MS));
        this.#restUntilMs = this.#clock.monotonicMs() + holdMs;
      }
      throw error;
    } finally {
      // Those who share the round have pinned its instant by then.
      this.#clock.defer(() => pin.release());
    }
  }

  /**
   * Who serves the partitions at `revision`: this node, once its replica has applied what the leader had at or below it. Where a node
   * has no replica of a partition, the one that does has to be asked here.
   */
  async #bringHere(
    partitions: readonly number[],
    indexes: ReadonlyMap<number, number>,
    revision: Revision,
  ): Promise<void> {
    const { host } = this.#options;
    const behind: Promise<void>[] = [];
    for (const partition of partitions) {
      const reached = host.whenReached(host.groups[partition]!, indexes.get(partition)!);
      if (reached !== null) behind.push(reached);
    }
    if (behind.length > 0) {
      const reached = this.#unlessOvertaken(revision, Promise.all(behind));
      if (mutated('cluster-scan-before-applied')) reached.catch(() => undefined);
      else await reached;
    }
    for (const partition of partitions) {
      if (this.#complete[partition]! < revision) this.#complete[partition] = revision;
    }
  }

  #unlessOvertaken(revision: Revision, work: Promise<unknown>): Promise<void> {
    return new Promise((resolve, reject) => {
      let timer: Timer;
      const check = (): void => {
        if (this.#options.engine.historyFloor > revision) reject(overtaken());
        else timer = this.#clock.setTimer(FLOOR_CHECK_MS, check);
      };
      timer = this.#clock.setTimer(FLOOR_CHECK_MS, check);
      work.then(
        () => {
          timer.cancel();
          resolve();
        },
        (error: Error) => {
          timer.cancel();
          reject(error);
        },
      );
    });
  }

  // --- Asking.

  #leaders(partitions: readonly number[]): ReadonlyMap<string, readonly number[]> {
    const { host } = this.#options;
    const leaders = new Map<string, number[]>();
    for (const partition of partitions) {
      const group = host.groups[partition]!;
      const nodeId = host.leaderOf(group);
      if (nodeId === null) throw host.notServing(group);
      const led = leaders.get(nodeId);
      if (led === undefined) leaders.set(nodeId, [partition]);
      else led.push(partition);
    }
    return leaders;
  }

  async #askLeaders(
    partitions: readonly number[],
    request: InstantRequest,
    timeoutMs: number,
    onAnswer: (nodeId: string, led: readonly number[], answer: InstantAnswer) => void,
  ): Promise<void> {
    await Promise.all(
      Array.from(this.#leaders(partitions), async ([nodeId, led]) => {
        const answer = await this.#ask(nodeId, { ...request, partitions: led }, timeoutMs);
        onAnswer(nodeId, led, answer);
      }),
    );
  }

  #ask(nodeId: string, request: InstantRequest, timeoutMs: number): Promise<InstantAnswer> {
    const { nodeId: self, holds, ask } = this.#options;
    const answer = nodeId === self ? holds.handle(request) : ask(nodeId, request, timeoutMs);
    return new Promise((resolve, reject) => {
      const timer = this.#clock.setTimer(timeoutMs, () =>
        reject(new CairnError('unavailable', `node "${nodeId}" did not answer a scan within ${timeoutMs} ms`)),
      );
      answer.finally(() => timer.cancel()).then(resolve, reject);
    });
  }

  /** Tries again after a pause, which differs from node to node, until a request's time is over. */
  async #untilDeadline<T>(work: (attempt: number) => Promise<T>): Promise<T> {
    const { random, requestTimeoutMs } = this.#options;
    const deadlineMs = this.#clock.monotonicMs() + requestTimeoutMs;
    for (let attempt = 0; ; attempt++) {
      try {
        return await work(attempt);
      } catch (error) {
        // A node of another version will not answer better the next time.
        if (!(error instanceof CairnError) || error.code === 'protocol_error') throw error;
        const longestMs = Math.min(LAST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(attempt, 10));
        const pauseMs = 1 + (random.uint32() / 2 ** 32) * longestMs;
        if (this.#clock.monotonicMs() + pauseMs >= deadlineMs) {
          const text = `no instant for a read of several partitions within ${requestTimeoutMs} ms: ${error.message}`;
          throw new CairnError('unavailable', text, { cause: error });
        }
        await this.#sleep(pauseMs);
      }
    }
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => void this.#clock.setTimer(ms, resolve));
  }
}

function overtaken(): CairnError {
  return new CairnError('unavailable', 'a snapshot of another node takes the place of what is read');
}
