import assert from 'node:assert/strict';
import type { Cursor } from '../../src/lsm/cursor.js';
import { ArrayOracle, entryAt, invoke, type Call, type Entry } from './table-fixtures.js';

/**
 * Runs `script` on the cursor and on an array of the expected entries. Each time the cursor lacks a block it must still
 * describe its old position; then, as `abandons` says, the call is given up for the next one, or repeated.
 */
export async function checkCursor(
  cursor: Cursor,
  expected: readonly Entry[],
  script: readonly Call[],
  abandons: () => boolean = () => false,
): Promise<void> {
  const oracle = new ArrayOracle(expected);
  for (const call of script) {
    if ((call.call === 'next' || call.call === 'previous') && oracle.entry === undefined) continue;
    let done = invoke(cursor, call);
    for (let waits = 0; !done; waits++) {
      assert.equal(describe(entryAt(cursor)), describe(oracle.entry), `a blocked ${call.call} moved the cursor`);
      if (abandons()) break;
      assert.ok(waits < 5_000, `${call.call} makes no progress`);
      await cursor.load();
      done = invoke(cursor, call);
    }
    if (done) oracle.apply(call);
    assert.equal(describe(entryAt(cursor)), describe(oracle.entry), `after ${JSON.stringify(call)}`);
  }
  cursor.close();
}

function describe(entry: Entry | undefined): string {
  if (entry === undefined) return 'no entry';
  return `${Buffer.from(entry.key).toString('hex')} @${entry.revision}: ${Buffer.from(entry.record).toString('hex')}`;
}
