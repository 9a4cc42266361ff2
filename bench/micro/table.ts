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

interface Row {
  readonly key: Uint8Array;
  readonly hash: number;
  readonly revision: number;
  readonly record: Uint8Array;
}

let state = 12345;
function random(): number {
  state = (Math.imul(state, 1664525) + 1013904223) | 0;
  return (state >>> 0) / 0x1_0000_0000;
}

function makeRows(): Row[] {
  const rows: Row[] = [];
  for (let i = 0; i < ROWS; i++) {
    const user = Buffer.from(`user:${String(Math.floor(random() * 1e11)).padStart(11, '0')}`);
    let json = `{"name":"user ${i}","email":"u${Math.floor(random() * 1e9)}@example.org","score":${random()}`;
    json = `${json.padEnd(98, ' ')}"}`;
    const hash = xxHash32(user, 0, user.length);
    const record = Buffer.concat([Uint8Array.of(0), Buffer.from(json)]);
    const key = makeRowKey(1 + Math.floor((hash * REPLICAS) / 0x1_0000_0000), user);
    rows.push({ key, hash, revision: 6e15 + Math.floor(random() * 2.4e9), record });
  }
  return rows.sort((a, b) => Buffer.compare(a.key, b.key));
}

function build(rows: readonly Row[], options: Partial<TableOptions>): Uint8Array {
  const pieces: Uint8Array[] = [];
  const builder = new TableBuilder(1, options, (piece) => pieces.push(piece));
  for (const row of rows) {
    builder.add(row.key, 0, row.key.length, row.revision, row.record, 0, row.record.length);
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
      for (let i = 0; i < 3; i++) count += scan(make(), forward, ROWS);
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
      out.push({ key: key.latin1Slice(), value });
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

function main(): void {
  benchCodecs();
  const rows = makeRows();
  const rawMegabytes = rows.reduce((sum, row) => sum + row.key.length + row.record.length, 0) / 1e6;
  const absent = rows.map(({ key }) => {
    const other = key.slice();
    other[other.length - 1] = 0x78;
    return { key: other, hash: xxHash32(other, REPLICA_ID_BYTES, other.length - REPLICA_ID_BYTES) };
  });
  const order = Uint32Array.from(rows, () => Math.floor(random() * rows.length));

  for (const blockSizeBytes of [4096, 8192, 16384]) {
    for (const restartInterval of [8, 16]) {
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
      for (let round = 0; round < 3; round++) {
        let found = 0;
        const reads = seconds(() => {
          for (const i of order) {
            const row = rows[i]!;
            if (table.find(row.key, 0, row.key.length, row.hash, LATEST) === FOUND) found++;
          }
        });
        if (found !== order.length) throw new Error(`found ${found}`);
        if (round === 2) report(`${name}: find, cached`, `${Math.round(order.length / reads / 1000)}k/s`);
      }
      let present = 0;
      const misses = seconds(() => {
        for (const { key, hash } of absent) if (table.find(key, 0, key.length, hash, LATEST) === FOUND) present++;
      });
      report(`${name}: find of absent rows`, `${Math.round(absent.length / misses / 1000)}k/s (${present} found)`);
    }
  }

  const whole = open(build(rows, {}));
  // Five sources: three of L0 with a 32nd each, and two levels in 8 tables each.
  const parts: Row[][] = [[], [], [], [], []];
  rows.forEach((row) => {
    const dice = random() * 32;
    parts[dice < 1 ? 0 : dice < 2 ? 1 : dice < 3 ? 2 : dice < 6 ? 3 : 4]!.push(row);
  });
  const levelTables = parts.slice(3).map((part) => {
    const size = Math.ceil(part.length / 8);
    return Array.from({ length: 8 }, (_, i) => open(build(part.slice(i * size, (i + 1) * size), {})));
  });
  const l0Tables = parts.slice(0, 3).map((part) => open(build(part, {})));
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
      return new VisibleCursor(merged(), { lower: makeRowKey(id, none), upper: makeRowKey(id + 1, none), atRevision: LATEST });
    });
    return new UserKeyMerge(children, replicaIds);
  };
  benchScan('table cursor', () => new TableCursor(whole));
  benchScan('merge of 5', merged);
  benchScan('visible over merge of 5', visible);
  benchScan('64 replicas by user key', byUserKey);
  benchOutput('64 replicas by user key, with a string and a Buffer', byUserKey);
  const block = Buffer.concat(rows.slice(0, 70).map((row) => row.record));
  const packed = lz4Compress(block);
  const unpack = seconds(() => {
    for (let i = 0; i < 20_000; i++) lz4Decompress(packed, block.length, 'bench');
  });
  report(`LZ4 decompress ${block.length} bytes`, `${((unpack / 20_000) * 1e6).toFixed(1)} us`);
}

main();
