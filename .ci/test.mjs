// `npm test [-- WORD... [--node-test-flag=value]...]`: prepares what is missing, then runs the compiled tests with node:test.
// Words choose test files by a part of their path; anything that starts with a dash goes on to node:test. Limits by environment:
//   CAIRN_TEST_CONCURRENCY      test files at once (default: the cores)
//   CAIRN_TEST_TIMEOUT_SECONDS  for one test file (default: 180)
import { spawn } from 'node:child_process';
import os from 'node:os';
import { list, prepare, root } from './prepare.mjs';

prepare();
const given = process.argv.slice(2);
const flags = given.filter((word) => word.startsWith('-'));
const words = given.filter((word) => !word.startsWith('-'));
// Node 20's runner takes no globs, so the files are named.
const files = list('dist/test', (name) => name.endsWith('.test.js')).filter(
  (file) => words.length === 0 || words.some((word) => file.includes(word)),
);
if (files.length === 0) {
  process.stderr.write(`cairn: no test file matches ${words.length === 0 ? 'test/**/*.test.ts' : words.join(', ')}\n`);
  process.exit(1);
}
const concurrency = positive('CAIRN_TEST_CONCURRENCY', os.availableParallelism());
const timeoutMs = positive('CAIRN_TEST_TIMEOUT_SECONDS', 180) * 1000;
const runner = spawn(
  process.execPath,
  [
    '--enable-source-maps',
    '--test-reporter=spec',
    '--test',
    `--test-concurrency=${concurrency}`,
    `--test-timeout=${timeoutMs}`,
    ...flags,
    ...files,
  ],
  { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] },
);
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => runner.kill(signal));
runner.on('close', (code, signal) => {
  if (signal !== null) process.stderr.write(`cairn: node:test was ended by ${signal}\n`);
  process.exit(code ?? 1);
});

function positive(name, otherwise) {
  const text = process.env[name];
  if (text === undefined || text === '') return otherwise;
  const value = Number(text);
  if (Number.isInteger(value) && value > 0) return value;
  process.stderr.write(`cairn: ${name} must be a whole number above 0, found "${text}"\n`);
  process.exit(1);
}
