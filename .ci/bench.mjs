// `npm run bench [-- --only NAME] [--json FILE] [--list] [--quick]`: prepares what is missing, then runs the benchmarks.
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { prepare, root } from './prepare.mjs';

prepare();
const main = path.join(root, 'dist/bench/main.js');
process.argv = [process.execPath, main, ...process.argv.slice(2)];
await import(pathToFileURL(main).href);
