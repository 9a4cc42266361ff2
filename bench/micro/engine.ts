import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ClassicLevel } from 'classic-level';
import { xxHash32 } from '../../src/base/hash.js';
import { BLOCKED, Engine, FOUND } from '../../src/engine/engine.js';
import type { EngineJobs } from '../../src/engine/jobs/jobs.js';
import { LATEST } from '../../src/lsm/row-key.js';
import { NodeBlockReaderThread } from '../../src/platform/block-reader-thread.js';
import { NodeClock } from '../../src/platform/node-clock.js';
import { NodeDisk } from '../../src/platform/node-disk.js';
import { PiscinaExecutor } from '../../src/platform/piscina-executor.js';

/**
 * The engine beside classic-level (LevelDB) in one run: `node dist/bench/micro/engine.js [--entries 300000] [--rounds 3]`.
 * 16-byte keys in random order, 100-byte JSON values that compress about 2:1, batches of 100; both with the same write buffer, and
 * with block caches of a fifth of the data. Reads are 64 at a time and asynchronous, over keys in random order, after both
 * have settled. Neither syncs in this test: LevelDB writes its log without a sync, the engine has none (the node's log is
 * measured by log.ts). Rounds are interleaved; the medians are compared.
 */
const BATCH = 100;
const OUTSTANDING = 64;
const VALUE_BYTES = 100;

const { values: flags } = parseArgs({
  options: {
    entries: { type: 'string', default: '300000' },
    rounds: { type: 'string', default: '3' },
    json: { type: 'boolean', default: false },
    'block-reader': { type: 'boolean', default: true },
    peer: { type: 'boolean', default: true },
  },
  allowNegative: true,
});
const ENTRIES = Number(flags.entries);
const DATA_BYTES = ENTRIES * (16 + VALUE_BYTES);
const CACHE_BYTES = Math.floor(DATA_BYTES / 5);
const BUFFER_BYTES = Math.max(4 * 1024 * 1024, Math.floor(DATA_BYTES / 4));

interface Figures {
  fill: number;
  get: number;
  scan: number;
}

const encoder = new TextEncoder();

/** Spreads the numbers over the key space: multiplication by an odd number permutes 2^32. */
function keyOf(i: number): Uint8Array {
  return encoder.encode((Math.imul(i, 0x9e3779b1) >>> 0).toString(16).padStart(16, '0'));
}

function valueOf(i: number): Uint8Array {
  const head = `{"id":${i},"token":"${(Math.imul(i, 0x85ebca6b) >>> 0).toString(36)}${(Math.imul(i, 0xc2b2ae35) >>> 0).toString(36)}","text":"`;
  return encoder.encode(
    `${head}${'the quick brown fox jumps over the lazy dog '.repeat(3)}`.slice(0, VALUE_BYTES - 2) + '"}',
  );
}

const keys = Array.from({ length: ENTRIES }, (_, i) => keyOf(i));
const values = Array.from({ length: ENTRIES }, (_, i) => valueOf(i));
const readOrder = Uint32Array.from({ length: ENTRIES }, (_, i) => i);
for (let i = ENTRIES - 1, seed = 12345; i > 0; i--) {
  seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
  const j = seed % (i + 1);
  [readOrder[i], readOrder[j]] = [readOrder[j]!, readOrder[i]!];
}

async function perSecond(count: number, work: () => Promise<void>): Promise<number> {
  const started = performance.now();
  await work();
  return (count * 1000) / (performance.now() - started);
}

/** `get(i)` for `count` keys, so many at a time. */
async function manyGets(count: number, get: (i: number) => Promise<unknown>): Promise<void> {
  let next = 0;
  const reader = async (): Promise<void> => {
    while (next < count) {
      const i = readOrder[next++]!;
      const found = await get(i);
      if (found === null || found === undefined) throw new Error(`key ${i} is not found`);
    }
  };
  await Promise.all(Array.from({ length: OUTSTANDING }, reader));
}

/** For all rounds, as a node has one for its life: to start threads and to compile their code takes as long as to fill 200,000 entries. */
const executor = new PiscinaExecutor<EngineJobs>({
  workerUrl: new URL('../../workers/lsm-worker.js', import.meta.url),
  backgroundThreads: 1,
});

async function measureEngine(directory: string): Promise<Figures> {
  const engine = await Engine.open({
    directory,
    disk: new NodeDisk(),
    executor,
    ...(flags['block-reader'] ? { blockReaderThread: new NodeBlockReaderThread() } : {}),
    clock: new NodeClock(),
    memtableSizeBytes: BUFFER_BYTES,
    blockCacheSizeBytes: CACHE_BYTES,
    historyWindowMs: 0,
    nowRevision: () => revision,
    captureAppliedState: () => ({ groups: [], clockBound: 0 }),
    onError: (error) => {
      throw error;
    },
  });
  const replicaId = await engine.createReplica(1);
  let revision = 1;
  const record = new Uint8Array(VALUE_BYTES + 1);
  const fill = await perSecond(ENTRIES, async () => {
    for (let i = 0; i < ENTRIES; i += BATCH) {
      while (engine.pressure === 'stop') await new Promise((resolve) => setTimeout(resolve, 1));
      engine.prepare(BATCH * (16 + VALUE_BYTES + 1), BATCH);
      revision++;
      const end = Math.min(ENTRIES, i + BATCH);
      for (let k = i; k < end; k++) {
        const key = keys[k]!;
        record.set(values[k]!, 1);
        const hash = xxHash32(key, 0, key.length);
        engine.insert(replicaId, key, 0, key.length, hash, revision, record, 0, record.length);
      }
      await new Promise(setImmediate);
    }
  });
  await engine.flush();
  await engine.settled();
  const get = await perSecond(ENTRIES, () =>
    manyGets(ENTRIES, (i) => {
      const key = keys[i]!;
      const hash = xxHash32(key, 0, key.length);
      const code = engine.lookup(replicaId, key, 0, key.length, hash, LATEST);
      if (code === FOUND)
        return Promise.resolve(engine.hit.bytes.slice(engine.hit.start, engine.hit.start + engine.hit.length));
      return code === BLOCKED ? engine.read(replicaId, key, hash, LATEST) : Promise.resolve(null);
    }),
  );
  const scan = await perSecond(ENTRIES, async () => {
    const cursor = engine.scan({ replicaIds: [replicaId], startKey: new Uint8Array(0), endKey: null, at: LATEST });
    let count = 0;
    let bytes = 0;
    while (!cursor.seekToFirst()) await cursor.load();
    while (cursor.valid) {
      count++;
      // What the other side hands out: a copy of key and value.
      bytes += cursor.key.slice(cursor.keyStart, cursor.keyStart + cursor.keyLength).length;
      bytes += cursor.value.slice(cursor.valueStart + 1, cursor.valueStart + cursor.valueLength).length;
      while (!cursor.next()) await cursor.load();
    }
    cursor.close();
    if (count !== ENTRIES || bytes !== DATA_BYTES) throw new Error(`scan: ${count} entries, ${bytes} bytes`);
  });
  const stats = engine.stats();
  if (!flags.json)
    console.log('engine:', stats.levels.map(({ files, bytes }) => `${files}/${Math.round(bytes / 1e6)}MB`).join(' '));
  await engine.close();
  return { fill, get, scan };
}

async function measureLevel(directory: string): Promise<Figures> {
  const level = new ClassicLevel<Uint8Array, Uint8Array>(directory, {
    keyEncoding: 'view',
    valueEncoding: 'view',
    cacheSize: CACHE_BYTES,
    writeBufferSize: BUFFER_BYTES,
  });
  await level.open();
  const fill = await perSecond(ENTRIES, async () => {
    for (let i = 0; i < ENTRIES; i += BATCH) {
      const batch = level.batch();
      const end = Math.min(ENTRIES, i + BATCH);
      for (let k = i; k < end; k++) batch.put(keys[k]!, values[k]!);
      await batch.write();
    }
  });
  await level.compactRange(new Uint8Array(0), Uint8Array.of(0xff));
  const get = await perSecond(ENTRIES, () => manyGets(ENTRIES, (i) => level.get(keys[i]!)));
  const scan = await perSecond(ENTRIES, async () => {
    let count = 0;
    const iterator = level.iterator();
    for (;;) {
      const entries = await iterator.nextv(1000);
      if (entries.length === 0) break;
      count += entries.length;
    }
    await iterator.close();
    if (count !== ENTRIES) throw new Error(`scan: ${count} entries`);
  });
  await level.close();
  return { fill, get, scan };
}

function median(figures: readonly number[]): number {
  return [...figures].sort((a, b) => a - b)[Math.floor(figures.length / 2)]!;
}

const engineRounds: Figures[] = [];
const levelRounds: Figures[] = [];
for (let round = 0; round < Number(flags.rounds); round++) {
  const directory = await mkdtemp(join(tmpdir(), 'cairn-bench-engine-'));
  try {
    engineRounds.push(await measureEngine(`${directory}/engine`));
    if (flags.peer) levelRounds.push(await measureLevel(`${directory}/level`));
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
await executor.close();
const result = (['fill', 'get', 'scan'] as const).map((name) => {
  const engine = Math.round(median(engineRounds.map((figures) => figures[name])));
  const level = flags.peer ? Math.round(median(levelRounds.map((figures) => figures[name]))) : null;
  return { name, engine, level, ratio: level === null ? null : Number((engine / level).toFixed(2)) };
});
if (flags.json) console.log(JSON.stringify({ entries: ENTRIES, rounds: Number(flags.rounds), result }));
else console.table(result);
