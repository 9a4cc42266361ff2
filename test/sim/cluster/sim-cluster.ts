import { assert } from '../../../src/base/assert.js';
import { CairnError } from '../../../src/base/errors.js';
import type { Prng } from '../../../src/base/prng.js';
import { openLocalNode, type LocalNode } from '../../../src/cluster/local-node.js';
import { InstantHolds } from '../../../src/cluster/instants/instant-holds.js';
import type { AskNode } from '../../../src/cluster/instants/instant-round.js';
import { Instants } from '../../../src/cluster/instants/instants.js';
import { decodeInstantAnswer, encodeInstantRequest } from '../../../src/codec/instant-protocol.js';
import { createEngineJobs, type EngineJobs } from '../../../src/engine/jobs/jobs.js';
import { NodeService } from '../../../src/server/node-service.js';
import { answerInstant } from '../../../src/server/routing/instant-requests.js';
import { nodeStatus } from '../../../src/server/node-status.js';
import { PLAIN_PUT, type Condition as ServiceCondition } from '../../../src/server/service.js';
import { ClockCeiling } from '../checkers/clock-ceiling.js';
import type { Condition, Outcome } from '../checkers/operation.js';
import type { Scheduler } from '../ports/scheduler.js';
import { SimLogWriter } from '../ports/sim-log-writer.js';
import { SimMachine } from '../sim-machine.js';
import { scanPages } from './client-scan.js';
import type { BatchEntry, ClusterClient, ScanOutcome, ScanRange, StaleOutcome } from './cluster-client.js';
import { MessageNetwork } from './message-network.js';
import { RaftWatch } from './raft-watch.js';
import type { Reached } from './reached.js';
import { LEAST_KEPT_ENTRIES, type Swarm } from './swarm.js';

const CLIENT_PATIENCE_MS = 4_000;
const REQUEST_TIMEOUT_MS = 2_000;
const MAX_VALUE_BYTES = 14 * 1024;
export const USUAL_LOG_WRITE_MS = 3;
/** How far ahead of time the durable bound of a node's clock may be. */
const CLOCK_LEAD_MS = 3000;
/** The fault `clock-drift`. */
const FASTEST_CLOCK = 2;
/** A supervisor starts a process that ended by itself anew. */
const SUPERVISOR_MS = 300;

interface Running {
  readonly machine: SimMachine;
  readonly node: LocalNode;
  readonly service: NodeService;
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
  readonly network: MessageNetwork;
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
    this.network = new MessageNetwork(scheduler, prng);
    this.hosts = Array.from({ length: swarm.nodes }, (_, i) => {
      return new Host(`n${i + 1}`, SimMachine.inWorld(scheduler, prng.fork()));
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
      logWriter: new SimLogWriter({
        disk: disk.blocking,
        clock,
        latencyMs: () => machine.prng.unit() * host.logWriteMs,
      }),
      logger: { debug() {}, info() {}, warn() {}, error() {} },
      transport: this.network.transport(host.name),
      onFatal: (error) => this.#ended(host, machine, error),
      tuning: {
        ringBytes: 64 * 1024,
        tickMs: 10,
        raft: {
          maxSentBytes: limits.inFlightBytes,
          maxAppendBytes: limits.entriesPerMessage * 500,
          maxBytesInMemory: limits.snapshotAfterEntries * 200,
        },
      },
    });
    if (host.machine !== machine) return;
    // Else entries would be read back from the log's segments wherever a snapshot could be needed.
    if (limits.snapshotAfterEntries === LEAST_KEPT_ENTRIES) node.log.readEntries = () => Promise.resolve(null);
    host.isStarting = false;
    this.#watch.started(node.host, node.log);
    this.#reached.count('starts');
    if (node.log.recovered.tornBytes > 0) this.#reached.count('torn tails');
    const status = { dataDir: '/data', version: '0', startedAtMs: 0, httpLibrary: '' };
    const holds = new InstantHolds(node.host, clock);
    const instants = new Instants({
      nodeId: host.name,
      host: node.host,
      engine: node.engine,
      holds,
      ask: this.#asker(host, machine),
      clock,
      random,
      requestTimeoutMs: REQUEST_TIMEOUT_MS,
    });
    const service = new NodeService({
      ...node,
      instants,
      clock,
      nodeId: host.name,
      maxValueBytes: MAX_VALUE_BYTES,
      status: () => nodeStatus({ node, ...status }),
    });
    host.running = { machine, node, service, instants };
    this.network.requests.attach(
      host.name,
      (body) =>
        new Promise((resolve, reject) => {
          machine.events.arrive(() => {
            if (host.machine === machine) answerInstant(holds, body).then(resolve, reject);
          });
        }),
    );
    this.network.bulk.attach(host.name, (from, header, source) =>
      machine.events.arrive(() => {
        if (host.machine === machine) node.host.receiveBulk(from, header, source);
      }),
    );
    this.network.attach(host.name, (from, messages) =>
      machine.events.arrive(() => {
        if (host.machine === machine) node.host.receive(from, messages);
      }),
    );
  }

  #asker(host: Host, machine: SimMachine): AskNode {
    return (nodeId, request) =>
      new Promise<Uint8Array>((resolve) => {
        this.network.requests.request(host.name, nodeId, encodeInstantRequest(request), (answer) =>
          machine.events.arrive(() => {
            if (host.machine === machine) resolve(answer);
          }),
        );
      }).then(decodeInstantAnswer);
  }

  /** The process or the whole machine stops in the middle of whatever it does. */
  kill(host: Host, end: 'power-loss' | 'exit'): void {
    this.network.detach(host.name);
    this.#reached.count(host.isStarting ? 'killed while starting' : 'killed while running');
    this.#retire(host);
    this.clocks.crashed(CLOCK_LEAD_MS);
    host.machine = host.machine.next(this.#prng.fork(), end);
    this.#reached.count(end === 'exit' ? 'kills' : 'power losses');
  }

  /** The process can't go on. After what a fault did to its disk that is right; it is started again. */
  #ended(host: Host, machine: SimMachine, error: unknown): void {
    if (host.machine !== machine || machine.disk.isOff) return;
    if (!host.mayFail) {
      this.#scheduler.fail(error);
      return;
    }
    this.#reached.count('ended by an error of the disk');
    this.kill(host, 'exit');
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
  #count({ node: { engine, host }, instants }: Running): void {
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

/** Asks any node; one that does not lead says who does, and is then asked instead. */
class SimClient implements ClusterClient {
  readonly #cluster: SimCluster;
  readonly #scheduler: Scheduler;
  readonly #prng: Prng;

  readonly #node: string | null;

  constructor(cluster: SimCluster, scheduler: Scheduler, prng: Prng, node: string | null) {
    this.#node = node;
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
    const read = arriving(running, (service) => service.get(key, { at: 0 })).then(
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

  async staleGet(name: string): Promise<StaleOutcome> {
    const running = this.#anyNode();
    if (running === null) {
      await this.#refused();
      return { kind: 'failed' };
    }
    let stalenessMs = 0;
    const onStaleness = (ms: number): void => void (stalenessMs = ms);
    const read = arriving(running, (service) =>
      service.get(Buffer.from(name), { at: 0, consistency: 'stale', onStaleness }),
    ).then(
      (version): StaleOutcome =>
        version === null
          ? { kind: 'absent', stalenessMs }
          : {
              kind: 'found',
              value: JSON.parse(Buffer.from(version.value).toString()) as string,
              revision: version.revision,
              stalenessMs,
            },
      (): StaleOutcome => ({ kind: 'failed' }),
    );
    return Promise.race([read, this.#patience<StaleOutcome>({ kind: 'failed' })]);
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
    const done = arriving(
      running,
      (service) =>
        new Promise<readonly Outcome[]>((resolve) =>
          service.batch(operations, (results) =>
            resolve(
              results.map(({ error, revision }) => (error === null ? { kind: 'written', revision } : outcomeOf(error))),
            ),
          ),
        ),
    );
    const unknown = entries.map((): Outcome => ({ kind: 'unknown' }));
    return Promise.race([done, this.#patience(unknown)]);
  }

  scan(range: ScanRange): Promise<ScanOutcome> {
    return scanPages(async (ask) => {
      const running = this.#anyNode();
      if (running === null) {
        await this.#refused();
        return null;
      }
      const answer = arriving(running, ask).catch((error: unknown) => {
        if (!(error instanceof CairnError)) this.#scheduler.fail(error);
        return null;
      });
      return Promise.race([answer, this.#patience(null)]);
    }, range);
  }

  async #write(
    ask: (service: NodeService, done: (error: CairnError | null, outcome: Outcome) => void) => void,
  ): Promise<Outcome> {
    let running = this.#anyNode();
    for (let hops = 0; running !== null && hops < 3; hops++) {
      const answer = arriving(
        running,
        (service) =>
          new Promise<{ error: CairnError | null; outcome: Outcome }>((resolve) =>
            ask(service, (error, outcome) => resolve({ error, outcome })),
          ),
      );
      const result = await Promise.race([answer, this.#patience(null)]);
      if (result === null) return { kind: 'unknown' };
      const { error, outcome } = result;
      if (error === null) return outcome;
      const leader: unknown = error.extra?.['leader'];
      if (error.code !== 'not_leader' || typeof leader !== 'string') return outcomeOf(error);
      running = this.#cluster.hosts.find(({ name }) => name === leader)?.running ?? null;
    }
    return this.#refused();
  }

  #anyNode(): Running | null {
    const { hosts } = this.#cluster;
    if (this.#node !== null) return hosts.find(({ name }) => name === this.#node)?.running ?? null;
    return this.#prng.pick([...hosts]).running;
  }

  #refused(): Promise<Outcome> {
    return this.#scheduler.sleep(5).then(() => ({ kind: 'failed' }));
  }

  #patience<T>(answer: T): Promise<T> {
    return this.#scheduler.sleep(CLIENT_PATIENCE_MS).then(() => answer);
  }
}

/** A request reaches the node when that runs; never when it has died by then. */
function arriving<T>({ machine, service }: Running, ask: (service: NodeService) => Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    machine.events.arrive(() => {
      if (!machine.disk.isOff) ask(service).then(resolve, reject);
    });
  });
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
