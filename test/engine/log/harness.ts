import { Prng } from '../../../src/base/prng.js';
import { Log } from '../../../src/engine/log/log.js';
import type { LogOptions } from '../../../src/engine/log/log-options.js';
import type { Clock } from '../../../src/ports/clock.js';
import { Scheduler } from '../../sim/ports/scheduler.js';
import { SimClock } from '../../sim/ports/sim-clock.js';
import { SimDisk, type SimDiskOptions } from '../../sim/ports/sim-disk.js';
import { SimLogWriter } from '../../sim/ports/sim-log-writer.js';
import { SimRandom } from '../../sim/ports/sim-random.js';

export const DIRECTORY = '/data/log';

export interface RecoveredEntry {
  readonly group: number;
  readonly replicaId: number;
  readonly term: number;
  readonly index: number;
  readonly revision: number;
  readonly kind: number;
  readonly payload: Uint8Array;
}

export interface RecoveredHardState {
  readonly group: number;
  readonly replicaId: number;
  readonly term: number;
  readonly vote: number;
  readonly commit: number;
}

/** One process over a simulated disk. */
export interface Life {
  readonly log: Log;
  readonly writer: SimLogWriter;
  readonly clock: SimClock;
  readonly entries: RecoveredEntry[];
  readonly hardStates: RecoveredHardState[];
  readonly durable: () => number;
  readonly failures: Error[];
  readonly warnings: string[];
}

export class World {
  readonly prng: Prng;
  readonly scheduler: Scheduler;
  disk: SimDisk;

  constructor(seed: number, disk: Partial<SimDiskOptions> = {}) {
    this.prng = new Prng(seed);
    this.scheduler = new Scheduler(this.prng);
    this.disk = new SimDisk({ prng: this.prng.fork(), scheduler: this.scheduler, ...disk });
    this.disk.blocking.makeDirectory('/data');
    this.disk.blocking.syncDirectory('/');
  }

  /** Small segments and a small ring unless told. Throws what recovery throws. */
  start(options: Partial<LogOptions> = {}): Life {
    const entries: RecoveredEntry[] = [];
    const hardStates: RecoveredHardState[] = [];
    const failures: Error[] = [];
    const warnings: string[] = [];
    let durable = 0;
    const clock = new SimClock(this.scheduler);
    const writer = this.writer(clock);
    const log = Log.open(
      {
        directory: DIRECTORY,
        disk: this.disk,
        clock,
        random: new SimRandom(this.prng.uint32()),
        writer,
        maxEntryBytes: 1000,
        segmentBytes: 8192,
        ringBytes: 8192,
        onDurable: (sequence) => {
          durable = sequence;
        },
        onFatal: (error) => failures.push(error),
        onWarning: (message) => warnings.push(message),
        ...options,
      },
      {
        entry: (group, replicaId, term, index, revision, kind, bytes, start, length) => {
          const payload = bytes.slice(start, start + length);
          entries.push({ group, replicaId, term, index, revision, kind, payload });
        },
        hardState: (group, replicaId, term, vote, commit) => {
          hardStates.push({ group, replicaId, term, vote, commit });
        },
      },
    );
    return { log, writer, clock, entries, hardStates, durable: () => durable, failures, warnings };
  }

  writer(clock: Clock): SimLogWriter {
    const latency = this.prng.fork();
    return new SimLogWriter({ disk: this.disk.blocking, clock, latencyMs: () => latency.unit() });
  }

  /** The machine stops now; what the disk then holds is what the next start finds. */
  crash(): void {
    this.disk = this.disk.crash(this.prng);
  }

  /** The process is killed, the page cache stays. */
  kill(): void {
    this.disk = this.disk.processExit();
  }

  async durably(life: Life): Promise<number> {
    const sequence = life.log.seal();
    await this.scheduler.run(life.log.whenDurable(sequence));
    return sequence;
  }

  close(life: Life): Promise<void> {
    return this.scheduler.run(life.log.close());
  }

  /** Lets spares be made and segments be given back. */
  async settle(): Promise<void> {
    await this.scheduler.runFor(500);
  }
}

/** Appends an entry whose payload is `length` times the same byte; false when it was refused. */
export function append(log: Log, replicaId: number, index: number, length = 100, group = replicaId): boolean {
  const at = log.reserveEntry(group, replicaId, 1, index, 1000 + index, 1, length);
  if (at < 0) return false;
  log.bytes.fill(index & 0xff, at, at + length);
  return true;
}

export function indexes(entries: readonly RecoveredEntry[]): number[] {
  return entries.map((entry) => entry.index);
}

export function readFile(disk: SimDisk, path: string): Uint8Array {
  const file = disk.blocking.open(path, 'read');
  const bytes = new Uint8Array(file.size());
  file.read(bytes, 0);
  file.close();
  return bytes;
}

export function writeFile(disk: SimDisk, path: string, bytes: Uint8Array): void {
  if (disk.blocking.exists(path)) disk.blocking.remove(path);
  const file = disk.blocking.open(path, 'create');
  file.write(bytes, 0);
  file.sync();
  file.close();
  disk.blocking.syncDirectory(DIRECTORY);
}

/** So many seeds, or CAIRN_TEST_SEEDS, from CAIRN_TEST_FIRST_SEED or 1 on. */
export function testSeeds(count: number): number[] {
  const first = Number(process.env['CAIRN_TEST_FIRST_SEED'] ?? 1);
  return Array.from({ length: Number(process.env['CAIRN_TEST_SEEDS'] ?? count) }, (_, i) => first + i);
}
