import type { Revision } from '../row-key.js';
import type { TableFile } from './table-file.js';

/** How far one group's entries are in the tables, and its hard state. Log entries up to `appliedIndex` are not needed any more. */
export interface GroupState {
  readonly groupId: number;
  /** Which replica holds the group's data on this node. */
  readonly replicaId: number;
  readonly appliedIndex: number;
  readonly appliedTerm: number;
  /** Revision of the entry at `appliedIndex`. */
  readonly revision: Revision;
  readonly term: number;
  /** The member voted for in `term`, 0 for none. */
  readonly vote: number;
  /** This replica's Raft member id, 0 when it is not known. */
  readonly memberId: number;
  /** Index of the entry that `configuration` comes from. */
  readonly configIndex: number;
  /** The Raft configuration in force at `appliedIndex`, as raft/configuration-codec.ts writes it; empty: none recorded. */
  readonly configuration: Uint8Array;
}

const NO_CONFIGURATION = new Uint8Array(0);

/** The state of a group whose replica is new and has applied nothing. */
export function emptyGroupState(groupId: number, replicaId: number): GroupState {
  return {
    groupId,
    replicaId,
    appliedIndex: 0,
    appliedTerm: 0,
    revision: 0,
    term: 0,
    vote: 0,
    memberId: 0,
    configIndex: 0,
    configuration: NO_CONFIGURATION,
  };
}

export interface AddedTable {
  readonly level: number;
  readonly table: TableFile;
}

export interface RemovedTable {
  readonly level: number;
  readonly fileNumber: number;
}

/** One atomic change of the tree: a record of the manifest. What is absent stays as it was. */
export interface VersionEdit {
  readonly nextFileNumber?: number;
  readonly nextReplicaId?: number;
  /** No revision at or above this one has been given; a restart continues from here. */
  readonly clockBound?: Revision;
  /** Versions that are superseded at this revision may be gone. */
  readonly historyFloor?: Revision;
  readonly createdReplicas?: readonly number[];
  readonly droppedReplicas?: readonly number[];
  readonly groups?: readonly GroupState[];
  readonly removedGroups?: readonly number[];
  readonly added?: readonly AddedTable[];
  readonly removed?: readonly RemovedTable[];
  /** Where the next compaction of a level begins: after this row. */
  readonly pointers?: readonly { readonly level: number; readonly row: Uint8Array }[];
}
