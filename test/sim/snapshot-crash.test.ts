import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compareBytes } from '../../src/base/bytes.js';
import { Prng } from '../../src/base/prng.js';
import { Engine } from '../../src/engine/engine.js';
import { createEngineJobs, type EngineJobs } from '../../src/engine/jobs/jobs.js';
import { ChunkWriter } from '../../src/engine/snapshot/chunk-format.js';
import type { Revision } from '../../src/lsm/row-key.js';
import { emptyGroupState, type GroupState } from '../../src/lsm/version/version-edit.js';
import { KEYS, randomRecord, WrittenReplica, type Version } from '../engine/snapshot/transfer-harness.js';
import { write } from '../engine/engine-harness.js';
import { crashEverywhere, type CrashScript } from './crash-harness.js';
import type { SimMachine } from './sim-machine.js';

/** Thousands in the long runs; a few in the everyday one. */
const SEEDS = Number(process.env['CAIRN_TEST_SEEDS'] ?? 4);
const POINTS = Number(process.env['CAIRN_TEST_POINTS'] ?? 20);
const FIRST_SEED = Number(process.env['CAIRN_TEST_FIRST_SEED'] ?? 1);

/** The group that the snapshot is of, and one that is only written to. */
const GROUP = 1;
const OTHER = 2;
const SNAPSHOT_INDEX = 1000;
const FLOOR: Revision = 500;

/** What the test knows, whatever happens to the machine. */
interface Memory {
  readonly chunks: readonly Uint8Array[];
  readonly batchBytes: number;
  readonly workerDeathProbability: number;
  readonly snapshot: readonly Version[];
  /** By group: the version of index i stands at i - 1. Entries up to `promised` were flushed. */
  readonly written: ReadonlyMap<number, { versions: readonly Version[]; promised: number }>;
  /** The states of all installs that were asked for. */
  readonly asked: Map<number, GroupState>;
  isInstalled: boolean;
  lastReplicaId: number;
  readonly reached: { old: number; installed: number; orphans: number; compactions: number };
}

const reached = { old: 0, installed: 0, orphans: 0, compactions: 0 };

function begin(prng: Prng): Memory {
  const versionsFrom = (first: Revision, count: number): Version[] =>
    Array.from({ length: count }, (_, i) => {
      const revision = first + 3 * i;
      return { key: prng.pick(KEYS), revision, record: randomRecord(prng, revision, prng.pick([20, 200])) };
    });
  const snapshot = versionsFrom(FLOOR, prng.pick([5, 60]));
  return {
    chunks: chunksOf(snapshot),
    batchBytes: prng.pick([100, 1000, 100_000]),
    workerDeathProbability: prng.pick([0, 0, 0.1]),
    snapshot,
    written: new Map([
      [GROUP, { versions: versionsFrom(FLOOR, 30), promised: 0 }],
      [OTHER, { versions: versionsFrom(FLOOR, 60), promised: 0 }],
    ]),
    asked: new Map(),
    isInstalled: false,
    lastReplicaId: 0,
    reached,
  };
}

function chunksOf(versions: readonly Version[]): Uint8Array[] {
  const writer = new ChunkWriter(150);
  const chunks: Uint8Array[] = [];
  let last: Uint8Array | null = null;
  const sorted = [...versions].sort((a, b) => compareBytes(a.key, b.key) || b.revision - a.revision);
  for (const { key, revision, record } of sorted) {
    if (!writer.hasRoom(key.length, record.length)) chunks.push(writer.seal(false));
    writer.add(key, 0, key.length, last !== null && compareBytes(last, key) === 0, revision, record, 0, record.length);
    last = key;
  }
  chunks.push(writer.seal(true));
  return chunks;
}

/** One life: the engine and how far each group's replica is written. */
class Life {
  readonly engine: Engine;
  readonly machine: SimMachine;
  readonly memory: Memory;
  readonly applied: Map<number, { replicaId: number; index: number }>;

  private constructor(
    engine: Engine,
    machine: SimMachine,
    memory: Memory,
    applied: Map<number, { replicaId: number; index: number }>,
  ) {
    this.engine = engine;
    this.machine = machine;
    this.memory = memory;
    this.applied = applied;
  }

  static async start(machine: SimMachine, memory: Memory): Promise<Life> {
    const executor = machine.executor<EngineJobs>(createEngineJobs(machine.disk.blocking), {
      deathProbability: memory.workerDeathProbability,
    });
    const applied = new Map<number, { replicaId: number; index: number }>();
    const before = machine.disk.blocking.exists('/data/tables') ? machine.disk.blocking.list('/data/tables').length : 0;
    const engine = await Engine.open({
      directory: '/data',
      disk: machine.disk,
      executor,
      clock: machine.clock,
      memtableSizeBytes: 64 * 1024,
      blockCacheSizeBytes: 16 * 1024,
      historyWindowMs: 0,
      targetTableSizeBytes: 1000,
      levelBaseSizeBytes: 2000,
      level0: { compactionTables: 2 },
      nowRevision: () => FLOOR,
      captureAppliedState: () => ({
        groups: [...applied].map(
          ([groupId, { replicaId, index }]) => memory.asked.get(replicaId) ?? stateAt(groupId, replicaId, index),
        ),
        clockBound: 0,
      }),
      onError: (error) => {
        throw error;
      },
    });
    const files = machine.disk.blocking.list('/data/tables').length;
    const named = engine.stats().levels.reduce((sum, level) => sum + level.files, 0);
    assert.equal(files, named, 'only tables of the tree are left');
    memory.reached.orphans += before - files;
    for (const { groupId, replicaId, appliedIndex } of engine.groupStates().values()) {
      applied.set(groupId, { replicaId, index: appliedIndex });
    }
    return new Life(engine, machine, memory, applied);
  }

  /** Makes the replicas if that is still to be done, and brings both groups forward; the first one stays as it is once replaced. */
  async work(entries: number): Promise<void> {
    const { engine, memory, applied } = this;
    if (applied.size === 0) {
      const replicaIds = await engine.createReplicas([GROUP, OTHER]);
      [GROUP, OTHER].forEach((groupId, i) => applied.set(groupId, { replicaId: replicaIds[i]!, index: 0 }));
    }
    const captured = new Map<number, number>();
    for (const [groupId, at] of applied) {
      const { versions } = memory.written.get(groupId)!;
      for (let i = 0; i < entries && at.index < versions.length; i++) {
        const { key, revision, record } = versions[at.index]!;
        write(engine, at.replicaId, key, revision, record);
        at.index++;
      }
      captured.set(groupId, at.index);
    }
    await engine.flush();
    for (const [groupId, index] of captured) {
      const written = memory.written.get(groupId)!;
      if (index < SNAPSHOT_INDEX) written.promised = Math.max(written.promised, index);
    }
  }

  /** The whole import, while the other group is written to. */
  async import(): Promise<void> {
    const { engine, memory, applied, machine } = this;
    const importer = await engine.beginReplicaImport({ batchBytes: memory.batchBytes });
    const { replicaId } = importer;
    assert.ok(replicaId > memory.lastReplicaId, `replica id ${replicaId} after ${memory.lastReplicaId}`);
    memory.lastReplicaId = replicaId;
    for (const chunk of memory.chunks) {
      await importer.add(chunk);
      if (machine.prng.chance(0.2)) await this.work(3);
    }
    const state = {
      ...stateAt(GROUP, replicaId, SNAPSHOT_INDEX),
      memberId: 9,
      configIndex: 77,
      configuration: Uint8Array.of(1, 0, 0),
    };
    memory.asked.set(replicaId, state);
    const onInstalled = (): void => void applied.set(GROUP, { replicaId, index: SNAPSHOT_INDEX });
    const finished = importer.finish(state, { floor: FLOOR, onInstalled });
    await this.work(3);
    await finished;
    memory.isInstalled = true;
  }

  /** The group has its former replica with what was flushed, or the snapshot: never a mix. */
  async verify(): Promise<void> {
    const { engine, memory } = this;
    const states = engine.groupStates();
    if (states.size === 0) {
      assert.ok(!memory.isInstalled && [...memory.written.values()].every(({ promised }) => promised === 0));
      return;
    }
    const until = FLOOR + 500;
    for (const [groupId, { versions, promised }] of memory.written) {
      const state = states.get(groupId)!;
      const asked = groupId === GROUP ? memory.asked.get(state.replicaId) : undefined;
      if (asked === undefined) {
        assert.ok(groupId === OTHER || !memory.isInstalled, 'an installed snapshot is gone');
        assert.ok(
          state.appliedIndex >= promised,
          `entry ${promised} was flushed, the tables end at ${state.appliedIndex}`,
        );
        await new WrittenReplica(engine, state.replicaId, versions.slice(0, state.appliedIndex)).check(
          FLOOR,
          until,
          13,
        );
        if (groupId === GROUP) memory.reached.old++;
      } else {
        assert.deepEqual(state, asked);
        await new WrittenReplica(engine, state.replicaId, memory.snapshot).check(FLOOR, until, 13);
        memory.isInstalled = true;
        memory.reached.installed++;
      }
    }
    // Replicas of both groups and none besides: the former one ends with the edit that installs the new one.
    assert.equal(engine.flushedIndexes().size, 2);
  }

  async close(): Promise<void> {
    await this.engine.settled();
    this.memory.reached.compactions += this.engine.stats().compactions;
    await this.engine.close();
  }
}

function stateAt(groupId: number, replicaId: number, index: number): GroupState {
  return {
    ...emptyGroupState(groupId, replicaId),
    appliedIndex: index,
    appliedTerm: 1,
    revision: index,
    term: 2,
    vote: 1,
  };
}

const script: CrashScript<Memory> = {
  begin,
  async run(machine, memory) {
    const life = await Life.start(machine, memory);
    await life.work(12);
    await life.work(12);
    await life.import();
    await life.work(10);
    await life.close();
  },
  async recover(machine, memory) {
    const life = await Life.start(machine, memory);
    await life.verify();
    await life.work(2);
    // Once more, over whatever there is.
    await life.import();
    await life.engine.compact();
    await life.verify();
    await life.close();
  },
};

test('Raft rule 12: a crash at any disk operation of an import leaves the former replica or the snapshot, and no orphans', async () => {
  const report = await crashEverywhere(script, { firstSeed: FIRST_SEED, seeds: SEEDS, pointsPerSeed: POINTS });
  if (process.env['CAIRN_TEST_VERBOSE'] !== undefined) console.log(report, reached);
  for (const operation of ['create', 'write', 'sync', 'remove', 'syncDirectory'] as const) {
    assert.ok(report.byOperation.has(operation), `no crash at any ${operation}`);
  }
  for (const [name, count] of Object.entries(reached)) assert.ok(count > 0, `no run reached ${name}`);
});
