import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, test } from 'node:test';
import { MUTATIONS, mutated, plantMutations, type Mutation } from '../../src/base/mutations.js';
import { RandomCluster } from './random-cluster.js';
import { runScript } from './script-runner.js';

/** A few seeds first, then the scripts, then as many seeds as it takes. */
const FEW_SEEDS = 12;
const SEEDS = Number(process.env.CAIRN_TEST_SEEDS ?? 300);
const FOLDER = path.join(process.cwd(), 'test/data/raft');

afterEach(() => plantMutations([]));

function randomRunsFind(first: number, last: number): boolean {
  for (let seed = first; seed <= last; seed++) {
    try {
      new RandomCluster(seed).run(2500);
    } catch {
      return true;
    }
  }
  return false;
}

function scriptsFind(): boolean {
  return readdirSync(FOLDER).some((name) => {
    const text = readFileSync(path.join(FOLDER, name), 'utf8');
    return runScript(text) !== text;
  });
}

for (const name of Object.keys(MUTATIONS).filter((known) => known.startsWith('raft-')) as Mutation[]) {
  test(`the planted bug is found: ${MUTATIONS[name]}`, () => {
    plantMutations([name]);
    const found = randomRunsFind(1, FEW_SEEDS) || scriptsFind() || randomRunsFind(FEW_SEEDS + 1, SEEDS);
    assert.ok(found, `${name} goes unnoticed`);
  });
}

test('no bug is planted unless a test asks for it', () => {
  for (const name of Object.keys(MUTATIONS) as Mutation[]) assert.equal(mutated(name), false);
});
