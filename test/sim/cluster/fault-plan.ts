import type { Prng } from '../../../src/base/prng.js';
import type { Fault, Swarm } from './swarm.js';

/** One fault of a run. The plan is a list, so that a failing run shrinks by leaving some out. */
export interface PlannedFault {
  readonly number: number;
  readonly atMs: number;
  readonly fault: Fault;
  /** How long until it is undone: a restart, a heal, a resume. */
  readonly durationMs: number;
  /** Seeds what the fault hits: the same, whichever faults are left out. */
  readonly dice: number;
}

const SHORT_MS = 50;

/** What goes wrong in the first `durationMs` of a run, in order of time. Everything is undone by then. */
export function drawFaultPlan(prng: Prng, { faults, faultEveryMs }: Swarm, durationMs: number): PlannedFault[] {
  const kinds = [...faults];
  const plan: PlannedFault[] = [];
  if (kinds.length === 0) return plan;
  let atMs = 0;
  for (let number = 1; ; number++) {
    atMs += -Math.log(1 - prng.unit()) * faultEveryMs;
    const longestMs = durationMs - atMs;
    if (longestMs <= SHORT_MS) return plan;
    // Some within an election's time, most longer.
    const scaleMs = prng.pick([SHORT_MS, 500, 3000, 10_000]);
    const lastsMs = Math.min(longestMs, prng.unit() * scaleMs);
    plan.push({ number, atMs, fault: prng.pick(kinds), durationMs: lastsMs, dice: prng.uint32() });
  }
}
