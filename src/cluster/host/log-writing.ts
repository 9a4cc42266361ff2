import { Fifo } from '../../base/fifo.js';
import { mutated } from '../../base/mutations.js';
import type { Log } from '../../engine/log/log.js';
import type { Entry } from '../../raft/entry.js';
import type { PersistRequest } from '../../raft/ready.js';
import { entryKindOf } from '../../replica/command.js';
import type { Group } from '../../replica/group.js';
import type { ClockBounds } from './clock-bounds.js';
import type { TurnSchedule } from './turn-schedule.js';

/** A commit index in the log saves the next start from keeping entries in memory until a leader tells it. */
const ENTRIES_PER_COMMIT_HINT = 256;

/** What a group must have on disk, written to the log in part or not at all yet. */
export interface Writing {
  readonly group: Group;
  readonly request: PersistRequest;
  /** Kept, because the group's log may be cut before they are written. */
  readonly entries: readonly Entry[];
  /** The core's commit index when it handed this out: with these entries the log holds all that is committed up to there. */
  readonly commit: number;
  written: number;
  /** Set when it goes to the log: while that has no room, a snapshot may take the replica's place. */
  replicaId: number;
  /** The log record with which all of it is durable. */
  logSequence: number;
}

/** What a core wants on disk, from its `ready()`. */
export function writingOf(group: Group, request: PersistRequest): Writing {
  const entries: Entry[] = [];
  if (request.entries !== null) {
    for (let index = request.entries.from; index <= request.entries.to; index++) entries.push(group.raft.entry(index));
  }
  return { group, request, entries, commit: group.raft.commitIndex, written: 0, replicaId: 0, logSequence: -1 };
}

/** The way of entries and hard states into the log, one record a turn for all groups, and the news that they are durable. */
export class LogWriting {
  readonly #log: Log;
  readonly #bounds: ClockBounds;
  readonly #turns: TurnSchedule;
  /** Called when cores were told that something is durable. */
  readonly #onDurable: () => void;
  /** Handed out by cores and not wholly in the log, which has no room. */
  readonly #backlog = new Fifo<Writing>();
  #backlogBytes = 0;
  /** In the log, in records that are not durable yet. */
  readonly #writing = new Fifo<Writing>();
  /** From here on those that no record was sealed for. */
  #unsealed = 0;
  /** The last commit index in the log. */
  readonly #commitHints = new Map<Group, number>();
  #sealedSequence = 0;
  #durableSequence = 0;

  constructor(log: Log, bounds: ClockBounds, turns: TurnSchedule, onDurable: () => void) {
    this.#log = log;
    this.#bounds = bounds;
    this.#turns = turns;
    this.#onDurable = onDurable;
  }

  get hasBacklog(): boolean {
    return this.#backlog.length > 0;
  }

  get backlogBytes(): number {
    return this.#backlogBytes;
  }

  append(writing: Writing): void {
    const { entries } = writing;
    writing.replicaId = writing.group.replicaId;
    if (this.#backlog.length === 0 && this.#write(writing)) return;
    this.#backlog.push(writing);
    this.#turns.sealNeeded = true;
    for (const { data } of entries) this.#backlogBytes += data.length;
  }

  appendBacklog(): void {
    for (let head = this.#backlog.peek(); head !== undefined && this.#write(head); head = this.#backlog.peek()) {
      this.#backlog.shift();
      for (const { data } of head.entries) this.#backlogBytes -= data.length;
    }
  }

  /** Closes the turn's record. */
  seal(): void {
    const bound = this.#bounds.toAppend();
    if (bound === 0 && !this.#turns.sealNeeded) return;
    this.#turns.sealNeeded = false;
    if (bound > 0) this.#bounds.append(bound);
    this.#sealedSequence = this.#log.seal();
    // On a full disk it may have to wait for another record; what was written does not.
    if (bound > 0) this.#bounds.appended(this.#log.boundSequence, bound);
    for (let i = this.#writing.length - this.#unsealed; i < this.#writing.length; i++) {
      this.#writing.at(i)!.logSequence = this.#sealedSequence;
    }
    this.#unsealed = 0;
    // The log seals by itself too, for example when it gives segments back: then what was written in this turn may be
    // durable already, and nobody calls again. Found by a simulated run in which one write was never answered.
    if (this.#sealedSequence <= this.#durableSequence || mutated('cluster-persisted-before-durable'))
      this.#takeDurable();
  }

  /** Everything up to `sequence` is on this node's disk. */
  durable(sequence: number): void {
    this.#durableSequence = sequence;
    // Only here: a turn that finds no room again is no reason for another one. The simulator's seed 119 span with a full disk.
    if (this.#backlog.length > 0) this.#turns.requestSeal();
    this.#takeDurable();
  }

  /** False when the log has no room for all of it; it goes on where it stopped. */
  #write(writing: Writing): boolean {
    const { group, request, entries, replicaId } = writing;
    const log = this.#log;
    const { groupId } = group;
    // Before the entries: none in the log is of a later term than the hard state.
    const { hardState } = request;
    if (hardState !== null && writing.written === 0 && !mutated('cluster-hard-state-unwritten')) {
      const { term, vote } = hardState;
      // A start applies what a commit index covers as soon as it reads it, and in the place of the entries that follow here the log may
      // hold replaced ones. Found by the simulator (seed 225).
      const inLog = mutated('cluster-commit-before-entries') ? Infinity : (entries[0]?.index ?? Infinity) - 1;
      const commit = Math.min(hardState.commit, inLog);
      if (!log.appendHardState(groupId, replicaId, term, vote, commit)) return false;
    }
    for (; writing.written < entries.length; writing.written++) {
      const { term, index, kind, revision, data } = entries[writing.written]!;
      // Without what Raft itself appends a group can't serve, not even reads.
      const urgent = kind !== 'normal';
      const at = log.reserveEntry(groupId, replicaId, term, index, revision, entryKindOf(kind), data.length, urgent);
      if (at < 0) return false;
      copyInto(log.bytes, at, data);
    }
    this.#hintCommit(writing);
    this.#writing.push(writing);
    this.#unsealed++;
    this.#turns.requestSeal();
    return true;
  }

  /** Rides along with what is written anyway. The only voter's log needs none: all of it is committed. */
  #hintCommit({ group, replicaId, commit: known }: Writing): void {
    const { raft } = group;
    // The commit index of a snapshot that is being installed says nothing of the log that it replaces.
    if (raft.configuration.soleVoter === raft.id || group.isInstalling) return;
    const { term, vote } = raft.hardState;
    const commit = mutated('cluster-commit-hint-ahead') ? raft.lastIndex : known;
    if (commit < (this.#commitHints.get(group) ?? 0) + ENTRIES_PER_COMMIT_HINT) return;
    if (this.#log.appendHardState(group.groupId, replicaId, term, vote, commit)) this.#commitHints.set(group, commit);
  }

  #takeDurable(): void {
    this.#bounds.durable(this.#durableSequence);
    let head = this.#writing.peek();
    const durable = mutated('cluster-persisted-before-durable') ? Infinity : this.#durableSequence;
    while (head !== undefined && head.logSequence !== -1 && head.logSequence <= durable) {
      this.#writing.shift();
      head.group.raft.persisted(head.request.sequence);
      this.#turns.schedule(head.group);
      head = this.#writing.peek();
    }
    this.#log.release(this.#durableSequence);
    if (mutated('cluster-full-log-spins') && this.#backlog.length > 0) this.#turns.requestSeal();
    this.#onDurable();
  }
}

/** Entries are short: a loop costs less than the call of `set`. */
function copyInto(target: Uint8Array, at: number, data: Uint8Array): void {
  if (data.length > 64) target.set(data, at);
  else for (let i = 0; i < data.length; i++) target[at + i] = data[i]!;
}
