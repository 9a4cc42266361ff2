import { isAbsentAt } from '../record.js';
import type { Revision } from '../row-key.js';

/**
 * Which versions of a row a merge may leave out. Feed the versions of one row newest first; `startRow` begins a row.
 *
 * - Versions above the floor all stay: a read, a pin or the history window may ask for them.
 * - Of the others only the newest can ever be seen again, by a read at or above the floor. It stays, except
 *   when it says "absent" at the floor (a tombstone, or expired by then: LSM rules 6 and 17) and nothing
 *   older can be in the tree for it to hide.
 * - Whatever is older than that one goes. It is below the deciding version, so it cannot be uncovered.
 * - A row of a dropped replica goes wholly.
 */
export class DropRules {
  readonly #floor: Revision;
  #dead = false;
  #olderMayExist = true;
  #decided = false;

  constructor(floor: Revision) {
    this.#floor = floor;
  }

  /** `olderMayExist`: whether a table outside of the merge may hold an older version of this row. */
  startRow(replicaIsLive: boolean, olderMayExist: boolean): void {
    this.#dead = !replicaIsLive;
    this.#olderMayExist = olderMayExist;
    this.#decided = false;
  }

  keeps(revision: Revision, record: Uint8Array, recordStart: number): boolean {
    if (this.#dead) return false;
    if (revision > this.#floor) return true;
    if (this.#decided) return false;
    this.#decided = true;
    return this.#olderMayExist || !isAbsentAt(record, recordStart, this.#floor);
  }
}
