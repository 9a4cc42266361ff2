/** What routing asks about the cluster, answered at once from what this node knows. */
export interface PartitionMap {
  /**
   * Who orders the partition's writes; null when nobody is known. Local only when this node would evaluate a write in this very
   * step: a leader whose first entry is not applied yet is nobody.
   */
  leaderOf(partition: number): PartitionLeader | null;
  /** Whether some node is known to lead the partition, able to write at this moment or not. */
  isLed(partition: number): boolean;
  /** Whether the local service may answer reads of the latest state without asking other nodes. */
  localCanRead(partition: number): boolean;
  /** Whether this node holds the partition's data, so that the local service can answer reads of it at all. */
  hasReplica(partition: number): boolean;
}

/** Looked at during the call only, so a map may hand out the same object again and again. */
export interface PartitionLeader {
  readonly nodeId: string;
  readonly isLocal: boolean;
}

export interface Peers {
  /**
   * Sends one body to a node and resolves with its answer. Rejects with a CairnError: `unavailable` when the node certainly did not
   * get it, anything else when nobody knows. Never delivers a body twice. `body` is the peers' to keep.
   */
  request(nodeId: string, body: Uint8Array, timeoutMs: number): Promise<Uint8Array>;
}
