import assert from 'node:assert/strict';
import { AT_FIRST_LEAF, AT_HEIGHT, AT_LAST_LEAF, AT_ROOT } from '../../../src/lsm/memtable/layout.js';
import type { Memtable } from '../../../src/lsm/memtable/memtable.js';
import { SLOTS } from '../../../src/lsm/memtable/row-tree.js';
import { commonRowPrefix, rowHead } from '../../../src/lsm/memtable/search-key.js';

/** Checks every node: counts, order of separators, links, the common prefix and the heads behind it. */
export function checkTree(memtable: Memtable): void {
  const { words } = memtable.arena;
  memtable.tree.save();
  const rowsOf = (node: number): number[] => [...words.subarray(node + 4 + SLOTS, node + 4 + SLOTS + words[node]!)];
  const leaves: number[] = [];
  const firstRow = rowsOf(words[AT_FIRST_LEAF]!)[0]!;
  const lastRow = rowsOf(words[AT_LAST_LEAF]!).at(-1)!;

  const visit = (node: number, level: number, low: number, high: number): void => {
    const count = words[node]!;
    assert.ok(count >= 1 && count <= SLOTS, `count ${count}`);
    const prefix = words[node + 1]! & 0xffff;
    assert.equal(prefix, commonRowPrefix(words, low === 0 ? firstRow : low, high === 0 ? lastRow : high));
    const rows = rowsOf(node);
    rows.forEach((row, i) => assert.equal(words[node + 4 + i], rowHead(words, row, prefix)));
    if (level === 0) {
      leaves.push(node);
      return;
    }
    for (let child = 0; child <= count; child++) {
      const childNode = words[node + 4 + 2 * SLOTS + child]!;
      visit(childNode, level - 1, child === 0 ? low : rows[child - 1]!, child === count ? high : rows[child]!);
    }
  };
  visit(words[AT_ROOT]!, words[AT_HEIGHT]!, 0, 0);

  assert.equal(leaves[0], words[AT_FIRST_LEAF]);
  assert.equal(leaves.at(-1), words[AT_LAST_LEAF]);
  leaves.forEach((leaf, i) => {
    assert.equal(words[leaf + 2], leaves[i - 1] ?? 0);
    assert.equal(words[leaf + 3], leaves[i + 1] ?? 0);
  });
}
