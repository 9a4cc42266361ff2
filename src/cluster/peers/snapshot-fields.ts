import { CairnError } from '../../base/errors.js';
import { decodeSnapshotFields } from '../../codec/peer-protocol.js';
import { Configuration, type Member } from '../../raft/configuration.js';
import type { SnapshotMeta } from '../../raft/message.js';
import { MEMBER_ROLES } from './message-writer.js';

/** Throws `protocol_error`, also for a configuration that makes no sense: the class itself would end the process. */
export function readSnapshot(bytes: Uint8Array, start: number, end: number): SnapshotMeta {
  const fields = decodeSnapshotFields(bytes, start, end);
  const members = (fields.members ?? []).map((member): Member => {
    const incoming = MEMBER_ROLES[member.incoming ?? 0];
    if (incoming === undefined) throw malformed('a role', `${member.incoming}`);
    return { id: member.id ?? 0, nodeId: member.nodeId ?? '', incoming, outgoing: member.outgoing ?? false };
  });
  const joint = fields.joint ?? false;
  if (joint !== members.some(({ outgoing }) => outgoing))
    throw malformed('outgoing voters exactly when joint', `joint: ${joint}`);
  if (new Set(members.map(({ id }) => id)).size < members.length) throw malformed('each member once', 'one twice');
  return {
    index: fields.index ?? 0,
    term: fields.term ?? 0,
    revision: fields.revision ?? 0,
    configuration: new Configuration(members, joint),
    configIndex: fields.configIndex ?? 0,
    floor: fields.floor ?? 0,
  };
}

function malformed(expected: string, found: string): CairnError {
  return new CairnError('protocol_error', `snapshot of a peer: expected ${expected}, found ${found}`);
}
