import { CairnError } from '../../../src/base/errors.js';
import { xxHash32 } from '../../../src/base/hash.js';
import { SILENT_LOGGER } from '../../../src/base/logger.js';
import { Prng } from '../../../src/base/prng.js';
import { ForwardedRequests, type ForwardedRequestsOptions } from '../../../src/server/routing/forwarded-requests.js';
import type { PartitionLeader, PartitionMap, Peers } from '../../../src/server/routing/partition-map.js';
import { RoutedService, type RoutedServiceOptions } from '../../../src/server/routing/routed-service.js';
import {
  PLAIN_PUT,
  type BatchOperation,
  type BatchResult,
  type Condition,
  type DeleteDone,
  type LocalService,
  type PutOptions,
  type ReadOptions,
  type StoredVersion,
  type WriteDone,
} from '../../../src/server/service.js';
import { Scheduler } from '../../sim/ports/scheduler.js';
import { SimClock } from '../../sim/ports/sim-clock.js';
import { MemoryService } from '../memory-service.js';

export const PARTITIONS = 8;
export const TIMEOUT_MS = 1000;

/** One write that a node's log took. */
export interface Appended {
  readonly node: string;
  readonly key: string;
  readonly value: string;
  readonly options: PutOptions | null;
}

export interface Outcome {
  readonly code: string;
  readonly revision: number;
  readonly deleted: boolean;
  readonly tookMs: number;
}

/** What becomes of one request between two nodes. */
export type Fate =
  | { readonly kind: 'delivered'; readonly thereMs: number; readonly backMs: number }
  /** Certainly not delivered. */
  | { readonly kind: 'unreachable'; readonly afterMs: number }
  /** Nobody knows; it was delivered, or not. */
  | { readonly kind: 'lost'; readonly delivered: boolean; readonly afterMs: number }
  /** Delivered; the answer comes with other bytes. */
  | { readonly kind: 'garbled'; readonly bytes: Uint8Array };

const PROMPT: Fate = { kind: 'delivered', thereMs: 1, backMs: 1 };

/** Nodes with routing over services that only write down what they take, joined by links that do what a test says. */
export class RoutingWorld {
  readonly scheduler: Scheduler;
  readonly clock: SimClock;
  readonly nodes = new Map<string, RoutingNode>();
  /** Who leads each partition; null: nobody. */
  readonly leaders: (string | null)[] = Array.from({ length: PARTITIONS }, () => null);
  readonly appended: Appended[] = [];
  readonly requests: { readonly from: string; readonly to: string; readonly body: Uint8Array }[] = [];
  fate: (from: string, to: string) => Fate = () => PROMPT;
  revision = 1000;

  constructor(seed: number, names: readonly string[], options: WorldOptions = {}) {
    this.scheduler = new Scheduler(new Prng(seed));
    this.clock = new SimClock(this.scheduler);
    for (const name of names) this.nodes.set(name, new RoutingNode(name, this, options));
  }

  node(name: string): RoutingNode {
    return this.nodes.get(name)!;
  }

  /** All nodes know at once. */
  elect(leader: string | null, partitions: readonly number[] = this.leaders.map((_, i) => i)): void {
    for (const partition of partitions) {
      this.leaders[partition] = leader;
      for (const node of this.nodes.values()) node.known[partition] = leader;
    }
  }

  run<T>(promise: Promise<T>): Promise<T> {
    return this.scheduler.run(promise, 60_000);
  }

  async request(from: string, to: string, body: Uint8Array, timeoutMs: number): Promise<Uint8Array> {
    this.requests.push({ from, to, body });
    const fate = this.nodes.has(to) ? this.fate(from, to) : ({ kind: 'unreachable', afterMs: 0 } as const);
    const deliver = (): Promise<Uint8Array> => this.node(to).receiver.handle(new Uint8Array(body));
    const late = this.#late(timeoutMs);
    switch (fate.kind) {
      case 'delivered': {
        const answer = (async () => {
          await this.scheduler.sleep(fate.thereMs);
          const bytes = await deliver();
          await this.scheduler.sleep(fate.backMs);
          return bytes;
        })();
        return await Promise.race([answer, late]);
      }
      case 'unreachable':
        await this.scheduler.sleep(fate.afterMs);
        throw new CairnError('unavailable', `${to} can't be reached`);
      case 'lost':
        if (fate.delivered) void deliver();
        await Promise.race([this.scheduler.sleep(fate.afterMs), late]);
        throw new CairnError('deadline_exceeded', 'the link broke', { extra: { outcome: 'unknown' } });
      case 'garbled':
        void deliver();
        await this.scheduler.sleep(1);
        return fate.bytes;
    }
  }

  #late(timeoutMs: number): Promise<never> {
    const late = (async (): Promise<never> => {
      await this.scheduler.sleep(timeoutMs);
      throw new CairnError('deadline_exceeded', 'no answer in time', { extra: { outcome: 'unknown' } });
    })();
    late.catch(() => undefined);
    return late;
  }
}

export interface WorldOptions {
  readonly routed?: Partial<RoutedServiceOptions>;
  readonly receiver?: Partial<ForwardedRequestsOptions>;
}

/** One node: what it knows of the leaders may lag, but it always knows whether it leads itself. */
export class RoutingNode implements PartitionMap {
  readonly name: string;
  readonly known: (string | null)[];
  readonly local: ScriptedService;
  readonly routed: RoutedService;
  readonly receiver: ForwardedRequests;
  replicas = true;
  readonly #world: RoutingWorld;

  constructor(name: string, world: RoutingWorld, options: WorldOptions) {
    this.name = name;
    this.#world = world;
    this.known = [...world.leaders];
    this.local = new ScriptedService(name, world);
    const { clock } = world;
    const peers: Peers = { request: (to, body, timeoutMs) => world.request(name, to, body, timeoutMs) };
    this.routed = new RoutedService({
      local: this.local,
      map: this,
      peers,
      clock,
      partitionCount: PARTITIONS,
      requestTimeoutMs: TIMEOUT_MS,
      ...options.routed,
    });
    this.receiver = new ForwardedRequests({
      local: this.local,
      map: this,
      holds: { handle: () => Promise.reject(new CairnError('not_leader', 'scans are not scripted')) },
      clock,
      logger: SILENT_LOGGER,
      ...options.receiver,
    });
  }

  leaderOf(partition: number): PartitionLeader | null {
    if (this.#world.leaders[partition] === this.name) return { nodeId: this.name, isLocal: true };
    const nodeId = this.known[partition] ?? null;
    return nodeId === null || nodeId === this.name ? null : { nodeId, isLocal: false };
  }

  isLed(partition: number): boolean {
    return (this.#world.leaders[partition] === this.name ? this.name : this.known[partition]) !== null;
  }

  localCanRead(partition: number): boolean {
    return this.#world.leaders[partition] === this.name;
  }

  hasReplica(): boolean {
    return this.replicas;
  }

  put(key: string, value: string, options: Partial<PutOptions> = {}): Promise<Outcome> {
    const startedMs = this.#world.clock.monotonicMs();
    // Scratch memory, as adapters pass it: other bytes stand there when the call has returned.
    const scratch = Buffer.from(`..${key}..${value}..`);
    const length = Buffer.byteLength(key);
    const view = scratch.subarray(length + 4, length + 4 + Buffer.byteLength(value));
    return new Promise((resolve) => {
      this.routed.put(scratch, 2, length, view, { ...PLAIN_PUT, ...options }, (error, revision) =>
        resolve({ code: error?.code ?? 'ok', revision, deleted: false, tookMs: this.#tookMs(startedMs) }),
      );
      scratch.fill(0x7a);
    });
  }

  delete(key: string, condition: Condition | null = null): Promise<Outcome> {
    const startedMs = this.#world.clock.monotonicMs();
    const scratch = Buffer.from(key);
    return new Promise((resolve) => {
      this.routed.delete(scratch, condition, (error, revision, deleted) =>
        resolve({ code: error?.code ?? 'ok', revision, deleted, tookMs: this.#tookMs(startedMs) }),
      );
      scratch.fill(0x7a);
    });
  }

  batch(operations: readonly BatchOperation[]): Promise<readonly Outcome[]> {
    const startedMs = this.#world.clock.monotonicMs();
    return new Promise((resolve) => {
      this.routed.batch(operations, (results) =>
        resolve(
          results.map(({ error, revision, deleted }) => ({
            code: error?.code ?? 'ok',
            revision,
            deleted,
            tookMs: this.#tookMs(startedMs),
          })),
        ),
      );
      for (const operation of operations) if (operation.kind === 'put') operation.value.fill(0x7a);
    });
  }

  #tookMs(startedMs: number): number {
    return this.#world.clock.monotonicMs() - startedMs;
  }
}

export function partitionOfKey(key: string): number {
  const bytes = Buffer.from(key);
  return Math.floor((xxHash32(bytes, 0, bytes.length) * PARTITIONS) / 2 ** 32);
}

/** A key of the partition. */
export function keyIn(partition: number, prefix = 'k'): string {
  for (let i = 0; ; i++) if (partitionOfKey(`${prefix}${i}`) === partition) return `${prefix}${i}`;
}

export function putOperation(key: string, value: string): BatchOperation {
  return { kind: 'put', key: Buffer.from(key), value: Buffer.from(value), contentType: '', ttlSeconds: 0 };
}

/** Takes writes when its node leads the partition in that step, and answers `delayMs` later. */
export class ScriptedService extends MemoryService implements LocalService {
  override readonly nodeId: string;
  delayMs: (partition: number) => number = () => 1;
  /** How long a conditional write or one with a delete waits until it is evaluated, as for a block from disk. */
  fetchMs = 0;
  /** Answers every write with it, having taken nothing. */
  refusal: CairnError | null = null;
  /** As `refusal`, for so many writes. */
  refusals: CairnError[] = [];
  readOptions: ReadOptions | null = null;
  reads = 0;
  readMs = 1;
  /** Whether it can say how old its data may be. */
  isConfirmed = true;
  readonly values = new Map<string, StoredVersion>();
  readonly #world: RoutingWorld;

  constructor(nodeId: string, world: RoutingWorld) {
    super();
    this.nodeId = nodeId;
    this.#world = world;
  }

  override partitionOf(key: Uint8Array, start: number, length: number): number {
    return partitionOfKey(Buffer.from(key.subarray(start, start + length)).toString());
  }

  override async get(key: Uint8Array, options: ReadOptions): Promise<StoredVersion | null> {
    this.readOptions = options;
    const name = Buffer.from(key).toString();
    this.reads++;
    await this.#world.scheduler.sleep(this.readMs);
    // As a replica does that is in no term's office.
    const isLed = this.#world.leaders[partitionOfKey(name)] !== null;
    if (!isLed && (options.consistency !== 'stale' || !this.isConfirmed))
      throw new CairnError('not_leader', 'nobody leads');
    if (options.consistency === 'stale') options.onStaleness?.(this.stalenessMs);
    return this.values.get(name) ?? null;
  }

  override put(
    key: Uint8Array,
    start: number,
    length: number,
    value: Uint8Array,
    options: PutOptions,
    done: WriteDone,
  ): void {
    const write = [Buffer.from(key.subarray(start, start + length)).toString(), Buffer.from(value).toString()] as const;
    this.#evaluate(write[0], options.condition === null ? 0 : this.fetchMs, done, () =>
      this.#append(...write, options),
    );
  }

  tryPut(
    key: Uint8Array,
    start: number,
    length: number,
    value: Uint8Array,
    options: PutOptions,
    done: WriteDone,
  ): CairnError | null {
    const name = Buffer.from(key.subarray(start, start + length)).toString();
    const partition = partitionOfKey(name);
    const refusal = this.#refusalOf(partition);
    if (refusal !== null) return refusal;
    const revision = this.#append(name, Buffer.from(value).toString(), options);
    this.#world.scheduler.schedule(this.delayMs(partition), () => done(null, revision));
    return null;
  }

  #refusalOf(partition: number): CairnError | null {
    const isLeader = this.#world.leaders[partition] === this.nodeId;
    return this.refusals.shift() ?? this.refusal ?? (isLeader ? null : new CairnError('not_leader', 'not any more'));
  }

  override delete(key: Uint8Array, _condition: Condition | null, done: DeleteDone): void {
    const name = Buffer.from(key).toString();
    this.#evaluate(
      name,
      this.fetchMs,
      (error, revision) => done(error, revision, error === null),
      () => this.#append(name, 'deleted', null),
    );
  }

  /** Each partition's part is answered with the others. */
  override batch(operations: readonly BatchOperation[], done: (results: readonly BatchResult[]) => void): void {
    const results: BatchResult[] = [];
    let missing = operations.length;
    const fetchMs = operations.some(({ kind }) => kind === 'delete') ? this.fetchMs : 0;
    for (const [i, operation] of operations.entries()) {
      const key = Buffer.from(operation.key).toString();
      const value = operation.kind === 'put' ? Buffer.from(operation.value).toString() : 'deleted';
      const finish: WriteDone = (error, revision) => {
        results[i] = { error, revision, deleted: error === null && operation.kind === 'delete' };
        if (--missing === 0) done(results);
      };
      if (key === 'invalid') {
        queueMicrotask(() => finish(new CairnError('invalid_request', 'so it is'), 0));
      } else this.#evaluate(key, fetchMs, finish, () => this.#append(key, value, null));
    }
  }

  #evaluate(key: string, fetchMs: number, done: WriteDone, append: () => number): void {
    const partition = partitionOfKey(key);
    const step = (): void => {
      const refusal = this.#refusalOf(partition);
      if (refusal !== null) {
        queueMicrotask(() => done(refusal, 0));
        return;
      }
      const revision = append();
      this.#world.scheduler.schedule(this.delayMs(partition), () => done(null, revision));
    };
    if (fetchMs === 0) step();
    else this.#world.scheduler.schedule(fetchMs, step);
  }

  #append(key: string, value: string, options: PutOptions | null): number {
    this.#world.appended.push({ node: this.nodeId, key, value, options });
    return ++this.#world.revision;
  }
}
