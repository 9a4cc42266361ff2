import assert from 'node:assert/strict';
import test from 'node:test';
import { arrowViolations, badNames, bannedUses, deadModules, strayTopLevel, unevenTests } from './rules.js';
import type { SourceTree } from './source-tree.js';

// Each rule finds what is planted, and nothing in the same tree without it.

function treeOf(files: Readonly<Record<string, string>>): SourceTree {
  return new Map(Object.entries(files));
}

const clean = treeOf({
  'src/main.ts': `import { Engine } from './engine/engine.js';\nimport { disk } from './platform/node-disk.js';\nimport './replica/group.js';\nnew Engine(disk);`,
  'src/cli/cairn.ts': `await import('../main.js');`,
  'src/client/index.ts': `export const client = 1;`,
  'src/engine/engine.ts': `import { merge } from '../lsm/merge.js';\nexport class Engine {}`,
  'src/lsm/merge.ts': `import type { Bytes } from '../base/bytes.js';\nexport const merge = 1;`,
  'src/base/bytes.ts': `export type Bytes = Uint8Array;`,
  'src/platform/node-disk.ts': `import fs from 'node:fs';\nexport const disk = fs;\nsetTimeout(() => Date.now(), 1);`,
  'src/replica/group.ts': `import type { Engine } from '../engine/engine.js';\nexport const group = 1;`,
  'workers/lsm-worker.ts': `import '../src/lsm/merge.js';`,
});

function withFile(file: string, source: string): SourceTree {
  return new Map([...clean, [file, source]]);
}

test('a clean tree breaks no rule', () => {
  for (const rule of [arrowViolations, deadModules, bannedUses, badNames, unevenTests])
    assert.deepEqual(rule(clean), [], rule.name);
});

const ARROWS: readonly (readonly [string, string, string])[] = [
  ['an import upward', 'src/lsm/x.ts', `import { Engine } from '../engine/engine.js';`],
  ['a type imported upward', 'src/base/x.ts', `import type { merge } from '../lsm/merge.js';`],
  ['an export upward', 'src/engine/x.ts', `export { group } from '../replica/group.js';`],
  ['a lazy import upward', 'src/engine/x.ts', `await import('../replica/group.js');`],
  ['an import for its effect upward', 'src/engine/x.ts', `import '../replica/group.js';`],
  ['an import over several lines', 'src/lsm/x.ts', `import {\n  Engine,\n} from '../engine/engine.js';`],
  ['an import between siblings', 'src/raft/x.ts', `import '../lsm/merge.js';`],
  ['platform imported below main', 'src/engine/x.ts', `import '../platform/node-disk.js';`],
  ['platform imported by the server', 'src/server/x.ts', `import '../platform/node-disk.js';`],
  ['platform importing the server', 'src/platform/x.ts', `import '../replica/group.js';`],
  ['a worker imported', 'src/main.ts', `import '../workers/lsm-worker.js';`],
  ['a worker that reaches above the engine', 'workers/x.ts', `import '../src/replica/group.js';`],
  ['the client on the engine', 'src/client/x.ts', `import '../engine/engine.js';`],
  ['the engine on the client', 'src/engine/x.ts', `import '../client/index.js';`],
  ['main on the command line', 'src/main.ts', `import './cli/cairn.js';`],
  ['a folder in no layer', 'src/things/x.ts', `import '../base/bytes.js';`],
];
for (const [name, file, source] of ARROWS) {
  test(`the arrow rule finds ${name}`, () => {
    assert.equal(arrowViolations(withFile(file, source)).length, 1);
  });
}

test('the arrow rule finds sources that use tests and benchmarks', () => {
  const planted = new Map([
    ...clean,
    ['test/oracle.ts', 'export {};'],
    ['bench/rows.ts', 'export {};'],
    ['src/engine/x.ts', `import '../../test/oracle.js';\nimport '../../bench/rows.js';`],
  ]);
  assert.equal(arrowViolations(planted).length, 2);
});

test('the arrow rule is not misled by comments and strings', () => {
  const source = `// import '../engine/engine.js'\n/* from '../engine/engine.js' */\nexport const text = "import '../engine/engine.js'";\nexport const t = \`\${1} from '../engine/engine.js'\`;`;
  assert.deepEqual(arrowViolations(withFile('src/lsm/x.ts', source)), []);
});

test('the dead-module rule finds a module that nobody imports', () => {
  assert.deepEqual(deadModules(withFile('src/lsm/x.ts', 'export {};')), [
    'src/lsm/x.ts is reached from no entry point of the product',
  ]);
});

test('the dead-module rule finds modules that import only each other', () => {
  const planted = new Map([...clean, ['src/lsm/x.ts', `import './y.js';`], ['src/lsm/y.ts', `import './x.js';`]]);
  assert.equal(deadModules(planted).length, 2);
});

test('the dead-module rule does not take a test for a user', () => {
  const planted = new Map([...clean, ['src/lsm/x.ts', ''], ['test/lsm/x.test.ts', `import '../../src/lsm/x.js';`]]);
  assert.equal(deadModules(planted).length, 1);
});

test('the dead-module rule finds a kept module that is used by now', () => {
  const planted = new Map([...clean, ['src/base/prng.ts', ''], ['src/base/bytes.ts', `import './prng.js';`]]);
  assert.equal(deadModules(planted).length, 1);
  assert.deepEqual(deadModules(withFile('src/base/prng.ts', '')), []);
});

test('the dead-module rule finds a test helper without a test', () => {
  assert.deepEqual(deadModules(withFile('test/lsm/oracle.ts', '')), [
    'test/lsm/oracle.ts is reached from no test and no benchmark',
  ]);
});

test('the dead-module rule follows paths given to new URL', () => {
  const planted = new Map([
    ...clean,
    ['test/a.test.ts', `fork(new URL('./child.js', import.meta.url));`],
    ['test/child.ts', ''],
  ]);
  assert.deepEqual(deadModules(planted), []);
});

const BANNED = [
  'export const t = Date.now();',
  'export const t = new Date();',
  'export const t = performance.now();',
  'export const t = process.hrtime.bigint();',
  'export const r = Math.random();',
  'export const r = crypto.randomUUID();',
  'setTimeout(() => {}, 1);',
  'globalThis.setImmediate(() => {});',
  'export const t = `${Date.now()}`;',
  `import fs from 'node:fs';`,
  `import { readFile } from 'fs/promises';`,
  `import net from "node:net";`,
  `import { Worker } from 'node:worker_threads';`,
  `const { setTimeout: after } = await import('node:timers/promises');`,
];
for (const source of BANNED) {
  test(`the port rule finds: ${source}`, () => {
    for (const file of [
      'src/base/x.ts',
      'src/engine/x.ts',
      'src/server/http/x.ts',
      'src/client/x.ts',
      'src/config.ts',
    ]) {
      if (file === 'src/config.ts' && source.includes("'node:fs'")) continue;
      const found = bannedUses(withFile(file, source));
      assert.ok(found.length > 0 && found.every((line) => line.startsWith(file)), file);
    }
    for (const file of ['src/platform/x.ts', 'src/cli/x.ts', 'test/x.ts', 'workers/x.ts'])
      assert.deepEqual(bannedUses(withFile(file, source)), []);
  });
}

test('the port rule is not misled by comments, strings and methods', () => {
  const source = `// Date.now()\nexport const s = 'Math.random()';\nclock.setTimeout(1);\nexport const re = /Date.now'/;\nexport const n = 6 / 2;`;
  assert.deepEqual(bannedUses(withFile('src/lsm/x.ts', source)), []);
});

test('the name rule finds camelCase and names that say nothing', () => {
  for (const file of [
    'src/lsm/rowKey.ts',
    'src/lsm/Row.ts',
    'src/base/utils.ts',
    'src/lsm/table-helper.ts',
    'src/misc/x.ts',
  ]) {
    assert.equal(badNames(withFile(file, '')).length, 1, file);
  }
});

test('the test rule finds focused and skipped tests', () => {
  for (const mark of ['only', 'skip', 'todo'])
    assert.equal(unevenTests(withFile('test/x.test.ts', `test.${mark}('x', () => {});`)).length, 1);
});

test('the top-level rule finds a stray file', () => {
  assert.equal(strayTopLevel(['package.json', 'src', '.ci', 'notes.txt']).length, 1);
});
