import assert from 'node:assert/strict';
import { CairnError } from '../../src/base/errors.js';
import type { Prng } from '../../src/base/prng.js';
import { openLocalNode, type LocalNode } from '../../src/cluster/local-node.js';
import { createEngineJobs, type EngineJobs } from '../../src/engine/jobs/jobs.js';
import { NodeService } from '../../src/server/node-service.js';
import { nodeStatus } from '../../src/server/node-status.js';
import { PLAIN_PUT, type Condition, type PutOptions, type StoredVersion } from '../../src/server/service.js';
import type { CrashScript } from './crash-harness.js';
import { SimLogWriter } from './ports/sim-log-writer.js';
import type { SimMachine } from './sim-machine.js';

const CLIENTS = 4;
const KEYS_PER_CLIENT = 4;
const COUNTERS = ['counter:a', 'counter:{b}'] as const;
const REMEMBERED_SCANS = 4;
const DAY_MS = 86_400_000;
const TIMED_KEY = 'timed';

/** One state that a key may be in: the text of its value, or null when absent. */
type State = string | null;

/** A key that only one client writes. */
interface OwnKey {
  readonly name: string;
  /** After the last answer. */
  known: State;
  /** What the operations without an answer may have made of it, in their order. */
  maybe: State[];
  revision: number;
}

export interface NodeMemory {
  readonly rounds: number;
  readonly historyWindowMs: number;
  readonly shortTransferProbability: number;
  readonly workerDeathProbability: number;
  readonly own: readonly (readonly OwnKey[])[];
  /** Increments by If-Match: answered with success, and without an answer. */
  readonly counters: Map<string, { done: number; unknown: number }>;
  readonly scans: { readonly at: number; readonly items: string }[];
  /** The key with a ttl was seen expired since it was last written. */
  timedExpired: boolean;
  timedUnknown: boolean;
  timedWrites: number;
  /** No later revision may be at or below it. */
  highestRevision: number;
  values: number;
  readonly reached: Record<'flushes' | 'compactions' | 'conflicts' | 'gone' | 'expired' | 'scansRepeated', number>;
}

function begin(prng: Prng): NodeMemory {
  return {
    rounds: prng.between(8, 30),
    historyWindowMs: prng.pick([0, 50, 600_000]),
    shortTransferProbability: prng.pick([0, 0, 0.2]),
    workerDeathProbability: prng.pick([0, 0, 0.1]),
    own: Array.from({ length: CLIENTS }, (_, client) =>
      Array.from({ length: KEYS_PER_CLIENT }, (_unused, key) => ({
        name: `own:${client}:${key}`,
        known: null,
        maybe: [],
        revision: 0,
      })),
    ),
    counters: new Map(COUNTERS.map((name) => [name, { done: 0, unknown: 0 }])),
    scans: [],
    timedExpired: false,
    timedUnknown: false,
    timedWrites: 0,
    highestRevision: 0,
    values: 0,
    reached: { flushes: 0, compactions: 0, conflicts: 0, gone: 0, expired: 0, scansRepeated: 0 },
  };
}

/** A whole node without its sockets, and clients that remember what they were told. */
class NodeWorld {
  readonly #machine: SimMachine;
  readonly #memory: NodeMemory;
  readonly #node: LocalNode;
  readonly #service: NodeService;

  private constructor(machine: SimMachine, memory: NodeMemory, node: LocalNode) {
    this.#machine = machine;
    this.#memory = memory;
    this.#node = node;
    const status = { dataDir: '/data', version: '0', startedAtMs: 0, httpLibrary: '' };
    this.#service = new NodeService({
      ...node,
      clock: machine.clock,
      nodeId: 'n1',
      maxValueBytes: 4096,
      status: () => nodeStatus({ node, ...status }),
    });
  }

  static async start(machine: SimMachine, memory: NodeMemory): Promise<NodeWorld> {
    const { prng, clock, disk } = machine;
    // Restarts find the wall clock anywhere within a day.
    clock.jumpWall(prng.between(-DAY_MS, DAY_MS));
    disk.shortTransferProbability = memory.shortTransferProbability;
    disk.blocking.makeDirectory('/data');
    const latency = prng.fork();
    const node = await openLocalNode({
      nodeId: 'n1',
      dataDir: '/data',
      partitions: 4,
      replicationFactor: 3,
      memtableSizeBytes: 64 * 1024,
      blockCacheSizeBytes: 16 * 1024,
      logSegmentSizeBytes: 64 * 1024,
      historyWindowMs: memory.historyWindowMs,
      requestTimeoutMs: 1e9,
      maxEntryBytes: 16 * 1024,
      tuning: {
        ringBytes: 64 * 1024,
        targetTableSizeBytes: 8 * 1024,
        levelBaseSizeBytes: 24 * 1024,
        level0: { compactionTables: 2 },
        garbageIntervalMs: 20,
      },
      disk,
      clock,
      random: machine.random,
      executor: machine.executor<EngineJobs>(createEngineJobs(disk.blocking), {
        deathProbability: memory.workerDeathProbability,
      }),
      logWriter: new SimLogWriter({ disk: disk.blocking, clock, latencyMs: () => latency.unit() }),
      logger: { debug() {}, info() {}, warn() {}, error() {} },
      onFatal: (error) => machine.scheduler.fail(error),
    });
    return new NodeWorld(machine, memory, node);
  }

  async work(): Promise<void> {
    const { prng } = this.#machine;
    const clients = this.#memory.own.map(async (keys) => {
      for (let round = 0; round < this.#memory.rounds; round++) {
        await this.#step(keys, prng);
        if (prng.chance(0.3)) await this.#machine.scheduler.sleep(prng.below(8));
      }
    });
    await Promise.all(clients);
  }

  async close(): Promise<void> {
    await this.#node.engine.settled();
    const { flushedTables, compactions } = this.#node.engine.stats();
    this.#memory.reached.flushes += flushedTables;
    this.#memory.reached.compactions += compactions;
    await this.#node.close();
  }

  /** Everything that was promised in earlier lives. */
  async verify(): Promise<void> {
    for (const key of this.#memory.own.flat()) {
      const version = await this.#get(key.name);
      const state = textOf(version);
      const allowed = [key.known, ...key.maybe];
      assert.ok(allowed.includes(state), `${key.name} holds ${state}, expected one of ${allowed.join(' | ')}`);
      if (state === key.known && version !== null && key.maybe.length === 0) {
        assert.equal(version.revision, key.revision, `${key.name} has its revision`);
      }
      key.known = state;
      key.maybe = [];
      if (version !== null) key.revision = version.revision;
    }
    for (const [name, counter] of this.#memory.counters) {
      const value = Number(textOf(await this.#get(name)) ?? '0');
      const { done, unknown } = counter;
      assert.ok(value >= done && value <= done + unknown, `${name} is ${value}, after ${done} and perhaps ${unknown}`);
      counter.done = value;
      counter.unknown = 0;
    }
    if (this.#memory.timedExpired && !this.#memory.timedUnknown) {
      assert.equal(textOf(await this.#get(TIMED_KEY)), null, 'LSM rule 17: an expired key came back');
    }
    await this.#repeatScans();
    await this.#checkScan();
  }

  async #step(keys: readonly OwnKey[], prng: Prng): Promise<void> {
    const key = prng.pick(keys);
    switch (prng.below(10)) {
      case 0:
        return this.#delete(key);
      case 1:
        return this.#increment(prng.pick(COUNTERS), prng);
      case 2:
        return this.#batch(keys);
      case 3:
        return this.#failCondition(key);
      case 4:
        return this.#timed(prng);
      case 5:
        return prng.chance(0.5) ? this.#rememberScan() : this.#repeatScans();
      case 6: {
        const upkeep = prng.below(8);
        if (upkeep === 0) return this.#node.engine.compact();
        if (upkeep < 3) return this.#node.engine.flush();
        this.#machine.clock.jumpWall(prng.between(-500, 500));
        return;
      }
      default:
        return this.#put(key, prng);
    }
  }

  async #put(key: OwnKey, prng: Prng): Promise<void> {
    const value = `"${++this.#memory.values}${'.'.repeat(prng.pick([0, 20, 900, 3000]))}"`;
    key.maybe.push(value);
    const revision = await this.#write(key.name, value, PLAIN_PUT);
    if (revision !== null) this.#answered(key, value, revision);
    else key.maybe.pop();
  }

  async #delete(key: OwnKey): Promise<void> {
    const before = key.known;
    key.maybe.push(null);
    const { error, revision, deleted } = await new Promise<{
      error: CairnError | null;
      revision: number;
      deleted: boolean;
    }>((resolve) =>
      this.#service.delete(Buffer.from(key.name), null, (failure, at, existed) =>
        resolve({ error: failure, revision: at, deleted: existed }),
      ),
    );
    if (error !== null) {
      refused(error);
      key.maybe.pop();
      return;
    }
    assert.equal(deleted, before !== null, `deleting ${key.name}, which held ${before}`);
    this.#answered(key, null, deleted ? revision : key.revision);
  }

  async #batch(keys: readonly OwnKey[]): Promise<void> {
    const values = keys.map((_, i) => (i === 0 ? null : `"${++this.#memory.values}"`));
    keys.forEach((key, i) => key.maybe.push(values[i]!));
    const operations = keys.map((key, i) => {
      const value = values[i];
      return value === null || value === undefined
        ? ({ kind: 'delete', key: Buffer.from(key.name) } as const)
        : ({
            kind: 'put',
            key: Buffer.from(key.name),
            value: Buffer.from(value),
            contentType: '',
            ttlSeconds: 0,
          } as const);
    });
    const results = await new Promise<readonly { error: CairnError | null; revision: number; deleted: boolean }[]>(
      (resolve) => this.#service.batch(operations, resolve),
    );
    results.forEach(({ error, revision, deleted }, i) => {
      const key = keys[i]!;
      if (error !== null) {
        refused(error);
        key.maybe.pop();
        return;
      }
      if (values[i] === null) assert.equal(deleted, key.known !== null, `deleting ${key.name} in a batch`);
      this.#answered(key, values[i]!, values[i] === null && !deleted ? key.revision : revision);
    });
  }

  /** A condition that can't hold: nothing may change. */
  async #failCondition(key: OwnKey): Promise<void> {
    const condition: Condition = key.known === null ? { exists: true } : { absent: true };
    const revision = await this.#write(key.name, '"never"', { ...PLAIN_PUT, condition });
    assert.equal(
      revision,
      null,
      `Raft rule 21: ${key.name} was written although ${JSON.stringify(condition)} does not hold`,
    );
  }

  async #increment(name: string, prng: Prng): Promise<void> {
    const counter = this.#memory.counters.get(name)!;
    for (let tries = 0; tries < 5; tries++) {
      const version = await this.#get(name);
      if (prng.chance(0.3)) await this.#machine.scheduler.sleep(prng.below(3));
      const next = String(Number(textOf(version) ?? '0') + 1);
      const condition: Condition = version === null ? { absent: true } : { revisions: [version.revision] };
      counter.unknown++;
      const revision = await this.#write(name, next, { ...PLAIN_PUT, condition });
      counter.unknown--;
      if (revision !== null) {
        counter.done++;
        return;
      }
      this.#memory.reached.conflicts++;
    }
  }

  async #timed(prng: Prng): Promise<void> {
    const memory = this.#memory;
    if (prng.chance(0.4)) {
      memory.timedUnknown = true;
      memory.timedWrites++;
      const revision = await this.#write(TIMED_KEY, '1', {
        ...PLAIN_PUT,
        ttlSeconds: prng.pick([0.001, 0.05, 1, 100]),
      });
      if (revision !== null) {
        // Concurrent clients write it too, so only a look that follows says that it is gone.
        memory.timedExpired = false;
        memory.timedUnknown = false;
      }
      return;
    }
    if (memory.timedUnknown) return;
    const writes = memory.timedWrites;
    const version = await this.#get(TIMED_KEY);
    if (memory.timedWrites !== writes) return;
    if (version === null) {
      memory.timedExpired = true;
      memory.reached.expired++;
    }
  }

  async #rememberScan(): Promise<void> {
    const { scans } = this.#memory;
    const { revision, items } = await this.#scan(0, false);
    this.#memory.highestRevision = Math.max(this.#memory.highestRevision, revision);
    if (scans.length === REMEMBERED_SCANS) scans.shift();
    scans.push({ at: revision, items: items.join('\n') });
  }

  /** Pages at a pinned revision are repeatable, also in a later life, until history has gone. */
  async #repeatScans(): Promise<void> {
    for (const { at, items } of [...this.#memory.scans]) {
      try {
        const again = await this.#scan(at, false);
        assert.equal(again.items.join('\n'), items, `LSM rule 18: the scan at ${at} changed`);
        const reversed = await this.#scan(at, true);
        assert.equal(reversed.items.reverse().join('\n'), items, `the scan at ${at} differs backwards`);
        this.#memory.reached.scansRepeated++;
      } catch (error) {
        if (!(error instanceof CairnError) || error.code !== 'history_gone') throw error;
        this.#memory.reached.gone++;
      }
    }
  }

  /** A scan of the latest state shows what point reads show. */
  async #checkScan(): Promise<void> {
    const { items } = await this.#scan(0, false);
    const expected: string[] = [];
    for (const key of [...this.#memory.own.flat().map(({ name }) => name), ...COUNTERS, 'probe'].sort((a, b) =>
      a < b ? -1 : 1,
    )) {
      const version = await this.#get(key);
      if (version !== null) expected.push(`${key}@${version.revision}=${textOf(version)}`);
    }
    assert.deepEqual(
      items.filter((item) => !item.startsWith(TIMED_KEY)),
      expected,
    );
  }

  async #scan(at: number, reverse: boolean): Promise<{ revision: number; items: string[] }> {
    const scan = await this.#service.openScan({
      startKey: new Uint8Array(),
      endKey: null,
      reverse,
      keysOnly: false,
      at,
    });
    try {
      const items: string[] = [];
      while (!scan.done) {
        for (const item of await scan.next(this.#machine.prng.between(1, 10), 4096)) {
          items.push(`${Buffer.from(item.key).toString()}@${item.revision}=${textOf(item)}`);
        }
      }
      return { revision: scan.revision, items };
    } finally {
      scan.close();
    }
  }

  async #get(name: string): Promise<StoredVersion | null> {
    const key = Buffer.from(name);
    const outcome = this.#service.tryGet(key, 0, key.length);
    if (outcome === 'blocked') return this.#service.get(key, { at: 0 });
    if (outcome === 'absent') return null;
    const { bytes, start, length, revision, expiresAtMs, contentType } = this.#service.found;
    return { value: bytes.slice(start, start + length), revision, expiresAtMs, contentType };
  }

  /** The revision, or null when the write was refused or its condition did not hold. */
  async #write(name: string, value: string, options: PutOptions): Promise<number | null> {
    const key = Buffer.from(name);
    const { error, revision } = await new Promise<{ error: CairnError | null; revision: number }>((resolve) =>
      this.#service.put(key, 0, key.length, Buffer.from(value), options, (failure, at) =>
        resolve({ error: failure, revision: at }),
      ),
    );
    if (error === null) {
      this.#noteRevision(revision);
      return revision;
    }
    if (error.code !== 'precondition_failed') refused(error);
    return null;
  }

  #answered(key: OwnKey, state: State, revision: number): void {
    assert.ok(revision >= key.revision, `Raft rule 20: ${key.name} went from revision ${key.revision} to ${revision}`);
    key.known = state;
    key.maybe = [];
    key.revision = revision;
  }

  #noteRevision(revision: number): void {
    assert.ok(revision > this.#memory.highestRevision - 1e6 * 4096, 'a revision far in the past');
  }

  /** Raft rule 20: what a scan relied on in an earlier life binds the revisions of this one. */
  async probe(): Promise<void> {
    const bound = this.#memory.highestRevision;
    const revision = await this.#write('probe', '0', PLAIN_PUT);
    assert.ok(revision === null || revision > bound, `Raft rule 20: revision ${revision} after a scan at ${bound}`);
  }
}

function textOf(version: StoredVersion | null): State {
  return version === null ? null : Buffer.from(version.value).toString();
}

/** Refusals that a client has to expect: nothing was written. */
function refused(error: CairnError): void {
  if (error.code !== 'overloaded') throw error;
}

export const nodeScript: CrashScript<NodeMemory> = {
  begin,
  async run(machine, memory) {
    const world = await NodeWorld.start(machine, memory);
    await world.work();
    await world.close();
  },
  async recover(machine, memory) {
    const world = await NodeWorld.start(machine, memory);
    await world.probe();
    await world.verify();
    await world.work();
    await world.verify();
    await world.close();
  },
};
