import { assert } from '../../../src/base/assert.js';
import { CorruptionError } from '../../../src/base/errors.js';
import { SILENT_LOGGER } from '../../../src/base/logger.js';
import type { Prng } from '../../../src/base/prng.js';
import { openLocalNode, type LocalNode } from '../../../src/cluster/local-node.js';
import type { Instants } from '../../../src/cluster/instants/instants.js';
import { createEngineJobs, type EngineJobs } from '../../../src/engine/jobs/jobs.js';
import { nodeStatus } from '../../../src/server/node-status.js';
import type { Service } from '../../../src/server/service.js';
import { ClockCeiling } from '../checkers/clock-ceiling.js';
import type { Scheduler } from '../ports/scheduler.js';
import { SimLogWriter } from '../ports/sim-log-writer.js';
import { SimMachine } from '../sim-machine.js';
import type { ClusterClient } from './cluster-client.js';
import type { ClusterNetwork, NodeNetwork } from './cluster-network.js';
import type { FlippedRecord } from './flipped-record.js';
import { MessageNetwork } from './message-network.js';
import { RaftWatch } from './raft-watch.js';
import type { Reached } from './reached.js';
import { SimClient } from './sim-client.js';
import { StreamNetwork } from './stream-network.js';
import { LEAST_KEPT_ENTRIES, type Swarm } from './swarm.js';

const REQUEST_TIMEOUT_MS = 2_000;
const MAX_VALUE_BYTES = 14 * 1024;
const MAX_ENTRY_BYTES = 16 * 1024;
/** What an operation of a batch has beside its value, and a batch beside its operations. */
const OPERATION_BYTES = 64;
const BATCH_BYTES = 128;
const DATA_DIR = '/data';
/** Of an append, for each entry that one may have. */
const APPEND_BYTES_PER_ENTRY = 500;
export const USUAL_LOG_WRITE_MS = 3;
/** How far ahead of time the durable bound of a node's clock may be. */
const CLOCK_LEAD_MS = 3000;
/** The fault `clock-drift`. */
const FASTEST_CLOCK = 2;
/** A supervisor starts a process that ended by itself anew. */
const SUPERVISOR_MS = 300;
/** Why a node may refuse its damaged log: a vote is lost, or nothing says that none is. */
const LOST_VOTE = /a vote is lost|expected a valid record/;

export interface Running {
  readonly machine: SimMachine;
  readonly node: LocalNode;
  readonly network: NodeNetwork;
  /** What clients ask. */
  readonly service: Service;
  readonly instants: Instants;
}

/** One machine of the cluster and the process on it, if one is up. */
export class Host {
  readonly name: string;
  machine: SimMachine;
  running: Running | null = null;
  isStarting = false;
  /** Ends what waits for the life that is starting. */
  endOfLife: () => void = () => {};
  /** The longest that a write to the log takes. */
  logWriteMs = USUAL_LOG_WRITE_MS;
  /** Something is wrong with the disk, so that the process may end by itself. */
  mayFail = false;
  /** What is wrong in its log since it stopped last. */
  flipped: FlippedRecord | null = null;

  constructor(name: string, machine: SimMachine) {
    this.name = name;
    this.machine = machine;
  }

  get isDown(): boolean {
    return this.running === null && !this.isStarting;
  }
}

export interface SimClusterOptions {
  readonly scheduler: Scheduler;
  readonly prng: Prng;
  readonly swarm: Swarm;
  readonly reached: Reached;
}

/** A cluster of whole nodes (Raft, replicas, log, engine) in one process under one seeded scheduler. */
export class SimCluster {
  readonly hosts: readonly Host[];
  readonly network: ClusterNetwork;
  /** The only node whose disk forgets. */
  damaged: Host | null = null;
  /** Has to be shown each move of a clock. */
  readonly clocks: ClockCeiling;
  readonly #scheduler: Scheduler;
  readonly #prng: Prng;
  readonly #swarm: Swarm;
  readonly #reached: Reached;
  readonly #watch: RaftWatch;
  #lastReplaced: string | null = null;
  /** Called in the middle of what makes the node the leader of a group. */
  onElected: (node: string) => void = () => {};

  constructor({ scheduler, prng, swarm, reached }: SimClusterOptions) {
    this.#scheduler = scheduler;
    this.#prng = prng;
    this.#swarm = swarm;
    this.#reached = reached;
    this.clocks = new ClockCeiling({
      wallMs: () => this.hosts.map(({ machine }) => machine.clock.wallMs()),
      nowMs: () => scheduler.nowMs,
      fastestRate: swarm.faults.has('clock-drift') ? FASTEST_CLOCK : 1,
    });
    this.#watch = new RaftWatch(
      reached,
      this.clocks,
      (error) => scheduler.fail(error),
      (news, node) => {
        if (news === 'elected') this.onElected(node);
        else this.#lastReplaced = node;
      },
    );
    this.hosts = Array.from({ length: swarm.nodes }, (_, i) => {
      return new Host(`n${i + 1}`, SimMachine.inWorld(scheduler, prng.fork()));
    });
    this.network =
      swarm.network === 'messages' ? new MessageNetwork(scheduler, prng, REQUEST_TIMEOUT_MS) : this.#streams();
  }

  /** No more than the clients need, so that queues between nodes can be small. */
  get #maxEntryBytes(): number {
    const { longestBatch, longestValueBytes } = this.#swarm.workload;
    return Math.min(MAX_ENTRY_BYTES, longestBatch * (longestValueBytes + OPERATION_BYTES) + BATCH_BYTES);
  }

  #streams(): StreamNetwork {
    const { limits } = this.#swarm;
    return new StreamNetwork({
      scheduler: this.#scheduler,
      prng: this.#prng,
      names: this.names,
      limits,
      dataDir: DATA_DIR,
      maxValueBytes: MAX_VALUE_BYTES,
      maxEntryBytes: this.#maxEntryBytes,
      maxAppendBytes: limits.entriesPerMessage * APPEND_BYTES_PER_ENTRY,
      calls: this.#swarm.workload.clients,
      requestTimeoutMs: REQUEST_TIMEOUT_MS,
      onFatal: (machine, error) => {
        const host = this.hosts.find((each) => each.machine === machine);
        if (host !== undefined) this.#ended(host, machine, error);
      },
    });
  }

  /** The node that last replaced a part of a log or all of it: what its disk holds is worth a look. */
  get lastReplaced(): Host | undefined {
    return this.hosts.find(({ name }) => name === this.#lastReplaced);
  }

  get groups(): number {
    return this.#swarm.groups;
  }

  get names(): string[] {
    return this.hosts.map(({ name }) => name);
  }

  async startAll(): Promise<void> {
    await Promise.all(this.hosts.map((host) => this.start(host)));
  }

  /** Resolves when the node is up, or when it was killed before that. */
  async start(host: Host): Promise<void> {
    assert(host.isDown, `${host.name} is up already`);
    host.isStarting = true;
    const killed = new Promise<void>((resolve) => {
      host.endOfLife = resolve;
    });
    const { machine } = host;
    await Promise.race([this.#open(host).catch((error: unknown) => this.#ended(host, machine, error)), killed]);
  }

  async #open(host: Host): Promise<void> {
    const { machine } = host;
    const { clock, disk, random } = machine;
    const { limits, groups } = this.#swarm;
    disk.blocking.makeDirectory(DATA_DIR);
    const network = this.network.attach(host.name, machine);
    const node = await openLocalNode({
      nodeId: host.name,
      dataDir: DATA_DIR,
      partitions: groups,
      replicationFactor: 3,
      members: this.names,
      clusterId: 'c'.repeat(32),
      memtableSizeBytes: limits.memtableSizeBytes,
      blockCacheSizeBytes: 1024 * 1024,
      logSegmentSizeBytes: Math.max(64 * 1024, limits.logSegmentSizeBytes),
      historyWindowMs: limits.historyWindowMs,
      requestTimeoutMs: REQUEST_TIMEOUT_MS,
      maxEntryBytes: this.#maxEntryBytes,
      disk,
      clock,
      random,
      executor: machine.executor<EngineJobs>(createEngineJobs(disk.blocking)),
      logWriter: new SimLogWriter({
        disk: disk.blocking,
        clock,
        latencyMs: () => machine.prng.unit() * host.logWriteMs,
      }),
      logger: SILENT_LOGGER,
      transport: network.transport,
      missingMembers: network.missingMembers,
      onFatal: (error) => this.#ended(host, machine, error),
      tuning: {
        ringBytes: 64 * 1024,
        tickMs: 10,
        raft: {
          maxSentBytes: limits.inFlightBytes,
          maxAppendBytes: limits.entriesPerMessage * APPEND_BYTES_PER_ENTRY,
          maxBytesInMemory: limits.snapshotAfterEntries * 200,
        },
      },
    });
    if (host.machine !== machine) return;
    // Else entries would be read back from the log's segments wherever a snapshot could be needed.
    if (limits.snapshotAfterEntries === LEAST_KEPT_ENTRIES) node.log.readEntries = () => Promise.resolve(null);
    host.flipped = null;
    this.#watch.started(node.host, node.log);
    this.#reached.count('starts');
    if (node.log.recovered.tornBytes > 0) this.#reached.count('torn tails');
    const status = { dataDir: DATA_DIR, version: '0', startedAtMs: 0, httpLibrary: '' };
    const { service, instants } = await network.join(node, {
      ...node,
      clock,
      nodeId: host.name,
      maxValueBytes: MAX_VALUE_BYTES,
      status: () => nodeStatus({ node, ...status }),
    });
    if (host.machine !== machine) return;
    host.isStarting = false;
    host.running = { machine, node, network, service, instants };
  }

  /** The process or the whole machine stops in the middle of whatever it does. */
  kill(host: Host, end: 'power-loss' | 'exit'): void {
    this.network.detach(host.name, end);
    this.#reached.count(host.isStarting ? 'killed while starting' : 'killed while running');
    this.#retire(host);
    this.clocks.crashed(CLOCK_LEAD_MS);
    host.machine = host.machine.next(this.#prng.fork(), end);
    this.#reached.count(end === 'exit' ? 'kills' : 'power losses');
  }

  /** The process can't go on. After what a fault did to its disk that is right; it is started again. */
  #ended(host: Host, machine: SimMachine, error: unknown): void {
    if (host.machine !== machine || machine.disk.isOff) return;
    const { flipped } = host;
    const isRefused = flipped !== null && error instanceof CorruptionError && LOST_VOTE.test(error.message);
    if (!host.mayFail && !isRefused) {
      this.#scheduler.fail(error);
      return;
    }
    this.#reached.count(isRefused ? 'starts refused for a lost vote' : 'ended by an error of the disk');
    this.kill(host, 'exit');
    if (isRefused) {
      flipped.flip(host.machine.disk);
      host.flipped = null;
    }
    const { machine: next } = host;
    this.#scheduler.schedule(SUPERVISOR_MS, () => {
      if (host.machine === next && host.isDown) void this.start(host);
    });
  }

  #retire(host: Host): void {
    if (host.running !== null) this.#count(host.running);
    host.running = null;
    host.isStarting = false;
    host.endOfLife();
  }

  /** Adds up what the node has done. */
  #count({ network, node: { engine, host }, instants }: Running): void {
    network.count(this.#reached);
    this.#reached.count('instants', instants.rounds - instants.failedRounds);
    this.#reached.count('instants given up', instants.failedRounds);
    const { flushedTables, compactions } = engine.stats();
    this.#reached.count('tables flushed', flushedTables);
    this.#reached.count('compactions', compactions);
    this.#reached.count('snapshots sent', host.snapshots.sent);
    this.#reached.count('snapshots installed', host.snapshots.received);
    this.#reached.count('entries read back from segments', host.loadedEntries);
  }

  /** The world ends: nothing of it keeps memory. */
  stopAll(): void {
    for (const { machine } of this.hosts) machine.powerOff();
  }

  countRunning(): void {
    for (const { running } of this.hosts) if (running !== null) this.#count(running);
  }

  leaderOf(partition: number): Host | undefined {
    return this.hosts.find(({ running }) => running?.node.host.groups[partition]!.isServing === true);
  }

  /** Asks the given node first, any node unless told. */
  client(node: string | null = null): ClusterClient {
    return new SimClient(this, this.#scheduler, this.#prng.fork(), node);
  }

  /** Ends what outlasts its own end: links, disks that were full or broken, slow logs, pauses. */
  healAll(): void {
    this.network.healAll();
    for (const host of this.hosts) {
      host.mayFail = false;
      host.logWriteMs = USUAL_LOG_WRITE_MS;
      host.machine.disk.capacityBytes = Infinity;
      host.machine.disk.heal();
      host.machine.clock.drift(1);
      host.machine.events.resume(false);
    }
  }

  /** Every group is led by a node that serves. */
  get isWhole(): boolean {
    return Array.from({ length: this.#swarm.groups }, (_, partition) => this.leaderOf(partition)).every(Boolean);
  }
}
