import { Fifo } from '../base/fifo.js';
import type { MemberId } from './entry.js';

/**
 * How a leader sends to one member:
 * `probe`: where the logs match is not known; one append, then wait for its answer or for a heartbeat's.
 * `replicate`: it is known; appends follow each other without waiting, bounded by the window.
 * `snapshot`: what it needs is compacted; nothing but heartbeats until the snapshot has arrived or failed.
 */
export type ProgressState = 'probe' | 'replicate' | 'snapshot';

interface Sent {
  readonly lastIndex: number;
  readonly bytes: number;
}

/** What a leader knows of one other member, for one term. */
export class Progress {
  readonly id: MemberId;
  readonly nodeId: string;
  state: ProgressState = 'probe';
  /** The member's disk holds the leader's log up to here. */
  match = 0;
  /** The next entry to send. */
  next: number;
  /** In `probe`: an append is under way. */
  paused = false;
  /** Heard from since the last check of the quorum. */
  active = false;
  /** In `snapshot`: the stream has ended; what came of it must show within so many ticks. 0: it has not. */
  retryTicks = 0;
  /** Snapshots in a row that it did not take, though it is there: its disk is full, it is about to end... */
  refusedSnapshots = 0;
  /** Ticks since it was heard. */
  silentTicks = 0;
  /** It repairs its log, as it said not longer ago than an election timeout: so many ticks are left of that. 0: it has not. */
  repairTicks = 0;
  /** Its wall clock in its last answer; 0: not heard of in this term. */
  clock = 0;
  /** The newest ReadIndex round that it acknowledged. */
  readToken = 0;
  /** The commit index that it was last told. */
  sentCommit = 0;
  /** The host reads entries from disk for it, beginning with this one; 0: it does not. */
  loadingFrom = 0;
  #window = new Fifo<Sent>();
  #windowBytes = 0;

  constructor(id: MemberId, nodeId: string, next: number) {
    this.id = id;
    this.nodeId = nodeId;
    this.next = next;
  }

  get sentMessages(): number {
    return this.#window.length;
  }

  get sentBytes(): number {
    return this.#windowBytes;
  }

  becomeProbe(next: number): void {
    this.state = 'probe';
    this.next = Math.max(next, this.match + 1);
    this.paused = false;
    this.#clearWindow();
  }

  becomeReplicate(): void {
    this.state = 'replicate';
    this.refusedSnapshots = 0;
    this.next = this.match + 1;
    this.paused = false;
    this.#clearWindow();
  }

  becomeSnapshot(): void {
    this.state = 'snapshot';
    this.paused = false;
    this.retryTicks = 0;
    this.#clearWindow();
  }

  /** An append that ends with `lastIndex` goes out. */
  sent(lastIndex: number, bytes: number): void {
    if (this.state === 'probe') {
      this.paused = true;
      return;
    }
    this.next = lastIndex + 1;
    this.#window.push({ lastIndex, bytes });
    this.#windowBytes += bytes;
  }

  /** The member's disk holds everything up to `index`. True when that is news. */
  matched(index: number): boolean {
    for (let sent = this.#window.peek(); sent !== undefined && sent.lastIndex <= index; sent = this.#window.peek()) {
      this.#windowBytes -= sent.bytes;
      this.#window.shift();
    }
    if (index <= this.match) return false;
    this.match = index;
    if (this.next <= index) this.next = index + 1;
    return true;
  }

  /**
   * The member does not hold the entry at `rejected`; the logs may match at `hint`. False when the answer is late: what it
   * says was true before something newer that is known.
   */
  rejected(rejected: number, hint: number): boolean {
    if (this.state === 'replicate') {
      if (rejected <= this.match || rejected >= this.next) return false;
      this.becomeProbe(this.match + 1);
      return true;
    }
    if (this.state !== 'probe' || rejected !== this.next - 1) return false;
    this.becomeProbe(Math.min(rejected, hint + 1));
    return true;
  }

  #clearWindow(): void {
    this.#window = new Fifo();
    this.#windowBytes = 0;
  }
}
