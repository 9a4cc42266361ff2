import { PEER_MAGIC, PEER_MAJOR, PEER_MINOR, type HelloFields } from '../../codec/peer-protocol.js';
import type { Refusal } from './refusal.js';

/** Who a node is to its peers. */
export interface PeerSelf {
  readonly nodeId: string;
  readonly clusterId: string;
  /** The random id of the data directory. */
  readonly incarnation: string;
}

/** `raft`: messages, requests and their answers. `bulk`: one stream of bytes. */
export type Purpose = 'raft' | 'bulk';

/** The other end of a connection, as its hello says. */
export interface PeerIdentity {
  readonly nodeId: string;
  readonly incarnation: string;
  readonly purpose: Purpose;
}

const MAX_ID_CHARS = 256;

export function helloFields(self: PeerSelf, toNodeId: string, purpose: Purpose): HelloFields {
  return {
    magic: PEER_MAGIC,
    versionMajor: PEER_MAJOR,
    versionMinor: PEER_MINOR,
    clusterId: self.clusterId,
    nodeId: self.nodeId,
    incarnation: self.incarnation,
    toNodeId,
    purpose,
  };
}

/** Who says hello, or why not. `dialed`: the node that this end called, if it called. */
export function checkHello(
  hello: HelloFields | null | undefined,
  self: PeerSelf,
  dialed?: string,
): PeerIdentity | Refusal {
  if (!hello || hello.magic !== PEER_MAGIC) {
    return { code: 'magic', text: 'expected a hello of the peer protocol first, found something else' };
  }
  const { versionMajor, versionMinor, clusterId, nodeId, incarnation, toNodeId, purpose } = hello;
  if (versionMajor !== PEER_MAJOR) {
    const found = `${versionMajor ?? 0}.${versionMinor ?? 0}`;
    return { code: 'version', text: `expected peer protocol ${PEER_MAJOR}.x, found ${found}` };
  }
  if (clusterId !== self.clusterId) {
    return {
      code: 'cluster',
      text: `expected a node of cluster ${self.clusterId}, found one of ${clusterId || 'none'}`,
    };
  }
  if (!nodeId || !incarnation || nodeId.length > MAX_ID_CHARS || incarnation.length > MAX_ID_CHARS) {
    return { code: 'protocol', text: `expected a node id and an incarnation of 1 to ${MAX_ID_CHARS} characters` };
  }
  if (nodeId === self.nodeId) {
    const same = incarnation === self.incarnation;
    return {
      code: 'self',
      text: same ? 'the connection leads back to its own node' : `another node has the id ${nodeId}`,
    };
  }
  if (dialed !== undefined && nodeId !== dialed) {
    return { code: 'wrong_node', text: `expected node ${dialed} at this address, found ${nodeId}` };
  }
  if (toNodeId !== self.nodeId) {
    return {
      code: 'wrong_node',
      text: `expected a peer that looks for node ${self.nodeId}, found one that looks for ${toNodeId || 'none'}`,
    };
  }
  if (purpose !== 'raft' && purpose !== 'bulk') {
    return { code: 'purpose', text: `expected the purpose raft or bulk, found ${purpose || 'none'}` };
  }
  return { nodeId, incarnation, purpose };
}
