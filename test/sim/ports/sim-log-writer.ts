import { ControlArea, WORD_STOP } from '../../../src/engine/log/shared-area.js';
import { WriteLoop } from '../../../src/engine/log/write-loop.js';
import type { Clock } from '../../../src/ports/clock.js';
import type { SyncDisk } from '../../../src/ports/disk.js';
import type { LogWriter, LogWriterJob } from '../../../src/ports/log-writer.js';
import { PowerLoss } from './power-loss.js';

export interface SimLogWriterOptions {
  readonly disk: SyncDisk;
  readonly clock: Clock;
  /** How long a write takes, and as long again until the main thread hears of it. Called for each; 0.15 ms unless told. */
  readonly latencyMs?: () => number;
}

const STALL_RETRY_MS = 1000;

/**
 * The log's thread as timers over a simulated disk: production's write loop, one write each time a timer fires, so that more
 * records may be published while a write is under way. On a machine that was switched off it does nothing any more.
 */
export class SimLogWriter implements LogWriter {
  onProgress: () => void = () => undefined;
  onFailure: (error: Error) => void = () => undefined;
  readonly #options: SimLogWriterOptions;
  #loop: WriteLoop | null = null;
  #words: Int32Array = new Int32Array();
  #isBusy = false;
  #isOver = false;
  #stopped: (() => void) | null = null;

  constructor(options: SimLogWriterOptions) {
    this.#options = options;
  }

  start(job: LogWriterJob): void {
    const { disk, clock } = this.#options;
    this.#words = new ControlArea(job.control).words;
    this.#loop = new WriteLoop(
      job,
      disk,
      () => clock.monotonicMs(),
      () => {
        clock.setTimer(this.#latencyMs(), () => {
          if (!this.#isOver) this.onProgress();
        });
      },
    );
  }

  wake(): void {
    if (this.#isBusy || this.#isOver) return;
    this.#isBusy = true;
    this.#options.clock.setTimer(this.#latencyMs(), () => this.#step());
  }

  async stop(): Promise<void> {
    Atomics.store(this.#words, WORD_STOP, 1);
    if (this.#isOver) return;
    const stopped = new Promise<void>((resolve) => {
      this.#stopped = resolve;
    });
    this.wake();
    await stopped;
  }

  /** The thread dies: what it had not written stays unwritten. */
  kill(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.onFailure(new Error("the log's thread ended by itself, exit code 1"));
  }

  #latencyMs(): number {
    return this.#options.latencyMs?.() ?? 0.15;
  }

  #step(): void {
    if (this.#isOver) return;
    try {
      const step = this.#loop!.step();
      if (step !== 'written' && Atomics.load(this.#words, WORD_STOP) !== 0) {
        this.#loop!.close();
        this.#isOver = true;
        this.#stopped?.();
        return;
      }
      this.#isBusy = step !== 'idle';
      if (step === 'idle') return;
      const delayMs = step === 'stalled' ? STALL_RETRY_MS : this.#latencyMs();
      this.#options.clock.setTimer(delayMs, () => this.#step());
    } catch (error) {
      this.#isOver = true;
      if (error instanceof PowerLoss) return;
      this.onFailure(error instanceof Error ? error : new Error(String(error)));
      this.#stopped?.();
    }
  }
}
