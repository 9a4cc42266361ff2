import assert from 'node:assert/strict';
import { test } from 'node:test';
import { InvariantViolation } from './invariant-violation.js';
import type { LogEntry } from './log-mirror.js';
import { RaftInvariants, type AppliedEntry, type RecoveredReplica } from './raft-invariants.js';

const G = 1;
const EMPTY: RecoveredReplica = {
  repairing: false,
  term: 0,
  votedFor: null,
  appliedIndex: 0,
  snapshot: { index: 0, term: 0 },
  entries: [],
};

function entry(index: number, term: number, hash = index * 100 + term): LogEntry {
  return { index, term, hash };
}

function applied(index: number, term: number, more: Partial<AppliedEntry> = {}): AppliedEntry {
  return { index, term, hash: index * 100 + term, revision: index * 10, keys: [`k${index}`], ...more };
}

/** Members a, b and c with one committed entry: a leads term 1, b has the entry, c has nothing. */
function cluster(): RaftInvariants {
  const raft = new RaftInvariants();
  for (const name of ['a', 'b', 'c']) raft.recovered(G, name, EMPTY);
  raft.voted(G, 'a', 1, 'a');
  raft.voted(G, 'b', 1, 'a');
  raft.becameLeader(G, 'a', 1);
  for (const name of ['a', 'b']) {
    raft.term(G, name, 1);
    raft.appended(G, name, entry(1, 1));
    raft.acknowledged(G, name, 1);
  }
  raft.committed(G, 'a', 1);
  return raft;
}

function rejects(name: string, rule: string, feed: (raft: RaftInvariants) => void): void {
  test(`the Raft observer rejects ${name}`, () => {
    const raft = cluster();
    assert.throws(
      () => feed(raft),
      (error) => error instanceof InvariantViolation && error.rule === rule,
    );
  });
}

test('the Raft observer accepts elections, replication, truncation, snapshots and restarts as they should be', () => {
  const raft = cluster();
  raft.committed(G, 'b', 1);
  for (const name of ['a', 'b']) raft.applied(G, name, applied(1, 1));
  // a appends what nobody gets; b is elected with c's vote.
  raft.appended(G, 'a', entry(2, 1));
  raft.acknowledged(G, 'a', 2);
  raft.voted(G, 'b', 2, 'b');
  raft.voted(G, 'c', 2, 'b');
  raft.becameLeader(G, 'b', 2);
  raft.appended(G, 'b', entry(2, 2));
  raft.acknowledged(G, 'b', 2);
  raft.appended(G, 'c', entry(1, 1));
  raft.appended(G, 'c', entry(2, 2));
  raft.acknowledged(G, 'c', 2);
  raft.committed(G, 'b', 2);
  raft.applied(G, 'b', applied(2, 2));
  raft.compacted(G, 'b', 2);
  // a hears of it.
  raft.term(G, 'a', 2);
  raft.steppedDown(G, 'a');
  raft.truncated(G, 'a', 2);
  raft.appended(G, 'a', entry(2, 2));
  raft.committed(G, 'a', 2);
  raft.applied(G, 'a', applied(2, 2));
  // c starts again with its log, d joins by a snapshot.
  raft.recovered(G, 'c', { ...EMPTY, term: 2, votedFor: 'b', entries: [entry(1, 1), entry(2, 2)] });
  raft.committed(G, 'c', 2);
  raft.applied(G, 'c', applied(1, 1));
  raft.recovered(G, 'd', EMPTY);
  raft.snapshotInstalled(G, 'd', 2, 2);
  raft.appended(G, 'd', entry(3, 2));
  assert.equal(raft.committedIndex(G), 2);
});

test('a leader of an older term may be elected late, without what was committed meanwhile', () => {
  const raft = cluster();
  raft.voted(G, 'b', 5, 'b');
  raft.becameLeader(G, 'b', 5);
  raft.appended(G, 'b', entry(2, 5));
  raft.committed(G, 'b', 2);
  raft.voted(G, 'c', 2, 'c');
  assert.throws(() => raft.becameLeader(G, 'c', 2), { rule: 'leader completeness' });
  const other = cluster();
  other.voted(G, 'b', 5, 'b');
  other.becameLeader(G, 'b', 5);
  other.appended(G, 'b', entry(2, 5));
  other.committed(G, 'b', 2);
  other.voted(G, 'c', 2, 'c');
  other.appended(G, 'c', entry(1, 1));
  other.becameLeader(G, 'c', 2);
});

rejects('two leaders of one term', 'election safety', (raft) => {
  raft.appended(G, 'c', entry(1, 1));
  raft.becameLeader(G, 'c', 1);
});

rejects('two votes in one term', 'one vote a term', (raft) => raft.voted(G, 'b', 1, 'c'));

rejects('a second vote in one term after a restart', 'one vote a term', (raft) => {
  raft.recovered(G, 'b', { ...EMPTY, term: 1, votedFor: 'a', entries: [entry(1, 1)] });
  raft.voted(G, 'b', 1, 'c');
});

rejects('a vote that a restart forgot', 'Raft rule 1', (raft) =>
  raft.recovered(G, 'b', { ...EMPTY, term: 1, entries: [entry(1, 1)] }),
);

rejects('a term that a restart forgot', 'Raft rule 1', (raft) =>
  raft.recovered(G, 'b', { ...EMPTY, entries: [entry(1, 1)] }),
);

test('a term in which nobody heard from the member may be forgotten', () => {
  const raft = cluster();
  raft.term(G, 'b', 4);
  raft.recovered(G, 'b', { ...EMPTY, term: 1, votedFor: 'a', entries: [entry(1, 1)] });
});

rejects('an acknowledged entry that a restart forgot', 'Raft rule 1', (raft) =>
  raft.recovered(G, 'b', { ...EMPTY, term: 1, votedFor: 'a' }),
);

rejects('an acknowledged entry that a restart changed', 'Raft rule 1', (raft) =>
  raft.recovered(G, 'b', { ...EMPTY, term: 3, entries: [entry(1, 3)] }),
);

rejects('an applied index behind the log', 'Raft rule 13', (raft) =>
  raft.recovered(G, 'c', { ...EMPTY, appliedIndex: 1 }),
);

rejects('a term that goes back', 'Raft rule 18', (raft) => raft.term(G, 'a', 0));

rejects('an acknowledgement of what is not in the log', 'Raft rule 1', (raft) => raft.acknowledged(G, 'c', 1));

rejects('a leader without a committed entry', 'leader completeness', (raft) => {
  raft.voted(G, 'c', 2, 'c');
  raft.becameLeader(G, 'c', 2);
});

rejects('a leader with another entry in place of a committed one', 'leader completeness', (raft) => {
  raft.appended(G, 'c', entry(1, 2));
  raft.becameLeader(G, 'c', 3);
});

rejects('a commit that a later leader, elected before, does not have', 'leader completeness', (raft) => {
  raft.appended(G, 'c', entry(1, 1));
  raft.voted(G, 'c', 2, 'c');
  raft.becameLeader(G, 'c', 2);
  raft.appended(G, 'a', entry(2, 1));
  raft.committed(G, 'a', 2);
});

rejects('one index and term with two contents', 'log matching', (raft) => raft.appended(G, 'c', entry(1, 1, 7)));

rejects('one index and term behind two different entries', 'log matching', (raft) => {
  raft.appended(G, 'a', entry(2, 4));
  raft.appended(G, 'c', entry(1, 2));
  raft.appended(G, 'c', entry(2, 4));
});

rejects('a gap in a log', 'log', (raft) => raft.appended(G, 'c', entry(2, 1)));

rejects('a truncation of a committed entry', 'Raft rule 3', (raft) => {
  raft.committed(G, 'b', 1);
  raft.truncated(G, 'b', 1);
});

rejects('a leader that truncates its own log', 'leader append-only', (raft) => {
  raft.appended(G, 'a', entry(2, 1));
  raft.truncated(G, 'a', 2);
});

rejects('a commit index that goes back', 'commit monotonic', (raft) => raft.committed(G, 'a', 0));

rejects('a commit behind the end of the log', 'Raft rule 4', (raft) => raft.committed(G, 'c', 1));

rejects('two members that commit different entries', 'state machine safety', (raft) => {
  raft.appended(G, 'c', entry(1, 2));
  raft.committed(G, 'c', 1);
});

rejects('an entry applied before it is committed', 'apply committed', (raft) => raft.applied(G, 'b', applied(1, 1)));

rejects('an entry applied twice', 'apply in order', (raft) => {
  raft.applied(G, 'a', applied(1, 1));
  raft.applied(G, 'a', applied(1, 1));
});

rejects('an entry that was passed over', 'apply in order', (raft) => {
  raft.appended(G, 'a', entry(2, 1));
  raft.committed(G, 'a', 2);
  raft.applied(G, 'a', applied(2, 1));
});

rejects('two members whose state differs after one index', 'state machine safety', (raft) => {
  raft.committed(G, 'b', 1);
  raft.applied(G, 'a', applied(1, 1));
  raft.applied(G, 'b', applied(1, 1, { hash: 9 }));
});

function second(raft: RaftInvariants, more: Partial<AppliedEntry>): void {
  raft.applied(G, 'a', applied(1, 1));
  raft.appended(G, 'a', entry(2, 1));
  raft.committed(G, 'a', 2);
  raft.applied(G, 'a', applied(2, 1, more));
}

rejects('a revision that goes back', 'Raft rule 20', (raft) => second(raft, { revision: 9 }));

rejects('one revision for two writes of one key', 'Raft rule 20', (raft) =>
  second(raft, { revision: 10, keys: ['k1'] }),
);

rejects('one revision in two groups', 'Raft rule 20', (raft) => {
  raft.applied(G, 'a', applied(1, 1));
  raft.appended(2, 'a', entry(1, 1));
  raft.committed(2, 'a', 1);
  raft.applied(2, 'a', applied(1, 1, { keys: ['other'] }));
});

test('blind writes to different keys may share a revision', () => second(cluster(), { revision: 10 }));

rejects('a log that is dropped before it was applied', 'Raft rule 12', (raft) => raft.compacted(G, 'a', 1));

rejects('a snapshot older than what was applied', 'Raft rule 12', (raft) => {
  raft.applied(G, 'a', applied(1, 1));
  raft.snapshotInstalled(G, 'a', 1, 1);
});

rejects('a snapshot of entries that are not committed', 'Raft rule 12', (raft) => raft.snapshotInstalled(G, 'c', 2, 1));

rejects('a snapshot of another term', 'Raft rule 12', (raft) => raft.snapshotInstalled(G, 'c', 1, 3));
