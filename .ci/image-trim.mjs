// Removes native binaries that can't load here (other platforms, other Node versions) from node_modules: the packages ship
// all of them, 230 MB in sum. Run once while the image is built, with the Node and on the platform that it is for.
import fs from 'node:fs';
import path from 'node:path';
import { root } from './prepare.mjs';

const modules = path.join(root, 'node_modules');
const here = `${process.platform}-${process.arch}`;
let freed = 0;

for (const entry of fs.readdirSync(modules, { withFileTypes: true, recursive: true })) {
  const full = path.join(entry.parentPath, entry.name);
  if (!entry.isFile() || loadsHere(path.relative(modules, full).split(path.sep))) continue;
  freed += fs.statSync(full).size;
  fs.rmSync(full);
}
process.stdout.write(`removed ${Math.round(freed / 1e6)} MB of native binaries for other platforms\n`);

function loadsHere(parts) {
  // prebuilds/linux-x64/..., as prebuildify lays them out
  const prebuilds = parts.indexOf('prebuilds');
  if (prebuilds !== -1 && parts.length > prebuilds + 2) return parts[prebuilds + 1] === here;
  // uws_linux_x64_137.node: platform, architecture, Node's ABI
  const named = /^uws_([a-z0-9]+)_([a-z0-9]+)_(\d+)\.node$/.exec(parts.at(-1) ?? '');
  return named === null || (`${named[1]}-${named[2]}` === here && named[3] === process.versions.modules);
}
