import { CairnError } from '../base/errors.js';

/** A node that a cluster begins with, and where others reach it. */
export interface Member {
  readonly nodeId: string;
  readonly host: string;
  readonly port: number;
}

const MEMBER = /^([A-Za-z0-9][A-Za-z0-9._-]{0,62})=(\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})$/;

/** `n1=host:9091,n2=host:9091`: the same on each node. Throws CairnError 'configuration'. */
export function parseMembers(text: string): Member[] {
  const members = text.split(',').map((part) => {
    const [, nodeId, host, port] = MEMBER.exec(part.trim()) ?? [];
    if (nodeId === undefined || host === undefined || Number(port) < 1 || Number(port) > 65_535) {
      throw new CairnError('configuration', `expected members as n1=host:9091,n2=host:9091, found "${part.trim()}"`);
    }
    return { nodeId, host: host.replace(/^\[(.*)\]$/, '$1'), port: Number(port) };
  });
  for (const [i, { nodeId, host, port }] of members.entries()) {
    const before = members.slice(0, i);
    if (before.some((other) => other.nodeId === nodeId)) {
      throw new CairnError('configuration', `expected each node once, found "${nodeId}" again`);
    }
    if (before.some((other) => other.host === host && other.port === port)) {
      throw new CairnError('configuration', `expected an address for each node, found ${host}:${port} again`);
    }
  }
  return members.sort((a, b) => (a.nodeId < b.nodeId ? -1 : 1));
}
