import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { LogRing } from '../../../src/engine/log/ring.js';
import { CONTROL_BYTES, ControlArea, WORD_DURABLE } from '../../../src/engine/log/shared-area.js';

const RING_BYTES = 64 * 1024;
const URGENT_BYTES = 4096;

function newRing(): { ring: LogRing; control: ControlArea } {
  const control = new ControlArea(new SharedArrayBuffer(CONTROL_BYTES));
  return { ring: new LogRing(new SharedArrayBuffer(RING_BYTES), control, URGENT_BYTES), control };
}

/** Publishes a record of so many bytes; false when there is no room. */
function publish(ring: LogRing, bytes: number): boolean {
  const at = ring.find(bytes, false);
  if (at < 0) return false;
  assert.ok(at + bytes <= ring.reach(at, false), 'a record that was found room for reaches its end');
  const offset = ring.offset(at);
  ring.bytes.fill((ring.published + 1) & 0xff, offset, offset + bytes);
  ring.publish(at, bytes, -1);
  return true;
}

function release(ring: LogRing, control: ControlArea, sequence: number): void {
  Atomics.store(control.words, WORD_DURABLE, sequence);
  ring.refresh();
  ring.release(sequence);
}

test('LSM rule 16: no record is written over before it is released', () => {
  const step = fc.oneof(
    fc.record({ publish: fc.integer({ min: 1, max: RING_BYTES / 4 }) }),
    fc.record({ release: fc.integer({ min: 1, max: 6 }) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const { ring, control } = newRing();
      const live: { sequence: number; offset: number; bytes: number }[] = [];
      for (const { publish: bytes, release: count } of steps as { publish?: number; release?: number }[]) {
        if (bytes !== undefined && publish(ring, bytes)) {
          live.push({ sequence: ring.published, offset: control.ringOffset(ring.published), bytes });
        }
        const released = live.splice(0, count ?? 0).at(-1);
        if (released !== undefined) release(ring, control, released.sequence);
        for (const record of live) {
          const stored = ring.bytes.subarray(record.offset, record.offset + record.bytes);
          assert.ok(stored.every((byte) => byte === (record.sequence & 0xff)));
        }
      }
    }),
  );
});

test('an empty ring takes a record of all its ordinary room wherever the last one ended', () => {
  const { ring, control } = newRing();
  for (const bytes of [1, 3000, 20_000, 40_000, 512, RING_BYTES - URGENT_BYTES]) {
    assert.ok(publish(ring, bytes));
    release(ring, control, ring.published);
    assert.equal(ring.usedBytes, 0);
    assert.ok(ring.find(RING_BYTES - URGENT_BYTES, false) >= 0);
  }
});

test('records one at a time stay in the first part of the ring', () => {
  const { ring, control } = newRing();
  for (let i = 0; i < 1000; i++) {
    assert.ok(publish(ring, 700));
    release(ring, control, ring.published);
  }
  assert.ok(ring.bytes.subarray(RING_BYTES / 8).every((byte) => byte === 0));
});

test('two records at a time stay in the first five eighths of the ring', () => {
  const { ring, control } = newRing();
  for (let i = 0; i < 1000; i++) {
    assert.ok(publish(ring, 700));
    if (i > 0) release(ring, control, ring.published - 1);
  }
  assert.ok(ring.bytes.subarray((RING_BYTES * 5) / 8).every((byte) => byte === 0));
});
