// `npm run check`: lint, format, types and the shape of the code. Every step runs, also after one has failed.
import { spawnSync } from 'node:child_process';
import { format, lint, types } from './check-steps.mjs';
import { prepare, root } from './prepare.mjs';

prepare();
const steps = [
  { name: 'lint', args: lint },
  { name: 'format', args: format },
  { name: 'types', args: types },
  { name: 'tidy', args: ['.ci/test.mjs', 'dist/test/tidy/'] },
];
const failed = steps.filter(({ name, args }) => {
  process.stdout.write(`\n== ${name}\n`);
  return spawnSync(process.execPath, args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] }).status !== 0;
});
const names = failed.map(({ name }) => name).join(', ');
process.stdout.write(failed.length === 0 ? '\ncheck: all passed\n' : `\ncheck: failed: ${names}\n`);
process.exit(failed.length === 0 ? 0 : 1);
