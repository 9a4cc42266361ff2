import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, test } from 'node:test';
import { MUTATIONS, mutated, plantMutations, type Mutation } from '../../src/base/mutations.js';
import { RandomCluster } from './random-cluster.js';
import { runScript } from './script-runner.js';

const SEEDS = Number(process.env.CAIRN_TEST_SEEDS ?? 60);
const FOLDER = path.join(process.cwd(), 'test/data/raft');

afterEach(() => plantMutations([]));

function randomRunsFind(): boolean {
  for (let seed = 1; seed <= SEEDS; seed++) {
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
    assert.ok(randomRunsFind() || scriptsFind(), `${name} goes unnoticed`);
  });
}

test('no bug is planted unless a test asks for it', () => {
  for (const name of Object.keys(MUTATIONS) as Mutation[]) assert.equal(mutated(name), false);
});
