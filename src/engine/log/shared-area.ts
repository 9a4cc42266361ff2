/**
 * The control area that the main thread and the log's writer share. Every word and slot has one writer.
 * A sequence number counts records, from 1; here it is taken modulo 2^32, on the main thread it is exact.
 *
 * Ownership of the ring's bytes: the main thread owns a record until it stores its sequence in PUBLISHED; the writer owns it
 * until it stores the sequence in DURABLE; then it is the main thread's again, which may read the payload until it reuses
 * the space. While the writer owns a record it completes the record's header; the main thread may read the payload.
 */
export const WORD_PUBLISHED = 0;
export const WORD_DURABLE = 1;
/** Not 0 asks the writer to stop. Written by the main thread. */
export const WORD_STOP = 2;
/** 1 while a write waits for the disk to have space. Written by the writer. */
export const WORD_STALLED = 3;
/** Set by the writer when it tells the main thread of progress, cleared by the main thread before it looks. */
export const WORD_TOLD = 4;
/** How many writes were completed, modulo 2^32. */
export const WORD_WRITES = 5;
/** Counts the main thread's calls, modulo 2^32; the writer's thread sleeps on it. */
export const WORD_CALLS = 6;
const WORDS = 16;

/** Records that may be published and not yet released. A power of two. */
export const SLOTS = 8192;
const SLOT_WORDS = 4;
const SLOT_RING_OFFSET = 0;
const SLOT_BYTES = 1;
/** For a segment header: the number of the spare file that becomes the segment. */
const SLOT_SPARE = 2;

/** In a slot's place for a spare: it is a record of items. */
export const NO_SPARE = -1;

/** The last writes' figures, for the metrics: milliseconds, bytes, records. */
export const WRITE_FIGURES = 256;
const FIGURE_NUMBERS = 3;

const SLOTS_AT = WORDS * 4;
const FIGURES_AT = SLOTS_AT + SLOTS * SLOT_WORDS * 4;
export const CONTROL_BYTES = FIGURES_AT + WRITE_FIGURES * FIGURE_NUMBERS * 8;

export class ControlArea {
  readonly words: Int32Array;
  readonly #slots: Int32Array;
  readonly #figures: Float64Array;

  constructor(buffer: SharedArrayBuffer) {
    this.words = new Int32Array(buffer, 0, WORDS);
    this.#slots = new Int32Array(buffer, SLOTS_AT, SLOTS * SLOT_WORDS);
    this.#figures = new Float64Array(buffer, FIGURES_AT, WRITE_FIGURES * FIGURE_NUMBERS);
  }

  setSlot(sequence: number, ringOffset: number, bytes: number, spare: number): void {
    const at = (sequence & (SLOTS - 1)) * SLOT_WORDS;
    this.#slots[at + SLOT_RING_OFFSET] = ringOffset;
    this.#slots[at + SLOT_BYTES] = bytes;
    this.#slots[at + SLOT_SPARE] = spare;
  }

  ringOffset(sequence: number): number {
    return this.#slots[(sequence & (SLOTS - 1)) * SLOT_WORDS + SLOT_RING_OFFSET]!;
  }
  /** Padding included. */
  recordBytes(sequence: number): number {
    return this.#slots[(sequence & (SLOTS - 1)) * SLOT_WORDS + SLOT_BYTES]!;
  }
  spare(sequence: number): number {
    return this.#slots[(sequence & (SLOTS - 1)) * SLOT_WORDS + SLOT_SPARE]!;
  }

  setFigures(write: number, durationMs: number, bytes: number, records: number): void {
    const at = (write & (WRITE_FIGURES - 1)) * FIGURE_NUMBERS;
    this.#figures[at] = durationMs;
    this.#figures[at + 1] = bytes;
    this.#figures[at + 2] = records;
  }
  durationMs(write: number): number {
    return this.#figures[(write & (WRITE_FIGURES - 1)) * FIGURE_NUMBERS]!;
  }
  writtenBytes(write: number): number {
    return this.#figures[(write & (WRITE_FIGURES - 1)) * FIGURE_NUMBERS + 1]!;
  }
  writtenRecords(write: number): number {
    return this.#figures[(write & (WRITE_FIGURES - 1)) * FIGURE_NUMBERS + 2]!;
  }
}
