import type { Cursor } from '../cursor.js';
import { makeRowKey, REPLICA_ID_BYTES } from '../row-key.js';
import { Merge } from './merge.js';

/**
 * Merges the replicas of a node by user key: child i holds only rows of `replicaIds[i]`. Keys, of the cursor and of its seeks,
 * are user keys here, without replicaId; `sourceRank` says whose an entry is.
 */
export class UserKeyMerge extends Merge {
  readonly #replicaIds: readonly number[];

  constructor(children: readonly Cursor[], replicaIds: readonly number[]) {
    super(children, REPLICA_ID_BYTES);
    this.#replicaIds = replicaIds;
  }

  protected override childKey(key: Uint8Array, rank: number): Uint8Array {
    return makeRowKey(this.#replicaIds[rank]!, key);
  }
}
