// Generates src/codec/generated/ from the .proto files beside this one.
//   node proto/generate.mjs [OUTPUT_DIR...]
// Each OUTPUT_DIR (for example dist) is a tsc output: the generated files, which tsc leaves alone, are copied there.
import { cpSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const { pbjs, pbts } = createRequire(import.meta.url)('protobufjs-cli');
const proto = dirname(fileURLToPath(import.meta.url));
const generated = join(proto, '../src/codec/generated');
const flags = ['--wrap', 'esm', '--dependency', 'protobufjs/minimal.js', '--force-number'];
const leftOut = ['create', 'verify', 'convert', 'delimited', 'typeurl', 'service'].map((part) => `--no-${part}`);

function run(tool, args) {
  return new Promise((resolve, reject) => {
    tool.main(args, (error, output) => (error instanceof Error ? reject(error) : resolve(output)));
  });
}

/** Rewrites a generated file; a pattern that is not there means that the generator has changed. */
function edit(path, pattern, replacement) {
  const before = readFileSync(path, 'utf8');
  const after = before.replaceAll(pattern, replacement);
  if (after === before) throw new Error(`${path}: expected ${pattern} in the generated code, found none`);
  writeFileSync(path, after);
}

mkdirSync(generated, { recursive: true });
for (const file of readdirSync(proto).filter((entry) => entry.endsWith('.proto'))) {
  const name = basename(file, '.proto');
  const script = join(generated, `${name}.js`);
  const types = join(generated, `${name}.d.ts`);
  // A root of its own, so that an application with protobufjs messages of its own does not meet ours.
  const root = ['--root', `cairn-${name}`];
  await run(pbjs, ['--target', 'static-module', ...flags, ...root, ...leftOut, '--out', script, join(proto, file)]);
  await run(pbts, ['--out', types, script]);
  // 64-bit fields are numbers here (Uint53Reader), also when they are absent and the library `long` is installed.
  edit(script, '$util.Long ? $util.Long.fromBits(0,0,true) : 0', '0');
  edit(types, 'import Long = require("long");\n', '');
}
for (const outputDir of process.argv.slice(2)) {
  cpSync(generated, join(outputDir, 'src/codec/generated'), { recursive: true });
}
