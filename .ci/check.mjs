// `npm run check`: lint, format, types and the shape of the code. Every step runs, also after one has failed.
// test/tidy/ shows that each of these tools really reads the TypeScript files: planted violations must fail.
import { spawnSync } from 'node:child_process';
import { prepare, root } from './prepare.mjs';

prepare();
const steps = [
  { name: 'lint', command: ['node_modules/oxlint/bin/oxlint', '--type-aware', '--deny-warnings'] },
  { name: 'format', command: ['node_modules/oxfmt/bin/oxfmt', '--check'] },
  { name: 'types', command: ['node_modules/typescript/lib/tsc.js', '-p', '.', '--noEmit', '--incremental', 'false'] },
  { name: 'tidy', command: ['.ci/test.mjs', 'dist/test/tidy/'] },
];
const failed = steps.filter(({ name, command }) => {
  process.stdout.write(`\n== ${name}\n`);
  return spawnSync(process.execPath, command, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] }).status !== 0;
});
process.stdout.write(
  failed.length === 0 ? '\ncheck: all passed\n' : `\ncheck: failed: ${failed.map(({ name }) => name).join(', ')}\n`,
);
process.exit(failed.length === 0 ? 0 : 1);
