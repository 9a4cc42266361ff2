import path from 'node:path';
import { importsOf } from './imports.js';
import type { Import } from './imports.js';
import { lineOf, scan } from './scan.js';
import type { SourceTree } from './source-tree.js';

// Each rule takes the sources and returns one sentence for each violation.

/** From the top down; a module imports only its own layer and those below. Siblings of one row don't see each other. */
const LAYERS: readonly (readonly string[])[] = [
  ['cli'],
  ['main'],
  ['config'],
  ['server'],
  ['cluster'],
  ['replica'],
  ['engine'],
  ['raft', 'lsm'],
  ['client'],
  ['codec'],
  ['ports'],
  ['base'],
];

/** What lies outside of the order. The client is published alone, so it stands on codec, ports and base only. */
const LAYERS_SEEN: Readonly<Record<string, readonly string[]>> = {
  platform: ['platform', 'engine', 'lsm', 'codec', 'ports', 'base'],
  workers: ['workers', 'platform', 'engine', 'lsm', 'codec', 'ports', 'base'],
};
const NOT_SEEN: Readonly<Record<string, readonly string[]>> = {
  server: ['client'],
  cluster: ['client'],
  replica: ['client'],
  engine: ['client'],
  raft: ['client'],
  lsm: ['client'],
};

/** The composition roots: where the real ports are chosen. */
const PLATFORM_IMPORTERS = [
  /^src\/main\.ts$/,
  /^src\/client\/index\.ts$/,
  /^src\/cli\//,
  /^src\/platform\//,
  /^workers\//,
];

/** The layer of a module: the folder below src/, `main` and `config` for the two files there, else the top folder. */
export function layerOf(file: string): string {
  const parts = file.split('/');
  if (parts[0] !== 'src') return parts[0] ?? '';
  const second = parts[1] ?? '';
  return parts.length === 2 ? second.replace(/\.ts$/, '') : second;
}

/** Imports that point upward, sideways, at platform/ from below, or from src/ into tests and benches. */
export function arrowViolations(tree: SourceTree): string[] {
  return importsOf(tree).flatMap((entry) => {
    const reason = arrowViolation(entry);
    return reason === null ? [] : [`${entry.from}:${entry.line} imports ${entry.target ?? entry.specifier}: ${reason}`];
  });
}

function arrowViolation({ from, target, kind }: Import): string | null {
  if (target === null || kind === 'path') return null;
  const [importer, imported] = [layerOf(from), layerOf(target)];
  if (importer === 'test') return null;
  if (imported === 'test') return 'only tests import from test/';
  if (importer === 'bench') return null;
  if (imported === 'bench') return 'only benchmarks and tests import from bench/';
  if (imported === 'workers' && importer !== 'workers')
    return 'workers/ holds entry points, started by path and never imported';
  if (imported === 'platform') {
    return PLATFORM_IMPORTERS.some((pattern) => pattern.test(from))
      ? null
      : 'platform/ is imported by composition roots only';
  }
  const seen = LAYERS_SEEN[importer];
  if (seen !== undefined)
    return seen.includes(imported) ? null : `${importer} may import ${seen.join(', ')}, not ${imported}`;
  const [above, below] = [rankOf(importer), rankOf(imported)];
  if (above === -1) return `${importer} is in no layer`;
  if (below === -1) return `${imported} is in no layer`;
  if (importer === imported) return null;
  if (below < above) return `${importer} lies below ${imported}, and imports point downward`;
  if (below === above) return `${importer} and ${imported} are siblings`;
  return NOT_SEEN[importer]?.includes(imported) === true ? `${importer} has no business with ${imported}` : null;
}

function rankOf(layer: string): number {
  return LAYERS.findIndex((row) => row.includes(layer));
}

const ENTRIES = [/^src\/main\.ts$/, /^src\/cli\/cairn\.ts$/, /^src\/client\/index\.ts$/, /^workers\/[^/]+\.ts$/];
const BENCH_ENTRIES = [/^bench\/main\.ts$/, /^bench\/micro\/[^/]+\.ts$/];
const TEST_ENTRIES = [/^test\/.*\.test\.ts$/];

/** Modules of src/ that only tests reach today, each with the reason why it lies there. An entry that is not needed is a violation too. */
const KEPT: ReadonlyMap<string, string> = new Map([
  ['src/base/prng.ts', 'the seeded generator of the simulator; Raft takes the same one for its election timeouts'],
  ['src/cluster/ring.ts', 'where replicas belong; the rebalancer, which comes next, moves them there'],
]);

/**
 * Modules that nobody reaches. What ships must be reached from what ships: a test or a benchmark keeps no module of
 * src/ alive. Helpers of tests and benchmarks must be reached from a test or a benchmark.
 */
export function deadModules(tree: SourceTree): string[] {
  const imports = importsOf(tree);
  // The simulator is published too (`cairn sim`), as a test that users can run: it keeps no module of src/ alive.
  const own = imports.filter(({ target }) => target?.startsWith('test/') !== true);
  const shipped = reach(tree, own, ENTRIES);
  const measured = reach(tree, imports, [...ENTRIES, ...BENCH_ENTRIES, ...TEST_ENTRIES]);
  return [...tree.keys()].flatMap((file) => {
    // Declares the types of a package that has none; nobody imports it by its path.
    if (file.endsWith('.d.ts')) return [];
    const ships = file.startsWith('src/') || file.startsWith('workers/');
    if (ships && KEPT.has(file))
      return shipped.has(file) ? [`${file} is used by now: take it off the list of kept modules`] : [];
    if (ships) return shipped.has(file) ? [] : [`${file} is reached from no entry point of the product`];
    return measured.has(file) ? [] : [`${file} is reached from no test and no benchmark`];
  });
}

function reach(tree: SourceTree, imports: readonly Import[], entries: readonly RegExp[]): Set<string> {
  const targets = new Map<string, string[]>();
  for (const { from, target } of imports) {
    if (target === null) continue;
    const known = targets.get(from);
    if (known === undefined) targets.set(from, [target]);
    else known.push(target);
  }
  const reached = new Set([...tree.keys()].filter((file) => entries.some((entry) => entry.test(file))));
  for (const file of reached) for (const target of targets.get(file) ?? []) reached.add(target);
  return reached;
}

const BANNED_CODE: readonly (readonly [RegExp, string])[] = [
  [/\bDate\s*\.\s*now\b/g, 'Date.now (use the Clock port)'],
  [/\bnew\s+Date\s*\(\s*\)/g, 'new Date() (use the Clock port)'],
  [/\bperformance\s*\.\s*now\b/g, 'performance.now (use the Clock port)'],
  [/\bprocess\s*\.\s*hrtime\b/g, 'process.hrtime (use the Clock port)'],
  [/\bMath\s*\.\s*random\b/g, 'Math.random (use the Random port)'],
  [/\b(?:randomBytes|randomUUID|randomInt|randomFillSync|getRandomValues)\b/g, 'random bytes (use the Random port)'],
  [/(?<![.\w$])(?:globalThis\s*\.\s*)?(?:setTimeout|setInterval|setImmediate)\b/g, 'timers (use the Clock port)'],
  [/\bimport\s*\.\s*meta\s*\.\s*main\b/g, 'import.meta.main (entry points only)'],
];
const BANNED_MODULES = (
  'fs fs/promises net tls dgram http http2 https child_process cluster ' +
  'worker_threads timers timers/promises perf_hooks'
).split(' ');

/** The few places below platform/ that meet the system themselves, and what they may use. */
const ALLOWED: readonly { readonly files: RegExp; readonly modules: readonly string[] | 'all' }[] = [
  { files: /^src\/platform\//, modules: 'all' },
  { files: /^src\/cli\//, modules: 'all' },
  { files: /^src\/main\.ts$/, modules: 'all' },
  // Reads the file that --config names, once, before anything runs.
  { files: /^src\/config\.ts$/, modules: ['fs'] },
];

/** Clocks, timers, randomness and I/O used directly where a port must be: the simulator would not see them. */
export function bannedUses(tree: SourceTree): string[] {
  const imports = importsOf(tree);
  return [...tree].flatMap(([file, source]) => {
    if (!file.startsWith('src/')) return [];
    const allowed = ALLOWED.find(({ files }) => files.test(file))?.modules ?? [];
    if (allowed === 'all') return [];
    const { code } = scan(source);
    const uses = BANNED_CODE.flatMap(([pattern, name]) =>
      [...code.matchAll(pattern)].map((match) => `${file}:${lineOf(code, match.index)} uses ${name}`),
    );
    const modules = imports
      .filter(({ from, specifier }) => from === file && isBannedModule(specifier, allowed))
      .map(({ line, specifier }) => `${file}:${line} imports ${specifier} (use a port)`);
    return [...uses, ...modules];
  });
}

function isBannedModule(specifier: string, allowed: readonly string[]): boolean {
  const name = specifier.replace(/^node:/, '');
  return BANNED_MODULES.includes(name) && !allowed.includes(name);
}

const VAGUE_NAMES = /(?:^|-)(?:utils?|helpers?|managers?|misc|common|stuff)(?:-|\.|$)/;

/** File and folder names that are not kebab-case or say nothing. */
export function badNames(tree: SourceTree): string[] {
  return [...tree.keys()].flatMap((file) => {
    const parts = file.split('/');
    const crooked = parts.find((part) => !/^[a-z0-9]+(?:-[a-z0-9]+)*(?:\.[a-z0-9-]+)*$/.test(part));
    if (crooked !== undefined) return [`${file}: "${crooked}" is not kebab-case`];
    const vague = parts.find((part) => VAGUE_NAMES.test(part));
    return vague === undefined ? [] : [`${file}: "${vague}" does not say what it holds`];
  });
}

/** Tests that run alone or not at all. */
export function unevenTests(tree: SourceTree): string[] {
  return [...tree].flatMap(([file, source]) => {
    if (!file.startsWith('test/')) return [];
    const { code } = scan(source);
    return [...code.matchAll(/\b(?:test|it|describe)\s*\.\s*(only|skip|todo)\b/g)].map(
      (match) => `${file}:${lineOf(code, match.index)} has a test marked ${match[1] ?? ''}`,
    );
  });
}

const TOP_LEVEL = new Set(
  (
    'package.json package-lock.json tsconfig.json Dockerfile README.md LICENSE compose.yaml ' +
    'src workers proto bench test deploy docs'
  ).split(' '),
);
const UNTRACKED = new Set(['node_modules', 'dist', 'data']);

/** Entries of the top folder that do not belong there. */
export function strayTopLevel(entries: readonly string[]): string[] {
  return entries
    .map((entry) => path.posix.basename(entry))
    .filter((entry) => !entry.startsWith('.') && !TOP_LEVEL.has(entry) && !UNTRACKED.has(entry))
    .map((entry) => `${entry} does not belong into the top folder`);
}
