import { copyBytes } from '../base/bytes.js';
import type { Engine } from '../engine/engine.js';
import type { UserKeyMerge } from '../lsm/cursors/user-key-merge.js';
import type { Revision } from '../lsm/row-key.js';
import type { Clock } from '../ports/clock.js';
import type { Group } from '../replica/group.js';
import type { Scan, ScanItem, ScanOptions } from './service.js';
import { storedVersion } from './stored-version.js';

const EMPTY = new Uint8Array(0);
/** A page gives the loop back after this; big pages are read in slices. */
const SLICE_MS = 4;
const ITEMS_PER_CLOCK_READ = 64;

export interface NodeScanOptions {
  readonly engine: Engine;
  readonly clock: Clock;
  readonly groups: readonly Group[];
  readonly scan: ScanOptions;
  /** The instant that the scan sees; pinned by the caller until `onClose`. */
  readonly revision: Revision;
  readonly onClose: () => void;
}

/** A scan over the node's groups: one visible cursor a replica, merged by user key. */
export class NodeScan implements Scan {
  readonly revision: Revision;
  done = false;
  readonly #clock: Clock;
  readonly #cursor: UserKeyMerge;
  readonly #reverse: boolean;
  readonly #keysOnly: boolean;
  readonly #onClose: () => void;
  #started = false;
  #closed = false;

  constructor(options: NodeScanOptions) {
    const { startKey, endKey, reverse, keysOnly } = options.scan;
    this.revision = options.revision;
    this.#clock = options.clock;
    this.#reverse = reverse;
    this.#keysOnly = keysOnly;
    this.#onClose = options.onClose;
    const replicaIds = options.groups.map((group) => group.replicaId);
    this.#cursor = options.engine.scan({ replicaIds, startKey, endKey, at: options.revision });
  }

  async next(limit: number, maxBytes: number): Promise<ScanItem[]> {
    const items: ScanItem[] = [];
    let bytes = 0;
    let sliceStartMs = this.#clock.monotonicMs();
    const cursor = this.#cursor;
    while (!this.done && !this.#closed && items.length < limit && (items.length === 0 || bytes < maxBytes)) {
      if (!this.#started) {
        while (!(this.#reverse ? cursor.seekToLast() : cursor.seekToFirst())) await cursor.load();
        this.#started = true;
        this.done = !cursor.valid;
        continue;
      }
      const item = this.#item();
      items.push(item);
      bytes += item.key.length + item.value.length;
      while (!(this.#reverse ? cursor.previous() : cursor.next())) await cursor.load();
      this.done = !cursor.valid;
      if (items.length % ITEMS_PER_CLOCK_READ === 0 && this.#clock.monotonicMs() - sliceStartMs > SLICE_MS) {
        await new Promise<void>((resolve) => this.#clock.defer(resolve));
        sliceStartMs = this.#clock.monotonicMs();
      }
    }
    return items;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#cursor.close();
    this.#onClose();
  }

  #item(): ScanItem {
    const { key, keyStart, keyLength, value, valueStart, valueLength, revision } = this.#cursor;
    const ownKey = copyBytes(key, keyStart, keyLength);
    if (this.#keysOnly) return { key: ownKey, value: EMPTY, revision, expiresAtMs: 0, contentType: '' };
    const version = storedVersion(copyBytes(value, valueStart, valueLength), revision);
    return { key: ownKey, ...version };
  }
}
