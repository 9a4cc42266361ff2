/**
 * Names one membership of one replica in one group: `term * MEMBERS_PER_TERM + n`, where `term` is that of the configuration
 * entry that added it and `n` counts the members that this term's leader added. A term has one leader, so an id is
 * never given twice, also when the entry that gave it is truncated (its index would be used again).
 */
export type MemberId = number;

export const NO_MEMBER: MemberId = 0;
/** The ids 1, 2, 3... of term 0 belong to the members that a group is born with. */
export const MEMBERS_PER_TERM = 65_536;

export type EntryKind = 'normal' | 'noop' | 'config';

export interface Entry {
  readonly term: number;
  readonly index: number;
  readonly kind: EntryKind;
  /** Hybrid-logical timestamp below 2^53; ascends in a log. */
  readonly revision: number;
  /** A command, nothing, or an encoded configuration. */
  readonly data: Uint8Array;
}

/** What an entry costs beside its data, in memory and on the wire; it keeps many empty entries from being free. */
const ENTRY_OVERHEAD_BYTES = 32;

export function entryBytes(entry: Entry): number {
  return entry.data.length + ENTRY_OVERHEAD_BYTES;
}

export const NO_DATA: Uint8Array = new Uint8Array(0);
