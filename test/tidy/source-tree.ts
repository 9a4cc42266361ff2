import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

/** Paths from the project's root with forward slashes, each with the file's text. */
export type SourceTree = ReadonlyMap<string, string>;

const CODE_FOLDERS = ['src', 'workers', 'bench', 'test'];

/** The folder that holds package.json, from wherever this compiled file lies. */
export function projectRoot(): string {
  let directory = path.dirname(fileURLToPath(import.meta.url));
  while (!fs.existsSync(path.join(directory, 'package.json'))) {
    const parent = path.dirname(directory);
    if (parent === directory) throw new Error('expected package.json in a folder above this test, found none');
    directory = parent;
  }
  return directory;
}

/** Every TypeScript source that people wrote; generated code is left out. */
export function readSourceTree(root: string): SourceTree {
  const tree = new Map<string, string>();
  for (const folder of CODE_FOLDERS) {
    if (!fs.existsSync(path.join(root, folder))) continue;
    for (const entry of fs.readdirSync(path.join(root, folder), { withFileTypes: true, recursive: true })) {
      const full = path.join(entry.parentPath, entry.name);
      const name = path.relative(root, full).split(path.sep).join('/');
      if (!entry.isFile() || !name.endsWith('.ts') || name.startsWith('src/codec/generated/')) continue;
      tree.set(name, fs.readFileSync(full, 'utf8'));
    }
  }
  return tree;
}
