/** What happened since the transport was made. */
export interface PeerCounters {
  sentMessages: number;
  sentFrames: number;
  sentBytes: number;
  receivedMessages: number;
  receivedFrames: number;
  receivedBytes: number;
  /** Messages that were not sent: no connection, or too much output waits. */
  droppedMessages: number;
  /** Of them those for which there was a connection. */
  overflowedMessages: number;
  sentRequests: number;
  /** Requests of this node that were not sent, or that the peer did not look at. */
  refusedRequests: number;
  /** Requests of this node that the peer may have executed: the connection ended, the time was over, the answer was lost. */
  unknownRequests: number;
  receivedRequests: number;
  /** Answers to peers that were not sent, since too much output waits. */
  lostAnswers: number;
  /** Connections, of either direction, that this node ended for a fault of the other end. */
  refusedConnections: number;
  /** Outgoing connections that were up and ended. */
  lostConnections: number;
  bulkSentBytes: number;
  bulkReceivedBytes: number;
  /** Bulk streams, sent or received, that ended before their receiver's answer. */
  brokenBulkStreams: number;
}

export function newCounters(): PeerCounters {
  return {
    sentMessages: 0,
    sentFrames: 0,
    sentBytes: 0,
    receivedMessages: 0,
    receivedFrames: 0,
    receivedBytes: 0,
    droppedMessages: 0,
    overflowedMessages: 0,
    sentRequests: 0,
    refusedRequests: 0,
    unknownRequests: 0,
    receivedRequests: 0,
    lostAnswers: 0,
    refusedConnections: 0,
    lostConnections: 0,
    bulkSentBytes: 0,
    bulkReceivedBytes: 0,
    brokenBulkStreams: 0,
  };
}

export interface PeerState {
  readonly nodeId: string;
  readonly up: boolean;
  /** Smoothed; null until measured. */
  readonly roundTripMs: number | null;
  /** Output that waits. */
  readonly queuedBytes: number;
  /** Requests without an answer. */
  readonly requests: number;
}

export interface PeerStats extends Readonly<PeerCounters> {
  readonly peers: readonly PeerState[];
  readonly incomingConnections: number;
  readonly bulkStreams: number;
}
