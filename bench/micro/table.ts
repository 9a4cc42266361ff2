import { xxHash32 } from '../../src/base/hash.js';
import { crc32c } from '../../src/codec/crc32c.js';
import { lz4Compress, lz4Decompress } from '../../src/codec/lz4.js';
import type { Cursor } from '../../src/lsm/cursor.js';
import { LevelCursor } from '../../src/lsm/cursors/level-cursor.js';
import { MergingCursor } from '../../src/lsm/cursors/merging-cursor.js';
import { TableCursor } from '../../src/lsm/cursors/table-cursor.js';
import { UserKeyMerge } from '../../src/lsm/cursors/user-key-merge.js';
import { VisibleCursor } from '../../src/lsm/cursors/visible-cursor.js';
import { LATEST, makeRowKey, REPLICA_ID_BYTES } from '../../src/lsm/row-key.js';
import type { Block } from '../../src/lsm/table/block.js';
import type { BlockSource } from '../../src/lsm/table/block-source.js';
import type { BlockHandle } from '../../src/lsm/table/format.js';
import { DEFAULT_TABLE_OPTIONS, TableBuilder, type TableOptions } from '../../src/lsm/table/table-builder.js';
import { parseTableMeta } from '../../src/lsm/table/table-meta.js';
import { FOUND, readBlock, TableReader } from '../../src/lsm/table/table-reader.js';

/**
 * Tables and cursors over memory, one core: `node dist/bench/micro/table.js`. 200,000 rows in 64 replicas, 16-byte keys and
 * 100-byte JSON values that compress about 2:1, as in DESIGN.md section 6.
 */
const ROWS = 200_000;
const REPLICAS = 64;

class AllInMemory implements BlockSource {
  readonly blocks = new Map<number, Block>();
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  getCached(fileNumber: number, handle: BlockHandle): Block {
    let block = this.blocks.get(handle.offset);
    if (block === undefined) {
      block = readBlock(fileNumber, handle, this.#bytes.subarray(handle.offset, handle.offset + handle.sizeBytes));
      this.blocks.set(handle.offset, block);
    }
    return block;
  }

  load(fileNumber: number, handle: BlockHandle): Promise<Block> {
    return Promise.resolve(this.getCached(fileNumber, handle));
  }
}

/** Rows lie in two flat buffers, so that the figures are the table's and not those of 200,000 scattered test objects. */
const KEY_BYTES = 20;
const RECORD_BYTES = 101;

interface Rows {
  readonly count: number;
  readonly keys: Uint8Array;
  readonly records: Uint8Array;
  readonly hashes: Uint32Array;
  readonly revisions: Float64Array;
}

let state = 12345;
function random(): number {
  state = (Math.imul(state, 1664525) + 1013904223) | 0;
  return (state >>> 0) / 0x1_0000_0000;
}

function makeRows(): Rows {
  const keys: Uint8Array[] = [];
  for (let i = 0; i < ROWS; i++) {
    const user = Buffer.from(`user:${String(Math.floor(random() * 1e11)).padStart(11, '0')}`);
    const hash = xxHash32(user, 0, user.length);
    keys.push(makeRowKey(1 + Math.floor((hash * REPLICAS) / 0x1_0000_0000), user));
  }
  keys.sort((a, b) => Buffer.compare(a, b));
  const rows: Rows = {
    count: ROWS,
    keys: new Uint8Array(ROWS * KEY_BYTES),
    records: new Uint8Array(ROWS * RECORD_BYTES),
    hashes: new Uint32Array(ROWS),
    revisions: new Float64Array(ROWS),
  };
  keys.forEach((key, i) => {
    rows.keys.set(key, i * KEY_BYTES);
    rows.hashes[i] = xxHash32(key, REPLICA_ID_BYTES, key.length - REPLICA_ID_BYTES);
    rows.revisions[i] = 6e15 + Math.floor(random() * 2.4e9);
    const json = `{"name":"user ${i}","email":"u${Math.floor(random() * 1e9)}@example.org","score":"${random()}`;
    rows.records.set(Buffer.from(`${json.padEnd(98, '-')}"}`), i * RECORD_BYTES + 1);
  });
  return rows;
}

/** A table of the rows that `picks` says. */
function build(rows: Rows, options: Partial<TableOptions>, picks?: readonly number[]): Uint8Array {
  const pieces: Uint8Array[] = [];
  const builder = new TableBuilder(1, options, (piece) => pieces.push(piece.slice()));
  const count = picks === undefined ? rows.count : picks.length;
  for (let at = 0; at < count; at++) {
    const i = picks === undefined ? at : picks[at]!;
    const revision = rows.revisions[i]!;
    builder.add(rows.keys, i * KEY_BYTES, KEY_BYTES, revision, rows.records, i * RECORD_BYTES, RECORD_BYTES);
  }
  builder.finish();
  return new Uint8Array(Buffer.concat(pieces));
}

function open(bytes: Uint8Array): TableReader {
  const meta = parseTableMeta(1, bytes.length, (offset, length) => bytes.subarray(offset, offset + length));
  return new TableReader(meta, new AllInMemory(bytes));
}

function seconds(work: () => void): number {
  const start = process.hrtime.bigint();
  work();
  return Number(process.hrtime.bigint() - start) / 1e9;
}

function report(name: string, figure: string): void {
  process.stdout.write(`${name.padEnd(52)} ${figure}\n`);
}

function scan(cursor: Cursor, forward: boolean, limit: number): number {
  let count = 0;
  let sum = 0;
  if (forward) cursor.seekToFirst();
  else cursor.seekToLast();
  while (cursor.valid && count < limit) {
    sum += cursor.valueLength;
    count++;
    if (forward) cursor.next();
    else cursor.previous();
  }
  if (sum < 0) throw new Error('never');
  return count;
}

function benchScan(name: string, make: () => Cursor): void {
  for (const forward of [true, false]) {
    scan(make(), forward, ROWS);
    let count = 0;
    const took = seconds(() => {
      for (let i = 0; i < 2; i++) count += scan(make(), forward, ROWS);
    });
    report(`${name}, ${forward ? 'forward' : 'reverse'}`, `${Math.round(count / took / 1000)}k entries/s`);
  }
}

function benchOutput(name: string, make: () => Cursor): void {
  const cursor = make();
  const out: { key: string; value: Buffer }[] = [];
  const took = seconds(() => {
    for (cursor.seekToFirst(); cursor.valid; cursor.next()) {
      const key = Buffer.from(cursor.key.buffer, cursor.key.byteOffset + cursor.keyStart, cursor.keyLength);
      const value = Buffer.from(cursor.value.buffer, cursor.value.byteOffset + cursor.valueStart, cursor.valueLength);
      out.push({ key: key.toString('latin1'), value });
    }
  });
  report(name, `${Math.round(out.length / took / 1000)}k entries/s`);
}

function benchCodecs(): void {
  for (const size of [16, 32, 48, 64, 4096, 16384]) {
    const bytes = new Uint8Array(size).fill(5);
    const rounds = 200_000;
    const took = seconds(() => {
      for (let i = 0; i < rounds; i++) crc32c(bytes);
    });
    report(`crc32c of ${size} bytes`, `${Math.round((took / rounds) * 1e9)} ns`);
  }
}

function benchFinds(name: string, table: TableReader, rows: Rows, order: Uint32Array): void {
  let took = 0;
  for (let round = 0; round < 2; round++) {
    took = seconds(() => {
      for (const i of order) {
        const result = table.find(rows.keys, i * KEY_BYTES, KEY_BYTES, rows.hashes[i]!, LATEST);
        if (result !== FOUND) throw new Error(`row ${i} not found`);
      }
    });
  }
  report(name, `${Math.round(order.length / took / 1000)}k/s`);
}

function main(): void {
  benchCodecs();
  const rows = makeRows();
  const rawMegabytes = (rows.count * (KEY_BYTES + RECORD_BYTES)) / 1e6;
  /** Rows that are not there, with the hash of their keys. */
  const otherKeys = rows.keys.slice();
  const otherHashes = new Uint32Array(rows.count);
  for (let i = 0; i < rows.count; i++) {
    otherKeys[(i + 1) * KEY_BYTES - 1] = 0x78;
    otherHashes[i] = xxHash32(otherKeys, i * KEY_BYTES + REPLICA_ID_BYTES, KEY_BYTES - REPLICA_ID_BYTES);
  }
  const order = Uint32Array.from(rows.hashes, () => Math.floor(random() * rows.count));
  const near = order.map((i) => i % 2000);

  for (const blockSizeBytes of [4096, 8192, 16384]) {
    for (const restartInterval of blockSizeBytes === 8192 ? [4, 8, 16] : [8]) {
      const options = { ...DEFAULT_TABLE_OPTIONS, blockSizeBytes, restartInterval };
      const name = `${blockSizeBytes / 1024} KiB, interval ${restartInterval}`;
      let bytes = build(rows, options);
      const took = seconds(() => {
        bytes = build(rows, options);
      });
      const table = open(bytes);
      const compressed = ((bytes.length / 1e6 / rawMegabytes) * 100).toFixed(0);
      report(`${name}: build`, `${Math.round(rawMegabytes / took)} MB/s, to ${compressed}%`);
      report(`${name}: index and filter`, `${Math.round(table.memoryBytes / 1000)} kB`);
      const cold = seconds(() => {
        for (let i = 0; i < table.blockCount; i++) table.cachedBlock(i);
      });
      report(`${name}: verify and decode`, `${((cold / table.blockCount) * 1e6).toFixed(1)} us a block`);
      benchFinds(`${name}: find, all cached`, table, rows, order);
      benchFinds(`${name}: find, in 2,000 rows`, table, rows, near);
      let passed = 0;
      const misses = seconds(() => {
        for (let i = 0; i < rows.count; i++) {
          const start = i * KEY_BYTES;
          if (table.mayContainRow(otherKeys, start, otherHashes[i]!)) passed++;
          if (table.find(otherKeys, start, KEY_BYTES, otherHashes[i]!, LATEST) === FOUND) throw new Error('found');
        }
      });
      const rate = ((passed / rows.count) * 100).toFixed(2);
      report(`${name}: find of absent rows`, `${Math.round(rows.count / misses / 1000)}k/s, ${rate}% pass the filter`);
    }
  }

  const whole = open(build(rows, {}));
  // Five sources: three of L0 with a 32nd each, and two levels in 8 tables each.
  const parts: number[][] = [[], [], [], [], []];
  for (let i = 0; i < rows.count; i++) {
    const dice = random() * 32;
    parts[dice < 1 ? 0 : dice < 2 ? 1 : dice < 3 ? 2 : dice < 6 ? 3 : 4]!.push(i);
  }
  const levelTables = parts.slice(3).map((part) => {
    const size = Math.ceil(part.length / 8);
    return Array.from({ length: 8 }, (_, i) => open(build(rows, {}, part.slice(i * size, (i + 1) * size))));
  });
  const l0Tables = parts.slice(0, 3).map((part) => open(build(rows, {}, part)));
  const merged = (): Cursor =>
    new MergingCursor([
      ...l0Tables.map((table) => new TableCursor(table)),
      ...levelTables.map((tables) => new LevelCursor(tables)),
    ]);
  const visible = (): Cursor => new VisibleCursor(merged(), { atRevision: LATEST });
  const byUserKey = (): Cursor => {
    const replicaIds = Array.from({ length: REPLICAS }, (_, i) => i + 1);
    const children = replicaIds.map((id) => {
      const none = new Uint8Array(0);
      return new VisibleCursor(merged(), {
        lower: makeRowKey(id, none),
        upper: makeRowKey(id + 1, none),
        atRevision: LATEST,
      });
    });
    return new UserKeyMerge(children, replicaIds);
  };
  benchScan('table cursor', () => new TableCursor(whole));
  benchScan('merge of 5', merged);
  benchScan('visible over merge of 5', visible);
  benchScan('64 replicas by user key', byUserKey);
  benchOutput('64 replicas by user key, with a string and a Buffer', byUserKey);
  const block = rows.records.subarray(0, 70 * RECORD_BYTES);
  const packed = lz4Compress(block);
  const unpack = seconds(() => {
    for (let i = 0; i < 20_000; i++) lz4Decompress(packed, block.length, 'bench');
  });
  report(`LZ4 decompress ${block.length} bytes`, `${((unpack / 20_000) * 1e6).toFixed(1)} us`);
}

main();
