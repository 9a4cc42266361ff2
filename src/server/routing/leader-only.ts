import { CairnError } from '../../base/errors.js';
import type {
  BatchOperation,
  BatchResult,
  Condition,
  DeleteDone,
  MultiGetResult,
  PutOptions,
  ReadOptions,
  Service,
  StoredVersion,
  WriteDone,
} from '../service.js';
import type { UnaryService } from '../tcp/unary-requests.js';
import type { PartitionMap } from './partition-map.js';

/** The local service for requests that came from another node: what is not this node's is refused, never sent on. */
export class LeaderOnly implements UnaryService {
  readonly #local: Service;
  readonly #map: PartitionMap;

  constructor(local: Service, map: PartitionMap) {
    this.#local = local;
    this.#map = map;
  }

  put(key: Uint8Array, start: number, length: number, value: Uint8Array, options: PutOptions, done: WriteDone): void {
    const refusal = this.#refusal(this.#local.partitionOf(key, start, length));
    if (refusal === null) this.#local.put(key, start, length, value, options, done);
    else queueMicrotask(() => done(refusal, 0));
  }

  delete(key: Uint8Array, condition: Condition | null, done: DeleteDone): void {
    const refusal = this.#refusal(this.#local.partitionOf(key, 0, key.length));
    if (refusal === null) this.#local.delete(key, condition, done);
    else queueMicrotask(() => done(refusal, 0, false));
  }

  /** All of it or nothing: a batch that was sent on is of one partition. */
  batch(operations: readonly BatchOperation[], done: (results: readonly BatchResult[]) => void): void {
    for (const { key } of operations) {
      const error = this.#refusal(this.#local.partitionOf(key, 0, key.length));
      if (error === null) continue;
      queueMicrotask(() => done(operations.map(() => ({ error, revision: 0, deleted: false }))));
      return;
    }
    this.#local.batch(operations, done);
  }

  async get(key: Uint8Array, options: ReadOptions): Promise<StoredVersion | null> {
    const partition = this.#local.partitionOf(key, 0, key.length);
    if (!this.#map.hasReplica(partition)) throw notLeader(partition, this.#map.leaderOf(partition)?.nodeId);
    return this.#local.get(key, options);
  }

  async multiGet(keys: readonly Uint8Array[], options: ReadOptions): Promise<MultiGetResult> {
    return this.#local.multiGet(keys, options);
  }

  #refusal(partition: number): CairnError | null {
    const leader = this.#map.leaderOf(partition);
    return leader?.isLocal === true ? null : notLeader(partition, leader?.nodeId);
  }
}

function notLeader(partition: number, leader: string | undefined): CairnError {
  const hint = leader === undefined ? 'no leader is known here' : `${leader} does`;
  const extra = leader === undefined ? { partition } : { partition, leader };
  return new CairnError('not_leader', `this node does not lead partition ${partition}; ${hint}`, { extra });
}
