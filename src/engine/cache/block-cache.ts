import type { Block } from '../../lsm/table/block.js';
import type { BlockHandle } from '../../lsm/table/format.js';
import { RecentMisses } from './recent-misses.js';

/** Map slots, the entry and the block's view objects, about. */
const ENTRY_OVERHEAD_BYTES = 256;

/**
 * Recent misses are about a quarter as many as there are blocks in the cache. As many let 18% of uniformly random misses in, which
 * gains nothing (CPU of the main thread 10.0 to 11.6 us a read, now 8.4); skewed loads hit as often: 0.573 and 0.575 of reads.
 */
const WINDOW_BYTES_PER_MISS = 16 * 1024;

interface Entry {
  readonly block: Block;
  readonly fileNumber: number;
  readonly offset: number;
  readonly bytes: number;
  /** Set by a hit, cleared when the hand passes. */
  used: boolean;
  previous: Entry;
  next: Entry;
}

/**
 * Decoded blocks by (file number, offset), bounded by bytes. Eviction is CLOCK: a hit only sets a bit, where LRU would write six
 * links; the hand passes over entries used since it came by last. A new entry starts unused, just behind the hand, so
 * that a scan's blocks go before those that were read twice. File numbers are never reused, so an entry can be
 * superfluous but never wrong (LSM rule 5).
 */
export class BlockCache {
  readonly capacityBytes: number;
  readonly #files = new Map<number, Map<number, Entry>>();
  #hand: Entry | null = null;
  readonly #recentMisses: RecentMisses;
  #bytes = 0;
  #count = 0;
  hits = 0;
  misses = 0;

  constructor(capacityBytes: number) {
    this.capacityBytes = capacityBytes;
    this.#recentMisses = new RecentMisses(capacityBytes / WINDOW_BYTES_PER_MISS);
  }

  get bytes(): number {
    return this.#bytes;
  }

  get count(): number {
    return this.#count;
  }

  get(fileNumber: number, offset: number): Block | undefined {
    const entry = this.#files.get(fileNumber)?.get(offset);
    if (entry === undefined) {
      this.misses++;
      return undefined;
    }
    this.hits++;
    entry.used = true;
    return entry.block;
  }

  /** Whether the block is here; not counted as a use. */
  has(fileNumber: number, offset: number): boolean {
    return this.#files.get(fileNumber)?.has(offset) === true;
  }

  /**
   * Whether a block that was just missed is worth its place: there is room, or it was missed before, not long ago. A point read
   * elsewhere costs less than the block's copy into this cache and its eviction.
   */
  wants(fileNumber: number, handle: BlockHandle): boolean {
    const again = this.#recentMisses.add(fileNumber, handle.offset);
    return again || this.#bytes + handle.sizeBytes + ENTRY_OVERHEAD_BYTES <= this.capacityBytes;
  }

  /** Keeps the block, unless it alone is larger than the cache. */
  add(fileNumber: number, offset: number, block: Block): void {
    const bytes = block.sizeBytes + ENTRY_OVERHEAD_BYTES;
    if (bytes > this.capacityBytes) return;
    let blocks = this.#files.get(fileNumber);
    if (blocks?.has(offset) === true) return;
    while (this.#bytes + bytes > this.capacityBytes) this.#evict();
    // The eviction may have taken the file's last block, and its map with it.
    blocks = this.#files.get(fileNumber);
    if (blocks === undefined) {
      blocks = new Map();
      this.#files.set(fileNumber, blocks);
    }
    const entry = { block, fileNumber, offset, bytes, used: false } as Entry;
    blocks.set(offset, entry);
    this.#link(entry);
    this.#bytes += bytes;
    this.#count++;
  }

  /** Forgets a deleted file. */
  dropFile(fileNumber: number): void {
    const blocks = this.#files.get(fileNumber);
    if (blocks === undefined) return;
    this.#files.delete(fileNumber);
    for (const entry of blocks.values()) this.#unlink(entry);
  }

  #evict(): void {
    let hand = this.#hand!;
    while (hand.used) {
      hand.used = false;
      hand = hand.next;
    }
    this.#hand = hand;
    const blocks = this.#files.get(hand.fileNumber)!;
    blocks.delete(hand.offset);
    if (blocks.size === 0) this.#files.delete(hand.fileNumber);
    this.#unlink(hand);
  }

  #link(entry: Entry): void {
    const hand = this.#hand;
    if (hand === null) {
      entry.previous = entry;
      entry.next = entry;
      this.#hand = entry;
      return;
    }
    entry.previous = hand.previous;
    entry.next = hand;
    hand.previous.next = entry;
    hand.previous = entry;
  }

  #unlink(entry: Entry): void {
    this.#bytes -= entry.bytes;
    this.#count--;
    if (entry.next === entry) {
      this.#hand = null;
      return;
    }
    entry.previous.next = entry.next;
    entry.next.previous = entry.previous;
    if (this.#hand === entry) this.#hand = entry.next;
  }
}
