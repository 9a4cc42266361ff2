import { Memtable } from '../../lsm/memtable/memtable.js';

export interface PrepareArenaInput {
  readonly buffer: SharedArrayBuffer;
  /** True for one that held a memtable, which nobody reads any more; false for a new one. */
  readonly recycled: boolean;
}

/** Makes an arena ready for a memtable: page faults and zeroing cost the main thread up to 75 ms per 100 MB otherwise. */
export function prepareArena(input: PrepareArenaInput): null {
  if (input.recycled) Memtable.zero(input.buffer);
  else Memtable.prefault(input.buffer);
  return null;
}
