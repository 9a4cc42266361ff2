import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Fifo } from '../../src/base/fifo.js';

test('a fifo behaves as an array with push and shift', () => {
  fc.assert(
    fc.property(fc.array(fc.option(fc.nat(), { freq: 2 })), (steps) => {
      const fifo = new Fifo<number>();
      const oracle: number[] = [];
      for (const step of steps) {
        if (step === null) assert.equal(fifo.shift(), oracle.shift());
        else {
          fifo.push(step);
          oracle.push(step);
        }
        assert.equal(fifo.length, oracle.length);
        assert.equal(fifo.peek(), oracle[0]);
        for (let i = 0; i < oracle.length; i++) assert.equal(fifo.at(i), oracle[i]);
      }
    }),
  );
});

test('a long-lived fifo that never empties lets go of what was shifted', () => {
  const fifo = new Fifo<number>();
  fifo.push(-1);
  for (let i = 0; i < 100_000; i++) {
    fifo.push(i);
    assert.equal(fifo.shift(), i - 1);
  }
  assert.equal(fifo.length, 1);
});
