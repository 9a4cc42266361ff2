import assert from 'node:assert/strict';
import fs from 'node:fs';
import test from 'node:test';
import { arrowViolations, badNames, bannedUses, deadModules, strayTopLevel, unevenTests } from './rules.js';
import { projectRoot, readSourceTree } from './source-tree.js';

const root = projectRoot();
const tree = readSourceTree(root);

test('the tidy rules read the sources of the project', () => {
  assert.ok(tree.has('src/main.ts'), 'expected src/main.ts among the files read');
  assert.ok(tree.has('test/tidy/tidy.test.ts'), 'expected this test among the files read');
});

test('every import points downward', () => {
  assert.deepEqual(arrowViolations(tree), []);
});

test('every module is used', () => {
  assert.deepEqual(deadModules(tree), []);
});

test('clocks, timers, randomness and I/O are used through ports below platform/', () => {
  assert.deepEqual(bannedUses(tree), []);
});

test('files and folders have names in kebab-case that say what they hold', () => {
  assert.deepEqual(badNames(tree), []);
});

test('no test is focused, skipped or left to do', () => {
  assert.deepEqual(unevenTests(tree), []);
});

test('the top folder holds only what belongs there', () => {
  assert.deepEqual(strayTopLevel(fs.readdirSync(root)), []);
});
