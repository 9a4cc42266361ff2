import { assert } from '../../base/assert.js';
import { CairnError } from '../../base/errors.js';
import { Fifo } from '../../base/fifo.js';
import { decodePeerFrame } from '../../codec/peer-protocol.js';
import type { PeerFrameSplitter } from '../../codec/peer-frame.js';
import type { PeerIdentity } from './handshake.js';
import type { PeerHost } from './host.js';
import type { PeerSocket, SocketOwner } from './peer-socket.js';
import { refusalOf } from './refusal.js';

/** The receiving end of a bulk stream, for its reader. One `next` at a time. */
export interface BulkStream {
  /**
   * The next bytes, the reader's to keep; null behind the last. Rejects when the sender gives up, is lost, or sends nothing for
   * too long. Bytes that nobody asks for hold the sender up.
   */
  next(): Promise<Uint8Array | null>;
  /** After the null: ends the stream with an answer to the sender. */
  finish(answer: Uint8Array): void;
  /** Ends the stream at any time; the sender hears the reason. No effect when it has ended. */
  refuse(reason: string): void;
}

export type BulkHandler = (nodeId: string, header: Uint8Array, stream: BulkStream) => void;

export class BulkReceiver implements SocketOwner, BulkStream {
  readonly #host: PeerHost;
  readonly #peer: PeerIdentity;
  readonly #socket: PeerSocket;
  readonly #handler: BulkHandler;
  readonly #gone: (receiver: BulkReceiver) => void;
  readonly #chunks = new Fifo<Uint8Array>();
  #bufferedBytes = 0;
  #totalBytes = 0;
  #isOpened = false;
  #isEnded = false;
  #isFinished = false;
  #isPaused = false;
  #failure: CairnError | null = null;
  #waiting: { resolve: (chunk: Uint8Array | null) => void; reject: (error: CairnError) => void } | null = null;
  #waitSweeps = 0;

  constructor(
    host: PeerHost,
    peer: PeerIdentity,
    socket: PeerSocket,
    handler: BulkHandler,
    gone: (receiver: BulkReceiver) => void,
  ) {
    this.#host = host;
    this.#peer = peer;
    this.#socket = socket;
    this.#handler = handler;
    this.#gone = gone;
    socket.owner = this;
  }

  // --- For the reader ---

  next(): Promise<Uint8Array | null> {
    assert(this.#waiting === null, 'a bulk stream is read by one call at a time');
    const chunk = this.#chunks.shift();
    if (chunk !== undefined) {
      this.#bufferedBytes -= chunk.length;
      this.#resumeWhenLow();
      return Promise.resolve(chunk);
    }
    if (this.#isEnded) return Promise.resolve(null);
    if (this.#failure !== null) return Promise.reject(this.#failure);
    this.#waitSweeps = 0;
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
    });
  }

  finish(answer: Uint8Array): void {
    assert(this.#isEnded && this.#chunks.length === 0, 'a bulk stream is finished when all of it was read');
    this.#isFinished = true;
    this.#socket.finish({ bulkAnswer: { body: answer } }, 'done');
  }

  refuse(reason: string): void {
    this.#fail(new CairnError('unavailable', `the bulk stream of ${this.#peer.nodeId} was refused: ${reason}`));
    this.#socket.refuse({ code: 'aborted', text: reason });
  }

  // --- The socket ---

  received(frames: PeerFrameSplitter): void {
    try {
      while (this.#socket.isOpen && frames.next()) this.#frame(frames);
    } catch (error) {
      if (!(error instanceof CairnError)) throw error;
      const refusal = refusalOf(error);
      this.#host.counters.refusedConnections++;
      const fields = { peer: this.#peer.nodeId, ...refusal };
      this.#host.complaints.warn(`bulk ${this.#peer.nodeId} ${refusal.code}`, fields, 'a bulk stream is refused');
      this.#fail(error);
      this.#socket.refuse(refusal);
    }
  }

  #frame(frames: PeerFrameSplitter): void {
    const { bulkOpen, bulkChunk, bulkEnd, refusal } = decodePeerFrame(frames.bytes, frames.start, frames.end);
    if (refusal) {
      this.#fail(new CairnError('unavailable', `node ${this.#peer.nodeId} gave up: ${refusal.text ?? ''}`));
      this.#socket.destroy('given up');
    } else if (bulkOpen) {
      if (this.#isOpened) throw misplaced('one opening');
      this.#isOpened = true;
      this.#handler(this.#peer.nodeId, bulkOpen.header ?? new Uint8Array(0), this);
    } else if (bulkChunk) {
      if (!this.#isOpened || this.#isEnded) throw misplaced('chunks between the opening and the end');
      if (bulkChunk.data && bulkChunk.data.length > 0) this.#chunk(bulkChunk.data);
    } else if (bulkEnd) {
      if (!this.#isOpened || this.#isEnded) throw misplaced('one end behind the opening');
      if ((bulkEnd.totalBytes ?? 0) !== this.#totalBytes) {
        throw misplaced(`${bulkEnd.totalBytes ?? 0} bytes, counted ${this.#totalBytes}`);
      }
      this.#isEnded = true;
      this.#waiting?.resolve(null);
      this.#waiting = null;
    }
  }

  #chunk(data: Uint8Array): void {
    this.#totalBytes += data.length;
    this.#host.counters.bulkReceivedBytes += data.length;
    if (this.#waiting !== null) {
      this.#waiting.resolve(data);
      this.#waiting = null;
      return;
    }
    this.#chunks.push(data);
    this.#bufferedBytes += data.length;
    if (this.#isPaused || this.#bufferedBytes < this.#host.limits.maxBulkBufferedBytes) return;
    this.#isPaused = true;
    this.#socket.pause();
  }

  #resumeWhenLow(): void {
    if (!this.#isPaused || this.#bufferedBytes > this.#host.limits.maxBulkBufferedBytes / 2) return;
    this.#isPaused = false;
    if (this.#socket.isOpen) this.#socket.resume();
  }

  drained(): void {}

  closed(reason: string): void {
    this.#fail(new CairnError('unavailable', `the bulk stream of ${this.#peer.nodeId} broke: ${reason}`));
    this.#host.unlinked(this.#peer);
    this.#gone(this);
  }

  sweep(): void {
    // A paused socket hears of its end only when it writes.
    if (this.#socket.sweep()) this.#socket.writeFields({ ping: {} });
    const { bulkStallMs, sweepMs } = this.#host.limits;
    this.#waitSweeps = this.#waiting === null && this.#isOpened ? 0 : this.#waitSweeps + 1;
    if (this.#waitSweeps * sweepMs < bulkStallMs) return;
    const problem = `expected more of the bulk stream within ${bulkStallMs} ms`;
    this.#fail(new CairnError('deadline_exceeded', problem));
    this.#socket.refuse({ code: 'late', text: problem });
  }

  destroy(reason: string): void {
    this.#socket.destroy(reason);
  }

  /** What has come before is still read. */
  #fail(error: CairnError): void {
    if (this.#failure === null && !this.#isFinished) this.#host.counters.brokenBulkStreams++;
    this.#failure ??= error;
    this.#waiting?.reject(this.#failure);
    this.#waiting = null;
  }
}

function misplaced(expected: string): CairnError {
  return new CairnError('protocol_error', `bulk stream: expected ${expected}`);
}
