// Brings a checkout to the state "installed and built", doing only what is missing. Needs nothing but Node and npm, so
// it runs on a fresh clone, before `npm ci`.
//   node .ci/prepare.mjs
// Three steps, each skipped when its inputs have not changed:
//   1. install: node_modules holds exactly what package-lock.json names
//   2. generate: src/codec/generated/ from proto/*.proto
//   3. build: dist/ from every .ts file
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));

const SOURCE_FOLDERS = ['src', 'workers', 'bench', 'test'];
const GENERATED = 'src/codec/generated';
const STAMP = 'dist/.stamp';

/** Installs, generates and builds what is missing. Ends the process with a clear message when a step fails. */
export function prepare() {
  checkNode();
  if (!installed()) install();
  generate();
  build();
}

function checkNode() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major > 20 || (major === 20 && minor >= 19)) return;
  fail(`Cairn needs Node.js 20.19 or newer; this is ${process.version}.`);
}

// npm records what it installed in node_modules/.package-lock.json. Optional packages for other platforms are absent there.
function installed() {
  const wanted = readJson('package-lock.json')?.packages;
  const present = readJson('node_modules/.package-lock.json')?.packages;
  if (wanted === undefined) fail('package-lock.json is missing or not readable.');
  if (present === undefined) return false;
  for (const [name, entry] of Object.entries(wanted)) {
    if (name === '') continue;
    const found = present[name];
    if (found === undefined ? !entry.optional : found.version !== entry.version || found.integrity !== entry.integrity)
      return false;
  }
  return true;
}

function install() {
  say('installing dependencies (npm ci)');
  run('npm', ['ci', '--loglevel=error'], 'The dependencies could not be installed.');
}

function generate() {
  const protos = list('proto', (name) => name.endsWith('.proto'));
  const newest = Math.max(...['proto/generate.mjs', ...protos].map(modified));
  const outputs = protos.flatMap((proto) =>
    ['.js', '.d.ts'].map((end) => `${GENERATED}/${path.basename(proto, '.proto')}${end}`),
  );
  if (outputs.every((file) => modified(file) >= newest)) return;
  say('generating code from proto/');
  run(process.execPath, ['proto/generate.mjs'], 'The .proto files could not be compiled.');
}

function build() {
  const sources = SOURCE_FOLDERS.flatMap((folder) => list(folder, () => true));
  const stamp = fingerprint([...sources, 'tsconfig.json', 'package-lock.json', '.ci/prepare.mjs']);
  if (readText(STAMP) === stamp) return;
  say('building (tsc)');
  fs.rmSync(path.join(root, STAMP), { force: true });
  run(process.execPath, ['node_modules/typescript/lib/tsc.js', '-p', '.'], 'The build failed.');
  removeStaleOutput();
  // tsc leaves plain JavaScript (the generated protobuf code) and its types where they are.
  for (const file of list(GENERATED, () => true)) copyInto('dist', file);
  // An executable bit, since npm links the command straight to this file.
  const command = path.join(root, 'dist/src/cli/cairn.js');
  if (fs.existsSync(command)) fs.chmodSync(command, 0o755);
  fs.writeFileSync(path.join(root, STAMP), stamp);
}

// A renamed or deleted source must not leave a module or a test behind that still runs.
function removeStaleOutput() {
  for (const file of SOURCE_FOLDERS.flatMap((folder) => list(`dist/${folder}`, () => true))) {
    const source = file.slice('dist/'.length);
    if (source.startsWith(`${GENERATED}/`) ? fs.existsSync(path.join(root, source)) : hasTypeScript(source)) continue;
    fs.rmSync(path.join(root, file));
  }
}

function hasTypeScript(output) {
  const stem = output.replace(/(\.d\.ts|\.js|\.js\.map)$/, '');
  return fs.existsSync(path.join(root, `${stem}.ts`));
}

function copyInto(folder, file) {
  const target = path.join(root, folder, file);
  fs.mkdirSync(path.dirname(target), { recursive: true });
  fs.copyFileSync(path.join(root, file), target);
}

// Name, size and time of change of each input: a few milliseconds for the whole tree, where contents would need every byte.
function fingerprint(files) {
  const hash = createHash('sha256');
  for (const file of files.toSorted(byName)) {
    const stat = fs.statSync(path.join(root, file));
    hash.update(`${file}\0${stat.size}\0${stat.mtimeMs}\n`);
  }
  return hash.digest('hex');
}

/** The files below a folder that `wanted` accepts by name, as paths from the root. */
export function list(folder, wanted) {
  const files = [];
  const visit = (directory) => {
    let entries;
    try {
      entries = fs.readdirSync(path.join(root, directory), { withFileTypes: true });
    } catch (error) {
      if (error.code === 'ENOENT') return;
      throw error;
    }
    for (const entry of entries) {
      const name = `${directory}/${entry.name}`;
      if (entry.isDirectory()) visit(name);
      else if (wanted(entry.name)) files.push(name);
    }
  };
  visit(folder);
  return files.toSorted(byName);
}

function byName(a, b) {
  return a < b ? -1 : a > b ? 1 : 0;
}

function run(command, args, sentence) {
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: ['ignore', 2, 2] });
  if (status === 0) return;
  fail(`${sentence} ${command} ${args[0]}: ${error?.message ?? `exit code ${status}`}.`);
}

function modified(file) {
  return fs.statSync(path.join(root, file), { throwIfNoEntry: false })?.mtimeMs ?? 0;
}

function readText(file) {
  const full = path.join(root, file);
  return fs.existsSync(full) ? fs.readFileSync(full, 'utf8') : undefined;
}

function readJson(file) {
  const text = readText(file);
  return text === undefined ? undefined : JSON.parse(text);
}

function say(what) {
  process.stderr.write(`cairn: ${what}\n`);
}

function fail(sentence) {
  process.stderr.write(`cairn: ${sentence}\n`);
  process.exit(1);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) prepare();
