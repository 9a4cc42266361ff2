/** What peers may cost, and how patient this node is with them. */
export interface PeerLimits {
  /** Of a frame's body. One message or request takes at most half of it. */
  readonly maxFrameBytes: number;
  /** A frame that has grown to this is closed, and the next begins. */
  readonly frameTargetBytes: number;
  /** Output that waits for one peer. Messages with entries and requests may use seven eighths, so that heartbeats find room. */
  readonly maxQueuedBytes: number;
  /** Requests under way to one peer; as many from one peer are taken. */
  readonly maxRequests: number;
  /** Incoming connections. */
  readonly maxConnections: number;
  readonly maxBulkStreams: number;
  /** Received bytes of a bulk stream that its reader has not taken, and sent ones that the system has not. */
  readonly maxBulkBufferedBytes: number;
  readonly bulkBytesPerSecond: number;
  /** A bulk stream does not move, though the other end is alive. */
  readonly bulkStallMs: number;
  /** From the end of a bulk stream to its receiver's answer. */
  readonly bulkAnswerMs: number;
  readonly connectTimeoutMs: number;
  /** From the connection to the other end's hello. */
  readonly helloTimeoutMs: number;
  /** From a frame's first byte to its last. */
  readonly frameTimeoutMs: number;
  readonly pingIntervalMs: number;
  /** A peer that is not heard for so long is gone; the connection is made anew. */
  readonly silentMs: number;
  readonly minBackOffMs: number;
  readonly maxBackOffMs: number;
  /** A commit notice waits so long at most for a frame to ride along with. */
  readonly noticeDelayMs: number;
  /** A connection that lived so long sets the back-off back. */
  readonly healthyMs: number;
  /** How long a closing connection may take to send its last bytes. */
  readonly lingerMs: number;
  /** How often addresses and time-outs are looked at. */
  readonly sweepMs: number;
}

export const DEFAULT_PEER_LIMITS: PeerLimits = {
  maxFrameBytes: 40 << 20,
  frameTargetBytes: 1 << 20,
  maxQueuedBytes: 64 << 20,
  maxRequests: 16_384,
  maxConnections: 1024,
  maxBulkStreams: 16,
  maxBulkBufferedBytes: 1 << 20,
  bulkBytesPerSecond: 64 << 20,
  bulkStallMs: 60_000,
  bulkAnswerMs: 600_000,
  connectTimeoutMs: 2000,
  helloTimeoutMs: 2000,
  frameTimeoutMs: 60_000,
  pingIntervalMs: 500,
  silentMs: 3000,
  minBackOffMs: 50,
  maxBackOffMs: 2000,
  noticeDelayMs: 3,
  healthyMs: 5000,
  lingerMs: 1000,
  sweepMs: 100,
};
