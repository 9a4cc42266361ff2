import assert from 'node:assert/strict';
import { initialConfiguration } from '../../src/raft/configuration.js';
import { Raft } from '../../src/raft/raft.js';
import { Group } from '../../src/replica/group.js';

/** A group whose only voter is here and leads it; its first entry is applied. */
export function leadingGroup(partition = 0, replicaId = 1): Group {
  let revision = 0;
  const raft = new Raft(
    {
      group: partition + 1,
      id: 1,
      hardState: { term: 0, vote: 0, commit: 0 },
      log: { baseIndex: 0, baseTerm: 0, runs: [], revision: 0, entries: [] },
      appliedIndex: 0,
      configuration: { index: 0, configuration: initialConfiguration(['n1']) },
      repairIndex: 0,
    },
    {
      random: () => 0,
      clock: () => revision,
      promisedClock: () => revision,
      wallClock: () => revision,
      durableClock: () => Infinity,
      raiseClock: () => {},
      nextRevision: (above) => (revision = above + 1),
      readToken: () => 1,
    },
  );
  const group = new Group(partition + 1, { partition, replicaId, raft, appliedTerm: 0, revision: 0 });
  while (raft.role === 'follower') raft.tick();
  while (!group.isServing) {
    const { persist, committed } = raft.ready();
    if (persist !== null) raft.persisted(persist.sequence);
    if (committed === null) continue;
    for (let index = committed.from; index <= committed.to; index++) {
      const entry = raft.entry(index);
      group.applied(index, entry.term, entry.revision);
    }
    raft.applied(committed.to);
  }
  assert.ok(group.isServing);
  return group;
}
