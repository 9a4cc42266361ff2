import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GroupRecovery, type RecoveredGroup } from '../../src/cluster/recover-groups.js';
import type { Engine } from '../../src/engine/engine.js';
import { emptyGroupState } from '../../src/lsm/version/version-edit.js';
import { ENTRY_NO_OP } from '../../src/replica/command.js';

const NOTHING = new Uint8Array(0);
const MEMBERS = ['n1', 'n2', 'n3'];

/** Reads a log of entries without payload, which the engine never sees. */
class Log {
  readonly #recovery: GroupRecovery;
  #revision = 1000;

  constructor(applied: { readonly index: number; readonly term: number }, members = MEMBERS) {
    const state = {
      ...emptyGroupState(1, 7),
      appliedIndex: applied.index,
      appliedTerm: applied.term,
      term: applied.term,
    };
    this.#recovery = new GroupRecovery({} as Engine, 'n1', members, [state]);
  }

  entries(term: number, from: number, to: number): this {
    for (let index = from; index <= to; index++) {
      this.#recovery.entry(1, 7, term, index, this.#revision++, ENTRY_NO_OP, NOTHING, 0, 0);
    }
    return this;
  }

  hardState(term: number, commit: number): this {
    this.#recovery.hardState(1, 7, term, 0, commit);
    return this;
  }

  /** So many items can't be read. */
  damage(items: number): this {
    this.#recovery.damaged(items, () => true);
    return this;
  }

  end(): RecoveredGroup {
    return this.#recovery.result()[0]!;
  }
}

function shown({ raft }: RecoveredGroup): string {
  const entries = raft.log.entries.map(({ index, term }) => `${index}@${term}`).join(' ');
  return `applied ${raft.appliedIndex}, commit ${raft.hardState.commit}, term ${raft.hardState.term}: ${entries}`;
}

test('Raft rule 13: entries of several voters are applied up to the commit index that the log tells, and no further', () => {
  const log = new Log({ index: 0, term: 0 }).hardState(1, 0).entries(1, 1, 5).hardState(1, 3);
  assert.equal(shown(log.end()), 'applied 3, commit 3, term 1: 1@1 2@1 3@1 4@1 5@1');
});

test('the only voter has committed all that its log holds', () => {
  const log = new Log({ index: 0, term: 0 }, ['n1']).hardState(1, 0).entries(1, 1, 5);
  assert.equal(log.end().raft.appliedIndex, 5);
});

test('an entry that a later leader sent in its place cuts off what stood behind it', () => {
  const log = new Log({ index: 0, term: 0 }).entries(5, 1, 6).hardState(6, 0).entries(6, 3, 4);
  assert.equal(shown(log.end()), 'applied 0, commit 0, term 6: 1@5 2@5 3@6 4@6');
});

test('a tail that was replaced stays away when its replacement is in the tables already', () => {
  const log = new Log({ index: 12, term: 6 }).entries(5, 10, 15).hardState(6, 9).entries(6, 10, 12);
  assert.equal(shown(log.end()), 'applied 12, commit 12, term 6: ');
});

test('records that stand in the log twice are read once', () => {
  const log = new Log({ index: 0, term: 0 }).entries(1, 1, 4).entries(1, 1, 4).hardState(1, 4).entries(1, 3, 4);
  assert.equal(shown(log.end()), 'applied 4, commit 4, term 1: 1@1 2@1 3@1 4@1');
});

test('a gap in the entries is corruption', () => {
  assert.throws(() => new Log({ index: 3, term: 1 }).entries(1, 5, 5), { code: 'corruption' });
});

test('applied entries that are not kept in memory stay in the log, with their terms', () => {
  const large = new Log({ index: 4, term: 1 }).entries(2, 5, 40_000).entries(3, 40_001, 80_000).hardState(3, 79_000);
  const { log } = large.end().raft;
  assert.equal(log.baseIndex, 4);
  assert.equal(log.baseTerm, 1);
  const first = log.entries[0]!.index;
  assert.ok(first > 40_001, `memory begins at ${first}`);
  assert.deepEqual(log.runs, [
    { lastIndex: 40_000, term: 2 },
    { lastIndex: first - 1, term: 3 },
  ]);
  assert.equal(log.revision, log.entries[0]!.revision - 1);
});

test('Raft rule 15: a group whose log ends before damage does not vote until it is above all that it may have acknowledged', () => {
  const group = new Log({ index: 0, term: 0 }).entries(2, 1, 5).hardState(2, 3).damage(12).end();
  assert.equal(shown(group), 'applied 3, commit 3, term 2: 1@2 2@2 3@2 4@2 5@2');
  assert.equal(group.raft.repairIndex, 17);
});

test('a log that goes on behind damage in the same term has lost nothing', () => {
  const group = new Log({ index: 0, term: 0 })
    .entries(2, 1, 5)
    .hardState(2, 3)
    .damage(12)
    .entries(2, 6, 7)
    .hardState(2, 6);
  assert.equal(shown(group.end()), 'applied 6, commit 6, term 2: 1@2 2@2 3@2 4@2 5@2 6@2 7@2');
  assert.equal(group.end().raft.repairIndex, 0);
});

test('a log that goes on behind what is committed has lost nothing', () => {
  const group = new Log({ index: 0, term: 0 })
    .entries(2, 1, 5)
    .hardState(2, 5)
    .damage(12)
    .hardState(4, 5)
    .entries(4, 6, 7);
  assert.equal(group.end().raft.repairIndex, 0);
  assert.equal(group.end().raft.log.entries.length, 7);
});

test('Raft rule 15: what replaced lost entries is not taken to follow those that they had replaced', () => {
  const group = new Log({ index: 0, term: 0 })
    .entries(2, 1, 5)
    .hardState(2, 1)
    .damage(12)
    .hardState(3, 1)
    .entries(3, 5, 9);
  // The entry 4 of term 3 may have been lost: 4 of term 2 is not the one before 5 of term 3.
  assert.equal(shown(group.end()), 'applied 1, commit 1, term 3: 1@2 2@2 3@2 4@2 5@2');
  assert.equal(group.end().raft.repairIndex, 9 + 12);
});

test('Raft rule 15: a gap behind damage is lost entries, and a commit index there commits nothing that is left', () => {
  const group = new Log({ index: 0, term: 0 })
    .entries(2, 1, 5)
    .hardState(2, 2)
    .damage(12)
    .entries(2, 8, 9)
    .hardState(2, 9);
  assert.equal(shown(group.end()), 'applied 2, commit 2, term 2: 1@2 2@2 3@2 4@2 5@2');
  assert.equal(group.end().raft.repairIndex, 9 + 12);
});

test('damage below what tables hold is nothing to this group', () => {
  const group = new Log({ index: 5, term: 2 }).entries(2, 1, 3).damage(12).entries(2, 4, 7).end();
  assert.equal(group.raft.repairIndex, 0);
});
