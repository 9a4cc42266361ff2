import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { compareBytes } from '../../../src/base/bytes.js';
import { CairnError, CorruptionError } from '../../../src/base/errors.js';
import { LATEST, makeRowKey, readRevisionTrailer } from '../../../src/lsm/row-key.js';
import { placedChecksum } from '../../../src/lsm/table/block-codec.js';
import {
  FOOTER_BYTES,
  FOOTER_CHECKSUM_AT,
  FOOTER_VERSION_AT,
  type BlockHandle,
} from '../../../src/lsm/table/format.js';
import { TableBuilder } from '../../../src/lsm/table/table-builder.js';
import { footerRange, metaRanges, parseMeta, parseTableMeta } from '../../../src/lsm/table/table-meta.js';
import { ABSENT, BLOCKED, FOUND, TableReader } from '../../../src/lsm/table/table-reader.js';
import { MergingCursor } from '../../../src/lsm/cursors/merging-cursor.js';
import { TableCursor } from '../../../src/lsm/cursors/table-cursor.js';
import {
  buildTable,
  coins,
  entries,
  entryAt,
  FlakySource,
  MemorySource,
  readTable,
  revisions,
  rowKeys,
  RUNS,
  smallBlocks,
  sortEntries,
  userKeyHash,
  type Entry,
} from '../table-fixtures.js';

const VALUE = Uint8Array.of(0, 0x7b, 0x7d);

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

/** As find answers it: the newest version at or below `revision`. */
function newest(sorted: readonly Entry[], key: Uint8Array, revision: number): Entry | undefined {
  return sorted.find((entry) => compareBytes(entry.key, key) === 0 && entry.revision <= revision);
}

async function find(table: TableReader, key: Uint8Array, revision: number): Promise<string> {
  const hash = userKeyHash(key);
  let result = table.find(key, 0, key.length, hash, revision);
  for (let waits = 0; result === BLOCKED; waits++) {
    assert.ok(waits < 100, 'find makes no progress');
    const at = table.blockedOn;
    result = table.findFrom(at, key, 0, key.length, revision, await table.loadBlock(at));
  }
  if (result === ABSENT) return 'absent';
  const end = table.foundStart + table.foundLength;
  return `${table.foundRevision} ${hex(table.foundRecord.subarray(table.foundStart, end))}`;
}

function expectedFind(sorted: readonly Entry[], key: Uint8Array, revision: number): string {
  const entry = newest(sorted, key, revision);
  return entry === undefined ? 'absent' : `${entry.revision} ${hex(entry.record)}`;
}

function allEntries(table: TableReader): Entry[] {
  const cursor = new TableCursor(table);
  const found: Entry[] = [];
  for (cursor.seekToFirst(); cursor.valid; cursor.next()) found.push(entryAt(cursor)!);
  return found;
}

function describe(list: readonly Entry[]): string[] {
  return list.map((entry) => `${hex(entry.key)} @${entry.revision} ${hex(entry.record)}`);
}

test('a table finds the newest version at or below a revision, with blocks missing at any time', async () => {
  await fc.assert(
    fc.asyncProperty(
      entries,
      smallBlocks,
      fc.array(fc.tuple(rowKeys, fc.oneof(revisions, fc.constant(LATEST))), { maxLength: 30 }),
      fc.nat(),
      fc.constantFrom(0, 0.5, 1),
      async (sorted, options, probes, seed, odds) => {
        const { bytes } = buildTable(sorted, options);
        const table = readTable(bytes, 7, new FlakySource(bytes, coins(seed, odds)));
        const own = sorted.flatMap(({ key, revision }) =>
          [revision, revision - 1, LATEST].map((at) => [key, at] as const),
        );
        for (const [key, revision] of [...probes, ...own]) {
          assert.equal(await find(table, key, revision), expectedFind(sorted, key, revision));
        }
      },
    ),
    { numRuns: RUNS * 3 },
  );
});

test('LSM rule 14: keys of every length from 1 to 4,096 bytes, of NUL and of 0xFF, come back', async () => {
  const list: Entry[] = [];
  for (let length = 1; length <= 4096; length++) {
    for (const byte of [0x00, 0x61, 0xff]) {
      list.push({ key: makeRowKey(3, new Uint8Array(length).fill(byte)), revision: length, record: VALUE });
    }
  }
  const sorted = sortEntries(list);
  const { bytes } = buildTable(sorted);
  const table = readTable(bytes);
  assert.deepEqual(describe(allEntries(table)), describe(sorted));
  for (const { key, revision } of sorted) {
    assert.equal(await find(table, key, LATEST), `${revision} ${hex(VALUE)}`);
    assert.equal(await find(table, key, revision - 1), 'absent');
  }
});

test('a 16 MiB value stands in a block of its own', async () => {
  const big = new Uint8Array(16 * 1024 * 1024 + 11);
  for (let i = 1; i < big.length; i++) big[i] = Math.imul(i, i + 7) >>> 9;
  const list = [1, 2, 3].map((byte) => ({
    key: makeRowKey(1, Uint8Array.of(byte)),
    revision: 5,
    record: byte === 2 ? big : VALUE,
  }));
  const { bytes, finished } = buildTable(list);
  assert.equal(finished.blockCount, 3);
  const table = readTable(bytes);
  assert.equal(table.find(list[1]!.key, 0, 5, userKeyHash(list[1]!.key), LATEST), FOUND);
  assert.equal(
    Buffer.compare(table.foundRecord.subarray(table.foundStart, table.foundStart + table.foundLength), big),
    0,
  );
  assert.equal(await find(table, list[2]!.key, LATEST), `5 ${hex(VALUE)}`);
});

test('keys and sought keys may be Buffers whose memory is used again', async () => {
  const pieces: Uint8Array[] = [];
  const builder = new TableBuilder(7, { blockSizeBytes: 64 }, (piece) => void pieces.push(piece.slice()));
  const key = Buffer.alloc(8);
  const keyOf = (i: number): Buffer => {
    key.writeUInt32BE(1, 0);
    key.writeUInt32BE(i, 4);
    return key;
  };
  for (let i = 0; i < 500; i++) builder.add(keyOf(i), 0, key.length, 3, VALUE, 0, VALUE.length);
  builder.finish();
  const bytes = new Uint8Array(Buffer.concat(pieces));
  for (let i = 0; i < 500; i++) assert.notEqual(await find(readTable(bytes), keyOf(i), 3), 'absent', `key ${i}`);
  const merged = new MergingCursor([new TableCursor(readTable(bytes, 7, new FlakySource(bytes, () => false)))]);
  for (let calls = 0; !merged.seek(keyOf(250), LATEST); calls++) {
    assert.ok(calls < 5, 'the repeated call is not known again');
    await merged.load();
    key.fill(0);
  }
  assert.equal(hex(merged.key.subarray(merged.keyStart, merged.keyStart + merged.keyLength)), hex(keyOf(250)));
});

test('an index above 32 MiB, of 4 KiB keys that differ at their end, is written and read', async () => {
  const written: Uint8Array[] = [];
  const builder = new TableBuilder(5, {}, (bytes) => void written.push(bytes.slice()));
  const key = new Uint8Array(4100).fill(0x78);
  const pairs = 9_000;
  const keyOf = (i: number, twin: number): Uint8Array => {
    // A block ends between the twins, so that its separator is a whole key.
    key.set(Uint8Array.of(0, 0, 0, 1, i >>> 8, i & 255), 0);
    key[key.length - 1] = twin;
    return key;
  };
  for (let i = 0; i < pairs; i++) {
    for (let twin = 0; twin < 2; twin++) builder.add(keyOf(i, twin), 0, key.length, 7, VALUE, 0, VALUE.length);
  }
  builder.finish();
  const table = readTable(new Uint8Array(Buffer.concat(written)), 5);
  assert.ok(table.memoryBytes > 32 << 20, `an index of ${table.memoryBytes} bytes`);
  for (const i of [0, 1, 4_500, pairs - 1]) {
    for (let twin = 0; twin < 2; twin++) assert.notEqual(await find(table, keyOf(i, twin), 7), 'absent');
  }
  assert.equal(await find(table, keyOf(4_500, 2), 7), 'absent');
});

test('a table says what it holds', () => {
  const key = (byte: number): Uint8Array => makeRowKey(9, Uint8Array.of(byte));
  const expiring = Uint8Array.from([2, 90, 0, 0, 0, 0, 0, 0, 0, 0x31]);
  const list: Entry[] = [
    { key: key(1), revision: 70, record: VALUE },
    { key: key(1), revision: 30, record: VALUE },
    { key: key(2), revision: 80, record: Uint8Array.of(1) },
    { key: key(3), revision: 20, record: expiring },
  ];
  const { bytes, finished } = buildTable(list, { createdAtRevision: 1234 });
  const { properties } = readTable(bytes).meta;
  assert.deepEqual({ ...properties, sizeBytes: bytes.length }, finished);
  const { smallest, largest, dataBytes, ...rest } = properties;
  assert.equal(readRevisionTrailer(smallest, 5), 70);
  assert.equal(readRevisionTrailer(largest, 5), 20);
  assert.ok(dataBytes > 0);
  assert.deepEqual(rest, {
    entryCount: 4,
    rowCount: 3,
    tombstoneCount: 1,
    expiringCount: 1,
    blockCount: 1,
    rawBytes: 4 * 5 + 2 * VALUE.length + 1 + expiring.length,
    minRevision: 20,
    maxRevision: 80,
    // The version at 30 is superseded by the one at 70.
    earliestGarbageRevision: 70,
    createdAtRevision: 1234,
  });
});

test('entries out of order end the build', () => {
  const at = (byte: number, revision: number): Entry => ({
    key: makeRowKey(1, Uint8Array.of(byte)),
    revision,
    record: VALUE,
  });
  for (const list of [
    [at(2, 1), at(1, 1)],
    [at(1, 1), at(1, 2)],
    [at(1, 1), at(1, 1)],
  ]) {
    assert.throws(() => buildTable(list), /out of order/);
  }
});

test('a table opens in three steps that name the range to read next', () => {
  const { bytes } = buildTable([{ key: makeRowKey(1, Uint8Array.of(1)), revision: 1, record: VALUE }]);
  const footer = footerRange(7, bytes.length);
  const footerBytes = bytes.subarray(footer.offset, footer.offset + footer.sizeBytes);
  const { index, filter } = metaRanges(7, bytes.length, footerBytes);
  const part = ({ offset, sizeBytes }: BlockHandle): Uint8Array => bytes.subarray(offset, offset + sizeBytes);
  const meta = parseMeta(7, bytes.length, footerBytes, part(index), part(filter));
  assert.equal(meta.properties.entryCount, 1);
  assert.ok(meta.filter.length > 0);
});

function sweepTable(): { sorted: Entry[]; bytes: Uint8Array } {
  const sorted = sortEntries(
    Array.from({ length: 60 }, (_, i) => ({
      key: makeRowKey(1 + (i % 2), Buffer.from(`user:${i % 20}`)),
      revision: 100 + i,
      record:
        i % 7 === 0
          ? Uint8Array.of(1)
          : Uint8Array.from([0, ...Buffer.from(`{"value":"aaaaaaaaaaaaaaaaaaaaaaaa ${i}"}`)]),
    })),
  );
  return { sorted, bytes: buildTable(sorted, { blockSizeBytes: 600 }).bytes };
}

/** Reads all there is, by scan and by point reads; what it says must be right or a CorruptionError. */
async function readsRightOrRefuses(sorted: readonly Entry[], bytes: Uint8Array): Promise<'right' | 'refused'> {
  try {
    const table = readTable(bytes);
    assert.deepEqual(describe(allEntries(table)), describe(sorted));
    for (const { key, revision } of sorted) {
      assert.equal(await find(table, key, revision), expectedFind(sorted, key, revision));
    }
    return 'right';
  } catch (error) {
    if (error instanceof CorruptionError) return 'refused';
    throw error;
  }
}

test('LSM rule 11: with any byte of a table flipped, the answer is right or a CorruptionError', async () => {
  const { sorted, bytes } = sweepTable();
  const filterSizeBytes = readTable(bytes).meta.filter.length;
  let right = 0;
  for (let at = 0; at < bytes.length; at++) {
    const flipped = bytes.slice();
    flipped[at]! ^= 1 << (at % 8);
    if ((await readsRightOrRefuses(sorted, flipped)) === 'right') right++;
  }
  // Only the filter's block (with its trailer) can be lost without harm.
  assert.equal(right, filterSizeBytes + 5);
});

test('LSM rule 11: every prefix of a table is refused', () => {
  const { bytes } = sweepTable();
  for (let length = 0; length < bytes.length; length++) {
    assert.throws(() => readTable(bytes.slice(0, length)), CorruptionError, `prefix of ${length}`);
  }
});

test('LSM rule 10: a corrupt filter means reading without it', async () => {
  const { sorted, bytes } = sweepTable();
  const footer = bytes.subarray(bytes.length - FOOTER_BYTES);
  bytes[metaRanges(7, bytes.length, footer).filter.offset]! ^= 1;
  const table = readTable(bytes);
  assert.ok(table.meta.filterError instanceof CorruptionError);
  for (const { key, revision } of sorted) {
    assert.equal(await find(table, key, revision), expectedFind(sorted, key, revision));
  }
});

test('a table that is opened without its filter finds the same, and does not read the filter', async () => {
  const { sorted, bytes } = sweepTable();
  const { filter } = metaRanges(7, bytes.length, bytes.subarray(bytes.length - FOOTER_BYTES));
  const readRange = (offset: number, length: number): Uint8Array => {
    assert.ok(offset + length <= filter.offset || offset >= filter.offset + filter.sizeBytes);
    return bytes.subarray(offset, offset + length);
  };
  const meta = parseTableMeta(7, bytes.length, readRange, false);
  assert.equal(meta.filterError, undefined);
  const table = new TableReader(meta, new MemorySource(bytes));
  for (const { key, revision } of sorted) {
    assert.equal(await find(table, key, revision), expectedFind(sorted, key, revision));
  }
});

test('LSM rule 5: a table under another file number is refused', () => {
  const { bytes } = sweepTable();
  assert.throws(
    () => readTable(bytes, 8),
    (error) => error instanceof CorruptionError && /names table 7/.test(error.message),
  );
});

test('LSM rule 11: a block from another offset of the same file is refused', () => {
  const { bytes } = sweepTable();
  const table = readTable(bytes);
  const [first, second] = [table.meta.index.handle(0), table.meta.index.handle(1)];
  const moved = bytes.slice();
  moved.set(bytes.subarray(second.offset, second.offset + second.sizeBytes), first.offset);
  const source = new MemorySource(moved);
  assert.throws(() => source.getCached(7, { offset: first.offset, sizeBytes: second.sizeBytes }), CorruptionError);
});

test('an unknown format version is refused by name', () => {
  const { bytes } = sweepTable();
  const footer = bytes.subarray(bytes.length - FOOTER_BYTES);
  footer[FOOTER_VERSION_AT] = 2;
  const checksum = placedChecksum(7, bytes.length - FOOTER_BYTES, footer.subarray(0, FOOTER_CHECKSUM_AT));
  new DataView(footer.buffer, footer.byteOffset).setUint32(FOOTER_CHECKSUM_AT, checksum, true);
  assert.throws(
    () => parseTableMeta(7, bytes.length, (offset, length) => bytes.subarray(offset, offset + length)),
    (error) => error instanceof CairnError && /expected format version 1, found 2/.test(error.message),
  );
});
