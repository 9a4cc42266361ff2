import { CairnError } from '../base/errors.js';
import type { GroupHost } from '../cluster/group-host.js';
import type { Instants } from '../cluster/instants/instants.js';
import type { Engine } from '../engine/engine.js';
import type { RevisionPin } from '../engine/tree/history.js';
import type { Revision } from '../lsm/row-key.js';
import type { Group } from '../replica/group.js';

export interface InstantPinsOptions {
  readonly host: GroupHost;
  readonly engine: Engine;
  /** Asks the leaders on other nodes; a node alone needs nobody. */
  readonly instants?: Instants;
}

/** Instants for reads over several partitions, with their versions kept from compaction. */
export class InstantPins {
  readonly #host: GroupHost;
  readonly #engine: Engine;
  readonly #instants: Instants | null;

  constructor({ host, engine, instants }: InstantPinsOptions) {
    this.#host = host;
    this.#engine = engine;
    this.#instants = instants ?? null;
  }

  /**
   * An instant that binds these partitions: `at`, or, when that is 0, one within this call. When it resolves, nothing at or below it can
   * be written or is not applied here. The caller releases it. Rejects with `invalid_request` when `at` lies in the future, with
   * `history_gone` when it is too old, with `unavailable`.
   */
  async pin(at: Revision, partitions: readonly number[]): Promise<RevisionPin> {
    const instants = this.#readsAlone(partitions) ? null : this.#othersNeeded(partitions);
    if (at === 0 && instants !== null) return instants.take(partitions);
    let now = this.#host.now();
    if (at > now && instants !== null) now = await instants.latestClock(partitions);
    if (at > now) {
      throw new CairnError('invalid_request', `at: revision ${at} is in the future; now is ${now}`, {
        extra: { currentRevision: now },
      });
    }
    const revision = at === 0 ? now : at;
    const floor = this.#engine.historyFloor;
    if (revision < floor) {
      throw new CairnError('history_gone', `revision ${revision} is below the history floor ${floor}`, {
        extra: { minRevision: floor },
      });
    }
    const pin = this.#engine.pinRevision(revision);
    try {
      if (instants === null) await this.#reachAlone(revision);
      else await instants.reach(revision, partitions);
    } catch (error) {
      pin.release();
      throw error;
    }
    return pin;
  }

  /** Nothing below it can be written to the partition any more, and what was is applied here. */
  completeUpTo(partition: number): Revision {
    if (this.#instants !== null) return this.#instants.completeUpTo(partition);
    const group = this.#host.groups[partition]!;
    return group.pendingCount === 0 ? Infinity : group.pendingAt(0).entry.revision;
  }

  /**
   * For a read of this key at `now` that met a version which expired at `expiry`, by then: resolves when every write of the key from before
   * the expiry is decided and applied here.
   */
  async complete(group: Group, key: Uint8Array, hash: number, expiry: Revision, now: Revision): Promise<void> {
    if (this.#instants !== null) await this.#instants.complete(group.partition, expiry, now);
    else if (group.findUnapplied(key, 0, key.length, hash) !== null) await this.#host.whenApplied(group);
  }

  #readsAlone(partitions: readonly number[]): boolean {
    return partitions.every((partition) => this.#host.readsAlone(this.#host.groups[partition]!));
  }

  #othersNeeded(partitions: readonly number[]): Instants {
    if (this.#instants !== null) return this.#instants;
    // A node alone whose first entries are not applied yet.
    throw this.#host.notServing(this.#host.groups[partitions[0]!]!);
  }

  async #reachAlone(revision: Revision): Promise<void> {
    const bound = this.#host.rely(revision);
    if (bound !== null) await bound;
    if (this.#host.unappliedEntries > 0) await this.#host.barrier();
  }
}
