import { readUint32 } from '../../base/bytes.js';
import { CorruptionError } from '../../base/errors.js';
import { RESTART_BYTES } from './format.js';

/**
 * The decoded contents of one data block (FORMAT.md "Data block"): what a block cache holds. Its bytes never change and are
 * never reused, because cursors keep views on them.
 */
export class Block {
  readonly bytes: Uint8Array;
  /** Entries are `bytes[0 .. entriesEnd)`, restart offsets follow. */
  readonly entriesEnd: number;
  readonly restartCount: number;
  readonly where: string;

  constructor(bytes: Uint8Array, where: string) {
    const restartCount = bytes.length < 2 * RESTART_BYTES ? 0 : readUint32(bytes, bytes.length - RESTART_BYTES);
    const entriesEnd = bytes.length - (restartCount + 1) * RESTART_BYTES;
    if (restartCount === 0 || entriesEnd <= 0) {
      throw new CorruptionError(
        where,
        'entries and restart offsets',
        `${bytes.length} bytes, ${restartCount} restarts`,
      );
    }
    this.bytes = bytes;
    this.entriesEnd = entriesEnd;
    this.restartCount = restartCount;
    this.where = where;
  }

  get sizeBytes(): number {
    return this.bytes.length;
  }

  /** Offset of the first entry of run `index`; its key is stored whole. */
  restart(index: number): number {
    const offset = readUint32(this.bytes, this.entriesEnd + index * RESTART_BYTES);
    if (offset >= this.entriesEnd) {
      throw new CorruptionError(this.where, `restart ${index} below ${this.entriesEnd}`, `${offset}`);
    }
    return offset;
  }
}
