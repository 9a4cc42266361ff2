import { assert } from '../../base/assert.js';
import { CairnError } from '../../base/errors.js';
import { PEER_HEADER_BYTES, writePeerHeader, type PeerFrameSplitter } from '../../codec/peer-frame.js';
import { TAG, decodePeerFrame } from '../../codec/peer-protocol.js';
import { varintBytes, writeVarint } from '../../codec/varint.js';
import type { Bandwidth } from './bandwidth.js';
import type { PeerIdentity } from './handshake.js';
import type { PeerHost } from './host.js';
import { writeBytes } from './message-writer.js';
import type { PeerSocket, SocketOwner } from './peer-socket.js';
import { refusalOf } from './refusal.js';

/** A longer chunk travels in pieces of this size. */
const PIECE_BYTES = 64 << 10;

/** By hand, so that the bytes are copied once. */
function chunkFrame(data: Uint8Array): Uint8Array {
  const { length } = data;
  const message = length === 0 ? 0 : 1 + varintBytes(length) + length;
  const frame = new Uint8Array(PEER_HEADER_BYTES + 1 + varintBytes(message) + message);
  frame[PEER_HEADER_BYTES] = TAG.frame.bulkChunk;
  const at = writeVarint(frame, PEER_HEADER_BYTES + 1, message);
  writeBytes(frame, at, TAG.bulkChunk.data, data);
  writePeerHeader(frame, 0, frame.length);
  return frame;
}

interface Waiting<T> {
  readonly resolve: (value: T) => void;
  readonly reject: (error: CairnError) => void;
}

/**
 * The sending end of a bulk stream, over a connection of its own. One call at a time. After a failure every call rejects with it: a
 * stream is not resumed, its user begins a new one where it wants to go on.
 */
export class BulkSender implements SocketOwner {
  readonly #host: PeerHost;
  readonly #bandwidth: Bandwidth;
  readonly #peer: PeerIdentity;
  readonly #socket: PeerSocket;
  readonly #closed: (sender: BulkSender) => void;
  #failure: CairnError | null = null;
  #isEnded = false;
  #isAnswered = false;
  #isBusy = false;
  #totalBytes = 0;
  /** A write waits for the system to take bytes. */
  #roomWaiting: Waiting<void> | null = null;
  #answerWaiting: Waiting<Uint8Array> | null = null;
  #waitSweeps = 0;
  #lastBuffered = 0;

  /** The socket's hello is through. */
  constructor(
    host: PeerHost,
    bandwidth: Bandwidth,
    peer: PeerIdentity,
    socket: PeerSocket,
    header: Uint8Array,
    closed: (sender: BulkSender) => void,
  ) {
    this.#host = host;
    this.#bandwidth = bandwidth;
    this.#peer = peer;
    this.#socket = socket;
    this.#closed = closed;
    socket.owner = this;
    host.linked(peer);
    socket.writeFields({ bulkOpen: { header } });
    this.received(socket.frames);
  }

  /** Resolves when more may be written. The chunk is copied before that; its bytes are the caller's again. */
  async write(chunk: Uint8Array): Promise<void> {
    this.#begin();
    try {
      const pieceBytes = Math.min(PIECE_BYTES, this.#host.limits.maxFrameBytes / 2);
      for (let at = 0; at < chunk.length; at += pieceBytes) await this.#piece(chunk.subarray(at, at + pieceBytes));
    } finally {
      this.#isBusy = false;
    }
  }

  async #piece(data: Uint8Array): Promise<void> {
    const { clock, counters, limits } = this.#host;
    const waitMs = this.#bandwidth.take(data.length);
    if (waitMs > 0) await new Promise<void>((resolve) => void clock.setTimer(waitMs, resolve));
    if (this.#failure !== null) throw this.#failure;
    this.#socket.write(chunkFrame(data));
    this.#totalBytes += data.length;
    counters.bulkSentBytes += data.length;
    if (this.#socket.bufferedBytes <= limits.maxBulkBufferedBytes) return;
    await new Promise<void>((resolve, reject) => {
      this.#waitSweeps = 0;
      this.#roomWaiting = { resolve, reject };
    });
  }

  /** No more chunks. Resolves with the receiver's answer, which it gives when it has dealt with all of them. */
  async end(): Promise<Uint8Array> {
    this.#begin();
    this.#isEnded = true;
    this.#socket.writeFields({ bulkEnd: { totalBytes: this.#totalBytes } });
    return new Promise((resolve, reject) => {
      this.#waitSweeps = 0;
      this.#answerWaiting = { resolve, reject };
    });
  }

  /** Gives up: the receiver hears the reason. No effect after the end. */
  abort(reason: string): void {
    this.#fail(new CairnError('unavailable', `the bulk stream to ${this.#peer.nodeId} was aborted: ${reason}`));
    this.#socket.refuse({ code: 'aborted', text: reason });
  }

  #begin(): void {
    assert(!this.#isBusy && !this.#isEnded, 'a bulk stream takes one call at a time, and none after its end');
    if (this.#failure !== null) throw this.#failure;
    this.#isBusy = true;
  }

  received(frames: PeerFrameSplitter): void {
    try {
      while (this.#failure === null && frames.next()) {
        const { bulkAnswer, refusal } = decodePeerFrame(frames.bytes, frames.start, frames.end);
        if (refusal) {
          const { nodeId } = this.#peer;
          this.#fail(new CairnError('unavailable', `node ${nodeId} refused the bulk stream: ${refusal.text ?? ''}`));
          this.#socket.destroy('refused');
        } else if (bulkAnswer && this.#answerWaiting !== null) {
          this.#answerWaiting.resolve(bulkAnswer.body ?? new Uint8Array(0));
          this.#answerWaiting = null;
          this.#isAnswered = true;
          this.#socket.finish(null, 'done');
          return;
        }
      }
    } catch (error) {
      if (!(error instanceof CairnError)) throw error;
      this.#host.counters.refusedConnections++;
      this.#socket.refuse(refusalOf(error));
    }
  }

  drained(): void {
    this.#roomWaiting?.resolve();
    this.#roomWaiting = null;
  }

  closed(reason: string): void {
    this.#fail(new CairnError('unavailable', `the bulk stream to ${this.#peer.nodeId} ended: ${reason}`));
    this.#host.unlinked(this.#peer);
    this.#closed(this);
  }

  sweep(): void {
    if (this.#socket.sweep()) this.#socket.writeFields({ ping: {} });
    const { bulkAnswerMs, bulkStallMs, sweepMs } = this.#host.limits;
    const buffered = this.#socket.bufferedBytes;
    const isWaiting = this.#roomWaiting !== null || this.#answerWaiting !== null;
    this.#waitSweeps = isWaiting && buffered >= this.#lastBuffered ? this.#waitSweeps + 1 : 0;
    this.#lastBuffered = buffered;
    const limitMs = this.#answerWaiting === null || buffered > 0 ? bulkStallMs : bulkAnswerMs;
    if (this.#waitSweeps * sweepMs < limitMs) return;
    const problem = `the bulk stream to ${this.#peer.nodeId} has not moved for ${limitMs} ms`;
    this.#fail(new CairnError('deadline_exceeded', problem));
    this.#socket.refuse({ code: 'late', text: problem });
  }

  destroy(reason: string): void {
    this.#socket.destroy(reason);
  }

  #fail(error: CairnError): void {
    if (this.#failure === null && !this.#isAnswered) this.#host.counters.brokenBulkStreams++;
    this.#failure ??= error;
    this.#roomWaiting?.reject(this.#failure);
    this.#roomWaiting = null;
    this.#answerWaiting?.reject(this.#failure);
    this.#answerWaiting = null;
  }
}
