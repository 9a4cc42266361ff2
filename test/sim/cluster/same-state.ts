import { xxHash32 } from '../../../src/base/hash.js';
import { partitionOf } from '../../../src/cluster/placement.js';
import { isAbsentAt } from '../../../src/lsm/record.js';
import { LATEST } from '../../../src/lsm/row-key.js';
import { MAX_REVISION } from '../../../src/replica/revision-clock.js';
import { InvariantViolation } from '../checkers/invariant-violation.js';
import type { SimCluster } from './sim-cluster.js';

/** All nodes are up and have applied all that their leaders have. */
export function areLevel({ hosts, groups }: SimCluster): boolean {
  return Array.from({ length: groups }, (_, partition) => {
    const replicas = hosts.map(({ running }) => running?.node.host.groups[partition]);
    const last = replicas.find((replica) => replica?.isServing)?.raft.lastIndex;
    return last !== undefined && replicas.every((replica) => replica?.appliedIndex === last);
  }).every(Boolean);
}

/** Replicas that have applied the same entries, or a snapshot of them, hold the same data. */
export async function checkSameState({ hosts, groups }: SimCluster, keys: readonly string[]): Promise<void> {
  for (const name of keys) {
    const key = Buffer.from(name);
    const hash = xxHash32(key, 0, key.length);
    const partition = partitionOf(key, 0, key.length, hash, groups);
    const found = await Promise.all(
      hosts.map(async ({ running, name: node }) => {
        const { engine, host } = running!.node;
        const version = await engine.read(host.groups[partition]!.replicaId, key, hash, LATEST);
        // A replica may have dropped a tombstone, or what has expired, that another one still holds.
        const isAbsent = version === null || isAbsentAt(version.record, 0, MAX_REVISION);
        const text = isAbsent ? 'nothing' : `@${version.revision} ${Buffer.from(version.record).toString('latin1')}`;
        return { node, text };
      }),
    );
    const [first] = found;
    const other = found.find(({ text }) => text !== first!.text);
    if (other === undefined) continue;
    const what = `${first!.node} holds ${first!.text}, ${other.node} holds ${other.text}`;
    throw new InvariantViolation('state machine safety', `partition ${partition}, key ${name}: ${what}`);
  }
}
