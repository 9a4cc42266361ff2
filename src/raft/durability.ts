import { assert } from '../base/assert.js';
import { Fifo } from '../base/fifo.js';
import { mutated } from '../base/mutations.js';
import type { Message } from './message.js';

interface Writing {
  readonly sequence: number;
  /** The log's last index when the write was handed out; lowered when entries below are replaced. */
  lastIndex: number;
}

/**
 * What this replica's disk holds, while writes are under way. Writes are numbered and complete in order.
 *
 * An entry may be replaced by another one with its index while its own write is under way, and even by one with its index and
 * term after that (A, B, A). So a write that completes says only as much as was not replaced since it was handed out.
 */
export class Durability {
  /** The log up to here is durable. */
  lastIndex: number;
  /** The last entry handed out to be written. */
  handedOutIndex: number;
  /** Numbers of the last write handed out and the last one that completed. */
  sequence = 0;
  completedSequence = 0;
  readonly #writing = new Fifo<Writing>();
  readonly #held = new Fifo<{ readonly sequence: number; readonly message: Message }>();

  constructor(lastIndex: number) {
    this.lastIndex = lastIndex;
    this.handedOutIndex = lastIndex;
  }

  /** A write goes to the host; with it the log is durable up to `lastIndex`. Returns its number. */
  handOut(lastIndex: number): number {
    this.handedOutIndex = lastIndex;
    this.#writing.push({ sequence: ++this.sequence, lastIndex });
    return this.sequence;
  }

  /** The log from `index` on is not what was handed out any more. */
  replacedFrom(index: number): void {
    this.lastIndex = Math.min(this.lastIndex, index - 1);
    this.handedOutIndex = Math.min(this.handedOutIndex, index - 1);
    if (mutated('raft-durable-without-generation')) return;
    for (let i = 0; i < this.#writing.length; i++) {
      const writing = this.#writing.at(i)!;
      writing.lastIndex = Math.min(writing.lastIndex, index - 1);
    }
  }

  /** A snapshot will replace the whole log: nothing that is durable or being written counts. */
  replacedAll(): void {
    this.replacedFrom(1);
  }

  /** All writes up to `sequence` are complete. */
  completed(sequence: number): void {
    assert(sequence > this.completedSequence && sequence <= this.sequence, `write ${sequence} was handed out, once`);
    this.completedSequence = sequence;
    let writing = this.#writing.peek();
    while (writing !== undefined && writing.sequence <= sequence) {
      this.lastIndex = Math.max(this.lastIndex, writing.lastIndex);
      this.#writing.shift();
      writing = this.#writing.peek();
    }
  }

  /** Keeps a message back until the write with this number is complete. */
  hold(sequence: number, message: Message): void {
    this.#held.push({ sequence, message });
  }

  /** Moves the messages that waited for completed writes. */
  release(outbox: Message[]): void {
    let held = this.#held.peek();
    while (held !== undefined && held.sequence <= this.completedSequence) {
      outbox.push(held.message);
      this.#held.shift();
      held = this.#held.peek();
    }
  }
}
