import { build, type Histogram } from 'hdr-histogram-js';
import { messageOf } from './exit-code.js';
import type { LoadTarget } from './load-targets.js';

export interface LoadPlan {
  readonly op: 'get' | 'put' | 'mixed';
  readonly pipeline: number;
  readonly seconds: number;
  /** Requests a second over all connections, or 0 for a closed loop. */
  readonly rate: number;
  readonly keys: number;
  readonly value: Uint8Array;
  keyOf(i: number): string;
}

export interface LoadResult {
  readonly requests: number;
  readonly seconds: number;
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
  readonly maxMs: number;
  readonly errors: number;
  readonly firstError: string;
}

/** Between two looks at the clock of an open loop. */
const TICK_MS = 1;
/** An open loop that falls this far behind does not queue more: the rest counts as errors. */
const MAX_OUTSTANDING = 100_000;

class Load {
  readonly #plan: LoadPlan;
  readonly #targets: readonly LoadTarget[];
  readonly #micros: Histogram = build({ highestTrackableValue: 600_000_000, numberOfSignificantValueDigits: 3 });
  #started = 0;
  #errors = 0;
  #firstError = '';
  #outstanding = 0;

  constructor(plan: LoadPlan, targets: readonly LoadTarget[]) {
    this.#plan = plan;
    this.#targets = targets;
  }

  async closedLoop(endMs: number): Promise<void> {
    const worker = async (target: LoadTarget): Promise<void> => {
      while (performance.now() < endMs) await this.#one(target, performance.now());
    };
    await Promise.all(
      this.#targets.flatMap((target) => Array.from({ length: this.#plan.pipeline }, () => worker(target))),
    );
  }

  /** Latency counts from when a request was due, so that a stall of the node, or of this process, is seen. */
  async openLoop(startMs: number, endMs: number): Promise<void> {
    const periodMs = 1000 / this.#plan.rate;
    const running = new Set<Promise<void>>();
    for (let due = startMs; due < endMs;) {
      const nowMs = performance.now();
      for (; due <= nowMs && due < endMs; due += periodMs) {
        if (this.#outstanding >= MAX_OUTSTANDING) {
          this.#fail(new Error(`more than ${MAX_OUTSTANDING} requests are under way`));
          continue;
        }
        const request: Promise<void> = this.#one(this.#targets[this.#started % this.#targets.length]!, due).finally(
          () => running.delete(request),
        );
        running.add(request);
      }
      await new Promise((resolve) => setTimeout(resolve, TICK_MS));
    }
    await Promise.all(running);
  }

  result(seconds: number): LoadResult {
    const ms = (percent: number): number => this.#micros.getValueAtPercentile(percent) / 1000;
    const requests = this.#micros.totalCount;
    return {
      requests,
      seconds: Math.round(seconds * 1000) / 1000,
      perSecond: Math.round((requests - this.#errors) / seconds),
      p50Ms: ms(50),
      p99Ms: ms(99),
      p999Ms: ms(99.9),
      maxMs: this.#micros.maxValue / 1000,
      errors: this.#errors,
      firstError: this.#firstError,
    };
  }

  async #one(target: LoadTarget, dueMs: number): Promise<void> {
    const { op, keys, value } = this.#plan;
    const isPut = op === 'put' || (op === 'mixed' && this.#started % 10 === 9);
    // Spread over all keys without a generator of randomness: steps of a large odd number.
    const key = this.#plan.keyOf((this.#started++ * 7_919_993) % keys);
    this.#outstanding++;
    try {
      await (isPut ? target.put(key, value) : target.get(key));
    } catch (error) {
      this.#fail(error);
    }
    this.#outstanding--;
    this.#micros.recordValue(Math.max(1, Math.round((performance.now() - dueMs) * 1000)));
  }

  #fail(error: unknown): void {
    this.#errors++;
    if (this.#firstError === '') this.#firstError = messageOf(error);
  }
}

/** `onSecond` hears of each second that has passed. */
export async function runLoad(
  plan: LoadPlan,
  targets: readonly LoadTarget[],
  onSecond: (seconds: number) => void,
): Promise<LoadResult> {
  const load = new Load(plan, targets);
  const startMs = performance.now();
  const ticker = setInterval(() => onSecond(Math.floor((performance.now() - startMs) / 1000)), 1000);
  try {
    const endMs = startMs + plan.seconds * 1000;
    await (plan.rate > 0 ? load.openLoop(startMs, endMs) : load.closedLoop(endMs));
  } finally {
    clearInterval(ticker);
  }
  return load.result((performance.now() - startMs) / 1000);
}
