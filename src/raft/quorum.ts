import { mutated } from '../base/mutations.js';
import type { Configuration } from './configuration.js';
import type { MemberId } from './entry.js';

export type VoteResult = 'won' | 'lost' | 'pending';

/** Reused by every count; a group has at most a handful of voters. */
const scratch: number[] = [];

/**
 * The highest value that a quorum has reached, when each voter has reached `valueOf(voter)` and with it everything below: the
 * commit index from match indexes, the confirmed round from acknowledged tokens. In a joint configuration the lower of both
 * halves. 0 without voters: nobody can decide anything.
 */
export function quorumValue(configuration: Configuration, valueOf: (id: MemberId) => number): number {
  if (mutated('raft-learner-counts')) {
    return majorityValue(
      configuration.members.map(({ id }) => id),
      valueOf,
    );
  }
  const incoming = majorityValue(configuration.voters, valueOf);
  if (!configuration.joint || mutated('raft-joint-one-majority')) return incoming;
  return Math.min(incoming, majorityValue(configuration.outgoingVoters, valueOf));
}

/** Whether the members for which `holds` says yes are a quorum. */
export function isQuorum(configuration: Configuration, holds: (id: MemberId) => boolean): boolean {
  return quorumValue(configuration, (id) => (holds(id) ? 1 : 0)) === 1;
}

/** How an election stands; `voteOf` is undefined for those who did not answer. */
export function voteResult(configuration: Configuration, voteOf: (id: MemberId) => boolean | undefined): VoteResult {
  if (isQuorum(configuration, (id) => voteOf(id) === true)) return 'won';
  return isQuorum(configuration, (id) => voteOf(id) !== false) ? 'pending' : 'lost';
}

/** The highest value that more than half of the voters have reached. */
function majorityValue(voters: readonly MemberId[], valueOf: (id: MemberId) => number): number {
  const count = voters.length;
  if (count === 0) return 0;
  for (let i = 0; i < count; i++) {
    // Insertion, ascending.
    const value = valueOf(voters[i]!);
    let at = i;
    while (at > 0 && scratch[at - 1]! > value) {
      scratch[at] = scratch[at - 1]!;
      at--;
    }
    scratch[at] = value;
  }
  // With n voters, (n >> 1) + 1 of them have at least the value at this place.
  return scratch[count - (count >> 1) - 1]!;
}
