import { assert } from '../../base/assert.js';
import { alignUp } from './format.js';
import { ControlArea, SLOTS, WORD_DURABLE, WORD_PUBLISHED } from './shared-area.js';

/** Slots that only urgent items may take. */
const URGENT_SLOTS = 64;
/**
 * Shares of the ring. An empty one begins anew from the first on; one that holds no more than QUIET turns back from the second on:
 * where no record ever was, the ring takes no memory. The room that a turn leaves unused until its records are released is
 * not missed: an empty ring loses none, the other one keeps three eighths.
 */
const EMPTY_TURNS_AT = 1 / 16;
const TURNS_AT = 1 / 2;
const QUIET = 1 / 8;

/**
 * The main thread's side of the ring: hands out contiguous space, publishes records and frees their space in order.
 * Positions count all bytes that ever passed; the ring's offset is the position modulo its size.
 */
export class LogRing {
  readonly bytes: Uint8Array;
  readonly #sizeBytes: number;
  readonly #urgentBytes: number;
  readonly #control: ControlArea;
  /** Where each unreleased record ends, by sequence. */
  readonly #ends = new Float64Array(SLOTS);
  #head = 0;
  #tail = 0;
  #published = 0;
  #durable = 0;
  #released = 0;

  constructor(ring: SharedArrayBuffer, control: ControlArea, urgentBytes: number) {
    this.bytes = new Uint8Array(ring);
    this.#sizeBytes = ring.byteLength;
    this.#urgentBytes = urgentBytes;
    this.#control = control;
  }

  get usedBytes(): number {
    return this.#head - this.#tail;
  }
  get published(): number {
    return this.#published;
  }
  get durable(): number {
    return this.#durable;
  }
  get released(): number {
    return this.#released;
  }

  /** The position at which `bytes` contiguous bytes are free, or -1. Nothing is taken yet. */
  find(bytes: number, urgent: boolean): number {
    if (this.#published - this.#released >= (urgent ? SLOTS - 1 : SLOTS - 1 - URGENT_SLOTS)) return -1;
    const needed = alignUp(bytes);
    const offset = this.#head % this.#sizeBytes;
    const beginning = this.#head - offset + this.#sizeBytes;
    if (this.#turnsEarly(offset) && beginning + needed <= this.#limit(beginning, urgent)) return beginning;
    const at = needed > this.#sizeBytes - offset ? beginning : this.#head;
    return at + needed <= this.#limit(at, urgent) ? at : -1;
  }

  /** Free bytes, not all in one piece. */
  get freeBytes(): number {
    return this.#limit(this.#head, false) - this.#head;
  }

  /** How far a record that begins at the position may reach. */
  reach(at: number, urgent: boolean): number {
    return Math.min(at - (at % this.#sizeBytes) + this.#sizeBytes, this.#limit(at, urgent));
  }

  offset(position: number): number {
    return position % this.#sizeBytes;
  }

  /** Gives the record to the writer and returns its sequence. `spare` as in the control area. */
  publish(at: number, bytes: number, spare: number): number {
    const padded = alignUp(bytes);
    const offset = at % this.#sizeBytes;
    this.bytes.fill(0, offset + bytes, offset + padded);
    const sequence = ++this.#published;
    if (this.usedBytes === 0) this.#tail = at;
    this.#head = at + padded;
    this.#ends[sequence & (SLOTS - 1)] = this.#head;
    this.#control.setSlot(sequence, offset, padded, spare);
    Atomics.store(this.#control.words, WORD_PUBLISHED, sequence | 0);
    return sequence;
  }

  /** Reads how far the writer has come; true when that is further than before. */
  refresh(): boolean {
    const advance = (Atomics.load(this.#control.words, WORD_DURABLE) - (this.#durable | 0)) | 0;
    this.#durable += advance;
    return advance > 0;
  }

  release(sequence: number): void {
    assert(sequence <= this.#durable, `log record ${sequence} released before it was durable (${this.#durable})`);
    if (sequence <= this.#released) return;
    this.#released = sequence;
    this.#tail = this.#ends[sequence & (SLOTS - 1)]!;
  }

  #turnsEarly(offset: number): boolean {
    const used = this.usedBytes;
    if (used === 0) return offset >= this.#sizeBytes * EMPTY_TURNS_AT;
    return used <= this.#sizeBytes * QUIET && offset >= this.#sizeBytes * TURNS_AT;
  }

  /** Where a record at the position has to end: of an empty ring all is free. */
  #limit(at: number, urgent: boolean): number {
    const tail = this.usedBytes === 0 ? at : this.#tail;
    return tail + this.#sizeBytes - (urgent ? 0 : this.#urgentBytes);
  }
}
