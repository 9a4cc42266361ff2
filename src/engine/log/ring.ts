import { assert } from '../../base/assert.js';
import { alignUp } from './format.js';
import { ControlArea, SLOTS, WORD_DURABLE, WORD_PUBLISHED } from './shared-area.js';

/** Slots that only urgent items may take. */
const URGENT_SLOTS = 64;

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
    let at = this.#head;
    const contiguous = this.#sizeBytes - (at % this.#sizeBytes);
    if (alignUp(bytes) > contiguous) at += contiguous;
    return at + alignUp(bytes) <= this.#limit(urgent) ? at : -1;
  }

  /** Free bytes, not all in one piece. */
  get freeBytes(): number {
    return this.#limit(false) - this.#head;
  }

  /** How far a record that begins at the position may reach. */
  reach(at: number, urgent: boolean): number {
    return Math.min(at - (at % this.#sizeBytes) + this.#sizeBytes, this.#limit(urgent));
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

  #limit(urgent: boolean): number {
    return this.#tail + this.#sizeBytes - (urgent ? 0 : this.#urgentBytes);
  }
}
