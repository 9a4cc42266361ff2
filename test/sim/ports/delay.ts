import type { Prng } from '../../../src/base/prng.js';

/** How long something takes, in milliseconds. */
export type Delay =
  | { readonly kind: 'uniform'; readonly shortestMs: number; readonly longestMs: number }
  /** Mostly near the shortest, with a long tail. */
  | { readonly kind: 'exponential'; readonly shortestMs: number; readonly meanMs: number }
  /** Uniform but for rare spikes. */
  | {
      readonly kind: 'spiky';
      readonly shortestMs: number;
      readonly longestMs: number;
      readonly spikeProbability: number;
      readonly spikeMs: number;
    };

export function uniform(shortestMs: number, longestMs: number): Delay {
  return { kind: 'uniform', shortestMs, longestMs };
}

export function drawDelayMs(delay: Delay, prng: Prng): number {
  const { shortestMs } = delay;
  switch (delay.kind) {
    case 'uniform':
      return shortestMs + prng.unit() * (delay.longestMs - shortestMs);
    case 'exponential':
      return shortestMs - Math.log(1 - prng.unit()) * (delay.meanMs - shortestMs);
    case 'spiky':
      if (prng.chance(delay.spikeProbability)) return delay.spikeMs;
      return shortestMs + prng.unit() * (delay.longestMs - shortestMs);
  }
}
