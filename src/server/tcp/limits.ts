import { DEFAULT_MAX_FRAME_BYTES } from '../../codec/client-protocol.js';

/** What one connection may cost. The defaults suit a node with a few thousand clients. */
export interface TcpLimits {
  readonly maxConnections: number;
  readonly maxFrameBytes: number;
  readonly maxValueBytes: number;
  /** Requests under way on one connection; beyond it the connection is not read. */
  readonly maxInFlight: number;
  /** Reads that wait for the disk on one connection: each may hold a whole value. */
  readonly maxWaitingReads: number;
  readonly maxRanges: number;
  readonly maxBatchKeys: number;
  /** Output that the peer has not taken, from which the connection is not read. */
  readonly maxBufferedBytes: number;
  readonly rangePageItems: number;
  readonly rangePageBytes: number;
  /** From the connection to an accepted hello. */
  readonly helloTimeoutMs: number;
  /** Without a request, a request under way, or a range. */
  readonly idleTimeoutMs: number;
  /** Output waits and the peer takes nothing. */
  readonly writeTimeoutMs: number;
  /** From a frame's first byte to its last. */
  readonly frameTimeoutMs: number;
  /** A range without credits holds files on disk; after this long it ends with an error. */
  readonly rangeTimeoutMs: number;
  /** After an error that ends the connection, until it is cut. */
  readonly lingerMs: number;
  /** How often the time-outs are looked at. */
  readonly sweepMs: number;
}

export const DEFAULT_TCP_LIMITS: TcpLimits = {
  maxConnections: 10_000,
  maxFrameBytes: DEFAULT_MAX_FRAME_BYTES,
  maxValueBytes: 1 << 20,
  maxInFlight: 1024,
  maxWaitingReads: 64,
  maxRanges: 64,
  maxBatchKeys: 10_000,
  maxBufferedBytes: 1 << 20,
  rangePageItems: 1000,
  rangePageBytes: 256 << 10,
  helloTimeoutMs: 5000,
  idleTimeoutMs: 600_000,
  writeTimeoutMs: 30_000,
  frameTimeoutMs: 60_000,
  rangeTimeoutMs: 60_000,
  lingerMs: 2000,
  sweepMs: 1000,
};
