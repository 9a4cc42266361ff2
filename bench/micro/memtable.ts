/**
 * Memtable figures: inserts in random and in ascending order, overwrites, finds, scans, freeze + attach, zeroing.
 * Run: node dist/bench/micro/memtable.js [rows] [valueBytes]
 */
import { xxHash32 } from '../../src/base/hash.js';
import { Memtable } from '../../src/lsm/memtable/memtable.js';
import { LATEST } from '../../src/lsm/row-key.js';

const rows = Number(process.argv[2] ?? 600_000);
const valueBytes = Number(process.argv[3] ?? 100);
const KEY_BYTES = 16;
const REPLICAS = 64;
const ARENA_BYTES = Math.max(100 * 1024 ** 2, rows * (valueBytes + 100));

/** xorshift32: the same keys in every run. */
function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}

function report(name: string, count: number, startMs: number): void {
  const elapsedMs = performance.now() - startMs;
  const rate = Math.round(count / elapsedMs);
  console.log(`${name.padEnd(34)} ${String(rate).padStart(7)} k/s   ${elapsedMs.toFixed(1)} ms`);
}

function decimalKeys(order: Uint32Array): Uint8Array {
  const keys = new Uint8Array(order.length * KEY_BYTES);
  order.forEach((number, i) => {
    const text = `user:${String(number).padStart(KEY_BYTES - 5, '0')}`;
    for (let j = 0; j < KEY_BYTES; j++) keys[i * KEY_BYTES + j] = text.charCodeAt(j);
  });
  return keys;
}

function binaryKeys(random: () => number): Uint8Array {
  const keys = new Uint8Array(rows * KEY_BYTES);
  for (let i = 0; i < keys.length; i++) keys[i] = random();
  return keys;
}

function shuffled(random: () => number): Uint32Array {
  const order = Uint32Array.from({ length: rows }, (_, i) => i);
  for (let i = rows - 1; i > 0; i--) {
    const j = random() % (i + 1);
    const swapped = order[i]!;
    order[i] = order[j]!;
    order[j] = swapped;
  }
  return order;
}

const record = new Uint8Array(1 + valueBytes).fill(0x61);
record[0] = 0;

function insertAll(memtable: Memtable, keys: Uint8Array, order: Uint32Array, firstRevision: number): number {
  for (let i = 0; i < order.length; i++) {
    const start = order[i]! * KEY_BYTES;
    const hash = xxHash32(keys, start, KEY_BYTES);
    const replica = Math.floor(hash * (REPLICAS / 0x1_0000_0000)) + 1;
    if (!memtable.insert(replica, keys, start, KEY_BYTES, hash, firstRevision + i, record, 0, record.length)) return i;
  }
  return order.length;
}

function findAll(memtable: Memtable, keys: Uint8Array, order: Uint32Array): number {
  let found = 0;
  for (let i = 0; i < order.length; i++) {
    const start = order[i]! * KEY_BYTES;
    const hash = xxHash32(keys, start, KEY_BYTES);
    const replica = Math.floor(hash * (REPLICAS / 0x1_0000_0000)) + 1;
    const handle = memtable.find(replica, keys, start, KEY_BYTES, hash, LATEST);
    if (handle !== 0) found += memtable.recordLength(handle) === 0 ? 0 : 1;
  }
  return found;
}

function scan(memtable: Memtable, forward: boolean): number {
  const cursor = memtable.cursor();
  let count = 0;
  let sum = 0;
  for (
    forward ? cursor.seekToFirst() : cursor.seekToLast();
    cursor.valid;
    forward ? cursor.next() : cursor.previous()
  ) {
    count++;
    sum += cursor.revision + cursor.keyStart + cursor.valueLength;
  }
  if (sum === 0) throw new Error('nothing read');
  return count;
}

function run(name: string, keys: Uint8Array, order: Uint32Array, reads: Uint32Array, buffer: SharedArrayBuffer): void {
  const memtable = Memtable.createIn(buffer);
  const revision = 2 ** 50;
  let start = performance.now();
  const inserted = insertAll(memtable, keys, order, revision);
  report(`${name}: insert`, inserted, start);
  console.log(`  ${memtable.rowCount} rows in ${(memtable.usedBytes / memtable.rowCount).toFixed(1)} bytes each`);
  start = performance.now();
  const found = findAll(memtable, keys, reads);
  report(`${name}: find`, reads.length, start);
  start = performance.now();
  report(`${name}: cursor forward`, scan(memtable, true), start);
  start = performance.now();
  report(`${name}: cursor backward`, scan(memtable, false), start);
  start = performance.now();
  report(`${name}: overwrite`, insertAll(memtable, keys, reads, revision + rows), start);
  if (found !== inserted) throw new Error(`expected ${inserted} keys, found ${found}`);
  memtable.freeze();
  start = performance.now();
  Memtable.zero(buffer);
  report(`${name}: zero`, 1, start);
}

const random = randomNumbers(12345);
const ascending = Uint32Array.from({ length: rows }, (_, i) => i);
const order = shuffled(random);
const reads = shuffled(random);
const decimal = decimalKeys(ascending);
const buffer = new SharedArrayBuffer(ARENA_BYTES);
const start = performance.now();
Memtable.prefault(buffer);
report('prefault', 1, start);
run('random binary keys', binaryKeys(random), ascending, reads, buffer);
run('decimal keys, random order', decimal, order, reads, buffer);
run('decimal keys, ascending', decimal, ascending, reads, buffer);
