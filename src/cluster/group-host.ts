import { CairnError } from '../base/errors.js';
import { Fifo } from '../base/fifo.js';
import type { Engine } from '../engine/engine.js';
import type { Log } from '../engine/log/log.js';
import type { Revision } from '../lsm/row-key.js';
import { applyWrite } from '../replica/apply.js';
import { ENTRY_NO_OP, ENTRY_WRITE, type EntryKind } from '../replica/command.js';
import { MANY_KEYS, SOLE_VOTER, type EntryDone, type Group, type PendingEntry } from '../replica/group.js';
import type { RevisionClock } from '../replica/revision-clock.js';
import type { Clock, Timer } from '../ports/clock.js';

/** A slice of applying ends after this, so that the sockets are read in between. */
const APPLY_SLICE_MS = 4;
const ENTRIES_PER_CLOCK_READ = 32;
/** When the engine asks for slower writes, a loop turn's record waits this long: closed-loop writers slow down with it. */
const SLOW_SEAL_DELAY_MS = 5;
const DEADLINE_CHECK_MS = 500;

export interface GroupHostOptions {
  readonly groups: readonly Group[];
  readonly engine: Engine;
  readonly log: Log;
  readonly clock: Clock;
  readonly revisionClock: RevisionClock;
  readonly requestTimeoutMs: number;
}

/** Something that waits until everything before it is durable and applied. */
interface Barrier {
  /** How many entries must have been applied, counted since the start. */
  readonly appliedEntries: number;
  /** The log record that must be durable, or -1 until it is sealed. */
  sequence: number;
  /** Infinity for one that waits as long as it takes. */
  readonly sinceMs: number;
  /** Null once it was called. */
  settle: BarrierDone | null;
}

/** Called once: with null, or with `unavailable` when the log did not get there in time. */
export type BarrierDone = (error: CairnError | null) => void;

/**
 * Drives all groups of the node: one log record per loop turn for all of them, then commit, apply and answer in the order of
 * the log. A group has one voter, so an entry commits when the record that carries it is durable here.
 */
export class GroupHost {
  readonly groups: readonly Group[];
  readonly #engine: Engine;
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #revisionClock: RevisionClock;
  readonly #requestTimeoutMs: number;

  /** Appended, not applied; in the order of the log. The last `#unsealed` of them have no record yet. */
  readonly #pending = new Fifo<PendingEntry>();
  readonly #barriers = new Fifo<Barrier>();
  readonly #bounds = new Fifo<{ sequence: number; bound: Revision }>();
  readonly #seal = (): void => this.#sealTurn();
  readonly #drain = (): void => this.#applyDurable();

  #unsealed = 0;
  #sealScheduled = false;
  #sealAgain = false;
  #turnStartedMs = 0;
  #highestRevision: Revision = 0;
  /** Of the last sealed record: what waits for all sealed ones waits for this. */
  #sealedSequence = 0;
  #durableSequence = 0;
  #draining = false;
  #appendedEntries = 0;
  #appliedEntries = 0;
  #deadlineTimer: Timer | null = null;
  #closed = false;

  constructor(options: GroupHostOptions) {
    this.groups = options.groups;
    this.#engine = options.engine;
    this.#log = options.log;
    this.#clock = options.clock;
    this.#revisionClock = options.revisionClock;
    this.#requestTimeoutMs = options.requestTimeoutMs;
    this.#watchDeadlines();
  }

  /** Where `append` wants the payload, and where unapplied payloads stand. */
  get ring(): Uint8Array {
    return this.#log.bytes;
  }

  /** Everything up to `sequence` is on this node's disk. */
  durable(sequence: number): void {
    this.#durableSequence = sequence;
    if (!this.#draining) this.#applyDurable();
  }

  /** The log may have room again, and what found none before: a clock bound that somebody waits for. */
  admissionChanged(): void {
    this.#sealAgain = true;
    this.#scheduleSeal();
  }

  get unappliedEntries(): number {
    return this.#pending.length;
  }

  /** Why no write can be taken now, or null. Checked before every append, so that nothing accepted can fail for space. */
  admission(): CairnError | null {
    if (this.#closed) return new CairnError('shutting_down', 'this node is shutting down');
    if (this.#log.admission === 'disk_full') return diskFull('the log');
    if (this.#engine.pressure === 'stop') {
      const reason = this.#engine.pressureReason;
      if (reason === 'disk_full') return diskFull('tables');
      return new CairnError('overloaded', `writes wait for the storage engine (${reason}); retry`);
    }
    return null;
  }

  /** Why the last `append` returned -1. */
  refusal(): CairnError {
    if (this.#log.refusal === 'disk_full') return diskFull('the log');
    return new CairnError('overloaded', 'more writes wait for the disk than the log can hold; retry');
  }

  /**
   * Appends one entry to a group: takes its revision and its place in the log, now. Returns the offset in `ring` where the
   * caller writes `payloadLength` bytes before it does anything else, or -1 when the ring is full. `done` is called
   * after the entry was applied, never before this returns.
   */
  append(
    group: Group,
    revision: Revision,
    kind: EntryKind,
    payloadLength: number,
    operationCount: number,
    keyHash: number,
    done: EntryDone | null,
  ): number {
    const index = group.lastIndex + 1;
    const payloadStart = this.#log.reserveEntry(
      group.groupId,
      group.replicaId,
      group.term,
      index,
      revision,
      kind,
      payloadLength,
      // Without its first entry a group can't serve, not even reads.
      kind === ENTRY_NO_OP,
    );
    if (payloadStart < 0) return -1;
    this.#scheduleSeal();
    const entry: PendingEntry = {
      group,
      kind,
      term: group.term,
      index,
      revision,
      payloadStart,
      payloadLength,
      operationCount,
      keyHash,
      appendedAtMs: this.#turnStartedMs,
      sequence: -1,
      done,
      rows: null,
    };
    group.appended(entry);
    this.#pending.push(entry);
    this.#unsealed++;
    this.#appendedEntries++;
    if (revision > this.#highestRevision) this.#highestRevision = revision;
    this.#revisionClock.give(revision);
    return payloadStart;
  }

  /** The revision that the group's next entry takes if it is appended in this same step. */
  nextRevision(group: Group): Revision {
    return this.#revisionClock.next(group.lastRevision, group.partition, this.groups.length);
  }

  /** Every group's first entry of this term; resolves when all are applied, so that the node may evaluate and serve. */
  async startTerm(): Promise<void> {
    for (const group of this.groups) {
      group.term++;
      const voted = this.#log.appendHardState(group.groupId, group.replicaId, group.term, SOLE_VOTER, group.lastIndex);
      if (!voted || this.append(group, this.nextRevision(group), ENTRY_NO_OP, 0, 0, MANY_KEYS, null) < 0) {
        throw new CairnError('disk_full', 'no space left for the first log entries of this start');
      }
    }
    await new Promise<void>((resolve) => this.#wait(0, Infinity, () => resolve()));
  }

  /** This instant for a read. A full log can't take a higher bound, so time stands at the durable one, and reads go on. */
  now(): Revision {
    const now = this.#revisionClock.now();
    const bound = this.#revisionClock.durableBound;
    return now > bound && this.#log.admission === 'disk_full' ? bound : now;
  }

  /** Resolves when everything appended so far is durable and applied; rejects when that takes too long. */
  barrier(): Promise<void> {
    return new Promise((resolve, reject) => this.afterUnapplied(settling(resolve, reject)));
  }

  /** As `barrier`; calls back at once when nothing is pending. */
  afterUnapplied(done: BarrierDone): void {
    if (this.#pending.length === 0) done(null);
    else this.#wait(0, this.#clock.monotonicMs(), done);
  }

  #wait(sequence: number, sinceMs: number, settle: BarrierDone): void {
    this.#barriers.push({ appliedEntries: this.#appendedEntries, sequence, sinceMs, settle });
  }

  /**
   * Resolves when no later life of the node can give a revision at or below `instant`, which the caller is about to rely on; and
   * binds this life. Null when nothing has to be waited for. Rejects when that takes too long.
   */
  rely(instant: Revision): Promise<void> | null {
    this.#revisionClock.raise(instant);
    if (instant <= this.#revisionClock.durableBound) return null;
    if (instant > this.#highestRevision) this.#highestRevision = instant;
    return new Promise((resolve, reject) => {
      this.#wait(-1, this.#clock.monotonicMs(), settling(resolve, reject));
      this.#scheduleSeal();
    });
  }

  /**
   * Takes no more entries; resolves when the accepted ones are applied and answered, or were answered as unknown because a full disk
   * keeps the log from writing them. Closing the log then says so.
   */
  async close(): Promise<void> {
    this.#closed = true;
    await new Promise<void>((resolve) => this.afterUnapplied(() => resolve()));
    this.#deadlineTimer?.cancel();
  }

  #scheduleSeal(): void {
    if (this.#sealScheduled) return;
    this.#sealScheduled = true;
    this.#turnStartedMs = this.#clock.monotonicMs();
    if (this.#engine.pressure === 'slow') this.#clock.setTimer(SLOW_SEAL_DELAY_MS, this.#seal);
    else this.#clock.defer(this.#seal);
  }

  #sealTurn(): void {
    this.#sealScheduled = false;
    const bound = this.#revisionClock.boundToAppend(this.#highestRevision);
    if (bound > 0) this.#log.appendClockBound(bound);
    if (bound > 0 || this.#unsealed > 0 || this.#sealAgain) {
      this.#sealAgain = false;
      this.#sealedSequence = this.#log.seal();
      if (bound > 0) this.#bounds.push({ sequence: this.#sealedSequence, bound });
      const first = this.#pending.length - this.#unsealed;
      for (let i = first; i < this.#pending.length; i++) this.#pending.at(i)!.sequence = this.#sealedSequence;
      this.#unsealed = 0;
    }
    for (let i = 0; i < this.#barriers.length; i++) {
      const barrier = this.#barriers.at(i)!;
      if (barrier.sequence === -1) barrier.sequence = this.#sealedSequence;
    }
    // The log seals by itself too, for example when it gives segments back: then what was appended in this turn may be
    // durable already, and nobody calls again. Found by a simulated run in which one write was never answered.
    if (this.#sealedSequence <= this.#durableSequence && !this.#draining) this.#applyDurable();
  }

  #applyDurable(): void {
    this.#draining = false;
    let bound = this.#bounds.peek();
    while (bound !== undefined && bound.sequence <= this.#durableSequence) {
      this.#revisionClock.boundIsDurable(bound.bound);
      this.#bounds.shift();
      bound = this.#bounds.peek();
    }
    const startedMs = this.#clock.monotonicMs();
    let count = 0;
    let entry = this.#pending.peek();
    while (entry !== undefined && entry.sequence !== -1 && entry.sequence <= this.#durableSequence) {
      if (++count % ENTRIES_PER_CLOCK_READ === 0 && this.#clock.monotonicMs() - startedMs > APPLY_SLICE_MS) {
        this.#draining = true;
        this.#clock.defer(this.#drain);
        break;
      }
      this.#pending.shift();
      if (entry.kind === ENTRY_WRITE) {
        applyWrite(
          this.#engine,
          entry.group.replicaId,
          entry.revision,
          this.#log.bytes,
          entry.payloadStart,
          entry.payloadLength,
          entry.keyHash,
        );
      }
      entry.group.applied(entry);
      this.#appliedEntries++;
      entry.done?.(null, entry.revision);
      entry = this.#pending.peek();
    }
    this.#log.release(this.#releasableSequence());
    this.#resolveBarriers();
  }

  /**
   * A record's bytes may be overwritten only when its last entry is applied. What was appended in a turn that is not sealed yet
   * is in records behind the last sealed one, and they may be durable already: the log closes full records by itself.
   */
  #releasableSequence(): number {
    const entry = this.#pending.peek();
    if (entry === undefined) return this.#durableSequence;
    const before = entry.sequence === -1 ? this.#sealedSequence : entry.sequence - 1;
    return Math.min(this.#durableSequence, before);
  }

  #resolveBarriers(): void {
    let barrier = this.#barriers.peek();
    while (
      barrier !== undefined &&
      barrier.sequence !== -1 &&
      barrier.sequence <= this.#durableSequence &&
      barrier.appliedEntries <= this.#appliedEntries
    ) {
      this.#barriers.shift();
      barrier.settle?.(null);
      barrier = this.#barriers.peek();
    }
  }

  /** Answers what waits too long for the disk. The entries stay in the log: their outcome is unknown to the caller. */
  #watchDeadlines(): void {
    this.#deadlineTimer = this.#clock.setTimer(DEADLINE_CHECK_MS, () => {
      const latest = this.#clock.monotonicMs() - this.#requestTimeoutMs;
      for (let i = 0; i < this.#pending.length; i++) {
        const entry = this.#pending.at(i)!;
        if (entry.appendedAtMs > latest) break;
        const done = entry.done;
        entry.done = null;
        done?.(
          new CairnError(
            'deadline_exceeded',
            `not durable after ${this.#requestTimeoutMs} ms; the outcome is unknown`,
            {
              extra: { outcome: 'unknown' },
            },
          ),
          0,
        );
      }
      this.#failLateBarriers(latest);
      if (!this.#closed || this.#pending.length > 0) this.#watchDeadlines();
    });
  }

  /** Nothing of theirs was written, so their callers may try again. */
  #failLateBarriers(latestMs: number): void {
    for (let i = 0; i < this.#barriers.length; i++) {
      const barrier = this.#barriers.at(i)!;
      if (barrier.sinceMs > latestMs) continue;
      const settle = barrier.settle;
      barrier.settle = null;
      settle?.(
        new CairnError('unavailable', `the log did not become durable within ${this.#requestTimeoutMs} ms; retry`),
      );
    }
  }
}

function settling(resolve: () => void, reject: (error: CairnError) => void): BarrierDone {
  return (error) => {
    if (error === null) resolve();
    else reject(error);
  };
}

function diskFull(what: string): CairnError {
  return new CairnError('disk_full', `no space left for ${what}; reads go on, writes resume when there is space`);
}
