import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { NO_DATA, type Entry } from '../../src/raft/entry.js';
import { RaftLog } from '../../src/raft/raft-log.js';

type Step =
  | { readonly do: 'append'; readonly newTerm: boolean; readonly bytes: number }
  | { readonly do: 'truncate' | 'release' | 'compact'; readonly part: number };

const anyStep: fc.Arbitrary<Step> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ do: fc.constant('append' as const), newTerm: fc.boolean(), bytes: fc.nat(9) }) },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constantFrom('truncate' as const, 'release', 'compact'), part: fc.nat(100) }),
  },
);

function emptyLog(): RaftLog {
  return new RaftLog({ baseIndex: 0, baseTerm: 0, runs: [], revision: 0, entries: [] });
}

test('a log holds what a plain list of entries holds', () => {
  fc.assert(
    fc.property(fc.array(anyStep, { maxLength: 80 }), (steps) => {
      const log = emptyLog();
      const entries: Entry[] = [];
      let base = 0;
      let memoryFirst = 1;
      let term = 1;
      let revision = 0;
      for (const step of steps) {
        const last = entries.length;
        if (step.do === 'append') {
          if (step.newTerm) term++;
          const entry = { term, index: last + 1, kind: 'normal', revision: ++revision, data: NO_DATA } as const;
          entries.push(entry);
          log.append(entry);
        } else if (step.do === 'truncate' && last >= memoryFirst) {
          const from = memoryFirst + (step.part % (last - memoryFirst + 1));
          entries.length = from - 1;
          log.truncateFrom(from);
        } else if (step.do === 'release') {
          const to = base + (step.part % (last - base + 1));
          memoryFirst = Math.max(memoryFirst, to + 1);
          log.releaseTo(to);
        } else if (step.do === 'compact') {
          const to = base + (step.part % (last - base + 1));
          base = to;
          memoryFirst = Math.max(memoryFirst, to + 1);
          log.compactTo(to);
        }
        assert.equal(log.lastIndex, entries.length);
        assert.equal(log.baseIndex, base);
        assert.equal(log.memoryFirst, memoryFirst);
        assert.equal(log.lastTerm, entries.at(-1)?.term ?? 0);
        assert.equal(log.lastRevision, entries.at(-1)?.revision ?? 0);
        for (let i = 0; i <= entries.length + 1; i++) {
          const known = i >= base && i <= entries.length;
          assert.equal(log.term(i), known ? (entries[i - 1]?.term ?? 0) : -1, `term of ${i}`);
        }
        for (let i = memoryFirst; i <= entries.length; i++) assert.equal(log.entry(i), entries[i - 1]);
        for (let wanted = 0; wanted <= term; wanted++) {
          const expected = entries.findLast(({ index, term: at }) => index > base && at <= wanted)?.index ?? base;
          assert.equal(log.highestAtOrBelow(entries.length, wanted), expected);
        }
      }
    }),
  );
});

test('a slice holds at least one entry, then as many as fit', () => {
  const log = emptyLog();
  for (let index = 1; index <= 4; index++) {
    log.append({ term: 1, index, kind: 'normal', revision: index, data: new Uint8Array(68) });
  }
  assert.deepEqual(
    log.slice(2, 200).map(({ index }) => index),
    [2, 3],
  );
  assert.deepEqual(
    log.slice(3, 1).map(({ index }) => index),
    [3],
  );
});

test('applied entries leave memory when the budget is used up, oldest first', () => {
  const log = emptyLog();
  for (let index = 1; index <= 4; index++) {
    log.append({ term: 1, index, kind: 'normal', revision: index, data: new Uint8Array(68) });
  }
  log.releaseToBudget(3, 250);
  assert.equal(log.memoryFirst, 3);
  log.releaseToBudget(3, 0);
  assert.equal(log.memoryFirst, 4);
  assert.equal(log.bytesInMemory, 100);
});
