// `npm run sim [-- --seeds N] [--replay SEED] [--mutation NAME] [--help]`: prepares what is missing, then runs simulated clusters.
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { prepare, root } from './prepare.mjs';

prepare();
const { main } = await import(pathToFileURL(path.join(root, 'dist/test/sim/main.js')).href);
process.exitCode = await main(process.argv.slice(2), {
  command: 'npm run sim --',
  out: (text) => process.stdout.write(text),
  err: (text) => process.stderr.write(text),
  nowMs: () => performance.now(),
});
