import { CorruptionError } from '../base/errors.js';
import { VarintReader, varintBytes, writeVarint } from '../codec/varint.js';
import { Configuration, type Member } from './configuration.js';

/**
 * The payload of a configuration entry: the whole configuration that it puts in force, so that any one such entry is enough.
 *
 *   format varint (1), joint varint (0 or 1), member count varint, then per member:
 *   id varint, role varint (0 none, 1 learner, 2 voter; +4 when it votes in the outgoing half), node id length varint, node id UTF-8
 */
const FORMAT = 1;
const ROLES: readonly Member['incoming'][] = ['none', 'learner', 'voter'];
const OUTGOING = 4;
const MAX_MEMBERS = 1024;

export function encodeConfiguration(configuration: Configuration): Uint8Array {
  const nodeIds = configuration.members.map(({ nodeId }) => new TextEncoder().encode(nodeId));
  let length = varintBytes(configuration.members.length) + 2;
  for (const [i, { id }] of configuration.members.entries()) {
    length += varintBytes(id) + 1 + varintBytes(nodeIds[i]!.length) + nodeIds[i]!.length;
  }
  const bytes = new Uint8Array(length);
  let at = writeVarint(bytes, 0, FORMAT);
  at = writeVarint(bytes, at, configuration.joint ? 1 : 0);
  at = writeVarint(bytes, at, configuration.members.length);
  for (const [i, { id, incoming, outgoing }] of configuration.members.entries()) {
    at = writeVarint(bytes, at, id);
    at = writeVarint(bytes, at, ROLES.indexOf(incoming) + (outgoing ? OUTGOING : 0));
    at = writeVarint(bytes, at, nodeIds[i]!.length);
    bytes.set(nodeIds[i]!, at);
    at += nodeIds[i]!.length;
  }
  return bytes;
}

/** Throws CorruptionError when the bytes are no configuration. */
export function decodeConfiguration(bytes: Uint8Array): Configuration {
  const reader = new VarintReader(bytes, 0, bytes.length, 'configuration entry');
  const format = reader.varint();
  if (format !== FORMAT) throw malformed(`format ${FORMAT}`, `format ${format}`);
  const joint = reader.varint();
  const count = reader.varint();
  if (joint > 1 || count > MAX_MEMBERS) throw malformed(`at most ${MAX_MEMBERS} members`, `${count}`);
  const members: Member[] = [];
  for (let i = 0; i < count; i++) {
    const id = reader.varint();
    const role = reader.varint();
    const incoming = ROLES[role % OUTGOING];
    if (incoming === undefined || role >= 2 * OUTGOING) throw malformed('a role', `${role}`);
    const length = reader.varint();
    const start = reader.skip(length);
    const nodeId = new TextDecoder().decode(bytes.slice(start, start + length));
    members.push({ id, nodeId, incoming, outgoing: role >= OUTGOING });
  }
  if (reader.at !== bytes.length) throw malformed('the end', `${bytes.length - reader.at} more bytes`);
  return new Configuration(members, joint === 1);
}

function malformed(expected: string, found: string): CorruptionError {
  return new CorruptionError('configuration entry', expected, found);
}
