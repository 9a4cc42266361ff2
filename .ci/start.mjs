// `npm start [-- FLAGS]`: prepares what is missing, then becomes `cairn serve FLAGS`. The node runs in this very process,
// so a second start costs one Node start-up and signals reach it directly.
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { prepare, root } from './prepare.mjs';

prepare();
const command = path.join(root, 'dist/src/cli/cairn.js');
process.argv = [process.execPath, command, 'serve', ...process.argv.slice(2)];
await import(pathToFileURL(command).href);
