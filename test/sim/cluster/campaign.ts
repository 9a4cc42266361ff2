import { Reached } from './reached.js';
import { runCluster, type RunResult } from './run.js';

/** A campaign that is long enough and did not meet all of these shows little, so it fails. */
export const MUST_REACH = [
  'elections',
  'leaders stepped down',
  'logs recovered',
  'logs truncated',
  'uncommitted tails recovered',
  'entries read back from segments',
  'logs compacted',
  'groups damaged',
  'groups repaired',
  'repairs ended by an answer',
  'starts refused for a lost vote',
  'tables flushed',
  'killed while running',
  'killed while starting',
  'ended by an error of the disk',
  'get found',
  'get absent',
  'stale get found',
  'stale gets of old data',
  'put written',
  'put conflict',
  'put unknown',
  'delete deleted',
  'delete conflict',
  'batches',
  'scans',
  'scans of the past',
  'instants',
  'instants given up',
  'frames sent',
  'connections lost',
  'connections refused',
  'messages to full queues',
  'requests refused',
  'requests of unknown outcome',
  'bulk streams broken',
  'calls forwarded',
  'calls tried again',
  'fault break-connections',
  'fault half-open',
  'fault narrow-link',
  'fault flipped-frame',
  'fault kill',
  'fault power-loss',
  'fault all-power-loss',
  'fault pause',
  'fault split',
  'fault one-way-cut',
  'fault bridge',
  'fault isolate-leader',
  'fault packet-loss',
  'fault slow-link',
  'fault slow-log',
  'fault clock-jump',
  'fault clock-drift',
  'fault disk-full',
  'fault flipped-disk-byte',
  'fault disk-error',
  'fault leader-transfer',
] as const;
/** So many seeds reach everything. */
const LONG_ENOUGH = 100;
/** Of the calls that clients made; the rest was refused or timed out. */
const LEAST_ANSWERED_SHARE = 0.3;

export class Totals {
  readonly reached = new Reached(MUST_REACH);
  seeds = 0;
  operations = 0;
  answered = 0;
  virtualMs = 0;

  add({ reached, operations, answered, virtualMs }: RunResult): void {
    this.seeds++;
    this.operations += operations;
    this.answered += answered;
    this.virtualMs += virtualMs;
    this.reached.add(reached);
  }

  /** What makes these runs worth little, or null. */
  get shortfall(): string | null {
    if (this.seeds < LONG_ENOUGH) return null;
    const missing = this.reached.missing();
    if (missing.length > 0) return `never reached: ${missing.join(', ')}`;
    if (this.answered < this.operations * LEAST_ANSWERED_SHARE) {
      return `only ${this.answered} of ${this.operations} operations were answered`;
    }
    return null;
  }
}

/** Runs seeds in their order until one fails, all are done or `isOver`. */
export async function campaign(
  seeds: { readonly first: number; readonly count: number },
  totals: Totals,
  isOver: () => boolean,
  onSeed: (result: RunResult) => void,
): Promise<RunResult | null> {
  for (let seed = seeds.first; seed < seeds.first + seeds.count && !isOver(); seed++) {
    const result = await runCluster({ seed });
    totals.add(result);
    onSeed(result);
    if (result.failure !== null) return result;
  }
  return null;
}
