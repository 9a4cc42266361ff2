import type { Operation } from './operation.js';

export interface ScanItem {
  readonly key: string;
  readonly value: string;
  readonly revision: number;
}

/** A read of all keys of a range at one revision. All pages of one cursor are one scan, also when the last ones failed. */
export interface Scan {
  readonly id: number;
  readonly client: number;
  /** The first key of the range. A scan that its limit ended covers what it got to: its range ends there. */
  readonly startKey: string;
  /** The first key behind the range; null for none. */
  readonly endKey: string | null;
  /** The instant, as a revision. */
  readonly at: number;
  /** The cluster chose the instant, as one within the scan. False for a read at a revision that the client named. */
  readonly isLatest: boolean;
  /** In the order of the keys' bytes. */
  readonly items: readonly ScanItem[];
  readonly invoked: number;
  readonly returned: number;
}

export function compareKeys(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

export function isInRange(key: string, { startKey, endKey }: Pick<Scan, 'startKey' | 'endKey'>): boolean {
  return compareKeys(key, startKey) >= 0 && (endKey === null || compareKeys(key, endKey) < 0);
}

/** The scan as reads of single keys, for the linearizability checker. Only a scan of the latest state is one. */
export function looksOf(scan: Scan, keys: readonly string[], firstId: number): Operation[] {
  if (!scan.isLatest) return [];
  const { client, invoked, returned } = scan;
  const items = new Map(scan.items.map((item) => [item.key, item]));
  return keys
    .filter((key) => isInRange(key, scan))
    .map((key, i) => {
      const item = items.get(key);
      const base = { id: firstId + i, client, key, call: { kind: 'get' } as const, invoked, returned };
      if (item === undefined) return { ...base, outcome: { kind: 'absent' } };
      return { ...base, outcome: { kind: 'found', value: item.value, revision: item.revision } };
    });
}
