import type { ConfigurationAt } from './membership.js';
import type { MemberId } from './entry.js';
import type { LogStart } from './raft-log.js';

/** Everything a core asks of the outside. Functions return at once and change nothing in the core. */
export interface RaftEnvironment {
  /** A uniform integer in [0, bound). */
  random(bound: number): number;
  /** This node's idea of now. Never goes back while the node runs. */
  clock(): number;
  /** The highest instant that somebody relies on (`raiseClock`), or that was given to an entry: later revisions of this node lie above. */
  promisedClock(): number;
  /** What its wall clock shows, whatever was promised; leaders tell by it whose clock is far off. */
  wallClock(): number;
  /** The highest instant that the clock can't fall below after a restart. */
  durableClock(): number;
  /** Somebody relies on `instant`: the clock never shows less from now on. */
  raiseClock(instant: number): void;
  /** A revision above `above` and the clock, for an entry that the core itself appends. */
  nextRevision(above: number): number;
  /**
   * The ReadIndex round of this loop turn: the same for all groups of the node until their `ready()` was collected, then a higher one.
   * None that an earlier life of the data directory used: begin at random, for example.
   */
  readToken(): number;
}

export interface RaftOptions {
  /** A follower waits this long for its leader, and up to twice as long by chance. */
  readonly electionTicks: number;
  readonly heartbeatTicks: number;
  /** An append carries at least one entry, then as many as fit. */
  readonly maxAppendBytes: number;
  /** Appends under way to one follower. */
  readonly maxSentMessages: number;
  readonly maxSentBytes: number;
  /** Entries that a leader has appended and not committed; above it proposals are refused. */
  readonly maxUncommittedBytes: number;
  /** Applied entries are let go from memory beyond this. Infinity when the host calls `releasePayloadsTo` itself. */
  readonly maxBytesInMemory: number;
  /** A learner may be promoted when its disk is at most this many entries behind the commit index. */
  readonly promotionLag: number;
}

export const DEFAULT_RAFT_OPTIONS: RaftOptions = {
  electionTicks: 20,
  heartbeatTicks: 2,
  maxAppendBytes: 1_048_576,
  maxSentMessages: 256,
  maxSentBytes: 16_777_216,
  maxUncommittedBytes: 67_108_864,
  maxBytesInMemory: 16_777_216,
  promotionLag: 1024,
};

export interface HardState {
  readonly term: number;
  readonly vote: MemberId;
  /** At least what the state machine applied; may lag behind the true commit index. */
  readonly commit: number;
}

/** What the disk says of a replica when it starts. */
export interface RaftStart {
  readonly group: number;
  /** This replica's member id. */
  readonly id: MemberId;
  readonly hardState: HardState;
  readonly log: LogStart;
  readonly appliedIndex: number;
  /** The configuration in force at `appliedIndex`; later ones are in the log's entries. */
  readonly configuration: ConfigurationAt;
  /**
   * The log on disk is damaged or shorter than what this replica may have acknowledged, up to this index at most (Raft rule 15). It then
   * takes entries, but neither votes nor stands for election until its disk holds the log up to this index again, an entry of a leader
   * that was elected without it, or all that its leader had after it was asked: see `Repair`. 0: the log is whole.
   */
  readonly repairIndex: number;
}
