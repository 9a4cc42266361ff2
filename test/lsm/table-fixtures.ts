import fc from 'fast-check';
import { compareBytes } from '../../src/base/bytes.js';
import { xxHash32 } from '../../src/base/hash.js';
import type { Cursor } from '../../src/lsm/cursor.js';
import { makeRowKey, REPLICA_ID_BYTES, type Revision } from '../../src/lsm/row-key.js';
import { Block } from '../../src/lsm/table/block.js';
import type { BlockSource } from '../../src/lsm/table/block-source.js';
import type { BlockHandle } from '../../src/lsm/table/format.js';
import { TableBuilder, type FinishedTable, type TableOptions } from '../../src/lsm/table/table-builder.js';
import { parseTableMeta } from '../../src/lsm/table/table-meta.js';
import { readBlock, TableReader } from '../../src/lsm/table/table-reader.js';

export const RUNS = Number(process.env['CAIRN_TEST_SEEDS'] ?? 60);

export interface Entry {
  readonly key: Uint8Array;
  readonly revision: Revision;
  readonly record: Uint8Array;
}

export function compareEntries(a: Entry, b: Entry): number {
  return compareBytes(a.key, b.key) || b.revision - a.revision;
}

/** Sorted in cursor order, the first of equal entries kept. */
export function sortEntries(entries: readonly Entry[]): Entry[] {
  const sorted = [...entries].sort(compareEntries);
  return sorted.filter((entry, i) => i === 0 || compareEntries(sorted[i - 1]!, entry) !== 0);
}

export function buildTable(
  entries: readonly Entry[],
  options: Partial<TableOptions> = {},
  fileNumber = 7,
): { bytes: Uint8Array; finished: FinishedTable } {
  const pieces: Uint8Array[] = [];
  const builder = new TableBuilder(fileNumber, options, (piece) => pieces.push(piece.slice()));
  for (const { key, revision, record } of entries) builder.add(key, 0, key.length, revision, record, 0, record.length);
  const finished = builder.finish();
  return { bytes: new Uint8Array(Buffer.concat(pieces)), finished };
}

/** Every block is always there, decoded once. */
export class MemorySource implements BlockSource {
  readonly #bytes: Uint8Array;
  readonly #blocks = new Map<number, Block>();

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  getCached(fileNumber: number, handle: BlockHandle): Block | undefined {
    let block = this.#blocks.get(handle.offset);
    if (block === undefined) {
      const stored = this.#bytes.subarray(handle.offset, handle.offset + handle.sizeBytes);
      block = readBlock(fileNumber, handle, stored);
      this.#blocks.set(handle.offset, block);
    }
    return block;
  }

  load(fileNumber: number, handle: BlockHandle): Promise<Block> {
    return Promise.resolve(this.getCached(fileNumber, handle)!);
  }
}

/** Has a block only sometimes, as `coin` says; what `load` gave may be gone at once. */
export class FlakySource implements BlockSource {
  readonly #inner: MemorySource;
  readonly #coin: () => boolean;

  constructor(bytes: Uint8Array, coin: () => boolean) {
    this.#inner = new MemorySource(bytes);
    this.#coin = coin;
  }

  getCached(fileNumber: number, handle: BlockHandle): Block | undefined {
    return this.#coin() ? this.#inner.getCached(fileNumber, handle) : undefined;
  }

  load(fileNumber: number, handle: BlockHandle): Promise<Block> {
    return this.#inner.load(fileNumber, handle);
  }
}

export function readTable(
  bytes: Uint8Array,
  fileNumber = 7,
  source: BlockSource = new MemorySource(bytes),
): TableReader {
  const meta = parseTableMeta(fileNumber, bytes.length, (offset, length) => bytes.subarray(offset, offset + length));
  return new TableReader(meta, source);
}

export function userKeyHash(rowKey: Uint8Array): number {
  return xxHash32(rowKey, REPLICA_ID_BYTES, rowKey.length - REPLICA_ID_BYTES);
}

/** A deterministic sequence of coin flips. */
export function coins(seed: number, oddsOfTrue: number): () => boolean {
  let state = seed | 1;
  return () => {
    state = Math.imul(state ^ (state >>> 15), 0x2c1b3c6d);
    state = (Math.imul(state ^ (state >>> 12), 0x297a2d39) + 0x9e3779b9) | 0;
    return (state >>> 8) / 0x100_0000 < oddsOfTrue;
  };
}

/** Few distinct bytes and short lengths: prefixes of each other, NUL and 0xFF, many versions of a row. */
export const rowKeys: fc.Arbitrary<Uint8Array> = fc
  .tuple(
    fc.constantFrom(0, 1, 2, 0xffff_ffff),
    fc.array(fc.constantFrom(0, 1, 0x61, 0x62, 0xfe, 0xff), { minLength: 1, maxLength: 6 }),
  )
  .map(([replicaId, user]) => makeRowKey(replicaId, Uint8Array.from(user)));

export const revisions: fc.Arbitrary<number> = fc.oneof(
  { weight: 4, arbitrary: fc.integer({ min: 1, max: 40 }) },
  { weight: 1, arbitrary: fc.maxSafeNat() },
);

/** Values, tombstones, and values with an expiry. */
export const records: fc.Arbitrary<Uint8Array> = fc.oneof(
  { weight: 5, arbitrary: fc.uint8Array({ maxLength: 20 }).map((payload) => Uint8Array.from([0, ...payload])) },
  { weight: 2, arbitrary: fc.constant(Uint8Array.of(1)) },
  {
    weight: 2,
    arbitrary: fc.integer({ min: 1, max: 60 }).map((at) => Uint8Array.from([2, at, 0, 0, 0, 0, 0, 0, 0, 0x78])),
  },
);

/** Few rows with many versions, so that rows span blocks, tables and sources. */
const longRows = fc.record({
  key: fc.constantFrom(0, 1, 0xff).map((byte) => makeRowKey(1, Uint8Array.of(byte))),
  revision: fc.integer({ min: 1, max: 40 }),
  record: records,
});

const manyRows = fc.record({ key: rowKeys, revision: revisions, record: records });

export const entries: fc.Arbitrary<Entry[]> = fc
  .oneof(
    fc.array(manyRows, { minLength: 1, maxLength: 120 }),
    fc.array(longRows, { minLength: 1, maxLength: 120 }),
    fc.array(fc.oneof(manyRows, longRows), { minLength: 1, maxLength: 120 }),
  )
  .map(sortEntries);

/** Keys to look for: of rows that exist often enough. */
export const soughtKeys: fc.Arbitrary<Uint8Array> = fc.oneof(
  rowKeys,
  fc.constantFrom(0, 1, 2, 0xfe, 0xff).map((byte) => makeRowKey(1, Uint8Array.of(byte))),
);

export const smallBlocks: fc.Arbitrary<Partial<TableOptions>> = fc.record({
  blockSizeBytes: fc.constantFrom(16, 64, 200, 4096),
  restartInterval: fc.constantFrom(1, 2, 3, 16),
  bloomBitsPerRow: fc.constantFrom(0, 1, 10),
  compress: fc.boolean(),
});

export function entryAt(cursor: Cursor): Entry | undefined {
  if (!cursor.valid) return undefined;
  return {
    key: cursor.key.slice(cursor.keyStart, cursor.keyStart + cursor.keyLength),
    revision: cursor.revision,
    record: cursor.value.slice(cursor.valueStart, cursor.valueStart + cursor.valueLength),
  };
}

export type Call =
  | { readonly call: 'seek' | 'seekBefore'; readonly key: Uint8Array; readonly revision: number }
  | { readonly call: 'seekToFirst' | 'seekToLast' | 'next' | 'previous' };

export function calls(keys: fc.Arbitrary<Uint8Array> = soughtKeys): fc.Arbitrary<Call[]> {
  const moves = fc.constantFrom('next', 'next', 'previous', 'previous', 'seekToFirst', 'seekToLast');
  return fc.array(
    fc.oneof(
      { weight: 5, arbitrary: moves.map((call): Call => ({ call })) },
      {
        weight: 2,
        arbitrary: fc.record({
          call: fc.constantFrom('seek' as const, 'seekBefore' as const),
          key: keys,
          revision: fc.oneof(revisions, fc.constant(Number.MAX_SAFE_INTEGER), fc.constant(0)),
        }),
      },
    ),
    { minLength: 1, maxLength: 60 },
  );
}

/** A cursor over an array: slow and obvious. */
export class ArrayOracle {
  readonly #entries: readonly Entry[];
  #at = -1;

  constructor(sorted: readonly Entry[]) {
    this.#entries = sorted;
  }

  get entry(): Entry | undefined {
    return this.#entries[this.#at];
  }

  apply(call: Call): void {
    const found = (index: number): void => {
      this.#at = index < 0 || index >= this.#entries.length ? -1 : index;
    };
    switch (call.call) {
      case 'next':
        return found(this.#at + 1);
      case 'previous':
        return found(this.#at - 1);
      case 'seekToFirst':
        return found(0);
      case 'seekToLast':
        return found(this.#entries.length - 1);
      case 'seek':
      case 'seekBefore': {
        const target: Entry = { key: call.key, revision: call.revision, record: call.key };
        const before = this.#entries.filter((entry) => compareEntries(entry, target) < 0).length;
        return found(call.call === 'seek' ? before : before - 1);
      }
    }
  }
}

export function invoke(cursor: Cursor, call: Call): boolean {
  switch (call.call) {
    case 'next':
    case 'previous':
    case 'seekToFirst':
    case 'seekToLast':
      return cursor[call.call]();
    case 'seek':
    case 'seekBefore':
      return cursor[call.call](call.key, call.revision);
  }
}
