import { closeSync, existsSync, openSync, readdirSync, readFileSync, readSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { Prng } from '../../src/base/prng.js';
import {
  alignUp,
  checksumSeed,
  FIRST_RECORD_OFFSET,
  isValidRecord,
  readSegmentHeader,
  RECORD_HEADER_BYTES,
  RECORD_MAGIC,
  recordBodyBytes,
} from '../../src/engine/log/format.js';
import { parseLogFileName } from '../../src/engine/log/file-names.js';

/** Behind it a table has its index and footer: a byte there makes the whole table unreadable, and one in front of it a block. */
const DATA_SHARE = 0.8;
/** The last records of a log may pass for a torn tail, which is cut. */
const TAIL_RECORDS = 3;

/** One byte of a file of a node that does not run, changed. */
export class FlippedByte {
  readonly what: string;
  readonly #path: string;
  readonly #offset: number;
  readonly #flipped: number;

  private constructor(path: string, offset: number) {
    this.#path = path;
    this.#offset = offset;
    this.#flipped = this.#read() ^ 0x10;
    this.#write(this.#flipped);
    this.what = `${path.split('/').slice(-2).join('/')} at ${offset}`;
  }

  /** In the data blocks of a table, large ones rather; null when there is none yet. */
  static inTable(dataDirectory: string, prng: Prng): FlippedByte | null {
    const folder = join(dataDirectory, 'tables');
    const tables = filesOf(folder, /\.sst$/).map((path) => ({ path, size: statSync(path).size }));
    if (tables.length === 0) return null;
    const all = tables.reduce((sum, { size }) => sum + size, 0);
    let at = prng.unit() * all;
    const { path, size } = tables.find((table) => (at -= table.size) < 0) ?? tables[0]!;
    return new FlippedByte(path, prng.below(Math.max(1, Math.floor(size * DATA_SHARE))));
  }

  /** In a record of the newest log file that is not among the last ones; null when it has only few. */
  static inLog(dataDirectory: string, prng: Prng): FlippedByte | null {
    const path = filesOf(join(dataDirectory, 'log'), /\.log$/).at(-1);
    if (path === undefined) return null;
    const records = recordsOf(path).slice(0, -TAIL_RECORDS);
    if (records.length === 0) return null;
    const { offset, bytes } = prng.pick(records);
    return new FlippedByte(path, offset + RECORD_HEADER_BYTES + prng.below(Math.max(1, bytes - RECORD_HEADER_BYTES)));
  }

  /** False when somebody has removed or replaced it. */
  isThere(): boolean {
    return existsSync(this.#path) && this.#read() === this.#flipped;
  }

  restore(): void {
    this.#write(this.#flipped ^ 0x10);
  }

  #read(): number {
    const descriptor = openSync(this.#path, 'r');
    const byte = Buffer.alloc(1);
    readSync(descriptor, byte, 0, 1, this.#offset);
    closeSync(descriptor);
    return byte[0]!;
  }

  #write(byte: number): void {
    const descriptor = openSync(this.#path, 'r+');
    writeSync(descriptor, Uint8Array.of(byte), 0, 1, this.#offset);
    closeSync(descriptor);
  }
}

function filesOf(folder: string, pattern: RegExp): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((name) => pattern.test(name))
    .sort()
    .map((name) => join(folder, name));
}

/** The whole records of a log file, from the first on. */
function recordsOf(path: string): { readonly offset: number; readonly bytes: number }[] {
  const file = readFileSync(path);
  const { number: segment } = parseLogFileName(path.slice(path.lastIndexOf('/') + 1))!;
  const header = readSegmentHeader(file, file.length, segment);
  if (header === null) return [];
  const seed = checksumSeed(header.logId);
  const records: { offset: number; bytes: number }[] = [];
  let offset = FIRST_RECORD_OFFSET;
  while (isValidRecord(file, offset, file.length, segment, RECORD_MAGIC, seed)) {
    const bytes = RECORD_HEADER_BYTES + recordBodyBytes(file, offset);
    records.push({ offset, bytes });
    offset += alignUp(bytes);
  }
  return records;
}
