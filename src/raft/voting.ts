import { mutated } from '../base/mutations.js';
import type { Core } from './core.js';
import { NO_MEMBER } from './entry.js';
import type { VoteMessage } from './message.js';

/**
 * Answers a vote or pre-vote request, in any role. A vote for this term or a later one was made part of the term by the dispatcher;
 * requests while a leader is heard never come here. Any member answers, also one that believes to be a learner: whoever asks may know
 * of a newer configuration.
 */
export function answerVote(core: Core, message: VoteMessage): void {
  const granted = message.term >= core.term && core.mayVote && mayGrant(core, message) && isUpToDate(core, message);
  if (granted && !message.pre) {
    core.voteFor(message.from);
    core.resetElectionTimer();
  }
  const reply = {
    type: 'vote_reply',
    group: core.group,
    from: core.id,
    to: message.from,
    // A refused pre-vote of a higher term claims nothing about that term.
    term: granted ? message.term : Math.max(core.term, message.pre ? message.term - 1 : 0),
    pre: message.pre,
    granted,
    clock: core.environment.promisedClock(),
  } as const;
  // A pre-vote promises nothing, so nothing has to be durable.
  if (message.pre) core.send(reply);
  else core.sendWhenDurable(reply);
}

function mayGrant(core: Core, message: VoteMessage): boolean {
  if (message.pre && message.term > core.term) return true;
  if (core.vote === message.from) return true;
  return (core.vote === NO_MEMBER && core.leader === NO_MEMBER) || mutated('raft-vote-twice');
}

/** Raft rule 5: the candidate's log ends in a later term, or in the same one and is not shorter. */
function isUpToDate(core: Core, { lastTerm, lastIndex }: VoteMessage): boolean {
  if (mutated('raft-vote-shorter-log')) return true;
  const { log } = core;
  return lastTerm > log.lastTerm || (lastTerm === log.lastTerm && lastIndex >= log.lastIndex);
}
