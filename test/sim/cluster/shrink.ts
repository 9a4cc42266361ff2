import type { PlannedFault } from './fault-plan.js';
import { FAULTS_MS, runCluster, type RunResult } from './run.js';

export interface Shrunk {
  /** The smallest failing run that was found. */
  readonly result: RunResult;
  readonly only: ReadonlySet<number>;
  readonly untilMs: number;
  readonly runs: number;
}

/**
 * Looks for fewer faults and a shorter time with which the seed still fails, in any way, until `deadline` says stop. The clients do
 * the same all the time, so what is left out changes what follows: each try is a run.
 */
export async function shrink(failed: RunResult, isOver: () => boolean): Promise<Shrunk> {
  let best = failed;
  let untilMs = FAULTS_MS;
  let runs = 0;
  const { seed } = failed;
  const attempt = async (plan: readonly PlannedFault[], until: number): Promise<boolean> => {
    runs++;
    const result = await runCluster({ seed, only: numbers(plan), untilMs: until });
    if (result.failure === null) return false;
    best = result;
    untilMs = until;
    return true;
  };
  // What came after the violation had no part in it, unless it was found at the end only.
  for (const share of [0.1, 0.25, 0.5, 0.75]) {
    if (isOver() || (await attempt(best.plan, FAULTS_MS * share))) break;
  }
  if (best.plan.length > 0 && !isOver()) await attempt([], untilMs);
  for (
    let size = Math.ceil(best.plan.length / 2);
    size >= 1 && !isOver();
    size = size === 1 ? 0 : Math.ceil(size / 2)
  ) {
    for (let from = 0; from < best.plan.length && !isOver();) {
      const without = [...best.plan.slice(0, from), ...best.plan.slice(from + size)];
      if (!(await attempt(without, untilMs))) from += size;
    }
  }
  return { result: best, only: numbers(best.plan), untilMs, runs };
}

function numbers(plan: readonly PlannedFault[]): Set<number> {
  return new Set(plan.map(({ number }) => number));
}
