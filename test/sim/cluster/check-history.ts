import { checkDurability, type FinalValue } from '../checkers/durability.js';
import { expiriesOf } from '../checkers/expiries.js';
import { checkLinearizable } from '../checkers/linearizability.js';
import { checkScans } from '../checkers/scan-consistency.js';
import { looksOf } from '../checkers/scan.js';
import { checkStaleReads, provenBy } from '../checkers/stale-reads.js';
import type { ClientHistory } from './client-history.js';

/** A promise to users was broken. */
export class HistoryViolation extends Error {
  override readonly name = 'HistoryViolation';
  readonly promise: 'linearizability' | 'scan' | 'durability' | 'staleness';

  constructor(promise: HistoryViolation['promise'], message: string) {
    super(`${promise}: ${message}`);
    this.promise = promise;
  }
}

/** Scans have ids of their own; their looks at single keys get ones that no operation has. */
const LOOKS_OF_SCAN = 1_000_000;

/**
 * Throws a `HistoryViolation` for the first promise that the history breaks. `final` is what was read of each key at the end,
 * once all was healed and quiet; undefined when the run did not get there. `clockSlack`: as in `checkStaleReads`.
 */
export function checkHistory(
  history: ClientHistory,
  final: ReadonlyMap<string, FinalValue | null> | undefined,
  clockSlack = 1,
): void {
  const { scans, staleReads, keys } = history;
  const all = [...history.operations, ...expiriesOf(history.operations, history.shown)];
  const lag = checkStaleReads(all, staleReads, clockSlack);
  if (lag !== null) throw new HistoryViolation('staleness', lag.message);
  const operations = provenBy(staleReads, all);
  // The simple, fast ones first: their messages are the clearer ones.
  if (final !== undefined) {
    const [lost] = checkDurability(operations, final);
    if (lost !== undefined) throw new HistoryViolation('durability', lost.message);
  }
  const torn = checkScans(operations, scans);
  if (torn !== null) throw new HistoryViolation('scan', `${torn.rule}: ${torn.message}`);
  const looks = scans.flatMap((scan) => looksOf(scan, keys, scan.id * LOOKS_OF_SCAN));
  const disorder = checkLinearizable([...operations, ...looks]);
  if (disorder !== null) throw new HistoryViolation('linearizability', disorder.message);
}
