import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import test from 'node:test';
import { pathToFileURL } from 'node:url';
import { projectRoot } from './source-tree.js';

// A linter that finds no file to read is green too. So each tool of `npm run check`, with the project's own configuration,
// must pass on a clean file and fail on a planted violation, naming the file.

interface CheckSteps {
  readonly lint: readonly string[];
  readonly format: readonly string[];
  readonly types: readonly string[];
}

const root = projectRoot();
const steps = (await import(pathToFileURL(path.join(root, '.ci/check-steps.mjs')).href)) as CheckSteps;

const CLEAN = `export async function answer(): Promise<number> {\n  return await Promise.resolve(42);\n}\n`;

/** Runs one tool on a project with a single file. */
function runOn(source: string, args: readonly string[]): { passed: boolean; output: string } {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'cairn-check-'));
  try {
    for (const name of ['package.json', 'tsconfig.json', '.oxlintrc.json', '.oxfmtrc.json']) {
      fs.copyFileSync(path.join(root, name), path.join(folder, name));
    }
    fs.symlinkSync(path.join(root, 'node_modules'), path.join(folder, 'node_modules'));
    fs.mkdirSync(path.join(folder, 'src'));
    fs.writeFileSync(path.join(folder, 'src/planted.ts'), source);
    const { status, stdout, stderr, error } = spawnSync(process.execPath, args, { cwd: folder, encoding: 'utf8' });
    if (error !== undefined) throw error;
    return { passed: status === 0, output: stdout + stderr };
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

for (const name of ['lint', 'format', 'types'] as const) {
  test(`${name} passes on a clean file`, () => {
    const { passed, output } = runOn(CLEAN, steps[name]);
    assert.ok(passed, output);
  });
}

const PLANTED: readonly (readonly [keyof CheckSteps, string, string, string])[] = [
  ['lint', 'a floating promise', 'no-floating-promises', `${CLEAN}answer();\n`],
  ['lint', 'a promise as a condition', 'no-misused-promises', `${CLEAN}if (answer()) process.exit();\n`],
  [
    'lint',
    'an unawaited promise that leaves a try',
    'return-await',
    `${CLEAN}export async function f(): Promise<number> {\n  try {\n    return answer();\n  } catch {\n    return 0;\n  }\n}\n`,
  ],
  ['lint', 'an explicit any', 'no-explicit-any', `export const x: any = 1;\n`],
  ['lint', 'an unused import', 'no-unused-vars', `import fs from 'node:fs';\nexport const x = 1;\n`],
  ['lint', 'a value thrown that is no Error', 'only-throw-error', `export function f(): never {\n  throw 'no';\n}\n`],
  [
    'lint',
    'a switch that misses a case',
    'switch-exhaustiveness-check',
    `export function f(x: 'a' | 'b'): void {\n  switch (x) {\n    case 'a':\n      return;\n  }\n}\n`,
  ],
  [
    'lint',
    'strings sorted by UTF-16',
    'require-array-sort-compare',
    `export const x = (a: string[]): string[] => a.toSorted();\n`,
  ],
  ['format', 'double quotes', 'planted.ts', `export const x = "1";\n`],
  ['format', 'a line over 120 columns', 'planted.ts', `export const x = [${'1234567890, '.repeat(12)}1];\n`],
  ['format', 'indentation by four', 'planted.ts', `export function f(): number {\n    return 1;\n}\n`],
  ['types', 'a wrong type', 'TS2322', `export const x: number = 'one';\n`],
  ['types', 'an unchecked index', 'TS2322', `export const f = (a: number[]): number => a[0];\n`],
  ['types', 'an enum', 'TS1294', `export enum E {\n  a,\n}\n`],
];
for (const [step, name, word, source] of PLANTED) {
  test(`${step} finds ${name}`, () => {
    const { passed, output } = runOn(source, steps[step]);
    assert.ok(!passed, `${step} passed on:\n${source}`);
    assert.match(output, /planted\.ts/);
    assert.ok(output.includes(word), `expected ${word} in:\n${output}`);
  });
}
