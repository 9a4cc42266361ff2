import { CairnError } from '../../base/errors.js';
import type { Message } from '../../raft/message.js';
import type { BulkSink } from '../snapshot-streams.js';

/** How Raft messages reach other nodes. Messages may be lost; their entries are encoded before `flush` returns. */
export interface RaftTransport {
  send(nodeId: string, message: Message): void;
  flush(): void;
  /** A stream of bytes beside the messages, for snapshots. Rejects when there is none. */
  openBulk(nodeId: string, header: Uint8Array): Promise<BulkSink>;
}

/** The transport of a node that is alone. */
export const NO_TRANSPORT: RaftTransport = {
  send: () => {},
  flush: () => {},
  openBulk: (nodeId) => Promise.reject(new CairnError('unavailable', `no connection to node ${nodeId}`)),
};
