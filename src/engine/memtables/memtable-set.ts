import { assert } from '../../base/assert.js';
import { Memtable } from '../../lsm/memtable/memtable.js';
import type { CapturedState } from '../engine-options.js';
import { hasRoom, sizeFor } from './memtable-room.js';

/** A memtable and who still reads it. Its arena is used again when nobody does. */
export interface HeldMemtable {
  readonly memtable: Memtable;
  pins: number;
  /** What it covers, set when it is frozen. */
  captured: CapturedState | null;
}

/**
 * The active memtable and the frozen ones that are not in tables yet, oldest first. One arena is kept ready for the next
 * rotation, so that neither page faults nor zeroing fall on the main thread.
 */
export class MemtableSet {
  readonly #sizeBytes: number;
  readonly #prepareArena: (buffer: SharedArrayBuffer, recycled: boolean) => Promise<void>;
  #active: HeldMemtable;
  readonly #frozen: HeldMemtable[] = [];
  #spare: SharedArrayBuffer | null = null;
  #preparing = false;

  constructor(sizeBytes: number, prepareArena: (buffer: SharedArrayBuffer, recycled: boolean) => Promise<void>) {
    this.#sizeBytes = sizeBytes;
    this.#prepareArena = prepareArena;
    this.#active = { memtable: Memtable.create(sizeBytes), pins: 1, captured: null };
  }

  get active(): HeldMemtable {
    return this.#active;
  }

  /** Oldest first. */
  get frozen(): readonly HeldMemtable[] {
    return this.#frozen;
  }

  /** How full the active memtable is, 0 to 1. */
  get fill(): number {
    const { memtable } = this.#active;
    const free = memtable.arena.freeWords;
    return 1 - free / (free + memtable.arena.usedWords);
  }

  /** Less than a tenth is left, so the next rotation is near. */
  get nearlyFull(): boolean {
    return !hasRoom(this.#active.memtable, this.#sizeBytes / 10, 1);
  }

  hasRoom(bytes: number, count: number): boolean {
    return hasRoom(this.#active.memtable, bytes, count);
  }

  /** Freezes the active memtable and starts one that has room for the coming inserts. */
  rotate(captured: CapturedState, bytes: number, count: number): HeldMemtable {
    const full = this.#active;
    full.memtable.freeze();
    full.captured = captured;
    this.#frozen.push(full);
    this.#active = { memtable: this.#newMemtable(sizeFor(bytes, count)), pins: 1, captured: null };
    return full;
  }

  /** The oldest frozen memtable is in the tables. */
  removeOldest(held: HeldMemtable): void {
    assert(this.#frozen[0] === held, 'memtables are flushed in the order in which they were filled');
    this.#frozen.shift();
    this.unpin(held);
  }

  pin(held: HeldMemtable): void {
    held.pins++;
  }

  unpin(held: HeldMemtable): void {
    assert(held.pins > 0, 'a memtable is unpinned more often than pinned');
    if (--held.pins === 0) this.#recycle(held.memtable.buffer);
  }

  /** Gets an arena ready ahead of need; called when the active memtable fills. */
  prepareSpare(): void {
    if (this.#spare === null && !this.#preparing) this.#prepare(new SharedArrayBuffer(this.#sizeBytes), false);
  }

  #newMemtable(leastBytes: number): Memtable {
    const spare = this.#spare;
    if (spare === null || leastBytes > this.#sizeBytes) return Memtable.create(Math.max(leastBytes, this.#sizeBytes));
    this.#spare = null;
    return Memtable.createIn(spare);
  }

  #recycle(buffer: SharedArrayBuffer): void {
    if (buffer.byteLength === this.#sizeBytes && this.#spare === null && !this.#preparing) this.#prepare(buffer, true);
  }

  #prepare(buffer: SharedArrayBuffer, recycled: boolean): void {
    this.#preparing = true;
    this.#prepareArena(buffer, recycled).then(
      () => {
        this.#preparing = false;
        this.#spare = buffer;
      },
      // The worker died or the pool is closed: a new arena will do.
      () => void (this.#preparing = false),
    );
  }
}
