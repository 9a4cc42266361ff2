import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { importsOf } from '../tidy/imports.js';
import { projectRoot, readSourceTree } from '../tidy/source-tree.js';
import { runCli } from './run-cli.js';

test('cairn sim passes its options on to the simulator, and gives its exit code', async () => {
  const help = await runCli(['sim', '--help']);
  assert.equal(help.code, 0);
  assert.match(help.out, /^cairn sim \[--seeds N\][^]*Examples:\n {2}cairn sim --seeds 20/);
  const wrong = await runCli(['sim', '--seeds', 'many']);
  assert.deepEqual([wrong.code, wrong.out], [2, '']);
  assert.match(wrong.err, /^--seeds: expected a number, found "many"/);
  const found = await runCli(['sim', '--seeds', '1', '--mutation', 'raft-ack-before-durable', '--json']);
  assert.deepEqual([found.code, found.err], [1, '']);
  const { failure } = JSON.parse(found.out) as { failure: { replay: string } };
  assert.equal(failure.replay, 'cairn sim --replay 1 --mutation raft-ack-before-durable');
});

test('the package has every module that the simulator and the command load', () => {
  const root = projectRoot();
  const { files } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as { files: string[] };
  const folders = files.flatMap((pattern) => /^dist\/(.*)\/\*\*\/\*\.js$/.exec(pattern)?.[1] ?? []);
  assert.ok(folders.includes('test/sim'));
  const imports = importsOf(readSourceTree(root)).filter(({ target }) => target !== null);
  const loaded = new Set<string>();
  const visit = (file: string): void => {
    if (loaded.has(file)) return;
    loaded.add(file);
    for (const { from, target } of imports) if (from === file) visit(target!);
  };
  visit('test/sim/main.ts');
  visit('src/cli/cairn.ts');
  assert.ok(loaded.size > 100, `${loaded.size} modules`);
  for (const file of loaded) {
    assert.ok(folders.some((folder) => file.startsWith(`${folder}/`)) && !file.endsWith('.test.ts'), file);
  }
});
