/**
 * Bugs that tests plant to prove that a checker would see them (CORRECTNESS.md, "How it is shown"). Production never calls
 * `plantMutations`, so every `mutated()` there is one comparison with null. A mutation stands beside the line that it
 * breaks; its name begins with the folder.
 */
export const MUTATIONS = {
  'raft-ack-before-durable': 'a follower acknowledges entries that its disk does not have yet',
  'raft-vote-before-durable': 'a vote is answered before term and vote are durable',
  'raft-leader-counts-unsynced': 'a leader counts its own entries before its disk has them',
  'raft-durable-without-generation': 'a completed write counts for entries that were replaced since (ABA)',
  'raft-commit-old-term': 'entries of earlier terms commit by counting',
  'raft-truncate-on-short-append': 'an append that ends early cuts the log behind it',
  'raft-commit-unmatched': 'a follower commits up to what the leader says instead of what matches',
  'raft-vote-shorter-log': 'a vote goes to a candidate whose log is behind',
  'raft-vote-twice': 'a second candidate of the same term gets a vote too',
  'raft-vote-forgotten': 'a vote is not part of the hard state',
  'raft-read-before-own-commit': 'ReadIndex answers before the first entry of the term has committed',
  'raft-read-without-round': 'ReadIndex answers without hearing from a quorum',
  'raft-read-any-asker': 'the question of one member of any kind stands for a ReadIndex round',
  'raft-read-asker-unbound':
    'who asked for a read uses the instant of the answer though its own clock may fall below it',
  'raft-read-any-ack': 'any heartbeat reply confirms every ReadIndex round',
  'raft-hold-ignored': 'a leader commits what it was asked to hold back for a scan',
  'raft-joint-one-majority': 'in a joint configuration the majority of the new voters is enough',
  'raft-learner-counts': 'learners count for commits and elections',
  'raft-change-in-flight': 'a configuration change is taken while another one is in flight',
  'raft-change-before-own-commit': 'a configuration change is taken before the first commit of the term',
  'raft-leave-skipped': 'nobody leaves a joint configuration after a failover',
  'raft-check-quorum-skipped': 'a leader that hears from no quorum goes on',
  'raft-lease-ignored': 'voters answer candidates although they hear from a leader',
  'raft-transfer-never-ends': 'a leader transfer has no time limit',
  'raft-snapshot-goes-back': 'a snapshot behind the commit index replaces the log',
  'raft-snapshot-drops-suffix': 'a snapshot that the log matches throws the suffix away',
  'raft-apply-undurable': 'committed entries are applied before the local disk has them',
  'raft-old-term-accepted': 'messages of an earlier term are taken as current',
  'raft-repair-votes': 'a voter that lost acknowledged entries votes before it is repaired',
  'raft-repair-any-answer': 'a repair takes an answer that was meant for an earlier life',
  'raft-repair-at-answer': 'a repair ends with the answer, before the log reaches what it says',
  'raft-snapshot-hammered': 'a snapshot that a member refuses is sent again without waiting longer each time',
  'raft-configuration-kept': 'a truncated configuration entry stays in force',
  'raft-conflict-stuck': 'a rejected append is sent again unchanged, with the next heartbeat',
  'cluster-answer-before-commit': 'a write is answered when the leader has appended it',
  'cluster-persisted-before-durable': 'the core is told that a write is durable when the log has it in memory',
  'cluster-hard-state-unwritten': 'term and vote do not go to the log',
  'cluster-commit-before-entries': 'the hard state says that entries are committed which stand behind it',
  'cluster-full-log-spins': 'a turn that finds no room in the log asks for the next turn',
  'cluster-commit-hint-ahead': 'the commit index in the log is the end of the log',
  'cluster-read-without-round': 'a get is served from what this replica has applied',
  'cluster-read-before-applied': 'a get does not wait until the read index is applied',
  'cluster-install-overtaken': 'what comes behind a snapshot goes to the log while that is being installed',
  'cluster-snapshot-in-pieces': 'a snapshot is taken in the pieces that it was cut into on its way',
  'cluster-instant-below-writes':
    "a scan's instant is the scanning node's clock, also where something was written above it",
  'cluster-instant-of-one-node': "a scan's instant is what the first node answered, not the highest that one did",
  'cluster-instant-unsettled': 'leaders confirm a scan while writes below its instant are not committed',
  'cluster-instant-without-round': 'leaders confirm a scan without a ReadIndex round',
  'cluster-instant-expiry-back': 'a scan is answered while reads may still be judged below its instant',
  'cluster-instant-hold-broken': 'leaders confirm a scan whose hold has ended',
  'cluster-scan-before-applied': 'a scan does not wait until its node has applied what lies below its instant',
  'cluster-past-without-round': 'a read of the past does not ask whether something below its revision may still come',
  'cluster-clock-not-raised': "a confirmed ReadIndex round does not bind the follower's clock",
  'cluster-clock-uncapped': "a leader follows its own wall clock, whatever the others' show",
  'cluster-clock-bound-unwritten': 'the bound of the revision clock does not go to the log',
  'cluster-recovery-applies-tail': 'a start applies entries that are not known to be committed',
  'cluster-damage-forgotten': 'a replica that lost entries to damage of its log votes at once',
  'cluster-recovery-keeps-replaced': 'a start takes the first of two entries with one index',
  'replica-serves-before-own-entry': 'a new leader evaluates before its first entry is applied',
  'replica-overlay-kept': 'unapplied writes of an earlier term are state to evaluate over',
  'replica-overlay-ignored': 'conditions are evaluated over what is applied',
  'replica-replaced-answered': 'a write whose place another one took is answered as done',
  'log-lost-vote-ignored': 'a start does not ask whether a vote was lost with a damaged record',
  'log-released-early': 'segments are given back that hold entries which no table has',
  'log-hard-state-not-copied': 'term and vote go with the segment that they are in',
  'routing-unknown-retried': 'a write that another node may have executed is sent again',
  'server-expired-before-decided': 'a get says "expired" while a write from before the expiry is not committed yet',
  'server-stale-bound-late': 'a stale read counts its age from the end of the round that confirmed its state',
  'server-refusal-without-round': 'an answer that appends nothing passes no ReadIndex round',
  'server-refusal-before-commit': 'an answer that appends nothing rests on a write that is not committed',
} as const satisfies Readonly<Record<string, string>>;

export type Mutation = keyof typeof MUTATIONS;

let planted: ReadonlySet<Mutation> | null = null;

/** Is this bug planted? */
export function mutated(name: Mutation): boolean {
  return planted !== null && planted.has(name);
}

/** For tests: plants these bugs in the whole process and takes all others out. */
export function plantMutations(names: readonly Mutation[]): void {
  planted = names.length === 0 ? null : new Set(names);
}
