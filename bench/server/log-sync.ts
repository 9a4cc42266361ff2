import fs from 'node:fs';
import path from 'node:path';
import { xxHash32 } from '../../src/base/hash.js';
import type { EngineJobs } from '../../src/engine/jobs/jobs.js';
import { Log } from '../../src/engine/log/log.js';
import { Memtable } from '../../src/lsm/memtable/memtable.js';
import { LogThreadWriter } from '../../src/platform/log-thread-writer.js';
import { NodeClock } from '../../src/platform/node-clock.js';
import { NodeDisk } from '../../src/platform/node-disk.js';
import { NodeRandom } from '../../src/platform/node-random.js';
import { PiscinaExecutor } from '../../src/platform/piscina-executor.js';
import type { Bench, Figure, Row } from '../runner/row.js';
import { interleave, median, ratioFigure } from '../runner/statistics.js';

const ENTRY_BYTES = 150;
const BACKGROUND_THREADS = 1;
const REPLICA = 1;
const MEMTABLE_BYTES = 32 << 20;
const SPARE_SEGMENT_MS = 1000;

/** The node's log and its thread, with one entry at a time: sealed, written, synced, heard of on this thread. */
class SingleWrites {
  readonly #log: Log;
  #onDurable: (sequence: number) => void = () => {};
  #index = 0;

  constructor(directory: string) {
    const options = {
      directory,
      disk: new NodeDisk(),
      clock: new NodeClock(),
      random: new NodeRandom(),
      writer: new LogThreadWriter(),
      onDurable: (sequence: number) => this.#onDurable(sequence),
      onFatal: (error: Error) => {
        throw error;
      },
    };
    this.#log = Log.open(options, { entry: () => {}, hardState: () => {} });
  }

  /** Median time of a synced write in milliseconds. */
  async p50Ms(seconds: number): Promise<number> {
    const latencies: number[] = [];
    const end = performance.now() + seconds * 1000;
    while (performance.now() < end) {
      const at = this.#log.reserveEntry(REPLICA, REPLICA, 1, ++this.#index, 1e12 + this.#index, 1, ENTRY_BYTES);
      if (at < 0) throw new Error('expected room for one entry in the log, found none');
      this.#log.bytes.fill(1, at, at + ENTRY_BYTES);
      const start = performance.now();
      const sequence = await new Promise<number>((resolve) => {
        this.#onDurable = resolve;
        this.#log.seal();
      });
      latencies.push(performance.now() - start);
      this.#log.release(sequence);
    }
    return median(latencies);
  }

  async close(): Promise<void> {
    await this.#log.close();
  }
}

/** Keeps every worker at the flush of a memtable until told to stop. */
function keepWorkersBusy(
  executor: PiscinaExecutor<EngineJobs>,
  buffer: SharedArrayBuffer,
  folder: string,
): { stop: () => Promise<number> } {
  let running = true;
  let flushes = 0;
  const flush = async (worker: number): Promise<void> => {
    const file = path.join(folder, `${worker}.table`);
    while (running) {
      const input = { buffer, fileNumber: worker + 1, path: file, table: {}, floor: 0, liveReplicas: [REPLICA] };
      const { table } = await executor.run('flush', input, worker === 0 ? 'urgent' : 'background');
      if (table === null) throw new Error('expected a table from the flush, found none');
      fs.rmSync(file);
      flushes++;
    }
  };
  const workers = Promise.all(Array.from({ length: 1 + BACKGROUND_THREADS }, (_, worker) => flush(worker)));
  return {
    async stop() {
      running = false;
      await workers;
      return flushes;
    },
  };
}

function fullMemtable(): Memtable {
  const memtable = Memtable.create(MEMTABLE_BYTES);
  const record = new Uint8Array(101).fill(0x61);
  record[0] = 0;
  for (let i = 0; ; i++) {
    const key = Buffer.from(`user:${String(i).padStart(11, '0')}`);
    const hash = xxHash32(key, 0, key.length);
    if (!memtable.insert(REPLICA, key, 0, key.length, hash, 1e12 + i, record, 0, record.length)) break;
  }
  memtable.freeze();
  return memtable;
}

async function run({ folder, rounds, seconds, say }: Bench): Promise<readonly Figure[]> {
  const { buffer } = fullMemtable();
  const executor = new PiscinaExecutor<EngineJobs>({
    workerUrl: new URL('../../workers/lsm-worker.js', import.meta.url),
    backgroundThreads: BACKGROUND_THREADS,
  });
  const log = new SingleWrites(path.join(folder, 'log'));
  await new Promise((resolve) => setTimeout(resolve, SPARE_SEGMENT_MS));
  const microseconds = async (duration: number): Promise<number> => (await log.p50Ms(duration)) * 1000;
  const [rest = [], busy = []] = await interleave(
    rounds,
    seconds,
    [
      { name: 'synced log write p50 at rest, us', run: microseconds },
      {
        name: 'synced log write p50, workers busy, us',
        run: async (duration) => {
          const workers = keepWorkersBusy(executor, buffer, folder);
          const p50 = await microseconds(duration);
          const flushes = await workers.stop();
          say(`${flushes} flushes of ${MEMTABLE_BYTES >> 20} MB on ${1 + BACKGROUND_THREADS} workers meanwhile`);
          return p50;
        },
      },
    ],
    say,
  );
  await log.close();
  await executor.close();
  return [
    ratioFigure(
      'log-sync-busy',
      'synced log write p50, every worker busy with flushes',
      { reach: 2, aim: 1.2, better: 'lower' },
      { name: 'busy', unit: 'us', rounds: busy },
      { name: 'at rest', unit: 'us', rounds: rest },
    ),
  ];
}

export const logSync: Row = { name: 'log-sync', title: 'synced log write at rest and with every worker busy', run };
