import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Log } from '../../src/engine/log/log.js';
import { LogThreadWriter } from '../../src/platform/log-thread-writer.js';
import { NodeClock } from '../../src/platform/node-clock.js';
import { NodeDisk } from '../../src/platform/node-disk.js';
import { NodeRandom } from '../../src/platform/node-random.js';

/*
 * The log on its own: how long one synced entry takes, how many pass with several outstanding, how fast a full one is
 * recovered. `node dist/bench/micro/log.js [directory]`; the directory decides which disk is measured.
 */
const ENTRY_BYTES = 150;
const GROUPS = 64;

interface Counters {
  entries: number;
  writes: number;
  durationsMs: number[];
}

function percentile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
}

function report(name: string, valuesMs: number[], extra = ''): void {
  valuesMs.sort((a, b) => a - b);
  const [p50, p99] = [percentile(valuesMs, 0.5), percentile(valuesMs, 0.99)];
  console.log(`${name}: p50 ${p50.toFixed(3)} ms, p99 ${p99.toFixed(3)} ms${extra}`);
}

class Bench {
  readonly log: Log;
  readonly counters: Counters = { entries: 0, writes: 0, durationsMs: [] };
  recovered = 0;
  readonly recoveryMs: number;
  onDurable: (sequence: number) => void = () => undefined;
  #index = 0;

  constructor(directory: string) {
    const startedMs = performance.now();
    this.log = Log.open(
      {
        directory,
        disk: new NodeDisk(),
        clock: new NodeClock(),
        random: new NodeRandom(),
        writer: new LogThreadWriter(),
        onDurable: (sequence) => this.onDurable(sequence),
        onFatal: (error) => {
          throw error;
        },
        onWrite: (durationMs) => {
          this.counters.writes++;
          this.counters.durationsMs.push(durationMs);
        },
      },
      { entry: () => this.recovered++, hardState: () => undefined },
    );
    this.recoveryMs = performance.now() - startedMs;
  }

  append(): boolean {
    const index = ++this.#index;
    const group = index % GROUPS;
    const at = this.log.reserveEntry(group, group, 1, index, 1e12 + index, 1, ENTRY_BYTES);
    if (at < 0) return false;
    this.log.bytes.fill(index & 0xff, at, at + ENTRY_BYTES);
    this.counters.entries++;
    return true;
  }

  /** One entry after the other. */
  single(durationMs: number): Promise<number[]> {
    return new Promise((resolve) => {
      const latencies: number[] = [];
      const endMs = performance.now() + durationMs;
      let startedMs = 0;
      const next = (): void => {
        if (performance.now() >= endMs) return resolve(latencies);
        startedMs = performance.now();
        this.append();
        this.log.seal();
      };
      this.onDurable = (sequence) => {
        latencies.push(performance.now() - startedMs);
        this.log.release(sequence);
        setImmediate(next);
      };
      next();
    });
  }

  /** So many entries are always on their way: each is replaced when it is durable, as one client each would. */
  outstanding(count: number, durationMs: number): Promise<{ entries: number; elapsedMs: number; latencies: number[] }> {
    return new Promise((resolve) => {
      const latencies: number[] = [];
      const waiting: { sequence: number; count: number; atMs: number }[] = [];
      const startedMs = performance.now();
      let entries = 0;
      let refill = count;
      const next = (): void => {
        const nowMs = performance.now();
        if (nowMs - startedMs >= durationMs) return resolve({ entries, elapsedMs: nowMs - startedMs, latencies });
        let appended = 0;
        while (refill > 0 && this.append()) {
          refill--;
          appended++;
        }
        if (appended > 0) waiting.push({ sequence: this.log.seal(), count: appended, atMs: nowMs });
        else if (refill > 0) setImmediate(next);
      };
      this.onDurable = (sequence) => {
        const nowMs = performance.now();
        while (waiting.length > 0 && waiting[0]!.sequence <= sequence) {
          const batch = waiting.shift()!;
          entries += batch.count;
          refill += batch.count;
          latencies.push(nowMs - batch.atMs);
        }
        this.log.release(sequence);
        setImmediate(next);
      };
      next();
    });
  }
}

const directory = mkdtempSync(join(process.argv[2] ?? tmpdir(), 'cairn-log-bench-'));
try {
  const bench = new Bench(join(directory, 'log'));
  // The first spare is made meanwhile.
  await new Promise((resolve) => setTimeout(resolve, 1000));
  report('single, until the main thread knows', await bench.single(2000));
  report('single, the write itself', bench.counters.durationsMs);
  for (const count of [64, 1024, 16384]) {
    bench.counters.durationsMs = [];
    const writesBefore = bench.counters.writes;
    const result = await bench.outstanding(count, 2000);
    const perSecond = Math.round((result.entries / result.elapsedMs) * 1000);
    const writes = bench.counters.writes - writesBefore;
    const extra = `, ${perSecond} entries/s, ${(result.entries / writes).toFixed(1)} a write`;
    report(`${count} outstanding`, result.latencies, extra);
    await bench.log.releaseBefore(() => Infinity);
  }
  const { entries, writtenBytes } = bench.log.statistics;
  console.log(`${entries} entries, ${(writtenBytes / 1e6).toFixed(0)} MB written`);
  let filled = 0;
  while (filled < 600_000) {
    const taken = bench.append();
    if (taken) filled++;
    if (taken && filled % 1000 !== 0) continue;
    await bench.log.whenDurable(bench.log.seal());
    bench.log.release(bench.log.durableSequence);
    if (bench.log.admission !== 'open') await new Promise((resolve) => setTimeout(resolve, 20));
  }
  await bench.log.close();
  const again = new Bench(join(directory, 'log'));
  console.log(`recovery of ${again.recovered} entries: ${again.recoveryMs.toFixed(0)} ms`);
  await again.log.close();
} finally {
  rmSync(directory, { recursive: true, force: true });
}
