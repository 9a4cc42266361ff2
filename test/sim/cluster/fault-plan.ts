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
/** Some within an election's time, most longer. */
const SCALES_MS = [SHORT_MS, 500, 3000, 10_000];
/** When faults come so often, long ones would leave nobody to talk to. */
const OFTEN_MS = 200;
const SCALES_OF_MANY_MS = [SHORT_MS, 200, 1000];

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
    const scaleMs = prng.pick(faultEveryMs < OFTEN_MS ? SCALES_OF_MANY_MS : SCALES_MS);
    const lastsMs = Math.min(longestMs, prng.unit() * scaleMs);
    plan.push({ number, atMs, fault: prng.pick(kinds), durationMs: lastsMs, dice: prng.uint32() });
  }
}
