import { assert } from '../base/assert.js';
import type { MemberId } from './entry.js';

/**
 * Who belongs to a group. In a joint configuration decisions need a majority of `incoming` and one of `outgoing` voters
 * (Ongaro's thesis, 4.3); else `outgoing` is false for all.
 */
export interface Member {
  readonly id: MemberId;
  readonly nodeId: string;
  /** What it is in the newer half; `none`: it leaves when the joint configuration ends. */
  readonly incoming: 'voter' | 'learner' | 'none';
  /** Whether it votes in the older half. */
  readonly outgoing: boolean;
}

export class Configuration {
  /** Ascending by id. */
  readonly members: readonly Member[];
  readonly joint: boolean;
  /** Voters of the newer half, or of the only one. */
  readonly voters: readonly MemberId[];
  /** Voters of the older half; empty unless joint. */
  readonly outgoingVoters: readonly MemberId[];

  constructor(members: readonly Member[], joint: boolean) {
    this.members = [...members].sort((a, b) => a.id - b.id);
    this.joint = joint;
    this.voters = this.members.filter(({ incoming }) => incoming === 'voter').map(({ id }) => id);
    this.outgoingVoters = this.members.filter(({ outgoing }) => outgoing).map(({ id }) => id);
    assert(joint || this.outgoingVoters.length === 0, 'only a joint configuration has outgoing voters');
    assert(!joint || this.outgoingVoters.length > 0, 'a joint configuration has outgoing voters');
    for (let i = 1; i < this.members.length; i++) {
      assert(this.members[i - 1]!.id < this.members[i]!.id, 'a member stands in a configuration once');
    }
  }

  member(id: MemberId): Member | undefined {
    return this.members.find((member) => member.id === id);
  }

  has(id: MemberId): boolean {
    return this.member(id) !== undefined;
  }

  /** A voter of either half. */
  isVoter(id: MemberId): boolean {
    return this.voters.includes(id) || this.outgoingVoters.includes(id);
  }

  /** The one voter of a group that has no other, else undefined. */
  get soleVoter(): MemberId | undefined {
    return !this.joint && this.voters.length === 1 ? this.voters[0] : undefined;
  }
}

/** A replica that was not told its configuration yet: a new learner before its first entries or snapshot. */
export const NO_CONFIGURATION = new Configuration([], false);

/** The members that a group is born with: voters 1, 2, 3... in the order given. */
export function initialConfiguration(nodeIds: readonly string[]): Configuration {
  return new Configuration(
    nodeIds.map((nodeId, i) => ({ id: i + 1, nodeId, incoming: 'voter', outgoing: false })),
    false,
  );
}

/** New members are learners; they become voters by a second change, when they have caught up. */
export interface ConfigChange {
  /** Node ids that get a new learner each. */
  readonly addLearners?: readonly string[];
  /** Learners that become voters. */
  readonly promote?: readonly MemberId[];
  /** Voters that become learners. */
  readonly demote?: readonly MemberId[];
  readonly remove?: readonly MemberId[];
}

/**
 * The configuration that a change leads to first: joint when the set of voters changes, so that no two disjoint majorities
 * can exist however many voters change at once. Null when the change makes no sense: unknown or repeated members, no
 * voter left, a node that would hold two members, or nothing to do. `firstId` is the id of the first added member.
 */
export function changedConfiguration(
  current: Configuration,
  change: ConfigChange,
  firstId: MemberId,
): Configuration | null {
  if (current.joint) return null;
  const members = new Map(current.members.map((member) => [member.id, member]));
  const touched = new Set<MemberId>();
  let votersChange = false;
  const alter = (id: MemberId, from: readonly Member['incoming'][], to: Member['incoming']): boolean => {
    const member = members.get(id);
    if (member === undefined || touched.has(id) || !from.includes(member.incoming)) return false;
    touched.add(id);
    if (member.incoming === 'voter' || to === 'voter') votersChange = true;
    if (member.incoming === 'learner' && to === 'none') members.delete(id);
    else members.set(id, { ...member, incoming: to });
    return true;
  };
  if (!(change.promote ?? []).every((id) => alter(id, ['learner'], 'voter'))) return null;
  if (!(change.demote ?? []).every((id) => alter(id, ['voter'], 'learner'))) return null;
  if (!(change.remove ?? []).every((id) => alter(id, ['voter', 'learner'], 'none'))) return null;
  let id = firstId;
  for (const nodeId of change.addLearners ?? []) {
    members.set(id, { id, nodeId, incoming: 'learner', outgoing: false });
    touched.add(id++);
  }
  const staying = [...members.values()].filter(({ incoming }) => incoming !== 'none');
  const nodes = new Set(staying.map(({ nodeId }) => nodeId));
  if (touched.size === 0 || nodes.size < staying.length) return null;
  if (!staying.some(({ incoming }) => incoming === 'voter')) return null;
  const next = [...members.values()].map((member) => ({
    ...member,
    outgoing: votersChange && current.voters.includes(member.id),
  }));
  return new Configuration(next, votersChange);
}

/** What a joint configuration becomes when both majorities hold it. */
export function leftConfiguration(joint: Configuration): Configuration {
  assert(joint.joint, 'only a joint configuration is left');
  const staying = joint.members.filter(({ incoming }) => incoming !== 'none');
  return new Configuration(
    staying.map((member) => ({ ...member, outgoing: false })),
    false,
  );
}
