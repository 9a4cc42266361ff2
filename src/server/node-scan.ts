import { copyBytes, equalRanges } from '../base/bytes.js';
import type { Engine } from '../engine/engine.js';
import type { UserKeyMerge } from '../lsm/cursors/user-key-merge.js';
import type { Revision } from '../lsm/row-key.js';
import type { Clock, Timer } from '../ports/clock.js';
import type { Group } from '../replica/group.js';
import type { Scan, ScanItem, ScanOptions } from './service.js';
import { storedVersion } from './stored-version.js';

const EMPTY = new Uint8Array(0);
/** A page gives the loop back after this; big pages, and what no reader may see, are read in slices. */
const SLICE_MS = 4;
const ITEMS_PER_CLOCK_READ = 64;
/** A reader that has not come back after this is slow. */
const IDLE_MS = 1_000;
const OLDEST_CURSOR_MS = 5_000;

export interface NodeScanOptions {
  readonly engine: Pick<Engine, 'scan'>;
  readonly clock: Clock;
  readonly groups: readonly Group[];
  readonly scan: ScanOptions;
  /** The instant that the scan sees; pinned by the caller until `onClose`. */
  readonly revision: Revision;
  readonly onClose: () => void;
}

/**
 * A scan over the node's groups: one visible cursor a replica, merged by user key.
 *
 * A cursor keeps the memtables and the tables that were there when it was opened. A slow reader would keep 100 MB arenas from
 * being used again, each such reader others. So the cursor is given up when nobody asks for more, or when it is old, and
 * opened again behind the last key: what the revision shows stays the same, because the revision is pinned.
 */
export class NodeScan implements Scan {
  readonly revision: Revision;
  done = false;
  readonly #options: NodeScanOptions;
  readonly #clock: Clock;
  #cursor: UserKeyMerge | null = null;
  #openedMs = 0;
  /** Pages that are asked for one right after the other share slices. -1 before the first. */
  #sliceStartMs = -1;
  /** Of the last item that was given. */
  #lastKey: Uint8Array | null = null;
  #idle: Timer | null = null;
  #closed = false;

  constructor(options: NodeScanOptions) {
    this.revision = options.revision;
    this.#options = options;
    this.#clock = options.clock;
  }

  async next(limit: number, maxBytes: number): Promise<ScanItem[]> {
    const items: ScanItem[] = [];
    let bytes = 0;
    this.#idle?.cancel();
    if (this.#sliceStartMs === -1) this.#sliceStartMs = this.#clock.monotonicMs();
    else if (this.#isSliceOver()) await this.#rest();
    if (this.#sliceStartMs - this.#openedMs > OLDEST_CURSOR_MS) this.#giveUpCursor();
    const { reverse } = this.#options.scan;
    while (!this.done && !this.#closed && items.length < limit && (items.length === 0 || bytes < maxBytes)) {
      if (this.#cursor === null) {
        this.#cursor = this.#openCursor(this.#sliceStartMs);
        await this.#seek(this.#cursor);
        continue;
      }
      const cursor = this.#cursor;
      const item = this.#item(cursor);
      items.push(item);
      this.#lastKey = item.key;
      bytes += item.key.length + item.value.length;
      while (!(reverse ? cursor.previous() : cursor.next())) if (!(await this.#load(cursor))) return items;
      this.done = !cursor.valid;
      if (items.length % ITEMS_PER_CLOCK_READ === 0 && this.#isSliceOver()) await this.#rest();
    }
    if (this.done) this.#giveUpCursor();
    else if (!this.#closed) this.#idle = this.#clock.setTimer(IDLE_MS, () => this.#giveUpCursor());
    return items;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#idle?.cancel();
    this.#giveUpCursor();
    this.#options.onClose();
  }

  #openCursor(nowMs: number): UserKeyMerge {
    const { engine, groups, scan, revision } = this.#options;
    const lastKey = this.#lastKey;
    this.#openedMs = nowMs;
    return engine.scan({
      replicaIds: groups.map((group) => group.replicaId),
      startKey: lastKey === null || scan.reverse ? scan.startKey : lastKey,
      endKey: lastKey === null || !scan.reverse ? scan.endKey : lastKey,
      at: revision,
    });
  }

  /** To the first item that was not given yet. */
  async #seek(cursor: UserKeyMerge): Promise<void> {
    const { reverse } = this.#options.scan;
    while (!(reverse ? cursor.seekToLast() : cursor.seekToFirst())) if (!(await this.#load(cursor))) return;
    if (cursor.valid && !reverse && this.#isLastKey(cursor)) {
      while (!cursor.next()) if (!(await this.#load(cursor))) return;
    }
    this.done = !cursor.valid;
  }

  /** What the cursor's last call lacked: blocks, or a turn of the loop for others. False when the scan was closed meanwhile. */
  async #load(cursor: UserKeyMerge): Promise<boolean> {
    await cursor.load();
    if (this.#isSliceOver()) await this.#rest();
    return !this.#closed;
  }

  #isSliceOver(): boolean {
    return this.#clock.monotonicMs() - this.#sliceStartMs > SLICE_MS;
  }

  async #rest(): Promise<void> {
    await new Promise<void>((resolve) => this.#clock.defer(resolve));
    this.#sliceStartMs = this.#clock.monotonicMs();
  }

  #isLastKey({ key, keyStart, keyLength }: UserKeyMerge): boolean {
    const lastKey = this.#lastKey;
    return lastKey !== null && lastKey.length === keyLength && equalRanges(key, keyStart, lastKey, 0, keyLength);
  }

  #giveUpCursor(): void {
    this.#cursor?.close();
    this.#cursor = null;
  }

  #item(cursor: UserKeyMerge): ScanItem {
    const { key, keyStart, keyLength, value, valueStart, valueLength, revision } = cursor;
    const ownKey = copyBytes(key, keyStart, keyLength);
    if (this.#options.scan.keysOnly) return { key: ownKey, value: EMPTY, revision, expiresAtMs: 0, contentType: '' };
    const version = storedVersion(copyBytes(value, valueStart, valueLength), revision);
    return { key: ownKey, ...version };
  }
}
