import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HAS_OLDER, LATER_VERSION_WORDS } from '../../../src/lsm/memtable/layout.js';
import { jumpLink, VersionChains } from '../../../src/lsm/memtable/version-chains.js';

/** A chain in which the version of depth d has revision d; returns the links' words and each version's word. */
function chainOf(length: number): { words: Int32Array; versions: number[] } {
  const words = new Int32Array((length + 1) * LATER_VERSION_WORDS);
  const versions: number[] = [];
  for (let depth = 0; depth < length; depth++) {
    const version = (depth + 1) * LATER_VERSION_WORDS;
    const older = versions[depth - 1];
    words[version] = depth;
    if (older !== undefined) {
      words[version + 1] = HAS_OLDER;
      words[version + 3] = older;
      words[version + 4] = jumpLink(words, older);
      words[version + 5] = depth;
    }
    versions.push(version);
  }
  return { words, versions };
}

test('version chains: every version of a long chain is found from the newest in at most 3 log2(n) steps', () => {
  const length = 5000;
  const { words, versions } = chainOf(length);
  const chains = new VersionChains(words);
  const newest = versions[length - 1]!;
  let most = 0;
  for (let wanted = 0; wanted < length; wanted++) {
    assert.equal(chains.find(newest, wanted), versions[wanted]);
    let version = newest;
    let steps = 0;
    for (; words[version]! > wanted; steps++) {
      const jump = words[version + 4]!;
      version = words[jump]! >= wanted ? jump : words[version + 3]!;
    }
    most = Math.max(most, steps);
  }
  assert.ok(most <= 3 * Math.log2(length), `found ${most} steps`);
});

test('version chains: the next newer version is found for every version', () => {
  const { words, versions } = chainOf(1000);
  // A row whose newest version is the chain's last.
  const row = 1;
  words[row] = versions[999]!;
  const chains = new VersionChains(words);
  versions.forEach((version, depth) => assert.equal(chains.newer(row, version), versions[depth + 1] ?? 0));
});
