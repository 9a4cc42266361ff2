import type { CairnError } from '../../base/errors.js';
import { Fifo } from '../../base/fifo.js';
import type { Engine } from '../../engine/engine.js';
import type { Clock } from '../../ports/clock.js';
import type { Entry } from '../../raft/entry.js';
import { applyWrite } from '../../replica/apply.js';
import type { Group } from '../../replica/group.js';
import { settling, Waiters, type Done } from '../waiters.js';

/** A slice of applying ends after this, so that the sockets are read in between. */
const APPLY_SLICE_MS = 4;
const ENTRIES_PER_CLOCK_READ = 32;

/** Takes committed entries into the engine, in order and in slices, and answers who waits for an index. */
export class Applying {
  readonly #engine: Engine;
  readonly #clock: Clock;
  /** Committed entries that are not applied yet, in the order in which they committed. */
  readonly #committed = new Fifo<{ readonly group: Group; next: number; readonly to: number }>();
  readonly #waiters = new Map<Group, Waiters>();
  #draining = false;
  readonly #drain = (): void => {
    this.#draining = false;
    this.run();
  };

  constructor(groups: readonly Group[], engine: Engine, clock: Clock) {
    this.#engine = engine;
    this.#clock = clock;
    for (const group of groups) this.#waiters.set(group, new Waiters());
  }

  committed(group: Group, from: number, to: number): void {
    this.#committed.push({ group, next: from, to });
  }

  /** A snapshot covers what was committed before. */
  dropCommitted(group: Group): void {
    this.#committed.removeWhere((range) => range.group === group);
  }

  /** Everything up to `index` is applied, by a snapshot. */
  skippedTo(group: Group, index: number): void {
    this.#waiters.get(group)!.settleUpTo(index, null);
  }

  run(): void {
    if (this.#draining) return;
    const startedMs = this.#clock.monotonicMs();
    let count = 0;
    for (let range = this.#committed.peek(); range !== undefined; range = this.#committed.peek()) {
      const { group, to } = range;
      while (range.next <= to) {
        if (++count % ENTRIES_PER_CLOCK_READ === 0 && this.#clock.monotonicMs() - startedMs > APPLY_SLICE_MS) {
          group.raft.applied(range.next - 1);
          this.#draining = true;
          this.#clock.defer(this.#drain);
          return;
        }
        this.#applyEntry(group, group.raft.entry(range.next++));
      }
      this.#committed.shift();
      group.raft.applied(to);
      this.#waiters.get(group)!.settleUpTo(to, null);
    }
  }

  #applyEntry(group: Group, entry: Entry): void {
    const { index, term, revision, data } = entry;
    if (entry.kind === 'normal') {
      applyWrite(this.#engine, group.replicaId, revision, data, 0, data.length, group.keyHashOf(entry));
    }
    group.applied(index, term, revision);
  }

  /** At once when it is applied; `sinceMs` is when the caller began to wait. */
  whenReached(group: Group, index: number, sinceMs: number, done: Done): void {
    if (group.appliedIndex >= index) done(null, 0);
    else this.#waiters.get(group)!.add(index, sinceMs, done);
  }

  /** As `whenReached`. */
  reached(group: Group, index: number): Promise<void> {
    const sinceMs = this.#clock.monotonicMs();
    return new Promise((resolve, reject) => this.whenReached(group, index, sinceMs, settling(resolve, reject)));
  }

  /** Calls back when the group's unapplied writes of now are applied; at once when there are none. */
  afterUnapplied(group: Group, done: Done): void {
    if (group.pendingCount === 0) done(null, 0);
    else this.whenReached(group, group.raft.lastIndex, this.#clock.monotonicMs(), done);
  }

  /** As `afterUnapplied`. */
  whenApplied(group: Group): Promise<void> {
    return new Promise((resolve, reject) => this.afterUnapplied(group, settling(resolve, reject)));
  }

  failBefore(group: Group, latestMs: number, why: () => CairnError): void {
    this.#waiters.get(group)!.failBefore(latestMs, why);
  }
}
