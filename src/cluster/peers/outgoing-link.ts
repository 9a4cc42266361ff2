import { CairnError } from '../../base/errors.js';
import type { PeerFrameSplitter } from '../../codec/peer-frame.js';
import { MAX_FRAME_ITEMS, TAG } from '../../codec/peer-protocol.js';
import { varintBytes, writeVarint } from '../../codec/varint.js';
import type { Message } from '../../raft/message.js';
import type { Timer } from '../../ports/clock.js';
import { BackOff } from './back-off.js';
import { Dial, type DialOutcome } from './dial.js';
import { FrameBuilder } from './frame-builder.js';
import { FrameReader } from './frame-reader.js';
import type { PeerIdentity } from './handshake.js';
import { HeartbeatPacker, MAX_ROW_BYTES } from './heartbeat-packer.js';
import type { Flushable, PeerAddress, PeerHost } from './host.js';
import { writeBytes, writeMessage, writeNumber } from './message-writer.js';
import type { PeerSocket, SocketOwner } from './peer-socket.js';
import { PendingRequests, notDelivered } from './pending-requests.js';
import { refusalOf, type Refusal } from './refusal.js';
import type { PeerState } from './stats.js';

/** Weight of the newest round trip in the smoothed one, as TCP has it (RFC 6298). */
const NEWEST_WEIGHT = 1 / 8;
const MAX_REQUEST_FIELDS_BYTES = 40;

/**
 * This node's own connection to one peer: it alone carries what this node sends there, and each peer keeps one of its own for the
 * way back. So nobody has to agree on who calls whom, two nodes that start at the same time don't cross each other, and an end
 * that finds its connection half-open makes a new one without asking. Back on the connection come only answers and pongs.
 */
export class OutgoingLink implements SocketOwner, Flushable {
  readonly nodeId: string;
  readonly address: PeerAddress;
  readonly #host: PeerHost;
  readonly #backOff: BackOff;
  #dial: Dial | null = null;
  #retry: Timer | null = null;
  #isClosed = false;
  /** The rest is of the connection that is up. */
  #socket: PeerSocket | null = null;
  #peer: PeerIdentity | null = null;
  #upSinceMs = 0;
  #requests: PendingRequests;
  readonly #frame = new FrameBuilder();
  readonly #heartbeats = new HeartbeatPacker();
  readonly #reader = new FrameReader();
  /** As far as known: what the socket holds is asked for only when it could matter. */
  #bufferedBytes = 0;
  #isAwake = false;
  #noticeTimer: Timer | null = null;
  #pingId = 0;
  #pingSentMs = 0;
  #isPingUnderWay = false;
  #roundTripMs: number | null = null;

  constructor(host: PeerHost, nodeId: string, address: PeerAddress) {
    this.#host = host;
    this.nodeId = nodeId;
    this.address = address;
    const { minBackOffMs, maxBackOffMs } = host.limits;
    this.#backOff = new BackOff(host.random, minBackOffMs, maxBackOffMs);
    this.#requests = new PendingRequests(nodeId, host.counters);
  }

  get isUp(): boolean {
    return this.#socket !== null;
  }

  get roundTripMs(): number | null {
    return this.#roundTripMs;
  }

  get state(): PeerState {
    return {
      nodeId: this.nodeId,
      up: this.isUp,
      roundTripMs: this.#roundTripMs,
      queuedBytes: this.#pendingBytes + (this.#socket?.bufferedBytes ?? 0),
      requests: this.#requests.size,
    };
  }

  // --- The connection ---

  /** Calls now, unless a call or a connection exists. */
  connect(): void {
    if (this.#isClosed || this.#dial !== null || this.#socket !== null) return;
    this.#retry?.cancel();
    this.#retry = null;
    this.#dial = new Dial(this.#host, this.nodeId, 'raft', (outcome) => this.#dialed(outcome));
  }

  #dialed(outcome: DialOutcome): void {
    this.#dial = null;
    if ('failure' in outcome) {
      this.#connectLater();
      return;
    }
    const { socket, peer } = outcome;
    this.#socket = socket;
    this.#peer = peer;
    this.#bufferedBytes = 0;
    this.#upSinceMs = this.#host.clock.monotonicMs();
    this.#requests = new PendingRequests(this.nodeId, this.#host.counters);
    socket.owner = this;
    this.#host.linked(peer);
    this.#ping();
    this.#host.up(this.nodeId);
    if (socket.isOpen) this.received(socket.frames);
  }

  #connectLater(): void {
    if (this.#isClosed) return;
    this.#retry = this.#host.clock.setTimer(this.#backOff.next(), () => this.connect());
  }

  /** Sends what waits, then closes for good. */
  close(reason: string): void {
    this.#isClosed = true;
    this.#dial?.cancel();
    this.#dial = null;
    this.#retry?.cancel();
    this.#noticeTimer?.cancel();
    this.#noticeTimer = null;
    this.flush();
    this.#socket?.finish(null, reason);
  }

  closed(reason: string): void {
    const { clock, counters, limits } = this.#host;
    const peer = this.#peer!;
    this.#socket = null;
    this.#peer = null;
    this.#frame.clear();
    this.#heartbeats.clear();
    this.#isPingUnderWay = false;
    this.#roundTripMs = null;
    counters.lostConnections++;
    if (clock.monotonicMs() - this.#upSinceMs >= limits.healthyMs) this.#backOff.reset();
    this.#connectLater();
    this.#host.unlinked(peer);
    this.#requests.fail(reason);
    this.#host.down(this.nodeId, reason);
  }

  /** Requests whose time was over at `expiredMs` are given up. */
  sweep(expiredMs: number): void {
    this.#requests.expire(expiredMs);
    if (this.#socket?.sweep() === true) this.#ping();
  }

  #ping(): void {
    if (!this.#isPingUnderWay) {
      this.#isPingUnderWay = true;
      this.#pingId++;
      this.#pingSentMs = this.#host.clock.monotonicMs();
    }
    this.#socket!.writeFields({ ping: { id: this.#pingId } });
  }

  // --- Output ---

  /** Drops the message when there is no connection or too much waits for it. */
  send(message: Message): void {
    if (this.#socket === null) {
      this.#host.counters.droppedMessages++;
      return;
    }
    const { limits } = this.#host;
    if (message.type === 'heartbeat' || message.type === 'heartbeat_reply') {
      if (this.#room(limits.maxQueuedBytes) < MAX_ROW_BYTES) {
        this.#overflow();
        return;
      }
      this.#heartbeats.add(message);
    } else {
      const room = this.#room(message.type === 'append' ? this.#bulkyLimit : limits.maxQueuedBytes);
      if (!writeMessage(this.#frame, message, Math.min(room, limits.maxFrameBytes / 2))) {
        this.#overflow();
        return;
      }
    }
    this.#host.counters.sentMessages++;
    if (message.type === 'commit') this.#wakeLater();
    else this.#wakeOrFlush();
  }

  /** Nobody waits for a commit notice: it rides along with the next frame, and gets one of its own when there is none soon. */
  #wakeLater(): void {
    this.#noticeTimer ??= this.#host.clock.setTimer(this.#host.limits.noticeDelayMs, () => {
      this.#noticeTimer = null;
      if (this.#socket !== null && this.#frame.items > 0) this.#wakeOrFlush();
    });
  }

  /** Rejects with `unavailable` when the request was certainly not executed, with `deadline_exceeded` when nobody knows. */
  request(body: Uint8Array, timeoutMs: number): Promise<Uint8Array> {
    const { clock, counters, limits } = this.#host;
    const size = body.length + MAX_REQUEST_FIELDS_BYTES;
    const problem =
      this.#socket === null
        ? notDelivered(this.nodeId, 'there is no connection')
        : size > limits.maxFrameBytes / 2
          ? new CairnError(
              'too_large',
              `expected a request of at most ${limits.maxFrameBytes / 2} bytes, found ${size}`,
            )
          : this.#requests.size >= limits.maxRequests || size > this.#room(this.#bulkyLimit)
            ? notDelivered(this.nodeId, 'too much waits for it')
            : null;
    if (problem !== null) {
      counters.refusedRequests++;
      return Promise.reject(problem);
    }
    return new Promise((resolve, reject) => {
      const deadlineMs = clock.monotonicMs() + timeoutMs;
      const id = this.#requests.add({ deadlineMs, resolve, reject });
      this.#writeRequest(id, body, Math.max(1, Math.ceil(timeoutMs)));
      counters.sentRequests++;
      this.#wakeOrFlush();
    });
  }

  #writeRequest(id: number, body: Uint8Array, timeoutMs: number): void {
    const frame = this.#frame;
    frame.items++;
    frame.reserve(MAX_REQUEST_FIELDS_BYTES + body.length);
    const { bytes } = frame;
    const bodyField = body.length === 0 ? 0 : 1 + varintBytes(body.length) + body.length;
    bytes[frame.at] = TAG.frame.requests;
    let at = writeVarint(bytes, frame.at + 1, 2 + varintBytes(id) + bodyField + varintBytes(timeoutMs));
    at = writeNumber(bytes, at, TAG.request.id, id);
    at = writeBytes(bytes, at, TAG.request.body, body);
    frame.at = writeNumber(bytes, at, TAG.request.timeoutMs, timeoutMs);
  }

  get #pendingBytes(): number {
    return this.#frame.pendingBytes + this.#heartbeats.maxBytes;
  }

  get #bulkyLimit(): number {
    return (this.#host.limits.maxQueuedBytes / 8) * 7;
  }

  #room(limit: number): number {
    const { frameTargetBytes } = this.#host.limits;
    // Far from the limit it need not be exact.
    if (limit - this.#bufferedBytes - this.#pendingBytes <= frameTargetBytes) {
      this.#bufferedBytes = this.#socket!.bufferedBytes;
    }
    return limit - this.#bufferedBytes - this.#pendingBytes;
  }

  #overflow(): void {
    this.#host.counters.droppedMessages++;
    this.#host.counters.overflowedMessages++;
    const fields = { peer: this.nodeId, queuedBytes: this.#socket!.bufferedBytes };
    this.#host.complaints.warn(`overflow ${this.nodeId}`, fields, 'messages to a slow peer are dropped');
  }

  #wakeOrFlush(): void {
    const isFull = this.#frame.items >= MAX_FRAME_ITEMS / 2;
    if (isFull || this.#pendingBytes >= this.#host.limits.frameTargetBytes) {
      this.flush();
    } else if (!this.#isAwake) {
      this.#isAwake = true;
      this.#host.wake(this);
    }
  }

  flush(): void {
    this.#isAwake = false;
    const socket = this.#socket;
    if (socket === null) return;
    this.#heartbeats.writeTo(this.#frame);
    const frame = this.#frame.take();
    if (frame === null) return;
    this.#requests.allSent();
    socket.write(frame);
    this.#bufferedBytes += frame.length;
    this.#host.counters.sentFrames++;
    this.#host.counters.sentBytes += frame.length;
  }

  drained(): void {
    this.#bufferedBytes = 0;
  }

  // --- Input ---

  received(frames: PeerFrameSplitter): void {
    const reader = this.#reader;
    const socket = this.#socket!;
    let fault: Refusal | null = null;
    let refusal: { code?: string | null; text?: string | null } | null = null;
    try {
      while (refusal === null && frames.next()) {
        reader.read(frames.bytes, frames.start, frames.end);
        refusal = reader.rare?.refusal ?? null;
      }
    } catch (error) {
      if (!(error instanceof CairnError)) throw error;
      fault = refusalOf(error);
    }
    // Nothing else comes on a connection that this end made.
    reader.messages.length = 0;
    reader.requests.length = 0;
    // What came whole in front of a fault counts.
    for (const answer of reader.takeAnswers()) this.#requests.answered(answer);
    if (reader.pong === this.#pingId && this.#isPingUnderWay) this.#ponged();
    if (fault !== null) {
      this.#host.counters.refusedConnections++;
      this.#complain(fault.code, fault.text);
      socket.refuse(fault);
    } else if (refusal !== null) {
      this.#complain(refusal.code ?? '', `the peer refuses: ${refusal.text ?? ''}`);
      socket.destroy(refusal.text ?? 'refused');
    }
  }

  #ponged(): void {
    this.#isPingUnderWay = false;
    const tookMs = this.#host.clock.monotonicMs() - this.#pingSentMs;
    const smoothedMs = this.#roundTripMs;
    this.#roundTripMs = smoothedMs === null ? tookMs : smoothedMs + (tookMs - smoothedMs) * NEWEST_WEIGHT;
  }

  #complain(code: string, text: string): void {
    const fields = { peer: this.nodeId, code, reason: text };
    this.#host.complaints.warn(`outgoing ${this.nodeId} ${code}`, fields, 'a connection to a peer ended');
  }
}
