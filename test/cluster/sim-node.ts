import { openLocalNode, type LocalNode, type LocalNodeOptions } from '../../src/cluster/local-node.js';
import { createEngineJobs, type EngineJobs } from '../../src/engine/jobs/jobs.js';
import { NodeService } from '../../src/server/node-service.js';
import { nodeStatus } from '../../src/server/node-status.js';
import {
  PLAIN_PUT,
  type BatchOperation,
  type BatchResult,
  type Condition,
  type PutOptions,
} from '../../src/server/service.js';
import { SimLogWriter } from '../sim/ports/sim-log-writer.js';
import type { SimMachine } from '../sim/sim-machine.js';

export interface WriteAnswer {
  readonly code: string;
  readonly revision: number;
}

/** A node without sockets on a simulated machine, for tests that arrange one situation. All its keys share a partition unless told. */
export class SimNode {
  readonly machine: SimMachine;
  readonly node: LocalNode;
  readonly service: NodeService;

  private constructor(machine: SimMachine, node: LocalNode) {
    this.machine = machine;
    this.node = node;
    const status = { dataDir: '/data', version: '0', startedAtMs: 0, httpLibrary: '' };
    this.service = new NodeService({
      ...node,
      clock: machine.clock,
      nodeId: 'n1',
      maxValueBytes: 14 * 1024,
      status: () => nodeStatus({ node, ...status }),
    });
  }

  /** Runs the machine until the node is up. */
  static start(machine: SimMachine, options: Partial<LocalNodeOptions> = {}): Promise<SimNode> {
    return machine.scheduler.run(SimNode.open(machine, options));
  }

  static async open(machine: SimMachine, options: Partial<LocalNodeOptions> = {}): Promise<SimNode> {
    const { clock, disk } = machine;
    disk.blocking.makeDirectory('/data');
    const node = await openLocalNode({
      nodeId: 'n1',
      dataDir: '/data',
      partitions: 1,
      replicationFactor: 3,
      memtableSizeBytes: 256 * 1024,
      blockCacheSizeBytes: 1024 * 1024,
      logSegmentSizeBytes: 64 * 1024,
      historyWindowMs: 600_000,
      requestTimeoutMs: 10_000,
      maxEntryBytes: 16 * 1024,
      disk,
      clock,
      random: machine.random,
      executor: machine.executor<EngineJobs>(createEngineJobs(disk.blocking)),
      logWriter: new SimLogWriter({ disk: disk.blocking, clock, latencyMs: () => 1 }),
      logger: { debug() {}, info() {}, warn() {}, error() {} },
      onFatal: (error) => machine.scheduler.fail(error),
      ...options,
      tuning: { ringBytes: 64 * 1024, ...options.tuning },
    });
    return new SimNode(machine, node);
  }

  /** Runs the machine until the promise settles. */
  run<T>(promise: Promise<T>, limitMs?: number): Promise<T> {
    return this.machine.scheduler.run(promise, limitMs);
  }

  put(name: string, value: string, options: Partial<PutOptions> = {}): Promise<WriteAnswer> {
    const key = Buffer.from(name);
    return new Promise((resolve) =>
      this.service.put(key, 0, key.length, Buffer.from(value), { ...PLAIN_PUT, ...options }, (error, revision) =>
        resolve({ code: error?.code ?? 'ok', revision }),
      ),
    );
  }

  delete(name: string, condition: Condition | null = null): Promise<WriteAnswer & { deleted: boolean }> {
    return new Promise((resolve) =>
      this.service.delete(Buffer.from(name), condition, (error, revision, deleted) =>
        resolve({ code: error?.code ?? 'ok', revision, deleted }),
      ),
    );
  }

  batch(operations: readonly BatchOperation[]): Promise<readonly BatchResult[]> {
    return new Promise((resolve) => this.service.batch(operations, resolve));
  }

  async get(name: string): Promise<string | null> {
    const key = Buffer.from(name);
    const outcome = this.service.tryGet(key, 0, key.length);
    if (outcome === 'absent') return null;
    if (outcome === 'found') {
      const { bytes, start, length } = this.service.found;
      return Buffer.from(bytes.slice(start, start + length)).toString();
    }
    const version = await this.service.get(key, { at: 0 });
    return version === null ? null : Buffer.from(version.value).toString();
  }

  async scan(): Promise<string[]> {
    const all = { startKey: new Uint8Array(), endKey: null, reverse: false, keysOnly: true, at: 0 };
    const scan = await this.service.openScan(all);
    const items = await scan.next(1000, 1 << 20);
    scan.close();
    return items.map(({ key }) => Buffer.from(key).toString());
  }
}
