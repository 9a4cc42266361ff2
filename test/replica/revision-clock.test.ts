import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Clock } from '../../src/ports/clock.js';
import { REVISION_EPOCH_MS, RevisionClock, revisionAtMs, revisionToMs } from '../../src/replica/revision-clock.js';

function clockAt(wall: { ms: number }): Clock {
  return {
    wallMs: () => wall.ms,
    monotonicMs: () => 0,
    setTimer: () => ({ cancel() {} }),
    defer() {},
  };
}

const START_MS = REVISION_EPOCH_MS + 60_000_000;

test('Raft rule 20: revisions ascend and keep their residue whatever the wall clock does', () => {
  fc.assert(
    fc.property(
      fc.nat({ max: 63 }),
      fc.array(fc.record({ jumpMs: fc.integer({ min: -90_000, max: 90_000 }), raise: fc.boolean() })),
      (partition, steps) => {
        const wall = { ms: START_MS };
        const clock = new RevisionClock(clockAt(wall), 0);
        let last = 0;
        for (const { jumpMs, raise } of steps) {
          wall.ms += jumpMs;
          const relied = clock.now();
          if (raise) clock.raise(relied);
          const revision = clock.next(last, partition, 64);
          assert.ok(revision > last);
          assert.equal(revision % 64, partition);
          if (raise) assert.ok(revision > relied);
          last = revision;
        }
      },
    ),
  );
});

test('Raft rule 20: a restart with the wall clock a day back starts above the durable bound', () => {
  const wall = { ms: START_MS };
  const before = new RevisionClock(clockAt(wall), 0);
  const given = before.next(0, 5, 64);
  const bound = before.boundToAppend(given);
  assert.ok(bound >= given);
  wall.ms -= 86_400_000;
  const after = new RevisionClock(clockAt(wall), bound);
  assert.ok(after.next(0, 5, 64) > given);
  assert.ok(after.now() >= bound);
});

test('the bound is asked for ahead of need, and not with every record', () => {
  const wall = { ms: START_MS };
  const clock = new RevisionClock(clockAt(wall), 0);
  const first = clock.boundToAppend(revisionAtMs(wall.ms));
  assert.ok(first > revisionAtMs(wall.ms + 1000));
  assert.equal(clock.boundToAppend(revisionAtMs(wall.ms)), 0);
  assert.equal(clock.durableBound, 0);
  clock.boundIsDurable(first);
  assert.equal(clock.durableBound, first);
  wall.ms += 2000;
  assert.ok(clock.boundToAppend(revisionAtMs(wall.ms)) > first);
});

test('a revision tells its millisecond', () => {
  assert.equal(revisionToMs(revisionAtMs(START_MS)), START_MS);
  assert.equal(revisionToMs(revisionAtMs(START_MS) + 4095), START_MS);
});
