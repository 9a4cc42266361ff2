import { assert } from '../../../src/base/assert.js';
import type { CairnError } from '../../../src/base/errors.js';
import type { Prng } from '../../../src/base/prng.js';
import { openLocalNode, type LocalNode } from '../../../src/cluster/local-node.js';
import { createEngineJobs, type EngineJobs } from '../../../src/engine/jobs/jobs.js';
import { NodeService } from '../../../src/server/node-service.js';
import { nodeStatus } from '../../../src/server/node-status.js';
import { PLAIN_PUT, type Condition as ServiceCondition } from '../../../src/server/service.js';
import type { Condition, Outcome } from '../checkers/operation.js';
import type { Scheduler } from '../ports/scheduler.js';
import { SimLogWriter } from '../ports/sim-log-writer.js';
import { SimMachine } from '../sim-machine.js';
import type { BatchEntry, ClusterClient, ScanOutcome } from './cluster-client.js';
import { MessageNetwork } from './message-network.js';
import type { Reached } from './reached.js';
import type { Swarm } from './swarm.js';

const CLIENT_PATIENCE_MS = 4_000;
const REQUEST_TIMEOUT_MS = 2_000;
const MAX_VALUE_BYTES = 14 * 1024;

interface Running {
  readonly node: LocalNode;
  readonly service: NodeService;
}

/** One machine of the cluster and the process on it, if one is up. */
class Host {
  readonly name: string;
  machine: SimMachine;
  running: Running | null = null;
  /** Counts starts, so that what an earlier life began is told apart. */
  life = 0;
  wallOffsetMs = 0;

  constructor(name: string, machine: SimMachine) {
    this.name = name;
    this.machine = machine;
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
  readonly network: MessageNetwork;
  readonly #scheduler: Scheduler;
  readonly #prng: Prng;
  readonly #swarm: Swarm;
  readonly #reached: Reached;

  constructor({ scheduler, prng, swarm, reached }: SimClusterOptions) {
    this.#scheduler = scheduler;
    this.#prng = prng;
    this.#swarm = swarm;
    this.#reached = reached;
    this.network = new MessageNetwork(scheduler, prng);
    this.hosts = Array.from({ length: swarm.nodes }, (_, i) => {
      return new Host(`n${i + 1}`, SimMachine.inWorld(scheduler, prng.fork()));
    });
  }

  get names(): string[] {
    return this.hosts.map(({ name }) => name);
  }

  async startAll(): Promise<void> {
    await Promise.all(this.hosts.map((host) => this.start(host)));
  }

  async start(host: Host): Promise<void> {
    assert(host.running === null, `${host.name} is up already`);
    const { machine } = host;
    const life = ++host.life;
    const { clock, disk, random } = machine;
    const { limits, groups } = this.#swarm;
    disk.blocking.makeDirectory('/data');
    const node = await openLocalNode({
      nodeId: host.name,
      dataDir: '/data',
      partitions: groups,
      replicationFactor: 3,
      members: this.names,
      clusterId: 'c'.repeat(32),
      memtableSizeBytes: limits.memtableSizeBytes,
      blockCacheSizeBytes: 1024 * 1024,
      logSegmentSizeBytes: Math.max(64 * 1024, limits.logSegmentSizeBytes),
      historyWindowMs: limits.historyWindowMs,
      requestTimeoutMs: REQUEST_TIMEOUT_MS,
      maxEntryBytes: 16 * 1024,
      disk,
      clock,
      random,
      executor: machine.executor<EngineJobs>(createEngineJobs(disk.blocking)),
      logWriter: new SimLogWriter({ disk: disk.blocking, clock, latencyMs: () => machine.prng.unit() * 3 }),
      logger: { debug() {}, info() {}, warn() {}, error() {} },
      transport: this.network.transport(host.name),
      onFatal: (error) => this.#scheduler.fail(error),
      tuning: {
        ringBytes: 64 * 1024,
        tickMs: 10,
        raft: {
          maxSentBytes: limits.inFlightBytes,
          maxAppendBytes: limits.entriesPerMessage * 500,
          maxBytesInMemory: Infinity,
        },
      },
    });
    if (host.life !== life || host.machine !== machine) return;
    const status = { dataDir: '/data', version: '0', startedAtMs: 0, httpLibrary: '' };
    const service = new NodeService({
      ...node,
      clock,
      nodeId: host.name,
      maxValueBytes: MAX_VALUE_BYTES,
      status: () => nodeStatus({ node, ...status }),
    });
    host.running = { node, service };
    this.network.attach(host.name, (from, messages) => node.host.receive(from, messages));
  }

  /** The process or the whole machine stops in the middle of whatever it does. */
  kill(host: Host, end: 'power-loss' | 'exit'): void {
    this.network.detach(host.name);
    host.running = null;
    host.life++;
    host.machine = host.machine.next(this.#prng.fork(), end);
    this.#reached.count(end === 'exit' ? 'kills' : 'power losses');
  }

  leaderOf(partition: number): Host | undefined {
    return this.hosts.find(({ running }) => running?.node.host.groups[partition]!.isServing === true);
  }

  client(): ClusterClient {
    return new SimClient(this, this.#scheduler, this.#prng.fork());
  }

  /** Every group is led by a node that serves. */
  get isWhole(): boolean {
    return Array.from({ length: this.#swarm.groups }, (_, partition) => this.leaderOf(partition)).every(Boolean);
  }
}

/** Asks any node; one that does not lead says who does, and is then asked instead. */
class SimClient implements ClusterClient {
  readonly #cluster: SimCluster;
  readonly #scheduler: Scheduler;
  readonly #prng: Prng;

  constructor(cluster: SimCluster, scheduler: Scheduler, prng: Prng) {
    this.#cluster = cluster;
    this.#scheduler = scheduler;
    this.#prng = prng;
  }

  put(name: string, value: string, condition: Condition | null): Promise<Outcome> {
    const key = Buffer.from(name);
    const options = { ...PLAIN_PUT, condition: serviceCondition(condition) };
    return this.#write((service, done) => {
      service.put(key, 0, key.length, Buffer.from(JSON.stringify(value)), options, (error, revision) =>
        done(error, { kind: 'written', revision }),
      );
    });
  }

  delete(name: string, condition: Condition | null): Promise<Outcome> {
    return this.#write((service, done) => {
      service.delete(Buffer.from(name), serviceCondition(condition), (error, revision, deleted) =>
        done(error, deleted ? { kind: 'deleted', revision } : { kind: 'nothing' }),
      );
    });
  }

  async get(name: string): Promise<Outcome> {
    const running = this.#anyNode();
    if (running === null) return this.#refused();
    const key = Buffer.from(name);
    const read = running.service.get(key, { at: 0 }).then(
      (version): Outcome =>
        version === null
          ? { kind: 'absent' }
          : {
              kind: 'found',
              value: JSON.parse(Buffer.from(version.value).toString()) as string,
              revision: version.revision,
            },
      (): Outcome => ({ kind: 'failed' }),
    );
    return Promise.race([read, this.#patience<Outcome>({ kind: 'failed' })]);
  }

  async batch(entries: readonly BatchEntry[]): Promise<readonly Outcome[]> {
    const running = this.#anyNode();
    if (running === null) {
      const refused = await this.#refused();
      return entries.map(() => refused);
    }
    const operations = entries.map(({ key, value }) => ({
      kind: 'put' as const,
      key: Buffer.from(key),
      value: Buffer.from(JSON.stringify(value)),
      contentType: '',
      ttlSeconds: 0,
    }));
    const done = new Promise<readonly Outcome[]>((resolve) =>
      running.service.batch(operations, (results) =>
        resolve(
          results.map(({ error, revision }) => (error === null ? { kind: 'written', revision } : outcomeOf(error))),
        ),
      ),
    );
    const unknown = entries.map((): Outcome => ({ kind: 'unknown' }));
    return Promise.race([done, this.#patience(unknown)]);
  }

  /** Scans of several partitions need the protocol of DESIGN.md section 9, which is not there yet. */
  scan(): Promise<ScanOutcome> {
    return this.#scheduler.sleep(1).then(() => ({ kind: 'failed' }));
  }

  async #write(
    ask: (service: NodeService, done: (error: CairnError | null, outcome: Outcome) => void) => void,
  ): Promise<Outcome> {
    let running = this.#anyNode();
    for (let hops = 0; running !== null && hops < 3; hops++) {
      const { service } = running;
      const answer = new Promise<{ error: CairnError | null; outcome: Outcome }>((resolve) =>
        ask(service, (error, outcome) => resolve({ error, outcome })),
      );
      const result = await Promise.race([answer, this.#patience(null)]);
      if (result === null) return { kind: 'unknown' };
      const { error, outcome } = result;
      if (error === null) return outcome;
      const leader: unknown = error.extra?.['leader'];
      if (error.extra?.['notLeader'] !== true || typeof leader !== 'string') return outcomeOf(error);
      running = this.#cluster.hosts.find(({ name }) => name === leader)?.running ?? null;
    }
    return this.#refused();
  }

  #anyNode(): Running | null {
    return this.#prng.pick([...this.#cluster.hosts]).running;
  }

  #refused(): Promise<Outcome> {
    return this.#scheduler.sleep(5).then(() => ({ kind: 'failed' }));
  }

  #patience<T>(answer: T): Promise<T> {
    return this.#scheduler.sleep(CLIENT_PATIENCE_MS).then(() => answer);
  }
}

function serviceCondition(condition: Condition | null): ServiceCondition | null {
  switch (condition?.kind) {
    case undefined:
      return null;
    case 'revision':
      return { revisions: [condition.revision] };
    case 'absent':
      return { absent: true };
    case 'present':
      return { exists: true };
  }
}

function outcomeOf(error: CairnError): Outcome {
  if (error.code === 'precondition_failed') {
    return { kind: 'conflict', revision: Number(error.extra?.['currentRevision'] ?? 0) };
  }
  return error.code === 'deadline_exceeded' ? { kind: 'unknown' } : { kind: 'failed' };
}
