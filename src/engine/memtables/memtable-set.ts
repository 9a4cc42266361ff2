import { assert } from '../../base/assert.js';
import { Memtable } from '../../lsm/memtable/memtable.js';
import type { CapturedState } from '../engine-options.js';
import { hasRoom, sizeFor } from './memtable-room.js';

const MAX_SPARE_ARENAS = 2;

/** A memtable and who still reads it. Its arena is used again when nobody does. */
export interface HeldMemtable {
  readonly memtable: Memtable;
  pins: number;
  /** What it covers, set when it is frozen. */
  captured: CapturedState | null;
}

/**
 * The active memtable and the frozen ones that are not in tables yet, oldest first. An arena is kept ready for the next
 * rotation, so that neither page faults nor zeroing fall on the main thread. Arenas go round: the second spare one is what a
 * flush gives back when the next rotation did not wait for it, and is there for the rotation after that.
 */
export class MemtableSet {
  readonly #sizeBytes: number;
  readonly #prepareArena: (buffer: SharedArrayBuffer, recycled: boolean) => Promise<void>;
  #active: HeldMemtable;
  readonly #frozen: HeldMemtable[] = [];
  /** Zeroed, nobody's. */
  readonly #spares: SharedArrayBuffer[] = [];
  #preparing = 0;
  #arenaBytes: number;

  constructor(sizeBytes: number, prepareArena: (buffer: SharedArrayBuffer, recycled: boolean) => Promise<void>) {
    this.#sizeBytes = sizeBytes;
    this.#prepareArena = prepareArena;
    this.#active = { memtable: Memtable.create(sizeBytes), pins: 1, captured: null };
    this.#arenaBytes = sizeBytes;
  }

  get active(): HeldMemtable {
    return this.#active;
  }

  /** Oldest first. */
  get frozen(): readonly HeldMemtable[] {
    return this.#frozen;
  }

  /** Of all memtables, those that only a reader still holds and the spare ones included. */
  get arenaBytes(): number {
    return this.#arenaBytes;
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
    if (this.#spares.length + this.#preparing > 0) return;
    this.#arenaBytes += this.#sizeBytes;
    this.#prepare(new SharedArrayBuffer(this.#sizeBytes), false);
  }

  #newMemtable(leastBytes: number): Memtable {
    const spare = leastBytes > this.#sizeBytes ? undefined : this.#spares.pop();
    if (spare !== undefined) return Memtable.createIn(spare);
    const sizeBytes = Math.max(leastBytes, this.#sizeBytes);
    this.#arenaBytes += sizeBytes;
    return Memtable.create(sizeBytes);
  }

  #recycle(buffer: SharedArrayBuffer): void {
    const keep = buffer.byteLength === this.#sizeBytes && this.#spares.length + this.#preparing < MAX_SPARE_ARENAS;
    if (keep) this.#prepare(buffer, true);
    else this.#arenaBytes -= buffer.byteLength;
  }

  #prepare(buffer: SharedArrayBuffer, recycled: boolean): void {
    this.#preparing++;
    this.#prepareArena(buffer, recycled).then(
      () => {
        this.#preparing--;
        this.#spares.push(buffer);
      },
      // The worker died or the pool is closed: a new arena will do.
      () => {
        this.#preparing--;
        this.#arenaBytes -= buffer.byteLength;
      },
    );
  }
}
