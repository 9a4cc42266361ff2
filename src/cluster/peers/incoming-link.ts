import { CairnError } from '../../base/errors.js';
import type { PeerFrameSplitter } from '../../codec/peer-frame.js';
import { TAG, decodePeerFrame, peerWire } from '../../codec/peer-protocol.js';
import { varintBytes, writeVarint } from '../../codec/varint.js';
import type { Connection } from '../../ports/network.js';
import { NO_DATA } from '../../raft/entry.js';
import { FrameBuilder } from './frame-builder.js';
import { FrameReader, type ReceivedRequest } from './frame-reader.js';
import { checkHello, helloFields, type PeerIdentity } from './handshake.js';
import type { Flushable, PeerHost } from './host.js';
import { writeBytes, writeNumber } from './message-writer.js';
import { PeerSocket, type SocketOwner } from './peer-socket.js';
import { refusalOf, type Refusal } from './refusal.js';

/** What an incoming connection asks of its transport. */
export interface IncomingHost extends PeerHost {
  /** Null: welcome. */
  admitIncoming(peer: PeerIdentity): Refusal | null;
  /** Both have said hello. A second connection of a node takes the place of the first. */
  accepted(link: IncomingLink, peer: PeerIdentity): void;
  /** The connection is a bulk stream from now on; its socket gets a new owner. */
  becameBulk(link: IncomingLink, peer: PeerIdentity, socket: PeerSocket): void;
  gone(link: IncomingLink): void;
}

const MAX_ANSWER_FIELDS_BYTES = 40;
const { ANSWERED, REFUSED, LOST } = peerWire.AnswerStatus;

/** A connection that a peer made: its hello, then its messages and requests. Whatever is wrong with it costs this connection only. */
export class IncomingLink implements SocketOwner, Flushable {
  readonly #host: IncomingHost;
  readonly #socket: PeerSocket;
  readonly #reader = new FrameReader();
  readonly #frame = new FrameBuilder();
  #peer: PeerIdentity | null = null;
  #isAwake = false;
  #helloSweeps = 0;
  #openRequests = 0;

  constructor(host: IncomingHost, stream: Connection) {
    this.#host = host;
    this.#socket = new PeerSocket(stream, host.clock, host.limits, this);
  }

  /** Null until its hello is accepted. */
  get peer(): PeerIdentity | null {
    return this.#peer;
  }

  refuse(refusal: Refusal): void {
    const fields = {
      peer: this.#peer?.nodeId,
      address: this.#socket.address,
      code: refusal.code,
      reason: refusal.text,
    };
    const who = this.#peer?.nodeId ?? this.#socket.address.replace(/:\d+$/, '');
    this.#host.complaints.warn(`incoming ${who} ${refusal.code}`, fields, 'a connection of a peer is refused');
    this.#host.counters.refusedConnections++;
    this.#socket.refuse(refusal);
  }

  destroy(reason: string): void {
    this.#socket.destroy(reason);
  }

  /** Sends what waits, then closes. */
  close(reason: string): void {
    this.flush();
    this.#socket.finish(null, reason);
  }

  closed(): void {
    if (this.#peer !== null) this.#host.unlinked(this.#peer);
    this.#frame.clear();
    this.#host.gone(this);
  }

  sweep(): void {
    this.#socket.sweep();
    const { helloTimeoutMs, sweepMs } = this.#host.limits;
    if (this.#peer !== null || ++this.#helloSweeps * sweepMs < helloTimeoutMs) return;
    this.refuse({ code: 'late', text: `expected a hello within ${helloTimeoutMs} ms` });
  }

  // --- Input ---

  received(frames: PeerFrameSplitter): void {
    if (this.#peer === null) {
      this.#receiveHello(frames);
      return;
    }
    const reader = this.#reader;
    const { counters } = this.#host;
    const nodeId = this.#peer.nodeId;
    let fault: Refusal | null = null;
    try {
      while (frames.next()) {
        reader.read(frames.bytes, frames.start, frames.end);
        counters.receivedFrames++;
        counters.receivedBytes += frames.end - frames.start;
        const refusal = reader.rare?.refusal;
        if (refusal) this.#socket.destroy(refusal.text ?? 'refused');
      }
    } catch (error) {
      if (!(error instanceof CairnError)) throw error;
      fault = refusalOf(error);
    }
    // What came whole in front of a fault counts.
    const messages = reader.takeMessages();
    if (messages.length > 0) {
      counters.receivedMessages += messages.length;
      this.#host.messages(nodeId, messages);
    }
    const requests = reader.takeRequests();
    for (const request of requests) this.#request(nodeId, request);
    if (reader.ping > 0) {
      this.#socket.writeFields({ pong: { id: reader.ping } });
      reader.ping = 0;
    }
    reader.answers.length = 0;
    if (fault !== null) this.refuse(fault);
  }

  #receiveHello(frames: PeerFrameSplitter): void {
    const { limits, self } = this.#host;
    let checked: PeerIdentity | Refusal;
    try {
      if (!frames.next()) return;
      checked = checkHello(decodePeerFrame(frames.bytes, frames.start, frames.end).hello, self);
    } catch (error) {
      if (!(error instanceof CairnError)) throw error;
      checked = refusalOf(error);
    }
    const refusal = 'code' in checked ? checked : this.#host.admitIncoming(checked);
    if (refusal !== null) {
      this.refuse(refusal);
      return;
    }
    const peer = checked as PeerIdentity;
    this.#peer = peer;
    this.#host.linked(peer);
    frames.maxBodyBytes = limits.maxFrameBytes;
    this.#socket.writeFields({ hello: helloFields(self, peer.nodeId, peer.purpose) });
    if (peer.purpose === 'bulk') this.#host.becameBulk(this, peer, this.#socket);
    else this.#host.accepted(this, peer);
    if (this.#socket.isOpen) this.#socket.owner.received(frames);
  }

  // --- Requests ---

  #request(nodeId: string, { id, body, timeoutMs }: ReceivedRequest): void {
    const { counters, limits } = this.#host;
    counters.receivedRequests++;
    if (this.#openRequests >= limits.maxRequests || this.#room <= 0) {
      this.#answer(id, NO_DATA, REFUSED);
      return;
    }
    let isAnswered = false;
    this.#openRequests++;
    const answer = (answerBody: Uint8Array): void => {
      if (isAnswered) return;
      isAnswered = true;
      this.#openRequests--;
      const fits = answerBody.length <= Math.min(this.#room, limits.maxFrameBytes / 2);
      if (!fits) counters.lostAnswers++;
      this.#answer(id, fits ? answerBody : NO_DATA, fits ? ANSWERED : LOST);
    };
    this.#host.requested(nodeId, body, answer, timeoutMs);
  }

  get #room(): number {
    return this.#host.limits.maxQueuedBytes - this.#socket.bufferedBytes - this.#frame.pendingBytes;
  }

  #answer(id: number, body: Uint8Array, status: number): void {
    if (!this.#socket.isOpen) return;
    const frame = this.#frame;
    frame.items++;
    frame.reserve(MAX_ANSWER_FIELDS_BYTES + body.length);
    const { bytes } = frame;
    const bodyField = body.length === 0 ? 0 : 1 + varintBytes(body.length) + body.length;
    bytes[frame.at] = TAG.frame.answers;
    let at = writeVarint(bytes, frame.at + 1, 1 + varintBytes(id) + bodyField + (status === ANSWERED ? 0 : 2));
    at = writeNumber(bytes, at, TAG.answer.id, id);
    at = writeBytes(bytes, at, TAG.answer.body, body);
    frame.at = writeNumber(bytes, at, TAG.answer.status, status);
    if (frame.pendingBytes >= this.#host.limits.frameTargetBytes) {
      this.flush();
    } else if (!this.#isAwake) {
      this.#isAwake = true;
      this.#host.wake(this);
    }
  }

  flush(): void {
    this.#isAwake = false;
    const frame = this.#frame.take();
    if (frame === null) return;
    this.#socket.write(frame);
    this.#host.counters.sentFrames++;
    this.#host.counters.sentBytes += frame.length;
  }

  drained(): void {}
}
