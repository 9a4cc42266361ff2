// `npm run chaos [-- --minutes M] [--seed K] [--failovers N] [--help]`: prepares what is missing, then runs real nodes under faults.
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { prepare, root } from './prepare.mjs';

prepare();
await import(pathToFileURL(path.join(root, 'dist/test/chaos/command.js')).href);
