import type { Prng } from '../../../src/base/prng.js';
import { DiskError } from '../../../src/ports/disk.js';
import { SimFile, type SectorDamage } from './sim-file.js';

class SimDirectory {
  /** What the running system sees. */
  readonly entries = new Map<string, SimNode>();
  /** What the disk holds for sure. */
  readonly durable = new Map<string, SimNode>();
}

type SimNode = SimFile | SimDirectory;

interface Change {
  readonly directory: SimDirectory;
  readonly name: string;
  /** Undefined: the name goes. */
  readonly node: SimNode | undefined;
  /** The node concerned, also of a name that goes. */
  readonly subject: SimNode;
}

/** One call's changes of names; a crash keeps all of them or none, as a journal does. */
type NameOperation = readonly Change[];

interface Place {
  readonly directory: SimDirectory;
  readonly name: string;
}

/** The names of a simulated disk: what is seen, and what a crash may leave of it. */
export class SimTree {
  readonly #root = new SimDirectory();
  /** Not yet durable, oldest first. */
  #pending: NameOperation[] = [];

  /** The file, or an error that says which part of the path is not there. */
  file(path: string, operation: string): SimFile {
    const node = this.#find(path, operation);
    if (node === undefined) throw new DiskError('ENOENT', operation, path);
    if (node instanceof SimDirectory) throw new DiskError('EISDIR', operation, path);
    return node;
  }

  exists(path: string): boolean {
    try {
      return this.#find(path, 'stat') !== undefined;
    } catch {
      // A part of the path is missing or is a file.
      return false;
    }
  }

  create(path: string): SimFile {
    const { directory, name } = this.#place(path, 'open');
    if (name === '' || directory.entries.has(name)) throw new DiskError('EEXIST', 'open', path);
    const file = new SimFile();
    this.#apply([{ directory, name, node: file, subject: file }]);
    return file;
  }

  /** Returns the file that was replaced, if any. */
  rename(from: string, to: string): SimFile | undefined {
    const source = this.#place(from, 'rename');
    const target = this.#place(to, 'rename');
    const node = source.directory.entries.get(source.name);
    if (node === undefined) throw new DiskError('ENOENT', 'rename', from);
    const replaced = target.directory.entries.get(target.name);
    if (replaced === node) return undefined;
    if (replaced instanceof SimDirectory) {
      if (node instanceof SimFile) throw new DiskError('EISDIR', 'rename', to);
      if (replaced.entries.size > 0) throw new DiskError('ENOTEMPTY', 'rename', to);
    } else if (replaced !== undefined && node instanceof SimDirectory) {
      throw new DiskError('ENOTDIR', 'rename', to);
    }
    this.#apply([
      { ...source, node: undefined, subject: node },
      { ...target, node, subject: node },
    ]);
    return replaced instanceof SimFile ? replaced : undefined;
  }

  remove(path: string): SimFile {
    const file = this.file(path, 'remove');
    this.#apply([{ ...this.#place(path, 'remove'), node: undefined, subject: file }]);
    return file;
  }

  list(path: string): string[] {
    return [...this.#directory(path, 'list').entries.keys()].sort((a, b) =>
      Buffer.compare(Buffer.from(a), Buffer.from(b)),
    );
  }

  makeDirectory(path: string): void {
    let directory = this.#root;
    for (const name of partsOf(path)) {
      let next = directory.entries.get(name);
      if (next instanceof SimFile) throw new DiskError('EEXIST', 'make directory', path);
      if (next === undefined) {
        next = new SimDirectory();
        this.#apply([{ directory, name, node: next, subject: next }]);
      }
      directory = next;
    }
  }

  /** The directory's names, and what they depend on in a journal's order, become durable. */
  syncDirectory(path: string): void {
    const synced = new Set([this.#directory(path, 'sync directory')]);
    this.#flush((operation) => {
      if (!operation.some((change) => synced.has(change.directory))) return false;
      for (const change of operation) synced.add(change.directory);
      return true;
    });
  }

  /** An error unless the directory is there. */
  checkDirectory(path: string, operation: string): void {
    this.#directory(path, operation);
  }

  /** The paths of all files, sorted. */
  paths(): string[] {
    const paths: string[] = [];
    const walk = (directory: SimDirectory, prefix: string): void => {
      for (const [name, node] of directory.entries) {
        if (node instanceof SimFile) paths.push(`${prefix}/${name}`);
        else walk(node, `${prefix}/${name}`);
      }
    };
    walk(this.#root, '');
    return paths.sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  }

  /** What the disk may hold after a crash now; this tree stays as it is. */
  afterCrash(prng: Prng, damage: SectorDamage): SimTree {
    const names = new Map<SimDirectory, Map<string, SimNode>>();
    const namesOf = (directory: SimDirectory): Map<string, SimNode> => {
      let found = names.get(directory);
      if (found === undefined) names.set(directory, (found = new Map(directory.durable)));
      return found;
    };
    for (const operation of this.#survivors(prng)) {
      for (const { directory, name, node } of operation) {
        if (node === undefined) namesOf(directory).delete(name);
        else namesOf(directory).set(name, node);
      }
    }
    const tree = new SimTree();
    const copy = (from: SimDirectory, to: SimDirectory): void => {
      for (const [name, node] of namesOf(from)) {
        const survivor = node instanceof SimFile ? node.afterCrash(prng, damage) : new SimDirectory();
        to.entries.set(name, survivor);
        to.durable.set(name, survivor);
        if (node instanceof SimDirectory) copy(node, survivor as SimDirectory);
      }
    };
    copy(this.#root, tree.#root);
    return tree;
  }

  /** The pending operations that a crash leaves: the first few, or any that do not build on a lost one. */
  #survivors(prng: Prng): NameOperation[] {
    if (prng.chance(0.5)) return this.#pending.slice(0, prng.between(0, this.#pending.length));
    const survivors: NameOperation[] = [];
    for (const operation of this.#pending.toReversed()) {
      if (survivors.some((later) => dependsOn(later, operation)) || prng.chance(0.5)) survivors.push(operation);
    }
    return survivors.reverse();
  }

  #apply(operation: NameOperation): void {
    this.#pending.push(operation);
    for (const { directory, name, node } of operation) {
      if (node === undefined) directory.entries.delete(name);
      else directory.entries.set(name, node);
    }
  }

  /** Makes the chosen operations durable in their order; `isChosen` sees the newest first. */
  #flush(isChosen: (operation: NameOperation) => boolean): void {
    const kept: NameOperation[] = [];
    const chosen: NameOperation[] = [];
    for (const operation of this.#pending.toReversed()) (isChosen(operation) ? chosen : kept).push(operation);
    this.#pending = kept.reverse();
    for (const { directory, name, node } of chosen.reverse().flat()) {
      if (node === undefined) directory.durable.delete(name);
      else directory.durable.set(name, node);
    }
  }

  #directory(path: string, operation: string): SimDirectory {
    const node = this.#find(path, operation);
    if (node === undefined) throw new DiskError('ENOENT', operation, path);
    if (node instanceof SimFile) throw new DiskError('ENOTDIR', operation, path);
    return node;
  }

  #find(path: string, operation: string): SimNode | undefined {
    const { directory, name } = this.#place(path, operation);
    return name === '' ? directory : directory.entries.get(name);
  }

  #place(path: string, operation: string): Place {
    const parts = partsOf(path);
    const name = parts.pop() ?? '';
    let directory = this.#root;
    for (const part of parts) {
      const next = directory.entries.get(part);
      if (next === undefined) throw new DiskError('ENOENT', operation, path);
      if (next instanceof SimFile) throw new DiskError('ENOTDIR', operation, path);
      directory = next;
    }
    return { directory, name };
  }
}

function dependsOn(later: NameOperation, earlier: NameOperation): boolean {
  return later.some((a) =>
    earlier.some((b) => a.subject === b.subject || (a.directory === b.directory && a.name === b.name)),
  );
}

/** Relative paths start at the root. */
function partsOf(path: string): string[] {
  const parts: string[] = [];
  for (const part of path.split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '' && part !== '.') parts.push(part);
  }
  return parts;
}
