/**
 * Memory that the main thread and a block reader's thread share: control words, then a table of slots, then each slot's room: for a
 * decoded block, or for a row key on the way there and its record on the way back. A slot belongs to the main thread while it is free, to the reader from the publication of its request to the
 * publication of its answer (LSM rule 16: nobody reads bytes that another thread may be writing).
 *
 * Both queues have one writer and one reader and as many places as there are slots, so they never overflow.
 */
export const SLOT_COUNT = 128;
/** A decoded block of more than this comes through `Disk`. */
export const SLOT_BYTES = 64 * 1024;

/** Requests published so far, modulo 2^32; written by the main thread. The reader sleeps on it. */
export const WORD_REQUESTS = 0;
/** Answers published so far, modulo 2^32; written by the reader. */
export const WORD_ANSWERS = 1;
/** 1 while the reader sleeps, or is about to. */
export const WORD_ASLEEP = 2;
/** 1 from the reader's message until the main thread has looked and found no more answers. */
export const WORD_TOLD = 3;
export const WORD_STOP = 4;
/** Microseconds that a read takes, a moving average; written by the reader. */
export const WORD_READ_MICROS = 5;
const CONTROL_WORDS = 16;

const SLOT_WORDS = 16;
export const AT_OPERATION = 0;
export const AT_FILE_LOW = 1;
export const AT_FILE_HIGH = 2;
export const AT_OFFSET_LOW = 3;
export const AT_OFFSET_HIGH = 4;
export const AT_SIZE = 5;
/** The length of what is in the room, or one of the answers below. */
export const AT_ANSWER = 6;
/** Of the row key in the room. */
export const AT_ROW_LENGTH = 7;
/** Sought, then found. */
export const AT_REVISION_LOW = 8;
export const AT_REVISION_HIGH = 9;

export const OPERATION_READ = 1;
/** Close the file; it will be removed. */
export const OPERATION_FORGET = 2;
/** The record of a row's newest version at or below a revision. */
export const OPERATION_SEARCH = 3;
/** Whatever the reason: the main thread asks `Disk`, and reports what that says. */
export const ANSWER_FAILED = -1;
/** The block goes past the row and revision, and has no such version. */
export const ANSWER_ABSENT = -2;
/** Every entry of the block is before the row and revision: the row may go on in the next block. */
export const ANSWER_BEFORE = -3;

const REQUESTS_START = CONTROL_WORDS;
const ANSWERS_START = REQUESTS_START + SLOT_COUNT;
const SLOTS_START = ANSWERS_START + SLOT_COUNT;
const WORDS = SLOTS_START + SLOT_COUNT * SLOT_WORDS;
const ROOM_START = Math.ceil((WORDS * 4) / 4096) * 4096;

export class SharedSlots {
  readonly buffer: SharedArrayBuffer;
  readonly words: Int32Array;
  /** Each slot's room. */
  readonly rooms: readonly Uint8Array[];

  constructor(buffer: SharedArrayBuffer = new SharedArrayBuffer(ROOM_START + SLOT_COUNT * SLOT_BYTES)) {
    this.buffer = buffer;
    this.words = new Int32Array(buffer, 0, WORDS);
    this.rooms = Array.from(
      { length: SLOT_COUNT },
      (_, slot) => new Uint8Array(buffer, ROOM_START + slot * SLOT_BYTES, SLOT_BYTES),
    );
  }

  /** Where the words of a slot begin. */
  at(slot: number): number {
    return SLOTS_START + slot * SLOT_WORDS;
  }

  publishRequest(slot: number): void {
    const count = Atomics.load(this.words, WORD_REQUESTS);
    this.words[REQUESTS_START + place(count)] = slot;
    Atomics.store(this.words, WORD_REQUESTS, count + 1);
  }

  /** The slot of the request with this number; it must be published. */
  request(number: number): number {
    return this.words[REQUESTS_START + place(number)]!;
  }

  publishAnswer(slot: number): void {
    const count = Atomics.load(this.words, WORD_ANSWERS);
    this.words[ANSWERS_START + place(count)] = slot;
    Atomics.store(this.words, WORD_ANSWERS, count + 1);
  }

  answer(number: number): number {
    return this.words[ANSWERS_START + place(number)]!;
  }
}

/** SLOT_COUNT is a power of two, so the wrap of the 32-bit counters does no harm. */
function place(count: number): number {
  return count & (SLOT_COUNT - 1);
}
