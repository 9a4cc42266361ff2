import { mutated } from '../base/mutations.js';
import type { RepairReply } from './message.js';

/**
 * A member whose disk lost entries that it may have acknowledged (CORRECTNESS.md, Raft rule 15). It takes entries, but neither votes nor
 * stands, until its disk again holds everything that may count as committed because of it. That is so when it holds the log of its leader
 *
 * - up to `index`, above which it has acknowledged nothing; or
 * - up to an entry of a term that began after the loss: that leader was elected without this member's vote; or
 * - up to where the leader's log ended when the leader, in the member's own term, heard a question that this life of the member had
 *   asked. README.md, "When a repair ends", says why.
 */
export class Repair {
  readonly index: number;
  /** The member's term when it started. */
  readonly #term: number;
  /** The question to the leader of `#askedTerm`. */
  #token = 0;
  #askedTerm = 0;
  /** What the leader of that term said; 0: nothing yet. */
  #leaderLast = 0;

  constructor(index: number, term: number) {
    this.index = index;
    this.#term = term;
  }

  /** The token of the question to the leader of `term`, each time the same one; 0: it was answered. */
  question(term: number, newToken: () => number): number {
    if (this.#askedTerm !== term) {
      this.#askedTerm = term;
      this.#token = newToken();
      this.#leaderLast = 0;
    }
    return this.#leaderLast > 0 ? 0 : this.#token;
  }

  /** A leader's answer, of the member's own term. What comes late from before this start knows nothing of what was acknowledged since. */
  answered({ term, token, lastIndex }: RepairReply): void {
    const isMine = term === this.#askedTerm && token === this.#token;
    if (!isMine && !mutated('raft-repair-any-answer')) return;
    if (this.#leaderLast > 0) return;
    this.#askedTerm = term;
    this.#leaderLast = lastIndex;
  }

  /** The disk holds the log of the leader of `term` up to `index`, an entry of `entryTerm`: is that all that was lost? */
  endsAt(index: number, entryTerm: number, term: number): boolean {
    if (index >= this.index || entryTerm > this.#term) return true;
    if (this.#askedTerm !== term || this.#leaderLast === 0) return false;
    return index >= this.#leaderLast || mutated('raft-repair-at-answer');
  }
}
