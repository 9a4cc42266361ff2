import type { Cursor } from '../cursor.js';
import { Merge } from './merge.js';

/**
 * The versions of several cursors in one order. `children` are sorted newest source first; an entry (row key and revision)
 * that several hold, as after a replay, appears once, from the newest.
 */
export class MergingCursor extends Merge {
  constructor(children: readonly Cursor[]) {
    super(children, 0);
  }

  protected override childKey(key: Uint8Array): Uint8Array {
    return key;
  }
}
