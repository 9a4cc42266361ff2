import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Cursor } from '../../src/lsm/cursor.js';
import { StepBudget } from '../../src/lsm/cursors/step-budget.js';
import { UserKeyMerge } from '../../src/lsm/cursors/user-key-merge.js';
import { VisibleCursor } from '../../src/lsm/cursors/visible-cursor.js';
import { TOMBSTONE_RECORD } from '../../src/lsm/record.js';
import { makeRowKey } from '../../src/lsm/row-key.js';
import { leadingGroup } from '../replica/leading-group.js';
import { NodeScan } from '../../src/server/node-scan.js';
import type { Clock } from '../../src/ports/clock.js';
import { bytesOf, HastyClock, newDisk, openHarness, putRecord, write } from '../engine/engine-harness.js';

const KEYS = Array.from({ length: 60 }, (_, i) => `key${String(i).padStart(3, '0')}`);

for (const reverse of [false, true]) {
  const order = reverse ? 'backward' : 'forward';
  test(`promise 6: a scan whose reader is slow keeps neither memtables nor tables, and goes on as if it had (${order})`, async () => {
    const { engine, disk } = await openHarness(newDisk(), { automaticCompaction: false });
    const replicaIds = await engine.createReplicas([1, 2]);
    const fill = (revision: number): void => {
      for (const [i, key] of KEYS.entries()) {
        write(engine, replicaIds[i % 2]!, bytesOf(key), revision, putRecord(`"${revision}"`));
      }
    };
    const tables = (): number => disk.paths().filter((path) => path.endsWith('.sst')).length;
    fill(10);
    await engine.flush();
    const pin = engine.pinRevision(10);
    const groups = replicaIds.map((replicaId, partition) => {
      return leadingGroup(partition, replicaId);
    });
    const scan = new NodeScan({
      engine,
      clock: new HastyClock(),
      groups,
      scan: { startKey: new Uint8Array(0), endKey: null, reverse, keysOnly: false, at: 10 },
      revision: 10,
      onClose: () => pin.release(),
    });
    const found: string[] = [];
    for (let page = 0; !scan.done; page++) {
      for (const { key, revision } of await scan.next(7, 1 << 20))
        found.push(`${Buffer.from(key).toString()}@${revision}`);
      // The reader takes its time: the hasty clock's timers fire at the end of the turn.
      await new Promise((resolve) => setImmediate(resolve));
      fill(20 + page);
      await engine.compact();
      await engine.settled();
      const live = engine.stats().levels.reduce((sum, level) => sum + level.files, 0);
      assert.equal(tables(), live, 'the scan keeps no table that a compaction replaced');
    }
    const expected = KEYS.map((key) => `${key}@10`);
    assert.deepEqual(found, reverse ? expected.reverse() : expected);
    scan.close();
    await engine.close();
  });
}

const STEP_MS = 0.002;

/** Time passes with each step of a cursor only. */
class StepClock extends HastyClock implements Clock {
  longestTurnMs = 0;
  turns = 0;
  #turnStartedMs = 0;

  override defer(callback: () => void): void {
    this.longestTurnMs = Math.max(this.longestTurnMs, this.nowMs - this.#turnStartedMs);
    this.turns++;
    super.defer(() => {
      this.#turnStartedMs = this.nowMs;
      callback();
    });
  }
}

/** Rows of a replica, all of them tombstones but the last. */
class Graves implements Cursor {
  valid = false;
  readonly key: Uint8Array;
  readonly keyStart = 0;
  readonly keyLength: number;
  readonly revision = 5;
  value: Uint8Array = TOMBSTONE_RECORD;
  readonly valueStart = 0;
  valueLength = TOMBSTONE_RECORD.length;
  readonly #clock: StepClock;
  readonly #count: number;
  #at = 0;

  constructor(replicaId: number, count: number, clock: StepClock) {
    this.key = makeRowKey(replicaId, Uint8Array.of(0, 0, 0, 0, replicaId));
    this.keyLength = this.key.length;
    this.#count = count;
    this.#clock = clock;
  }

  seek(): boolean {
    return this.#show(0);
  }
  seekBefore(): boolean {
    return this.#show(this.#count - 1);
  }
  seekToFirst(): boolean {
    return this.#show(0);
  }
  seekToLast(): boolean {
    return this.#show(this.#count - 1);
  }
  next(): boolean {
    return this.#show(this.#at + 1);
  }
  previous(): boolean {
    return this.#show(this.#at - 1);
  }
  load(): Promise<void> {
    return Promise.resolve();
  }
  close(): void {}

  #show(at: number): boolean {
    this.#clock.nowMs += STEP_MS;
    this.#at = at;
    this.valid = at >= 0 && at < this.#count;
    this.key.set([at >> 24, at >> 16, at >> 8, at], 4);
    this.value = at === this.#count - 1 ? putRecord('"alive"') : TOMBSTONE_RECORD;
    this.valueLength = this.value.length;
    return true;
  }
}

for (const reverse of [false, true]) {
  test(`promise 6: a scan over a million tombstones gives the loop back every few ms (${reverse ? 'backward' : 'forward'})`, async () => {
    const clock = new StepClock();
    const replicaIds = Array.from({ length: 64 }, (_, i) => i + 1);
    const budget = new StepBudget();
    const children = replicaIds.map((replicaId) => {
      return new VisibleCursor(new Graves(replicaId, 1_000_000 / 64, clock), { atRevision: 10, budget });
    });
    const scan = new NodeScan({
      engine: { scan: () => new UserKeyMerge(children, replicaIds) },
      clock,
      groups: [],
      scan: { startKey: new Uint8Array(0), endKey: null, reverse, keysOnly: false, at: 10 },
      revision: 10,
      onClose: () => undefined,
    });
    let items = 0;
    while (!scan.done) items += (await scan.next(10, 1 << 20)).length;
    assert.equal(items, 64);
    assert.ok(clock.longestTurnMs < 6, `${clock.longestTurnMs} ms without giving the loop back`);
    assert.ok(clock.turns > 250, `${clock.turns} turns`);
    scan.close();
  });
}

test('a scan that is closed while it passes tombstones ends at once, without an error', async () => {
  const clock = new StepClock();
  const budget = new StepBudget();
  const scan = new NodeScan({
    engine: {
      scan: () =>
        new UserKeyMerge([new VisibleCursor(new Graves(1, 1_000_000, clock), { atRevision: 10, budget })], [1]),
    },
    clock,
    groups: [],
    scan: { startKey: new Uint8Array(0), endKey: null, reverse: false, keysOnly: false, at: 10 },
    revision: 10,
    onClose: () => undefined,
  });
  const items = scan.next(10, 1 << 20);
  await new Promise((resolve) => setImmediate(resolve));
  scan.close();
  assert.deepEqual(await items, []);
  assert.ok(clock.nowMs < 100, `it went on for ${clock.nowMs} ms`);
});
