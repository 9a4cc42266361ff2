import type { Entry, MemberId } from './entry.js';
import type { Configuration } from './configuration.js';

/**
 * What travels between the replicas of a group. Plain values, so that a codec maps each field to one protobuf field. All
 * numbers are integers in [0, 2^53). A transport may lose, repeat, delay and reorder messages.
 */
export type Message =
  | AppendMessage
  | AppendReply
  | AppendReject
  | CommitMessage
  | HeartbeatMessage
  | HeartbeatReply
  | VoteMessage
  | VoteReply
  | TimeoutNowMessage
  | ReadMessage
  | ReadReply
  | RepairMessage
  | RepairReply
  | SnapshotMessage
  | TermNotice;

interface Envelope {
  readonly group: number;
  readonly from: MemberId;
  readonly to: MemberId;
  /** The sender's term; in a pre-vote and its grant the term that the candidate would take. */
  readonly term: number;
}

export interface AppendMessage extends Envelope {
  readonly type: 'append';
  readonly prevIndex: number;
  readonly prevTerm: number;
  readonly commit: number;
  readonly entries: readonly Entry[];
}

/** The sender's disk holds the leader's log up to `index`. */
export interface AppendReply extends Envelope {
  readonly type: 'append_reply';
  readonly index: number;
  /** The sender's wall clock, as in the other answers to a leader. */
  readonly clock: number;
}

/** The sender's log does not hold (prevIndex, prevTerm). */
export interface AppendReject extends Envelope {
  readonly type: 'append_reject';
  /** The append's `prevIndex`. */
  readonly rejectedIndex: number;
  /** Where the logs may match: the sender's last entry at or below `rejectedIndex` of a term not above the append's `prevTerm`. */
  readonly hintIndex: number;
  readonly hintTerm: number;
  /** The sender's disk lost entries (CORRECTNESS.md, Raft rule 15): what it acknowledged before counts no more. */
  readonly lost: boolean;
  readonly clock: number;
}

/** The commit index has moved and no entries travel that could tell it. Not answered. */
export interface CommitMessage extends Envelope {
  readonly type: 'commit';
  readonly commit: number;
}

export interface HeartbeatMessage extends Envelope {
  readonly type: 'heartbeat';
  readonly commit: number;
  /** The newest ReadIndex round that waits; 0: none. */
  readonly token: number;
  /** The leader's clock, which a reply to this round binds the sender's clock to; 0 without a round. */
  readonly clock: number;
  /** The highest clock of a confirmed round. */
  readonly confirmedClock: number;
}

export interface HeartbeatReply extends Envelope {
  readonly type: 'heartbeat_reply';
  readonly token: number;
  /** As in an append reply. */
  readonly index: number;
  readonly clock: number;
}

export interface VoteMessage extends Envelope {
  readonly type: 'vote';
  /** Asks whether a vote would be given; changes nothing. */
  readonly pre: boolean;
  /** The leader asked for this election: voters don't wait for its silence. */
  readonly transfer: boolean;
  readonly lastIndex: number;
  readonly lastTerm: number;
}

export interface VoteReply extends Envelope {
  readonly type: 'vote_reply';
  readonly pre: boolean;
  readonly granted: boolean;
  /** Every instant that the sender confirmed to earlier leaders, or gave to an entry, lies at or below. Not its wall clock. */
  readonly clock: number;
}

/** Leader transfer: start an election now. */
export interface TimeoutNowMessage extends Envelope {
  readonly type: 'timeout_now';
}

/** A follower asks its leader for a read index. */
export interface ReadMessage extends Envelope {
  readonly type: 'read';
  readonly token: number;
}

export interface ReadReply extends Envelope {
  readonly type: 'read_reply';
  readonly token: number;
  readonly refused: boolean;
  readonly index: number;
  readonly clock: number;
}

/** A member that has lost entries asks its leader how far the leader's log reaches: see `Repair`. */
export interface RepairMessage extends Envelope {
  readonly type: 'repair';
  /** Never used in an earlier life of the sender's data directory. */
  readonly token: number;
}

export interface RepairReply extends Envelope {
  readonly type: 'repair_reply';
  readonly token: number;
  /** The last index of the leader's log when it was asked. */
  readonly lastIndex: number;
}

/** What a snapshot says of itself; the data travels beside. */
export interface SnapshotMeta {
  readonly index: number;
  readonly term: number;
  /** Of the entry at `index`. */
  readonly revision: number;
  readonly configuration: Configuration;
  /** The index of the entry that `configuration` comes from. */
  readonly configIndex: number;
  /** The history floor of the data; the host's business. */
  readonly floor: number;
}

/** Given to the core by the receiver's own host when it has received and built the data. */
export interface SnapshotMessage extends Envelope {
  readonly type: 'snapshot';
  readonly snapshot: SnapshotMeta;
}

/** The answer to a leader of an earlier term. */
export interface TermNotice extends Envelope {
  readonly type: 'term_notice';
}
