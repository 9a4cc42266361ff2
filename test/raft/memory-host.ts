import assert from 'node:assert/strict';
import { encodeConfiguration } from '../../src/raft/configuration-codec.js';
import { NO_CONFIGURATION, type Configuration } from '../../src/raft/configuration.js';
import type { Entry, MemberId } from '../../src/raft/entry.js';
import type { ConfigurationAt } from '../../src/raft/membership.js';
import type { Message, SnapshotMeta } from '../../src/raft/message.js';
import type { HardState, RaftEnvironment, RaftOptions } from '../../src/raft/options.js';
import { Raft } from '../../src/raft/raft.js';
import type { TermRun } from '../../src/raft/raft-log.js';
import type { PersistRequest, ReadState, Ready } from '../../src/raft/ready.js';

export const GROUP = 7;

/** What a state machine holds after an index: enough to tell whether two of them saw the same entries. */
export interface MachineState {
  readonly index: number;
  readonly term: number;
  readonly revision: number;
  readonly digest: number;
  readonly configuration: ConfigurationAt;
}

/** What survives a crash. */
export interface MemoryDisk {
  hardState: HardState;
  /** What the log begins behind. */
  base: { index: number; term: number; revision: number };
  log: Entry[];
  machine: MachineState;
  clock: number;
  repairIndex: number;
  /** What it held, may have acknowledged, and has lost. */
  lost: readonly Entry[];
}

interface Write {
  readonly request: PersistRequest;
  readonly entries: readonly Entry[];
  /** The data of the snapshot that it installs. */
  readonly data: MachineState | null;
}

export interface HostEvents {
  /** An entry reaches a state machine. */
  applied?(host: MemoryHost, entry: Entry, state: MachineState): void;
  read?(host: MemoryHost, read: ReadState): void;
  refused?(host: MemoryHost, token: number): void;
  /** `byAnswer`: only because its leader said that there is no more. */
  repaired?(host: MemoryHost, byAnswer: boolean): void;
}

export function newDisk(configuration: Configuration = NO_CONFIGURATION): MemoryDisk {
  return {
    hardState: { term: 0, vote: 0, commit: 0 },
    base: { index: 0, term: 0, revision: 0 },
    log: [],
    machine: { index: 0, term: 0, revision: 0, digest: 0, configuration: { index: 0, configuration } },
    clock: 0,
    repairIndex: 0,
    lost: [],
  };
}

export function mix(digest: number, entry: Entry): number {
  let hash = Math.imul(digest ^ entry.term, 0x9e3779b1) ^ entry.index;
  hash = Math.imul(hash ^ entry.revision, 0x85ebca77);
  for (const byte of entry.data) hash = Math.imul(hash ^ byte, 0xc2b2ae3d) ^ (hash >>> 13);
  return hash >>> 0;
}

/** A replica with a disk and a state machine in memory, whose writes complete when the test says so. */
export class MemoryHost {
  readonly id: MemberId;
  readonly nodeId: string;
  readonly disk: MemoryDisk;
  readonly events: HostEvents;
  readonly writes: Write[] = [];
  raft!: Raft;
  machine!: MachineState;
  alive = true;
  /** Its idea of now; the test moves it. */
  clock: number;
  /** What others rely on, or what it gave. */
  promised = 0;
  snapshotsTo: MemberId[] = [];
  #startTerm = 0;
  /** Data of received snapshots, by index and term. */
  readonly #received = new Map<string, MachineState>();
  readonly #options: Partial<RaftOptions>;
  readonly #random: (bound: number) => number;
  readonly #readToken: () => number;

  constructor(
    id: MemberId,
    nodeId: string,
    disk: MemoryDisk,
    options: Partial<RaftOptions>,
    random: (bound: number) => number,
    readToken: () => number,
    events: HostEvents = {},
  ) {
    this.id = id;
    this.nodeId = nodeId;
    this.disk = disk;
    this.events = events;
    this.clock = disk.clock;
    this.#options = options;
    this.#random = random;
    this.#readToken = readToken;
    this.start();
  }

  start(): void {
    const { hardState, base, log, machine, repairIndex } = this.disk;
    this.alive = true;
    this.#startTerm = hardState.term;
    this.writes.length = 0;
    this.snapshotsTo = [];
    this.machine = machine;
    this.clock = Math.max(this.disk.clock, machine.revision, ...log.map(({ revision }) => revision));
    this.promised = this.clock;
    const inMemory = log.filter(({ index }) => index > machine.index);
    const onDisk = log.filter(({ index }) => index <= machine.index);
    const environment: RaftEnvironment = {
      random: this.#random,
      clock: () => Math.max(this.clock, this.promised),
      promisedClock: () => this.promised,
      wallClock: () => this.clock,
      durableClock: () => this.disk.clock,
      raiseClock: (instant) => (this.promised = Math.max(this.promised, instant)),
      nextRevision: (above) => (this.promised = Math.max(this.clock, this.promised, above) + 1),
      readToken: this.#readToken,
    };
    this.raft = new Raft(
      {
        group: GROUP,
        id: this.id,
        hardState,
        log: {
          baseIndex: base.index,
          baseTerm: base.term,
          runs: runsOf(onDisk),
          revision: onDisk.at(-1)?.revision ?? base.revision,
          entries: inMemory,
        },
        appliedIndex: machine.index,
        configuration: machine.configuration,
        repairIndex,
      },
      environment,
      this.#options,
    );
  }

  /**
   * What was being written is lost, but for the oldest `whole` writes, and of the next one the first `entries` entries: the log keeps
   * its order, and only an entry is atomic.
   */
  crash(whole = 0, entries = -1): void {
    for (let i = 0; i < whole && this.writes.length > 0; i++) this.writeNext();
    const [torn] = this.writes;
    if (torn !== undefined && entries >= 0) {
      // Only an entry truncates.
      this.writes[0] = {
        ...torn,
        entries: torn.entries.slice(0, entries),
        request: { ...torn.request, truncateFrom: 0 },
      };
      this.writeNext();
    }
    this.alive = false;
    this.writes.length = 0;
    this.#received.clear();
  }

  propose(data: Uint8Array): ReturnType<Raft['propose']> {
    const revision = Math.max(this.clock, this.promised, this.raft.lastRevision) + 1;
    const result = this.raft.propose(revision, data);
    if (typeof result !== 'string') this.promised = revision;
    return result;
  }

  /** Does what the core asks for, except that messages are returned and writes wait. */
  collect(): Ready {
    const ready = this.raft.ready();
    this.#noteRepaired();
    const { persist, committed } = ready;
    if (persist !== null) {
      const { entries, snapshot } = persist;
      const copies: Entry[] = [];
      for (let i = entries?.from ?? 1; i <= (entries?.to ?? 0); i++) copies.push(this.raft.entry(i));
      const data = snapshot === null ? null : this.#received.get(keyOf(snapshot))!;
      assert.ok(data !== undefined);
      this.writes.push({ request: persist, entries: copies, data });
    }
    if (committed !== null) {
      for (let i = committed.from; i <= committed.to; i++) this.#apply(this.raft.entry(i));
      this.raft.applied(committed.to);
    }
    for (const { follower, from, to, maxBytes } of ready.loads) this.#load(follower, from, to, maxBytes);
    for (const member of ready.snapshotsTo) this.snapshotsTo.push(member);
    for (const read of ready.reads) this.events.read?.(this, read);
    for (const token of ready.refusedReads) this.events.refused?.(this, token);
    return ready;
  }

  #apply(entry: Entry): void {
    assert.equal(entry.index, this.machine.index + 1, 'entries are applied in order');
    this.machine = {
      index: entry.index,
      term: entry.term,
      revision: entry.revision,
      digest: mix(this.machine.digest, entry),
      configuration: this.raft.configurationAt(entry.index)!,
    };
    this.events.applied?.(this, entry, this.machine);
  }

  #load(follower: MemberId, from: number, to: number, maxBytes: number): void {
    if (from <= this.disk.base.index) {
      this.raft.entriesLoaded(follower, from, null);
      return;
    }
    const entries: Entry[] = [];
    let bytes = 0;
    for (const entry of this.disk.log) {
      if (entry.index < from || entry.index > to) continue;
      bytes += entry.data.length;
      if (entries.length > 0 && bytes > maxBytes) break;
      entries.push(entry);
    }
    this.raft.entriesLoaded(follower, from, entries);
  }

  /** The entries above `index` can't be read any more; that they were `most` at most is what a start can tell. */
  loseAbove(index: number, most: number): void {
    const { disk } = this;
    disk.lost = disk.log.filter((entry) => entry.index > index);
    disk.log = disk.log.filter((entry) => entry.index <= index);
    disk.repairIndex = index + most;
  }

  /** The oldest write becomes durable; its sequence is returned, to tell the core now or later. */
  writeNext(): number {
    const { request, entries, data } = this.writes.shift()!;
    const { disk } = this;
    if (request.snapshot !== null) {
      disk.base = request.snapshot;
      disk.log = [];
      disk.machine = data!;
    }
    if (request.hardState !== null) disk.hardState = request.hardState;
    if (request.truncateFrom > 0) disk.log = disk.log.filter(({ index }) => index < request.truncateFrom);
    for (const entry of entries) {
      // As on the real log: a later entry replaces what stands at its index and behind it.
      disk.log.length = Math.max(0, Math.min(disk.log.length, entry.index - disk.base.index - 1));
      disk.log.push(entry);
    }
    disk.clock = Math.max(disk.clock, request.clockBound, ...entries.map(({ revision }) => revision));
    return request.sequence;
  }

  /** Completes the oldest write. */
  persistNext(): void {
    const { snapshot } = this.writes[0]!.request;
    const data = this.writes[0]!.data;
    const sequence = this.writeNext();
    this.raft.persisted(sequence);
    if (snapshot !== null && data !== null) {
      this.machine = data;
      this.raft.applied(snapshot.index);
    }
    this.#noteRepaired();
  }

  #noteRepaired(): void {
    const { disk, raft, events } = this;
    if (raft.repairing || disk.repairIndex === 0) return;
    const byAnswer = raft.durableIndex < disk.repairIndex && raft.termAt(raft.durableIndex) <= this.#startTerm;
    disk.repairIndex = 0;
    events.repaired?.(this, byAnswer);
    disk.lost = [];
  }

  /** The state machine's data up to now is durable. */
  flush(): void {
    if (this.machine.index > this.disk.machine.index) this.disk.machine = this.machine;
  }

  compact(index: number): void {
    const { disk } = this;
    const limit = Math.min(index, disk.machine.index, this.raft.appliedIndex, this.raft.durableIndex);
    if (limit <= disk.base.index) return;
    const last = disk.log.find((entry) => entry.index === limit)!;
    disk.base = { index: limit, term: last.term, revision: last.revision };
    disk.log = disk.log.filter((entry) => entry.index > limit);
    this.raft.compact(limit);
  }

  snapshotMeta(): SnapshotMeta {
    const { index, term, revision, configuration } = this.machine;
    return {
      index,
      term,
      revision,
      configuration: configuration.configuration,
      configIndex: configuration.index,
      floor: 0,
    };
  }

  /** A whole snapshot has arrived beside this message. */
  receive(message: Message & { type: 'snapshot' }, data: MachineState): void {
    this.#received.set(keyOf(message.snapshot), data);
    this.raft.step(message);
  }
}

function keyOf({ index, term }: SnapshotMeta): string {
  return `${index}@${term}`;
}

function runsOf(entries: readonly Entry[]): TermRun[] {
  return entries.map(({ index, term }) => ({ lastIndex: index, term }));
}

/** Whether a disk holds an entry, in its log or below it. */
export function diskHolds(disk: MemoryDisk, index: number, term: number): boolean {
  if (index <= disk.base.index) return true;
  return disk.log[index - disk.base.index - 1]?.term === term;
}

export function sameConfiguration(a: Configuration, b: Configuration): boolean {
  return Buffer.compare(encodeConfiguration(a), encodeConfiguration(b)) === 0;
}
