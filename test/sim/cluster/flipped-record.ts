import type { Prng } from '../../../src/base/prng.js';
import { parseLogFileName } from '../../../src/engine/log/file-names.js';
import {
  alignUp,
  checksumSeed,
  FIRST_RECORD_OFFSET,
  isValidRecord,
  readSegmentHeader,
  RECORD_HEADER_BYTES,
  RECORD_MAGIC,
  recordBodyBytes,
  recordDurableOffset,
} from '../../../src/engine/log/format.js';
import type { SimDisk } from '../ports/sim-disk.js';

interface Record {
  readonly path: string;
  readonly offset: number;
  readonly bytes: number;
}

/** One bit of the log of a node that does not run, flipped. */
export class FlippedRecord {
  readonly #path: string;
  readonly #offset: number;
  readonly #bit: number;

  private constructor(path: string, offset: number, bit: number) {
    this.#path = path;
    this.#offset = offset;
    this.#bit = bit;
  }

  /** In a record that a later one calls durable: of the others a start can't tell damage from a torn write. Null when there is none. */
  static in(disk: SimDisk, prng: Prng): FlippedRecord | null {
    const paths = disk.paths().filter((path) => path.endsWith('.log'));
    const records = paths.flatMap((path, i) => statedRecords(disk, path, i === paths.length - 1));
    if (records.length === 0) return null;
    const { path, offset, bytes } = prng.pick(records);
    const flipped = new FlippedRecord(path, offset + prng.below(bytes), prng.below(8));
    flipped.flip(disk);
    return flipped;
  }

  /** Again, and the byte is right. */
  flip(disk: SimDisk): void {
    disk.flipBit(this.#path, this.#offset, this.#bit);
  }
}

function statedRecords(disk: SimDisk, path: string, isLast: boolean): Record[] {
  const handle = disk.blocking.open(path, 'read');
  const file = new Uint8Array(handle.size());
  for (let at = 0; at < file.length;) at += handle.read(file.subarray(at), at);
  handle.close();
  const segment = parseLogFileName(path.slice(path.lastIndexOf('/') + 1))!.number;
  const header = readSegmentHeader(file, file.length, segment);
  if (header === null) return [];
  const seed = checksumSeed(header.logId);
  const records: Record[] = [];
  let durable = 0;
  for (let at = FIRST_RECORD_OFFSET; isValidRecord(file, at, file.length, segment, RECORD_MAGIC, seed);) {
    const bytes = RECORD_HEADER_BYTES + recordBodyBytes(file, at);
    records.push({ path, offset: at, bytes });
    durable = Math.max(durable, recordDurableOffset(file, at));
    at += alignUp(bytes);
  }
  return isLast ? records.filter(({ offset }) => offset < durable) : records;
}
