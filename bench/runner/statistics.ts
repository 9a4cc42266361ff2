import type { Bar, Figure, Series } from './row.js';

export function median(values: readonly number[]): number {
  if (values.length === 0) throw new Error('expected at least one value, found none');
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

/** The median of ours over the median of the reference. */
export function ratioFigure(name: string, title: string, bar: Bar, ours: Series, reference: Series): Figure {
  const value = median(ours.rounds) / median(reference.rounds);
  return { name, title, against: reference.name, value, unit: 'x', bar, ours, reference };
}

/** 'aim', 'reach' or 'short': the best bar that the value clears. */
export function verdict({ value, bar }: Pick<Figure, 'value' | 'bar'>): 'aim' | 'reach' | 'short' {
  const clears = (limit: number): boolean => (bar.better === 'higher' ? value >= limit : value <= limit);
  return clears(bar.aim) ? 'aim' : clears(bar.reach) ? 'reach' : 'short';
}

export interface Contestant {
  readonly name: string;
  /** One round; resolves to the number that counts. */
  readonly run: (seconds: number) => Promise<number>;
}

/**
 * Rounds of all contestants in turn, after one short round each to warm up, so that whatever else the machine does
 * falls on all of them alike. Returns one array per contestant, in their order.
 */
export async function interleave(
  rounds: number,
  seconds: number,
  contestants: readonly Contestant[],
  say: (text: string) => void,
): Promise<number[][]> {
  for (const { run } of contestants) await run(Math.min(seconds, 2));
  const results: number[][] = contestants.map(() => []);
  for (let round = 0; round < rounds; round++) {
    for (const [index, { name, run }] of contestants.entries()) {
      const value = await run(seconds);
      results[index]?.push(value);
      say(`${name}: ${Math.round(value).toLocaleString('en')} (round ${round + 1} of ${rounds})`);
    }
  }
  return results;
}
