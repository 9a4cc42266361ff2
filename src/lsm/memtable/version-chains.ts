import type { Revision } from '../row-key.js';
import { FIRST_VERSION_WORDS, HAS_OLDER, LATER_VERSION_WORDS, ROW_HEADER_WORDS } from './layout.js';

/** The word at which a version's record starts. */
export function recordWord(words: Int32Array, version: number): number {
  return version + (words[version + 1]! < 0 ? LATER_VERSION_WORDS : FIRST_VERSION_WORDS);
}

function depthOf(words: Int32Array, version: number): number {
  return words[version + 1]! < 0 ? words[version + 5]! : 0;
}

/**
 * The jump link of a version that follows `older`: past two jumps of equal length, else one step. So from any version
 * each depth is reached in at most 3 log2(n) links.
 */
export function jumpLink(words: Int32Array, older: number): number {
  const depth = depthOf(words, older);
  if (depth === 0) return older;
  const jump = words[older + 4]!;
  const jumpDepth = depthOf(words, jump);
  if (jumpDepth === 0) return older;
  const farJump = words[jump + 4]!;
  return depth - jumpDepth === jumpDepth - depthOf(words, farJump) ? farJump : older;
}

/** The versions of a row, newest first. */
export class VersionChains {
  readonly #words: Int32Array;

  constructor(words: Int32Array) {
    this.#words = words;
  }

  revision(version: number): Revision {
    const words = this.#words;
    return (words[version + 1]! & ~HAS_OLDER) * 0x1_0000_0000 + (words[version]! >>> 0);
  }

  /** The number of older versions. */
  depth(version: number): number {
    return depthOf(this.#words, version);
  }

  /** The next older version, or 0. */
  older(version: number): number {
    const words = this.#words;
    return words[version + 1]! < 0 ? words[version + 3]! : 0;
  }

  /** The row's first version lies behind its key. */
  oldest(row: number): number {
    return row + ROW_HEADER_WORDS + ((this.#words[row + 1]! + 3) >>> 2);
  }

  /** The next newer version in the row, or 0. */
  newer(row: number, version: number): number {
    const words = this.#words;
    let found = words[row]!;
    if (found === version) return 0;
    const wanted = depthOf(words, version) + 1;
    while (depthOf(words, found) > wanted) {
      const jump = words[found + 4]!;
      found = depthOf(words, jump) >= wanted ? jump : words[found + 3]!;
    }
    return found;
  }

  /** The newest version from `newest` on that is not above `at`, or 0. */
  find(newest: number, at: Revision): number {
    const words = this.#words;
    let version = newest;
    while (this.revision(version) > at) {
      if (words[version + 1]! >= 0) return 0;
      const jump = words[version + 4]!;
      version = this.revision(jump) > at ? jump : words[version + 3]!;
    }
    return version;
  }
}
