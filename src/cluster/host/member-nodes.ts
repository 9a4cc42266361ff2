import { CairnError } from '../../base/errors.js';
import { NO_MEMBER, type MemberId } from '../../raft/entry.js';
import type { Group } from '../../replica/group.js';

/** Which node a member is on: as the configuration says, or, when that does not tell yet or any more, as it was heard of. */
export class MemberNodes {
  readonly #heard = new Map<Group, Map<MemberId, string>>();

  constructor(groups: readonly Group[]) {
    for (const group of groups) this.#heard.set(group, new Map());
  }

  /** The member has sent something from this node. */
  heard(group: Group, member: MemberId, nodeId: string): void {
    this.#heard.get(group)!.set(member, nodeId);
  }

  nodeOf(group: Group, member: MemberId): string | null {
    const known = group.raft.configuration.member(member)?.nodeId;
    return known ?? this.#heard.get(group)!.get(member) ?? null;
  }

  /** The node that leads the group, as far as this one knows. */
  leaderOf(group: Group): string | null {
    const { leader } = group.raft;
    return leader === NO_MEMBER ? null : this.nodeOf(group, leader);
  }

  /** Nothing was appended: another node may be asked, or this one again. */
  notServing(group: Group): CairnError {
    const leader = this.leaderOf(group);
    const { partition, raft } = group;
    if (raft.role === 'leader') {
      return new CairnError('not_ready', `partition ${partition}: this leader is new and not ready yet; retry`);
    }
    return leader === null
      ? new CairnError('not_leader', `partition ${partition} has no leader now; retry`, { extra: { partition } })
      : new CairnError('not_leader', `partition ${partition} is led by node "${leader}"`, {
          extra: { partition, leader },
        });
  }
}
