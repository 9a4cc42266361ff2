import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Leadership } from '../../src/cluster/host/leadership.js';
import type { TurnSchedule } from '../../src/cluster/host/turn-schedule.js';
import type { Clock } from '../../src/ports/clock.js';
import { initialConfiguration } from '../../src/raft/configuration.js';
import { NO_MEMBER } from '../../src/raft/entry.js';
import { DEFAULT_RAFT_OPTIONS } from '../../src/raft/options.js';
import type { Group } from '../../src/replica/group.js';
import { GROUP, MemoryHost, newDisk } from '../raft/memory-host.js';

/** Three members of a group, the first of which leads; and the leadership of its node, which prefers the second. */
function cluster(): { readonly hosts: readonly MemoryHost[]; readonly leadership: Leadership } {
  const configuration = initialConfiguration(['n1', 'n2', 'n3']);
  let turn = 1;
  const hosts = [1, 2, 3].map(
    (id) =>
      new MemoryHost(
        id,
        `n${id}`,
        newDisk(configuration),
        {},
        () => 0,
        () => ++turn,
      ),
  );
  const { raft } = hosts[0]!;
  while (raft.role === 'follower') raft.tick();
  settle(hosts);
  assert.equal(raft.role, 'leader');
  const group = { raft, partition: 1, isServing: true } as Partial<Group> as Group;
  const turns = { schedule: () => undefined } as Partial<TurnSchedule> as TurnSchedule;
  return { hosts, leadership: new Leadership([group], {} as Clock, turns) };
}

function settle(hosts: readonly MemoryHost[]): void {
  for (let i = 0; i < 20; i++) {
    for (const host of hosts) {
      const { messages } = host.collect();
      while (host.writes.length > 0) host.persistNext();
      for (const message of messages) hosts[message.to - 1]!.raft.step(message);
    }
  }
}

function asksForRepair({ raft }: MemoryHost, from: number): void {
  raft.step({ type: 'repair', group: GROUP, from, to: raft.id, term: raft.term, token: 5 });
}

test('Raft rule 15: balance leaves a group where it is while the member that should lead it repairs its log', () => {
  const { hosts, leadership } = cluster();
  const { raft } = hosts[0]!;
  asksForRepair(hosts[0]!, 2);
  leadership.balance(5);
  assert.equal(raft.transferee, NO_MEMBER);
  for (let i = 0; i < DEFAULT_RAFT_OPTIONS.electionTicks; i++) raft.tick();
  leadership.balance(10);
  assert.equal(raft.transferee, 2);
});

test('Raft rule 15: a node that leaves gives its groups to members that have their logs, and waits for no others', () => {
  const { hosts, leadership } = cluster();
  const { raft } = hosts[0]!;
  asksForRepair(hosts[0]!, 2);
  assert.equal(leadership.offerAll(), 1);
  assert.equal(raft.transferee, 3);
  // Found out when it was offered already.
  asksForRepair(hosts[0]!, 3);
  assert.equal(raft.transferee, NO_MEMBER);
  assert.equal(leadership.offerAll(), 0);
});
