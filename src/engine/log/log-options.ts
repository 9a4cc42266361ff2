import { assert } from '../../base/assert.js';
import type { Clock } from '../../ports/clock.js';
import type { Disk } from '../../ports/disk.js';
import type { LogWriter } from '../../ports/log-writer.js';
import type { Random } from '../../ports/random.js';
import {
  alignUp,
  FIRST_RECORD_OFFSET,
  ITEM_HEADER_BYTES,
  RECORD_ALIGNMENT_BYTES,
  RECORD_HEADER_BYTES,
} from './format.js';
import type { ReplicaRange } from './segment.js';

export interface LogOptions {
  readonly directory: string;
  readonly disk: Disk;
  readonly clock: Clock;
  readonly random: Random;
  readonly writer: LogWriter;
  /** The log that this data directory is known to have; another one, or none, is refused. Null on the first start. */
  readonly expectedLogId?: Uint8Array | null;
  /** Largest payload of an entry. */
  readonly maxEntryBytes?: number;
  readonly segmentBytes?: number;
  readonly ringBytes?: number;
  /** Spares that are made ahead. */
  readonly spareCount?: number;
  /** Released segments that are kept as spares; more are removed. */
  readonly maxSpareCount?: number;
  /**
   * Other nodes have the entries too, so a start goes on behind damaged records, as long as no vote was lost with them; the sink
   * is told. Else damage is refused.
   */
  readonly isRepairable?: boolean;
  /** `onWarning` is called when the segments together are larger. */
  readonly sizeBoundBytes?: number;
  /** Everything up to the sequence is on disk. Called with rising numbers, from the event loop or from `poll`. */
  readonly onDurable: (sequence: number) => void;
  /** Called once: nothing more becomes durable, and the process must end. */
  readonly onFatal: (error: Error) => void;
  /** `admission` may have changed. */
  readonly onAdmission?: () => void;
  /** For the metrics, once for each synced write. */
  readonly onWrite?: (durationMs: number, bytes: number, records: number) => void;
  readonly onWarning?: (message: string) => void;
  /** A segment with these entries goes; no older one is left. */
  readonly onGivenBack?: (ranges: Iterable<ReplicaRange>) => void;
}

/** The sizes after defaults, checked against each other. */
export interface LogSizes {
  readonly maxEntryBytes: number;
  readonly segmentBytes: number;
  readonly ringBytes: number;
  /** At the end of the last segment: for hard states and clock bounds while there is no spare. */
  readonly urgentSegmentBytes: number;
  readonly urgentRingBytes: number;
  readonly reserveBytes: number;
  readonly spareCount: number;
  readonly maxSpareCount: number;
  readonly sizeBoundBytes: number;
  /** What every record begins with, behind its header. */
  readonly previousBytes: number;
}

const MIB = 1024 * 1024;
const MAX_URGENT_BYTES = 64 * 1024;
/** Everything in a segment that holds one entry, but for its payload. */
const OVERHEAD_BYTES =
  FIRST_RECORD_OFFSET + alignUp(RECORD_HEADER_BYTES + 2 * ITEM_HEADER_BYTES) + RECORD_ALIGNMENT_BYTES;
/** Ring and segments: an eighth is a whole number of records' alignment. */
const UNIT_BYTES = 8 * RECORD_ALIGNMENT_BYTES;

export function logSizes(options: LogOptions): LogSizes {
  const maxEntryBytes = options.maxEntryBytes ?? 8 * MIB;
  const ringBytes = options.ringBytes ?? Math.max(32 * MIB, Math.ceil((2 * maxEntryBytes) / MIB + 1) * MIB);
  const segmentBytes = options.segmentBytes ?? Math.max(64 * MIB, ringBytes);
  const urgentSegmentBytes = Math.min(MAX_URGENT_BYTES, segmentBytes / 8);
  const urgentRingBytes = Math.min(MAX_URGENT_BYTES, ringBytes / 8);
  const leastRing = 2 * (maxEntryBytes + OVERHEAD_BYTES) + urgentRingBytes;
  const leastSegment = maxEntryBytes + OVERHEAD_BYTES + urgentSegmentBytes;
  assert(ringBytes % UNIT_BYTES === 0 && ringBytes < 2 ** 31, `log ring of ${ringBytes} bytes: below 2 GiB, by 4 KiB`);
  assert(segmentBytes % UNIT_BYTES === 0, `log segments of ${segmentBytes} bytes: a multiple of 4 KiB`);
  assert(ringBytes >= leastRing, `log ring of ${ringBytes} bytes: at least ${leastRing} for the largest entry`);
  assert(segmentBytes >= leastSegment, `log segments of ${segmentBytes} bytes: at least ${leastSegment}`);
  return {
    maxEntryBytes,
    segmentBytes,
    ringBytes,
    urgentSegmentBytes,
    urgentRingBytes,
    reserveBytes: Math.min(MIB, segmentBytes),
    spareCount: options.spareCount ?? 1,
    maxSpareCount: options.maxSpareCount ?? 3,
    sizeBoundBytes: options.sizeBoundBytes ?? Infinity,
    previousBytes: options.isRepairable === true ? ITEM_HEADER_BYTES : 0,
  };
}
