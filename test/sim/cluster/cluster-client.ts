import type { Condition, Outcome } from '../checkers/operation.js';
import type { ScanItem } from '../checkers/scan.js';

export interface BatchEntry {
  readonly key: string;
  readonly value: string;
}

export interface ScanRange {
  readonly startKey: string;
  /** Null for no end. */
  readonly endKey: string | null;
  /** A revision to read at; null for an instant that the cluster chooses. */
  readonly at: number | null;
  /** Items a page. */
  readonly pageLimit: number;
}

export type ScanOutcome =
  /**
   * All pages were read at one revision. `coveredTo` is where the pages that came end, exclusive, when later ones failed;
   * the range's own end else.
   */
  | {
      readonly kind: 'snapshot';
      readonly at: number;
      readonly items: readonly ScanItem[];
      readonly coveredTo: string | null;
    }
  | { readonly kind: 'failed' };

export type StaleOutcome =
  | {
      readonly kind: 'found';
      readonly value: string;
      readonly revision: number;
      readonly stalenessMs: number;
    }
  | { readonly kind: 'absent'; readonly stalenessMs: number }
  | { readonly kind: 'failed' };

/**
 * One client of a cluster, whatever drives that: a simulation or real processes. It never rejects: an error is the outcome
 * 'failed' when the operation certainly did not take place, and 'unknown' in all other cases, a time-out among them.
 */
export interface ClusterClient {
  put(key: string, value: string, condition: Condition | null, ttlSeconds?: number): Promise<Outcome>;
  delete(key: string, condition: Condition | null): Promise<Outcome>;
  get(key: string): Promise<Outcome>;
  /** A read that may lag. */
  staleGet(key: string): Promise<StaleOutcome>;
  /** The outcome of each entry, in their order. */
  batch(entries: readonly BatchEntry[]): Promise<readonly Outcome[]>;
  scan(range: ScanRange): Promise<ScanOutcome>;
}
