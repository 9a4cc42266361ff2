import assert from 'node:assert/strict';
import { equalRanges, writeUint32 } from '../../src/base/bytes.js';
import { xxHash32 } from '../../src/base/hash.js';
import type { Prng } from '../../src/base/prng.js';
import { Engine } from '../../src/engine/engine.js';
import { createEngineJobs, type EngineJobs } from '../../src/engine/jobs/jobs.js';
import { Log } from '../../src/engine/log/log.js';
import { isTombstone, TOMBSTONE_RECORD } from '../../src/lsm/record.js';
import { LATEST, type Revision } from '../../src/lsm/row-key.js';
import { emptyGroupState, type GroupState } from '../../src/lsm/version/version-edit.js';
import type { CrashScript } from './crash-harness.js';
import { SimLogWriter } from './ports/sim-log-writer.js';
import type { SimMachine } from './sim-machine.js';

/** One entry that was handed to the log. */
export interface Write {
  readonly index: number;
  readonly revision: Revision;
  readonly key: Uint8Array;
  readonly record: Uint8Array;
}

/** What the test knows of a group, whatever happens to the machine. */
export interface GroupMemory {
  readonly groupId: number;
  /** Everything submitted and not known to be lost: the entry of index i stands at i - 1. */
  writes: Write[];
  /** Entries up to it were answered with success. */
  promisedIndex: number;
  /** The highest term whose hard state was answered for. */
  promisedTerm: number;
  term: number;
}

/** Which sizes and faults a seed tries. Tiny limits, so that everything happens all the time. */
export interface StorePlan {
  readonly rounds: number;
  readonly keys: readonly Uint8Array[];
  readonly longestValueBytes: number;
  readonly longestBatch: number;
  readonly historyWindowMs: number;
  readonly shortTransferProbability: number;
  readonly workerDeathProbability: number;
}

export interface StoreMemory {
  readonly plan: StorePlan;
  readonly groups: readonly GroupMemory[];
  replicaIds: readonly number[] | undefined;
  logId: Uint8Array | null;
  lastRevision: Revision;
  promisedClockBound: Revision;
  /** Compactions and flushes that came to their end in all lives. */
  readonly reached: { flushes: number; compactions: number; releasedSegments: number };
}

const GROUPS = 2;
/** Keys that look like parts, ends or prefixes of others. */
const ODD_KEYS = [[0], [0, 0], [255], [255, 255, 255, 255], [0, 255], [97], [97, 0], [97, 98]];

export function beginStore(prng: Prng): StoreMemory {
  const plainKeys = Array.from({ length: prng.between(5, 60) }, (_, i) => Buffer.from(`key:${i}`));
  return {
    plan: {
      rounds: prng.between(10, 40),
      keys: [...ODD_KEYS.map((bytes) => Uint8Array.from(bytes)), ...plainKeys],
      longestValueBytes: prng.pick([50, 400, 1500]),
      longestBatch: prng.pick([1, 8, 25]),
      historyWindowMs: prng.pick([0, 0, 10]),
      shortTransferProbability: prng.pick([0, 0, 0.2]),
      workerDeathProbability: prng.pick([0, 0, 0.1]),
    },
    groups: Array.from({ length: GROUPS }, (_, i) => ({
      groupId: i + 1,
      writes: [],
      promisedIndex: 0,
      promisedTerm: 0,
      term: 1,
    })),
    replicaIds: undefined,
    logId: null,
    lastRevision: 1_000_000,
    promisedClockBound: 0,
    reached: { flushes: 0, compactions: 0, releasedSegments: 0 },
  };
}

/** A group's position in one life. */
interface LiveGroup {
  readonly memory: GroupMemory;
  replicaId: number;
  appliedIndex: number;
  appliedRevision: Revision;
  flushedIndex: number;
}

/** Log and engine put together as a node does it, for groups of one voter: append, sync, apply, answer. */
export class Store {
  readonly #machine: SimMachine;
  readonly #memory: StoreMemory;
  readonly #groups: LiveGroup[];
  #engine!: Engine;
  #log!: Log;
  /** In the order of the log; applied when durable. */
  readonly #waiting: { readonly sequence: number; readonly answer: () => void }[] = [];
  #unsealed: (() => void)[] = [];

  private constructor(machine: SimMachine, memory: StoreMemory) {
    this.#machine = machine;
    this.#memory = memory;
    this.#groups = memory.groups.map((group) => ({
      memory: group,
      replicaId: 0,
      appliedIndex: 0,
      appliedRevision: 0,
      flushedIndex: 0,
    }));
  }

  /** Starts, applies what the log holds, and checks that it is what was promised. */
  static async start(machine: SimMachine, memory: StoreMemory): Promise<Store> {
    const store = new Store(machine, memory);
    machine.disk.shortTransferProbability = memory.plan.shortTransferProbability;
    await store.#openEngine();
    await store.#openLog();
    return store;
  }

  /** Some rounds of writes, flushes and compactions. */
  async work(rounds: number): Promise<void> {
    const { prng, scheduler } = this.#machine;
    for (let round = 0; round < rounds; round++) {
      for (let writes = prng.between(1, this.#memory.plan.longestBatch); writes > 0; writes--) await this.#append();
      if (prng.chance(0.1)) this.#appendHardState(prng.pick(this.#groups));
      if (prng.chance(0.1)) this.#appendClockBound();
      const sequence = this.#seal();
      if (prng.chance(0.5)) await this.#log.whenDurable(sequence);
      if (prng.chance(0.08)) this.#inBackground(this.#engine.flush());
      if (prng.chance(0.03)) this.#inBackground(this.#engine.compact());
      if (prng.chance(0.3)) await scheduler.sleep(prng.below(20));
    }
    await this.#log.whenDurable(this.#seal());
  }

  async close(): Promise<void> {
    await this.#engine.settled();
    const { flushedTables, compactions } = this.#engine.stats();
    this.#memory.reached.flushes += flushedTables;
    this.#memory.reached.compactions += compactions;
    await this.#engine.close();
    await this.#log.close();
  }

  /** Every key, at the newest revision and at some older ones, and a scan, against the plain list of writes. */
  async verify(): Promise<void> {
    const { prng } = this.#machine;
    const engine = this.#engine;
    for (const group of this.#groups) {
      for (const key of this.#memory.plan.keys) {
        await this.#verifyRead(group, key, LATEST);
        const floor = engine.historyFloor;
        const oldest = group.memory.writes.findIndex((write) => write.revision >= floor);
        if (oldest < 0 || oldest >= group.appliedIndex) continue;
        const at = group.memory.writes[prng.between(oldest, group.appliedIndex - 1)]!.revision;
        await this.#verifyRead(group, key, at);
      }
    }
    await this.#verifyScan();
  }

  async #openEngine(): Promise<void> {
    const machine = this.#machine;
    const { plan } = this.#memory;
    const executor = machine.executor<EngineJobs>(createEngineJobs(machine.disk.blocking), {
      deathProbability: plan.workerDeathProbability,
    });
    this.#engine = await Engine.open({
      directory: '/data/engine',
      disk: machine.disk,
      executor,
      clock: machine.clock,
      memtableSizeBytes: 64 * 1024,
      blockCacheSizeBytes: 16 * 1024,
      historyWindowMs: plan.historyWindowMs,
      targetTableSizeBytes: 8 * 1024,
      levelBaseSizeBytes: 24 * 1024,
      level0: { compactionTables: 2 },
      nowRevision: () => this.#memory.lastRevision,
      captureAppliedState: () => ({
        groups: this.#groups.map((group) => this.#stateOf(group)),
        clockBound: this.#memory.promisedClockBound,
      }),
      onFlushed: (groups) => this.#onFlushed(groups),
      onError: (error) => this.#fail(error),
    });
    const { recovered } = this.#engine;
    const found = this.#groups.map(({ memory }) => recovered.groups.get(memory.groupId)?.replicaId);
    const { replicaIds } = this.#memory;
    if (replicaIds !== undefined) assert.deepEqual(found, replicaIds, 'the replicas that were made are there');
    // One edit makes all groups, so all are there or none.
    if (found.includes(undefined)) {
      assert.ok(
        found.every((id) => id === undefined),
        `some groups without others: ${found.join(' ')}`,
      );
      this.#memory.replicaIds = await this.#engine.createReplicas(this.#groups.map(({ memory }) => memory.groupId));
    } else {
      this.#memory.replicaIds = found as number[];
    }
    this.#groups.forEach((group, i) => {
      group.replicaId = this.#memory.replicaIds![i]!;
      const state = recovered.groups.get(group.memory.groupId);
      if (state === undefined) return;
      group.appliedIndex = state.appliedIndex;
      group.flushedIndex = state.appliedIndex;
      group.appliedRevision = state.revision;
    });
  }

  async #openLog(): Promise<void> {
    const machine = this.#machine;
    const memory = this.#memory;
    const replayed = new Map<number, Uint8Array[]>(this.#groups.map((group) => [group.replicaId, []]));
    const firstIndexes = new Map<number, number>();
    const latency = machine.prng.fork();
    this.#log = Log.open(
      {
        directory: '/data/log',
        disk: machine.disk,
        clock: machine.clock,
        random: machine.random,
        writer: new SimLogWriter({
          disk: machine.disk.blocking,
          clock: machine.clock,
          latencyMs: () => latency.unit(),
        }),
        expectedLogId: memory.logId,
        maxEntryBytes: 2048,
        segmentBytes: 16 * 1024,
        ringBytes: 16 * 1024,
        onDurable: (sequence) => this.#onDurable(sequence),
        onFatal: (error) => this.#fail(error),
      },
      {
        entry: (_group, replicaId, _term, index, _revision, _kind, bytes, start, length) => {
          const entries = replayed.get(replicaId);
          assert.ok(entries !== undefined, `a log entry of replica ${replicaId}, which was never made`);
          const first = firstIndexes.get(replicaId) ?? index;
          firstIndexes.set(replicaId, first);
          const at = index - first;
          assert.ok(at >= 0 && at <= entries.length, `entry ${index} behind entry ${first + entries.length - 1}`);
          entries.length = at;
          entries.push(bytes.slice(start, start + length));
        },
        hardState: () => {},
      },
    );
    memory.logId = this.#log.logId;
    for (const group of this.#groups) {
      await this.#replay(group, firstIndexes.get(group.replicaId) ?? 1, replayed.get(group.replicaId)!);
      this.#checkHardState(group);
    }
    const bound = Math.max(this.#log.recovered.clockBound, this.#engine.recovered.clockBound);
    assert.ok(bound >= memory.promisedClockBound, `clock bound ${memory.promisedClockBound} promised, found ${bound}`);
  }

  async #replay(group: LiveGroup, firstIndex: number, entries: readonly Uint8Array[]): Promise<void> {
    const { memory } = group;
    const isEmpty = entries.length === 0;
    const lastIndex = isEmpty ? group.appliedIndex : Math.max(group.appliedIndex, firstIndex + entries.length - 1);
    assert.ok(lastIndex >= memory.promisedIndex, `entry ${memory.promisedIndex} promised, last found ${lastIndex}`);
    assert.ok(lastIndex <= memory.writes.length, `entry ${memory.writes.length} written last, found ${lastIndex}`);
    assert.ok(
      isEmpty || firstIndex <= group.appliedIndex + 1,
      `tables end at ${group.appliedIndex}, log begins at ${firstIndex}`,
    );
    // What was never promised and is not there is lost. What is there is promised from now on.
    memory.writes.length = lastIndex;
    memory.promisedIndex = lastIndex;
    for (let i = 0; i < entries.length; i++) {
      const write = memory.writes[firstIndex + i - 1]!;
      const payload = encodePayload(write);
      const found = entries[i]!;
      const isEqual = found.length === payload.length && equalRanges(found, 0, payload, 0, payload.length);
      assert.ok(isEqual, `entry ${write.index} of group ${memory.groupId} is not what was written`);
      if (write.index <= group.appliedIndex) continue;
      while (this.#engine.pressure === 'stop') await this.#machine.scheduler.sleep(1);
      this.#apply(group, write);
    }
  }

  #checkHardState(group: LiveGroup): void {
    const { groupId, promisedTerm } = group.memory;
    const logTerm = this.#log.recovered.hardStates.get(groupId)?.term ?? 0;
    const engineTerm = this.#engine.recovered.groups.get(groupId)?.term ?? 0;
    const term = Math.max(logTerm, engineTerm);
    assert.ok(term >= promisedTerm, `hard state of term ${promisedTerm} promised, found term ${term}`);
  }

  /** Hands one random write to the log, waiting while log or engine ask to. */
  async #append(): Promise<void> {
    const { prng, scheduler } = this.#machine;
    const { plan } = this.#memory;
    const group = prng.pick(this.#groups);
    const { memory } = group;
    const key = prng.pick(plan.keys);
    let record = TOMBSTONE_RECORD;
    if (!prng.chance(0.15)) {
      record = new Uint8Array(1 + prng.below(plan.longestValueBytes));
      prng.fill(record.subarray(1));
    }
    const revision = this.#memory.lastRevision + prng.between(1, 4096);
    const write = { index: memory.writes.length + 1, revision, key, record };
    const payload = encodePayload(write);
    for (;;) {
      const isStopped = this.#engine.pressure === 'stop';
      const at = isStopped
        ? -1
        : this.#log.reserveEntry(
            memory.groupId,
            group.replicaId,
            memory.term,
            write.index,
            revision,
            1,
            payload.length,
          );
      if (at >= 0) {
        this.#log.bytes.set(payload, at);
        break;
      }
      this.#seal();
      await scheduler.sleep(1);
    }
    this.#memory.lastRevision = revision;
    memory.writes.push(write);
    this.#unsealed.push(() => {
      this.#apply(group, write);
      memory.promisedIndex = write.index;
    });
  }

  #appendHardState(group: LiveGroup): void {
    const { memory } = group;
    const term = memory.term + 1;
    if (!this.#log.appendHardState(memory.groupId, group.replicaId, term, 1, group.appliedIndex)) return;
    memory.term = term;
    this.#unsealed.push(() => {
      memory.promisedTerm = Math.max(memory.promisedTerm, term);
    });
  }

  #appendClockBound(): void {
    const bound = Math.max(this.#log.clockBound, this.#memory.lastRevision + 1_000_000);
    this.#log.appendClockBound(bound);
    this.#unsealed.push(() => {
      this.#memory.promisedClockBound = Math.max(this.#memory.promisedClockBound, bound);
    });
  }

  #seal(): number {
    const sequence = this.#log.seal();
    for (const answer of this.#unsealed) this.#waiting.push({ sequence, answer });
    this.#unsealed = [];
    return sequence;
  }

  #onDurable(sequence: number): void {
    while (this.#waiting.length > 0 && this.#waiting[0]!.sequence <= sequence) this.#waiting.shift()!.answer();
    this.#log.release(sequence);
  }

  #apply(group: LiveGroup, { index, revision, key, record }: Write): void {
    assert.equal(index, group.appliedIndex + 1, 'entries are applied in their order');
    this.#engine.prepare(key.length + record.length, 1);
    const hash = xxHash32(key, 0, key.length);
    this.#engine.insert(group.replicaId, key, 0, key.length, hash, revision, record, 0, record.length);
    group.appliedIndex = index;
    group.appliedRevision = revision;
  }

  #stateOf(group: LiveGroup): GroupState {
    return {
      ...emptyGroupState(group.memory.groupId, group.replicaId),
      appliedIndex: group.appliedIndex,
      appliedTerm: 1,
      revision: group.appliedRevision,
      term: group.memory.promisedTerm,
      vote: 1,
    };
  }

  #onFlushed(states: readonly GroupState[]): void {
    for (const state of states) {
      const group = this.#groups.find(({ memory }) => memory.groupId === state.groupId)!;
      group.flushedIndex = Math.max(group.flushedIndex, state.appliedIndex);
    }
    const release = this.#log.releaseBefore((groupId) => {
      return this.#groups.find(({ memory }) => memory.groupId === groupId)!.flushedIndex;
    });
    this.#inBackground(
      release.then((segments) => {
        this.#memory.reached.releasedSegments += segments;
      }),
    );
  }

  #inBackground(work: Promise<void>): void {
    work.catch((error: unknown) => this.#fail(error));
  }

  #fail(error: unknown): void {
    if (!this.#machine.disk.isOff) this.#machine.scheduler.fail(error);
  }

  /** The newest write of the key at or below the revision, among those applied. */
  #expected(group: LiveGroup, key: Uint8Array, at: Revision): Write | undefined {
    const { writes } = group.memory;
    for (let i = group.appliedIndex - 1; i >= 0; i--) {
      const write = writes[i]!;
      if (write.revision <= at && Buffer.compare(write.key, key) === 0) return write;
    }
    return undefined;
  }

  async #verifyRead(group: LiveGroup, key: Uint8Array, at: Revision): Promise<void> {
    const expected = this.#expected(group, key, at);
    const found = await this.#engine.read(group.replicaId, key, xxHash32(key, 0, key.length), at);
    const what = `group ${group.memory.groupId}, key ${Buffer.from(key).toString('hex')} at ${at}`;
    if (expected === undefined || isTombstone(expected.record, 0)) {
      assert.ok(found === null || isTombstone(found.record, 0), `${what}: a deleted or unwritten key is there`);
      return;
    }
    assert.ok(found !== null, `${what}: the write of revision ${expected.revision} is lost`);
    assert.equal(found.revision, expected.revision, what);
    assert.deepEqual(Buffer.from(found.record), Buffer.from(expected.record), what);
  }

  /** Both groups merged by key, then newest first, at the latest state. */
  async #verifyScan(): Promise<void> {
    const expected: string[] = [];
    const keys = this.#memory.plan.keys.toSorted(Buffer.compare);
    for (const key of keys) {
      const live: { readonly replicaId: number; readonly revision: Revision }[] = [];
      for (const group of this.#groups) {
        const write = this.#expected(group, key, LATEST);
        if (write === undefined || isTombstone(write.record, 0)) continue;
        live.push({ replicaId: group.replicaId, revision: write.revision });
      }
      live.sort((a, b) => b.revision - a.revision);
      const name = Buffer.from(key).toString('hex');
      expected.push(...live.map(({ replicaId, revision }) => `${name} of ${replicaId} at ${revision}`));
    }
    const replicaIds = this.#groups.map((group) => group.replicaId);
    const scan = this.#engine.scan({ replicaIds, startKey: new Uint8Array(0), endKey: null, at: LATEST });
    const found: string[] = [];
    try {
      while (!scan.seekToFirst()) await scan.load();
      while (scan.valid) {
        const key = Buffer.from(scan.key.slice(scan.keyStart, scan.keyStart + scan.keyLength));
        found.push(`${key.toString('hex')} of ${replicaIds[scan.sourceRank]} at ${scan.revision}`);
        while (!scan.next()) await scan.load();
      }
    } finally {
      scan.close();
    }
    assert.deepEqual(found, expected, 'the scan sees each live key once, in order');
  }
}

/** Key length, key, record. */
function encodePayload({ key, record }: Write): Uint8Array {
  const payload = new Uint8Array(4 + key.length + record.length);
  writeUint32(payload, 0, key.length);
  payload.set(key, 4);
  payload.set(record, 4 + key.length);
  return payload;
}

/** Write, flush, compact, release, restart: whatever the crash hits, all that was answered is there. */
export const storeScript: CrashScript<StoreMemory> = {
  begin: beginStore,
  async run(machine, memory) {
    const store = await Store.start(machine, memory);
    await store.work(memory.plan.rounds);
    await store.close();
  },
  async recover(machine, memory) {
    const store = await Store.start(machine, memory);
    await store.verify();
    await store.work(3);
    await store.verify();
    await store.close();
  },
};
