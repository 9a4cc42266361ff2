import type { Core, Role, Transitions } from './core.js';
import { NO_MEMBER, type MemberId } from './entry.js';
import type { Message, VoteReply } from './message.js';
import { voteResult } from './quorum.js';

/** Stands for election: first asks whether it would win (pre-vote, thesis 9.6), which changes nothing anywhere; then in a new term. */
export class Candidate implements Role {
  readonly name: 'pre_candidate' | 'candidate';
  readonly #core: Core;
  readonly #transitions: Transitions;
  readonly #pre: boolean;
  readonly #votes = new Map<MemberId, boolean>();
  /** The highest clock among the votes. */
  #clock = 0;
  /** The write that carries this candidate's vote for itself. */
  readonly #ownVoteAt: number;

  /** For an election proper the core is in the new term already, its vote given to itself. */
  constructor(core: Core, transitions: Transitions, pre: boolean, transfer: boolean) {
    this.name = pre ? 'pre_candidate' : 'candidate';
    this.#core = core;
    this.#transitions = transitions;
    this.#pre = pre;
    this.#ownVoteAt = core.savePoint();
    core.leader = NO_MEMBER;
    core.resetElectionTimer();
    if (pre) this.#votes.set(core.id, true);
    const { voters, outgoingVoters } = core.configuration;
    for (const id of new Set([...voters, ...outgoingVoters])) if (id !== core.id) this.#ask(id, transfer);
  }

  #ask(to: MemberId, transfer: boolean): void {
    const { group, id, term, log } = this.#core;
    const request = {
      type: 'vote',
      group,
      from: id,
      to,
      term: this.#pre ? term + 1 : term,
      pre: this.#pre,
      transfer,
      lastIndex: log.lastIndex,
      lastTerm: log.lastTerm,
    } as const;
    // Before term and log are durable, a crash could make this node ask again in the same term with a shorter log, and the
    // votes for the longer one would count.
    if (this.#pre) this.#core.send(request);
    else this.#core.sendWhenDurable(request);
  }

  step(message: Message): void {
    if (message.type === 'vote_reply' && message.pre === this.#pre) this.#onVote(message);
  }

  #onVote({ from, granted, clock, term }: VoteReply): void {
    if (granted && term !== this.#core.term + (this.#pre ? 1 : 0)) return;
    if (!this.#votes.has(from)) this.#votes.set(from, granted);
    if (granted && clock > this.#clock) this.#clock = clock;
    this.#count();
  }

  #count(): void {
    const core = this.#core;
    const result = voteResult(core.configuration, (id) => this.#votes.get(id));
    if (result === 'lost') this.#transitions.becomeFollower(core.term, NO_MEMBER);
    if (result !== 'won') return;
    if (this.#pre) this.#transitions.becomeCandidate(false, false);
    else this.#transitions.becomeLeader(Math.max(this.#clock, core.environment.promisedClock()));
  }

  persisted(): void {
    const core = this.#core;
    if (this.#pre || this.#votes.has(core.id) || core.durability.completedSequence < this.#ownVoteAt) return;
    this.#votes.set(core.id, true);
    this.#count();
  }

  tick(): void {
    if (++this.#core.electionElapsed >= this.#core.electionTimeout) this.#transitions.becomeCandidate(true, false);
  }

  readIndex(): boolean {
    return false;
  }

  flush(): void {}

  leave(): void {}
}
