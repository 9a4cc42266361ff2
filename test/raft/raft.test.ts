import assert from 'node:assert/strict';
import { test } from 'node:test';
import { initialConfiguration } from '../../src/raft/configuration.js';
import { MEMBERS_PER_TERM } from '../../src/raft/entry.js';
import type { Message } from '../../src/raft/message.js';
import { DEFAULT_RAFT_OPTIONS, type RaftOptions } from '../../src/raft/options.js';
import { GROUP, MemoryHost, newDisk } from './memory-host.js';

let turn = 1;

function hostOf(id: number, voters: number, options: Partial<RaftOptions> = {}): MemoryHost {
  const configuration = initialConfiguration(Array.from({ length: voters }, (_, i) => `n${i + 1}`));
  return new MemoryHost(
    id,
    `n${id}`,
    newDisk(configuration),
    options,
    () => 0,
    () => turn,
  );
}

/** Everything that the cores have to say to each other, until they are silent. */
function settle(hosts: readonly MemoryHost[]): void {
  for (let quiet = false; !quiet;) {
    quiet = true;
    for (const host of hosts) {
      const { messages } = host.collect();
      turn++;
      while (host.writes.length > 0) {
        host.persistNext();
        quiet = false;
      }
      for (const message of messages) {
        hosts.find(({ id }) => id === message.to)?.raft.step(message);
        quiet = false;
      }
    }
  }
}

function elect(hosts: readonly MemoryHost[]): MemoryHost {
  for (let i = 0; i < 20; i++) hosts[0]!.raft.tick();
  settle(hosts);
  assert.equal(hosts[0]!.raft.role, 'leader');
  return hosts[0]!;
}

test('Raft rule 18: messages of another group, for another member or from itself are not heard', () => {
  const host = hostOf(1, 3);
  const notice = { type: 'term_notice', group: GROUP, from: 2, to: 1, term: 9 } as const;
  for (const stray of [
    { ...notice, group: GROUP + 1 },
    { ...notice, to: 3 },
    { ...notice, from: 1 },
  ]) {
    host.raft.step(stray);
    assert.equal(host.raft.term, 0);
  }
  host.raft.step(notice);
  assert.equal(host.raft.term, 9);
});

test('Raft rule 11: a member that is not in the configuration raises no term', () => {
  const host = hostOf(1, 3);
  host.raft.step({ type: 'term_notice', group: GROUP, from: MEMBERS_PER_TERM + 1, to: 1, term: 9 });
  assert.equal(host.raft.term, 0);
});

test('Raft rule 20: a leader begins above what the quorum that elected it has promised', () => {
  const hosts = [hostOf(1, 3), hostOf(2, 3), hostOf(3, 3)];
  hosts[1]!.promised = 7000;
  const leader = elect([hosts[0]!, hosts[1]!]);
  assert.equal(leader.raft.electionClock, 7000);
  assert.ok(leader.raft.lastRevision > 7000);
});

test('Raft rule 20: a leader does not begin above the wall clocks of those that elected it, nor its own', () => {
  const hosts = [hostOf(1, 3), hostOf(2, 3), hostOf(3, 3)];
  for (const host of hosts.slice(0, 2)) host.clock = 7_000_000;
  const leader = elect([hosts[0]!, hosts[1]!]);
  assert.ok(leader.raft.electionClock < 7_000_000);
});

test('a leader is told the wall clocks of the others, whatever they promised', () => {
  const hosts = [hostOf(1, 3), hostOf(2, 3), hostOf(3, 3)];
  const leader = elect(hosts);
  hosts[1]!.promised = 9_000_000;
  hosts[1]!.clock = 5000;
  leader.propose(new Uint8Array(1));
  settle(hosts);
  assert.equal(leader.raft.progress.find(({ id }) => id === 2)!.clock, 5000);
});

test('Raft rule 20: a read is confirmed only when the clock it relies on is bound on a quorum of disks', () => {
  const hosts = [hostOf(1, 3), hostOf(2, 3), hostOf(3, 3)];
  const leader = elect(hosts);
  leader.clock = 90_000;
  assert.ok(leader.raft.readIndex(1));
  const { messages, persist } = leader.collect();
  turn++;
  assert.equal(persist?.clockBound, 90_000);
  const heartbeats = messages.filter(({ type }) => type === 'heartbeat');
  assert.equal(heartbeats.length, 2);
  const [, follower] = hosts;
  follower!.raft.step(heartbeats.find(({ to }) => to === 2)!);
  // The follower's answer waits for its disk too.
  assert.equal(follower!.collect().messages.length, 0);
  assert.equal(follower!.promised, 90_000);
  follower!.persistNext();
  const answers = follower!.collect().messages;
  assert.deepEqual(
    answers.map(({ type }) => type),
    ['heartbeat_reply'],
  );
  leader.raft.step(answers[0]!);
  assert.deepEqual(leader.collect().reads, []);
  turn++;
  leader.persistNext();
  assert.deepEqual(leader.collect().reads, [{ token: 1, index: 1, clock: 90_000 }]);
  assert.equal(leader.raft.confirmedClock, 90_000);
});

test('a leader refuses proposals when too much is not committed, and takes them again', () => {
  const hosts = [hostOf(1, 2, { maxUncommittedBytes: 500 }), hostOf(2, 2)];
  const leader = elect(hosts);
  // A single entry of any size is taken.
  assert.notEqual(typeof leader.propose(new Uint8Array(2000)), 'string');
  assert.equal(leader.propose(new Uint8Array(1)), 'overloaded');
  settle(hosts);
  assert.notEqual(typeof leader.propose(new Uint8Array(1)), 'string');
  assert.equal(hosts[1]!.propose(new Uint8Array(1)), 'not_leader');
});

test('proposals of one loop turn travel in one message to each follower', () => {
  const hosts = [hostOf(1, 3), hostOf(2, 3), hostOf(3, 3)];
  const leader = elect(hosts);
  for (let i = 0; i < 64; i++) leader.propose(new Uint8Array(8));
  const appends = leader.collect().messages.filter((message): message is Message & { type: 'append' } => {
    return message.type === 'append';
  });
  assert.deepEqual(
    appends.map(({ entries }) => entries.length),
    [64, 64],
  );
});

test('an idle group has nothing ready', () => {
  const hosts = [hostOf(1, 3), hostOf(2, 3), hostOf(3, 3)];
  elect(hosts);
  for (const host of hosts) assert.equal(host.raft.hasReady, false);
  hosts[1]!.raft.tick();
  assert.equal(hosts[1]!.raft.hasReady, false);
});

test('a slow follower is fed from disk when its entries are not in memory, and by a snapshot when they are nowhere', () => {
  const hosts = [hostOf(1, 3), hostOf(2, 3), hostOf(3, 3)];
  const leader = elect(hosts);
  for (let i = 0; i < 5; i++) {
    leader.propose(new Uint8Array([i]));
    settle(hosts.slice(0, 2));
  }
  leader.raft.releasePayloadsTo(6);
  // What was sent to 3 is lost.
  leader.raft.reportUnreachable(3);
  const { loads } = leader.collect();
  assert.deepEqual(loads, [{ follower: 3, from: 2, to: 6, maxBytes: 1_048_576 }]);
  settle(hosts);
  assert.equal(hosts[2]!.machine.digest, leader.machine.digest);

  leader.propose(new Uint8Array([9]));
  settle(hosts.slice(0, 2));
  leader.flush();
  leader.compact(7);
  leader.raft.reportUnreachable(3);
  assert.deepEqual(leader.collect().snapshotsTo, [3]);
});

const TIMEOUT = DEFAULT_RAFT_OPTIONS.electionTicks;

/** A leader whose log has let go of what the last of three lacks: by the core's own word, or only on the disk. */
function leaderWithoutEntriesFor(hosts: readonly MemoryHost[], where: 'everywhere' | 'on disk'): MemoryHost {
  const leader = elect(hosts);
  for (let i = 0; i < 5; i++) leader.propose(new Uint8Array([i]));
  settle(hosts.slice(0, 2));
  leader.flush();
  leader.raft.releasePayloadsTo(6);
  if (where === 'everywhere') leader.compact(6);
  else leader.disk.base = { index: 6, term: 1, revision: leader.raft.lastRevision };
  leader.raft.reportUnreachable(3);
  return leader;
}

/** How many snapshots the leader of these sends in so many election timeouts; each is refused. */
function refusedSnapshots(hosts: readonly MemoryHost[], timeouts: number, wasBegun = true): number {
  const leader = hosts[0]!;
  let count = 0;
  for (let tick = 0; tick < timeouts * TIMEOUT; tick++) {
    for (const { raft } of hosts) raft.tick();
    settle(hosts);
    for (const member of leader.snapshotsTo.splice(0)) {
      count++;
      leader.raft.reportSnapshot(member, wasBegun);
    }
  }
  assert.equal(leader.raft.role, 'leader');
  return count;
}

for (const where of ['everywhere', 'on disk'] as const) {
  test(`a member that takes no snapshot is sent one ever more seldom (entries gone ${where})`, () => {
    const hosts = [hostOf(1, 3), hostOf(2, 3), hostOf(3, 3)];
    const leader = leaderWithoutEntriesFor(hosts, where);
    // The waits are 1, 2, 4, 8, 16, 30, 30... election timeouts.
    assert.equal(refusedSnapshots(hosts, 8), 4);
    assert.equal(refusedSnapshots(hosts, 200), 7);
    // It takes one.
    const snapshot = leader.snapshotMeta();
    const { raft } = leader;
    hosts[2]!.receive({ type: 'snapshot', group: GROUP, from: 1, to: 3, term: raft.term, snapshot }, leader.machine);
    settle(hosts);
    assert.equal(leader.raft.progress[1]!.state, 'replicate');
  });
}

test('a member that was away for an election timeout is sent a snapshot as soon as it is back', () => {
  const hosts = [hostOf(1, 3), hostOf(2, 3), hostOf(3, 3)];
  leaderWithoutEntriesFor(hosts, 'everywhere');
  refusedSnapshots(hosts, 40);
  refusedSnapshots(hosts.slice(0, 2), 60);
  assert.ok(refusedSnapshots(hosts, 2) > 0);
});

test('there is no longer wait for a snapshot because others are under way', () => {
  const hosts = [hostOf(1, 3), hostOf(2, 3), hostOf(3, 3)];
  leaderWithoutEntriesFor(hosts, 'everywhere');
  assert.ok(refusedSnapshots(hosts, 20, false) >= 19);
});

test('a member whom the quorum lacks is sent a snapshot every election timeout, whatever it refused', () => {
  const hosts = [hostOf(1, 3), hostOf(2, 3), hostOf(3, 3)];
  const leader = leaderWithoutEntriesFor(hosts, 'everywhere');
  refusedSnapshots(hosts, 100);
  const two = [hosts[0]!, hosts[2]!];
  refusedSnapshots(two, 2);
  leader.propose(new Uint8Array([9]));
  assert.ok(refusedSnapshots(two, 10) >= 8);
});

test('the sole voter reads without a round once its term has committed', () => {
  const host = hostOf(1, 1);
  assert.equal(host.raft.soleVoterReadIndex, -1);
  elect([host]);
  assert.equal(host.raft.soleVoterReadIndex, 1);
});

test('member ids carry the term that added them, so a truncated change gives none away twice', () => {
  const hosts = [hostOf(1, 3), hostOf(2, 3), hostOf(3, 3)];
  const leader = elect(hosts);
  const proposed = leader.raft.proposeConfig({ addLearners: ['n4', 'n5'] }, 0);
  assert.ok(typeof proposed !== 'string');
  assert.deepEqual(proposed.added, [MEMBERS_PER_TERM + 1, MEMBERS_PER_TERM + 2]);
});

test('Raft rule 22: a read that comes while a leader holds is judged no later than what is held', () => {
  const hosts = [hostOf(1, 3), hostOf(2, 3), hostOf(3, 3)];
  const { raft } = elect(hosts);
  const held = raft.latestInstant + 10;
  assert.ok(raft.holdCommit(held));
  hosts[0]!.clock = held + 500;
  const clocks: number[] = [];
  hosts[0]!.events.read = (_, { clock }) => void clocks.push(clock);
  raft.readIndex(1);
  settle(hosts);
  assert.ok(raft.holdCommit(Infinity));
  raft.readIndex(2);
  settle(hosts);
  assert.deepEqual(clocks, [held, held + 500]);
  assert.equal(raft.latestInstant, held + 500);
});

test('Raft rule 22: what lies at or below an instant is found in any log', () => {
  const hosts = [hostOf(1, 3), hostOf(2, 3), hostOf(3, 3)];
  const leader = elect(hosts);
  const { raft } = leader;
  const revisions: number[] = [];
  for (let i = 0; i < 20; i++) {
    leader.clock += i % 3;
    const entry = leader.propose(new Uint8Array([i]));
    assert.ok(typeof entry !== 'string');
    revisions.push(entry.revision);
    for (let instant = revisions[0]! - 2; instant <= entry.revision + 2; instant++) {
      const below = revisions.filter((revision) => revision <= instant).length;
      assert.equal(raft.indexToCommit(instant), raft.commitIndex + below);
    }
  }
});
