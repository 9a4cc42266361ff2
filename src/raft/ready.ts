import type { Entry, MemberId } from './entry.js';
import type { Message, SnapshotMeta } from './message.js';
import type { HardState } from './options.js';

export type RoleName = 'follower' | 'pre_candidate' | 'candidate' | 'leader';

export interface SoftState {
  readonly role: RoleName;
  readonly leader: MemberId;
  readonly term: number;
}

/** A read may be served at `clock` when everything up to `index` is applied. */
export interface ReadState {
  readonly token: number;
  readonly index: number;
  readonly clock: number;
}

/** Entries `from` to `to`, both included. */
export interface IndexRange {
  readonly from: number;
  readonly to: number;
}

export interface PersistRequest {
  /** Give it to `persisted()` when all of this is durable. Ascends; completes in order. */
  readonly sequence: number;
  /**
   * To install before anything below: the data's manifest edit carries index, term, configuration and this hard state; the whole log of
   * the group is replaced. Call `applied(snapshot.index)` when it is in force. Null: none.
   */
  readonly snapshot: SnapshotMeta | null;
  /** To write; null when term and vote are as they were. The commit index in it is a hint. */
  readonly hardState: HardState | null;
  /**
   * Entries from here on that were handed out before are void; 0: none. New ones with the same indexes are always in the same request,
   * so a log whose later entry replaces what stands at its index needs to do nothing.
   */
  readonly truncateFrom: number;
  /** To append (`core.entry(index)`); null: none. */
  readonly entries: IndexRange | null;
  /** The durable bound of this node's clock must reach this instant too; 0: no wish. */
  readonly clockBound: number;
}

export interface LoadRequest {
  readonly follower: MemberId;
  /** The entries `from` to `to`, at least one, then as many as fit into `maxBytes`. */
  readonly from: number;
  readonly to: number;
  readonly maxBytes: number;
}

export type SnapshotVerdict = 'install' | 'log_has_it' | 'stale';

/**
 * What to do next. The order of the fields is the order of work; nothing in one Ready waits for `persist` of the same one
 * except through `persisted()`, so the host never orders messages after writes itself.
 */
export interface Ready {
  /**
   * Send now, in this order. What must wait for the disk (votes, vote requests, acknowledged entries) is not here: it comes in
   * a later Ready, after `persisted()`. Entries in them may be views of the host's own buffers.
   */
  readonly messages: readonly Message[];
  /** Write and sync, in the order of the sequences; any number may be under way. Null: nothing. */
  readonly persist: PersistRequest | null;
  /**
   * Committed and durable here: apply in this order, then call `applied()`. Each index appears once. (An entry that a
   * quorum holds but this disk not yet could be applied too; it is not, so that the applied index never runs ahead of the log,
   * and a log that lost its tail in a crash never has to be explained to a state machine that saw it.)
   */
  readonly committed: IndexRange | null;
  /** Reads that may be served once their index is applied. */
  readonly reads: readonly ReadState[];
  /** Tokens of reads that get no answer: leadership was lost or the leader is not reached. Ask again. */
  readonly refusedReads: readonly number[];
  /** Read from disk and answer with `entriesLoaded()`. */
  readonly loads: readonly LoadRequest[];
  /** Members that need a snapshot: stream one, then call `reportSnapshot()`. */
  readonly snapshotsTo: readonly MemberId[];
  /** What became of a snapshot message that was stepped: only `install` is followed by `persist.snapshot`; discard the data else. */
  readonly snapshotVerdicts: readonly { readonly snapshot: SnapshotMeta; readonly verdict: SnapshotVerdict }[];
  /** Role, leader or term have changed. */
  readonly softState: SoftState | null;
}

export type ProposalRefusal = 'not_leader' | 'transferring' | 'overloaded';

export type ConfigRefusal =
  | 'not_leader'
  | 'transferring'
  /** No entry of this leader's term is committed yet. */
  | 'not_ready'
  | 'change_in_flight'
  /** The configuration in force is not the one that the caller saw. */
  | 'stale_configuration'
  | 'not_caught_up'
  | 'invalid_change';

export interface ConfigProposal {
  readonly entry: Entry;
  /** Ids of the added learners, in the order of the change. */
  readonly added: readonly MemberId[];
}

export type TransferRefusal =
  | 'not_leader'
  | 'not_a_voter'
  | 'transferring'
  /** Its disk lost entries; it does not stand until it has them again. */
  | 'repairing';
