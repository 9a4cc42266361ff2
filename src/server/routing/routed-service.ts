import { CairnError } from '../../base/errors.js';
import type { Clock } from '../../ports/clock.js';
import type {
  BatchOperation,
  BatchResult,
  Condition,
  DeleteDone,
  FoundVersion,
  LocalService,
  MultiGetResult,
  NodeStatus,
  PutOptions,
  Readiness,
  ReadOptions,
  Scan,
  ScanOptions,
  Service,
  StoredVersion,
  WriteDone,
} from '../service.js';
import { Outbox } from './outbox.js';
import type { PartitionLeader, PartitionMap, Peers } from './partition-map.js';
import { BatchResults, RoutedBatchPart } from './routed-batch.js';
import { isRefusal, unknownOutcome, type RoutedCall } from './routed-call.js';
import { RoutedGet } from './routed-get.js';
import { RoutedDelete, RoutedPut } from './routed-write.js';

export interface RoutedServiceOptions {
  /** Over this node's own replicas. */
  readonly local: LocalService;
  readonly map: PartitionMap;
  readonly peers: Peers;
  readonly clock: Clock;
  readonly partitionCount: number;
  /** From the call to its answer. */
  readonly requestTimeoutMs: number;
  /** Calls under way to other nodes or waiting for a leader, and their bytes; more are refused as `overloaded`. */
  readonly maxCalls?: number;
  readonly maxBytes?: number;
}

const DEFAULT_MAX_CALLS = 16_384;
const DEFAULT_MAX_BYTES = 64 << 20;
const FIRST_RETRY_MS = 5;
const LAST_RETRY_MS = 100;

/**
 * The service of the whole cluster as one node offers it. Writes go to the leader of their partition: the local service when that is
 * this node, else in one hop to another node's ForwardedRequests. Reads are served here wherever this node has a replica; as writes do,
 * they wait for a leader while there is none.
 *
 * A write is tried again only when nobody took it (CORRECTNESS.md, Promise 3): the peer certainly did not get it, or said that
 * it does not lead. Until its deadline; then it is `unavailable` when it was executed nowhere, and unknown otherwise.
 */
export class RoutedService implements Service {
  readonly nodeId: string;
  found: FoundVersion;
  readonly #local: LocalService;
  readonly #map: PartitionMap;
  readonly #clock: Clock;
  readonly #requestTimeoutMs: number;
  readonly #maxCalls: number;
  readonly #maxBytes: number;
  readonly #outbox: Outbox;
  readonly #notFound = { ...NOTHING_FOUND };
  #heldCalls = 0;
  #heldBytes = 0;
  #retries = 0;

  constructor(options: RoutedServiceOptions) {
    this.nodeId = options.local.nodeId;
    this.#local = options.local;
    this.#map = options.map;
    this.#clock = options.clock;
    this.#requestTimeoutMs = options.requestTimeoutMs;
    this.#maxCalls = options.maxCalls ?? DEFAULT_MAX_CALLS;
    this.#maxBytes = options.maxBytes ?? DEFAULT_MAX_BYTES;
    this.#outbox = new Outbox({
      peers: options.peers,
      clock: options.clock,
      partitionCount: options.partitionCount,
      onRefused: (call, error, nodeId) => this.#refused(call, error, nodeId),
    });
    this.found = this.#notFound;
  }

  /** For metrics: what is held now, and what was done since the start. */
  get routing(): RoutingStats {
    return {
      heldCalls: this.#heldCalls,
      heldBytes: this.#heldBytes,
      forwardedCalls: this.#outbox.sentCalls,
      peerRequests: this.#outbox.sentEnvelopes,
      retries: this.#retries,
    };
  }

  partitionOf(key: Uint8Array, start: number, length: number): number {
    return this.#local.partitionOf(key, start, length);
  }

  tryGet(key: Uint8Array, start: number, length: number): 'found' | 'absent' | 'blocked' {
    const partition = this.#local.partitionOf(key, start, length);
    if (!this.#map.localCanRead(partition)) {
      this.#notFound.partition = partition;
      this.found = this.#notFound;
      return 'blocked';
    }
    const outcome = this.#local.tryGet(key, start, length);
    this.found = this.#local.found;
    return outcome;
  }

  get(key: Uint8Array, options: ReadOptions): Promise<StoredVersion | null> {
    const partition = this.#local.partitionOf(key, 0, key.length);
    return new Promise((resolve, reject) => {
      this.#start(new RoutedGet(partition, this.#deadlineMs(), key, options, resolve, reject));
    });
  }

  put(key: Uint8Array, start: number, length: number, value: Uint8Array, options: PutOptions, done: WriteDone): void {
    const partition = this.#local.partitionOf(key, start, length);
    let refusal: CairnError | null = null;
    // The hot path: taken in this very step it needs no copy (2 us, a twentieth of a put).
    if (options.condition === null && this.#map.leaderOf(partition)?.isLocal === true) {
      refusal = this.#local.tryPut(key, start, length, value, options, done);
      if (refusal === null) return;
      if (!isRefusal(refusal)) {
        const error = refusal;
        queueMicrotask(() => done(error, 0));
        return;
      }
    }
    const call = new RoutedPut(partition, this.#deadlineMs(), key, start, length, value, options, done);
    if (refusal === null) this.#start(call);
    else this.#refused(call, refusal, this.nodeId);
  }

  delete(key: Uint8Array, condition: Condition | null, done: DeleteDone): void {
    const partition = this.#local.partitionOf(key, 0, key.length);
    this.#start(new RoutedDelete(partition, this.#deadlineMs(), key, condition, done));
  }

  batch(operations: readonly BatchOperation[], done: (results: readonly BatchResult[]) => void): void {
    if (operations.length === 0) {
      queueMicrotask(() => done([]));
      return;
    }
    const results = new BatchResults(operations.length, done);
    const parts = new Map<number, RoutedBatchPart>();
    const deadlineMs = this.#deadlineMs();
    for (const [position, operation] of operations.entries()) {
      const partition = this.#local.partitionOf(operation.key, 0, operation.key.length);
      let part = parts.get(partition);
      if (part === undefined) parts.set(partition, (part = new RoutedBatchPart(partition, deadlineMs, results)));
      part.add(position, operation);
    }
    for (const part of parts.values()) this.#start(part);
  }

  multiGet(keys: readonly Uint8Array[], options: ReadOptions): Promise<MultiGetResult> {
    let bytes = 0;
    for (const { length } of keys) bytes += length;
    return this.#bounded(bytes, () => this.#local.multiGet(keys, options));
  }

  openScan(options: ScanOptions): Promise<Scan> {
    return this.#bounded(options.startKey.length, () => this.#local.openScan(options));
  }

  readiness(): Readiness {
    return this.#local.readiness();
  }

  status(): NodeStatus {
    return this.#local.status();
  }

  #deadlineMs(): number {
    return this.#clock.monotonicMs() + this.#requestTimeoutMs;
  }

  #start(call: RoutedCall): void {
    const leader = this.#map.leaderOf(call.partition);
    // The local service bounds what waits in it.
    if (leader?.isLocal === true || this.#isServedHere(call, call.needsLeader)) this.#runLocal(call);
    else if (this.#hold(call)) this.#attempt(call, leader);
  }

  #isServedHere({ isForReplicas, partition }: RoutedCall, needsLeader: boolean): boolean {
    return isForReplicas && this.#map.hasReplica(partition) && (!needsLeader || this.#map.isLed(partition));
  }

  /** False when there is no room for the call; it fails then, after the caller's step. */
  #hold(call: RoutedCall): boolean {
    const refusal = this.#noRoom(call.bytes);
    if (refusal !== null) {
      queueMicrotask(() => call.fail(refusal));
      return false;
    }
    call.onEnded = this.#take(call.bytes);
    return true;
  }

  /** A read that waits for the leaders of its partitions, or for their word. */
  async #bounded<T>(bytes: number, read: () => Promise<T>): Promise<T> {
    const refusal = this.#noRoom(bytes);
    if (refusal !== null) throw refusal;
    const giveBack = this.#take(bytes);
    try {
      return await read();
    } finally {
      giveBack();
    }
  }

  #noRoom(bytes: number): CairnError | null {
    const isFull = this.#heldCalls >= this.#maxCalls || this.#heldBytes + bytes > this.#maxBytes;
    if (!isFull || this.#heldCalls === 0) return null;
    const held = `${this.#heldCalls} calls with ${this.#heldBytes} bytes`;
    return new CairnError('overloaded', `${held} are under way to other nodes or wait for a leader; retry`);
  }

  /** Returns what gives the room back. */
  #take(bytes: number): () => void {
    this.#heldCalls++;
    this.#heldBytes += bytes;
    return () => {
      this.#heldCalls--;
      this.#heldBytes -= bytes;
    };
  }

  #attempt(call: RoutedCall, leader: PartitionLeader | null): void {
    // The map may not know yet what the node that refused knew already.
    const { hint, refusedBy } = call;
    // What was refused before is not asked for again while nobody leads.
    if (leader?.isLocal === true || this.#isServedHere(call, true)) this.#runLocal(call);
    else if (call.isForReplicas && this.#map.hasReplica(call.partition)) this.#wait(call);
    else if (hint !== '' && (leader === null || leader.nodeId === refusedBy)) this.#outbox.add(hint, call);
    else if (leader !== null) this.#outbox.add(leader.nodeId, call);
    else this.#wait(call);
  }

  #runLocal(call: RoutedCall): void {
    // The local service gives each attempt the whole time-out; a call that was tried before has less.
    if (call.onEnded !== null) {
      const leftMs = Math.max(0, call.deadlineMs - this.#clock.monotonicMs());
      call.timer = this.#clock.setTimer(leftMs, () => call.fail(this.#notAnswered(call)));
    }
    call.runLocal(this.#local, (error) => this.#refused(call, error, this.nodeId));
  }

  #refused(call: RoutedCall, error: CairnError, nodeId: string): void {
    call.timer?.cancel();
    call.timer = null;
    if (call.isEnded) return;
    this.#retries++;
    call.lastError = error;
    call.refusedBy = nodeId;
    const leader = error.extra?.['leader'];
    call.hint = error.code === 'not_leader' && typeof leader === 'string' && leader !== this.nodeId ? leader : '';
    // A call that the local service refused was not counted so far.
    if (call.onEnded !== null || this.#hold(call)) this.#wait(call);
  }

  #wait(call: RoutedCall): void {
    const leftMs = call.deadlineMs - this.#clock.monotonicMs();
    if (leftMs <= 0) {
      call.fail(this.#nobodyTookIt(call));
      return;
    }
    const pauseMs = Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(call.attempts++, 10), leftMs);
    this.#clock.setTimer(pauseMs, () => {
      if (this.#clock.monotonicMs() >= call.deadlineMs || !call.isWanted) call.fail(this.#nobodyTookIt(call));
      else this.#attempt(call, this.#map.leaderOf(call.partition));
    });
  }

  #notAnswered(call: RoutedCall): CairnError {
    const problem = `partition ${call.partition} gave no answer within ${this.#requestTimeoutMs} ms`;
    return call.isRead ? new CairnError('unavailable', problem) : unknownOutcome(problem);
  }

  #nobodyTookIt(call: RoutedCall): CairnError {
    const tried = call.lastError === null ? 'no leader is known' : call.lastError.message;
    const problem = `no leader of partition ${call.partition} took the request within ${this.#requestTimeoutMs} ms`;
    return new CairnError('unavailable', `${problem}, and nothing was executed: ${tried}`, {
      extra: { partition: call.partition },
    });
  }
}

export interface RoutingStats {
  readonly heldCalls: number;
  readonly heldBytes: number;
  readonly forwardedCalls: number;
  readonly peerRequests: number;
  readonly retries: number;
}

const NOTHING_FOUND = {
  bytes: new Uint8Array(0),
  start: 0,
  length: 0,
  revision: 0,
  expiresAtMs: 0,
  contentType: '',
  partition: 0,
};
