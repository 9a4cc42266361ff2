import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Clock } from '../../src/ports/clock.js';
import { MAX_PEER_REVISION } from '../../src/codec/peer-protocol.js';
import {
  MAX_REVISION,
  REVISION_EPOCH_MS,
  REVISIONS_PER_MS,
  RevisionClock,
  revisionAtMs,
  revisionToMs,
} from '../../src/replica/revision-clock.js';

function clockAt(wall: { ms: number; runMs?: number }): Clock {
  return {
    wallMs: () => wall.ms,
    monotonicMs: () => wall.runMs ?? 0,
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

test('Raft rule 20: with the wall clock set back, time goes on, a little slower, until the wall has caught up', () => {
  const wall = { ms: START_MS, runMs: 500 };
  const clock = new RevisionClock(clockAt(wall), 0);
  const pass = (ms: number): void => {
    wall.ms += ms;
    wall.runMs += ms;
  };
  pass(1000);
  const before = clock.now();
  wall.ms -= 60_000;
  pass(16_000);
  assert.equal(clock.now(), before + 15_000 * REVISIONS_PER_MS);
  assert.ok(clock.next(0, 0, 64) >= before + 15_000 * REVISIONS_PER_MS, 'so do the revisions that a ttl counts from');
  pass(16 * 60_000);
  assert.equal(clock.now(), revisionAtMs(wall.ms));
});

test('Raft rule 20: time that is ahead does not lose to rounding, however often it is asked for', () => {
  const wall = { ms: START_MS, runMs: 0 };
  const clock = new RevisionClock(clockAt(wall), 0);
  const before = clock.now();
  wall.ms -= 86_400_000;
  for (let i = 1; i <= 100_000; i++) {
    wall.runMs = i / 10_000;
    clock.now();
  }
  assert.equal(clock.now(), before + (10 * REVISIONS_PER_MS * 15) / 16);
});

test('Raft rule 20: time never goes back and no revision is given twice, over jumps, pauses, crashes and clean ends', () => {
  const step = fc.record({
    jumpMs: fc.oneof(fc.constant(0), fc.integer({ min: -90_000_000, max: 90_000 })),
    passMs: fc.double({ min: 0, max: 5000, noNaN: true }),
    what: fc.constantFrom('write', 'write', 'read', 'rely', 'crash', 'end'),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const wall = { ms: START_MS, runMs: 0 };
      let clock = new RevisionClock(clockAt(wall), 0);
      let durable = 0;
      let latest = 0;
      let relied = 0;
      let last = 0;
      for (const { jumpMs, passMs, what } of steps) {
        wall.ms += jumpMs + Math.floor(passMs);
        wall.runMs += passMs;
        if (what === 'crash' || what === 'end') {
          if (what === 'end') durable = clock.stop();
          // Nobody relied on an instant that was only looked at; a clean end keeps even those.
          latest = what === 'end' ? latest : relied;
          clock = new RevisionClock(clockAt(wall), Math.max(durable, last));
          assert.ok(clock.now() >= latest);
          continue;
        }
        const now = clock.now();
        assert.ok(now >= latest, `${now} after ${latest}`);
        latest = now;
        if (what === 'read') continue;
        if (what === 'write') {
          const revision = clock.next(last, 3, 64);
          assert.ok(revision > last && revision > relied);
          clock.give(revision);
          last = revision;
          latest = Math.max(latest, revision);
        } else {
          clock.raise(now);
          relied = now;
        }
        const bound = clock.boundToAppend(Math.max(last, relied));
        if (bound > 0) {
          durable = bound;
          clock.boundIsDurable(bound);
        }
        relied = Math.max(relied, last);
        assert.ok(clock.durableBound >= relied, 'what is relied on is below the durable bound');
      }
    }),
  );
});

test('Raft rule 20: a life that stopped gives its instant to the next one, and its own time stands', () => {
  const wall = { ms: START_MS, runMs: 0 };
  const clock = new RevisionClock(clockAt(wall), 0);
  clock.boundIsDurable(clock.boundToAppend(clock.now()));
  const end = clock.stop();
  assert.equal(end, revisionAtMs(START_MS));
  wall.ms += 1000;
  wall.runMs += 1000;
  assert.equal(clock.now(), end);
  assert.equal(clock.durableBound, end);
  assert.equal(new RevisionClock(clockAt(wall), end).now(), revisionAtMs(wall.ms));
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

test('Raft rule 20: a node that relied on the latest instant that a peer may name gives later ones, in this life and after a crash', () => {
  for (const ms of [START_MS, revisionToMs(MAX_REVISION) + 86_400_000]) {
    let bound = 0;
    for (let life = 0; life < 3; life++) {
      const clock = new RevisionClock(clockAt({ ms }), bound, () => revisionAtMs(START_MS));
      clock.raise(MAX_PEER_REVISION);
      const revision = clock.next(0, 5, 64);
      assert.ok(revision > MAX_PEER_REVISION);
      assert.ok(clock.wall <= MAX_PEER_REVISION, 'others take its clock');
      bound = clock.boundToAppend(revision);
    }
  }
});

test('Raft rule 20: the durable bound is one that the next life can read, whatever was relied on', () => {
  const clock = new RevisionClock(clockAt({ ms: START_MS }), 0);
  clock.raise(MAX_REVISION);
  assert.equal(clock.boundToAppend(MAX_REVISION), MAX_REVISION);
});

test('a revision tells its millisecond', () => {
  assert.equal(revisionToMs(revisionAtMs(START_MS)), START_MS);
  assert.equal(revisionToMs(revisionAtMs(START_MS) + 4095), START_MS);
});

test('Raft rule 20: time does not follow the wall clock beyond its cap, and never goes back when the cap does', () => {
  const wall = { ms: START_MS, runMs: 0 };
  let cap = revisionAtMs(START_MS) + 7;
  const clock = new RevisionClock(clockAt(wall), 0, () => cap);
  wall.ms += 86_400_000;
  assert.equal(clock.now(), revisionAtMs(START_MS) + 7);
  assert.ok(clock.next(0, 5, 64) < revisionAtMs(START_MS) + 7 + 64);
  cap = revisionAtMs(START_MS) - 1_000_000;
  assert.equal(clock.now(), revisionAtMs(START_MS) + 7);
  cap = Infinity;
  assert.equal(clock.now(), clock.wall);
});

test('what was promised is what was relied on or given, not what the wall clock shows', () => {
  const clock = new RevisionClock(clockAt({ ms: START_MS }), 100);
  assert.equal(clock.promised, 100);
  clock.raise(200);
  assert.equal(clock.promised, 200);
  clock.give(300);
  assert.equal(clock.promised, 300);
  clock.now();
  assert.equal(clock.promised, 300);
});
