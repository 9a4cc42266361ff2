import path from 'node:path';
import { scan } from './scan.js';
import type { SourceTree } from './source-tree.js';

export interface Import {
  readonly from: string;
  readonly line: number;
  /** As written, for example `../base/bytes.js` or `node:fs`. */
  readonly specifier: string;
  /** The module of the tree that it names; null for packages, Node's own modules and generated code. */
  readonly target: string | null;
  /** `import`: an import or export declaration or `import()`; `path`: another string that names a module, as in `new URL()`. */
  readonly kind: 'import' | 'path';
}

const IMPORT_BEFORE = /(?:\bfrom|\bimport|\bimport\s*\(|\brequire\s*\()\s*$/;

/** Every module that the files of the tree name. */
export function importsOf(tree: SourceTree): Import[] {
  return [...tree].flatMap(([file, source]) => importsOfFile(file, source, tree));
}

function importsOfFile(from: string, source: string, tree: SourceTree): Import[] {
  const { code, literals } = scan(source);
  const found: Import[] = [];
  for (const { text, at } of literals) {
    const imported = IMPORT_BEFORE.test(code.slice(Math.max(0, at - 60), at));
    const target = resolve(from, text, tree);
    if (!imported && target === null) continue;
    const line = code.slice(0, at).split('\n').length;
    found.push({ from, line, specifier: text, target, kind: imported ? 'import' : 'path' });
  }
  return found;
}

// `workers/x.js` without dots names a file from the root, `dist/workers/x.js` what is built from it.
function resolve(from: string, specifier: string, tree: SourceTree): string | null {
  if (!specifier.endsWith('.js')) return null;
  const source = specifier.replace(/\.js$/, '.ts');
  const candidates = [
    path.posix.join(path.posix.dirname(from), source),
    path.posix.normalize(source.replace(/^dist\//, '')),
  ];
  return candidates.find((candidate) => tree.has(candidate)) ?? null;
}
