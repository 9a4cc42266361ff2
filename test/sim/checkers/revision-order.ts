import type { AppliedEntry } from './raft-invariants.js';

/** Raft rule 20: revisions never repeat and never go back. Blind writes to different keys of one group may share one. */
export class RevisionOrder {
  readonly #lastOfGroup = new Map<number, number>();
  readonly #lastOfKey = new Map<string, number>();
  readonly #owners = new Map<number, number>();

  /** Takes the group's next entry; says what is wrong with its revision, or null. */
  give(group: number, { revision, keys, index }: AppliedEntry): string | null {
    const last = this.#lastOfGroup.get(group) ?? 0;
    if (revision < last) return `revision ${revision} at ${index} after ${last}`;
    this.#lastOfGroup.set(group, revision);
    const owner = this.#owners.get(revision);
    if (owner !== undefined && owner !== group) return `revision ${revision} at ${index}, group ${owner} gave it too`;
    this.#owners.set(revision, group);
    for (const key of keys) {
      const before = this.#lastOfKey.get(key) ?? 0;
      if (revision <= before) return `revision ${revision} of ${key} at ${index} after ${before}`;
      this.#lastOfKey.set(key, revision);
    }
    return null;
  }
}
