import type { LogMirror } from './log-mirror.js';

interface CommittedEntry {
  readonly term: number;
  /** The lowest term in which a member knew it as committed: later leaders must have it. */
  inTerm: number;
  readonly member: string;
}

/** The entries of one group that are committed, by index. */
export class CommittedEntries {
  readonly #entries: CommittedEntry[] = [];

  get lastIndex(): number {
    return this.#entries.length;
  }

  termAt(index: number): number | undefined {
    return index === 0 ? 0 : this.#entries[index - 1]?.term;
  }

  /** A member in `term` commits what its log holds behind `from` up to `to`; says what contradicts, or null. */
  add(log: LogMirror, from: number, to: number, term: number, member: string): string | null {
    for (let index = from + 1; index <= to; index++) {
      const found = log.termAt(index);
      const known = this.#entries[index - 1];
      if (found === undefined) {
        // Compacted away, so it came with a snapshot of committed entries.
        if (known === undefined) return `${index} is not in its log`;
      } else if (known === undefined) {
        if (index !== this.#entries.length + 1)
          return `${index} after ${this.#entries.length}, none in between is known`;
        this.#entries.push({ term: found, inTerm: term, member });
      } else {
        if (known.term !== found) return `term ${found} at ${index}, ${known.member} committed term ${known.term}`;
        known.inTerm = Math.min(known.inTerm, term);
      }
    }
    return null;
  }

  /** An entry that was committed before this term, and that the log of its leader lacks. */
  missingIn(log: LogMirror, leaderTerm: number): string | null {
    // Logs match up to an entry that they share, so the newest one that counts tells of all before it.
    for (let index = this.#entries.length; index > 0; index--) {
      const { term, inTerm, member } = this.#entries[index - 1]!;
      if (inTerm >= leaderTerm) continue;
      if (log.isCompacted(index)) return null;
      const found = log.termAt(index);
      if (found === term) return null;
      const has = found === undefined ? `ends at ${log.lastIndex}` : `has term ${found} there`;
      return `entry ${index} of term ${term}, which ${member} committed in term ${inTerm}: it ${has}`;
    }
    return null;
  }
}
