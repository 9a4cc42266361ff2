import { PeerFrameSplitter } from '../../codec/peer-frame.js';
import { MAX_PEER_HELLO_BYTES, encodePeerFields, type PeerFrameFields } from '../../codec/peer-protocol.js';
import type { Clock } from '../../ports/clock.js';
import type { Connection } from '../../ports/network.js';
import type { PeerLimits } from './limits.js';
import type { Refusal } from './refusal.js';

/** Bytes in one sweep that show a long frame on its way. Fewer, without any whole frame, are no sign of life: its length may be damaged. */
const LONG_FRAME_BYTES = 4096;

/** Who takes what comes. A socket changes hands when its hello is through. */
export interface SocketOwner {
  /** A chunk came; complete frames can be taken. */
  received(frames: PeerFrameSplitter): void;
  /** All output was taken by the system. */
  drained(): void;
  /** Once, and nothing after it. */
  closed(reason: string): void;
}

/**
 * One connection to a peer, on either side: frames in, frames out, signs of life. Time is counted in sweeps and not read from the
 * clock: when this process was stopped for a while, one sweep is late, and bytes that wait in the socket still come before
 * the next one (CORRECTNESS.md, Raft rule 17).
 */
export class PeerSocket {
  readonly frames = new PeerFrameSplitter(MAX_PEER_HELLO_BYTES);
  owner: SocketOwner;
  readonly #stream: Connection;
  readonly #clock: Clock;
  readonly #limits: PeerLimits;
  #isOpen = true;
  #isGone = false;
  #isPaused = false;
  #heardBytes = 0;
  #silentSweeps = 0;
  #framesTaken = 0;
  #frameSweeps = 0;
  #pingSweeps = 0;
  #writtenBytes = 0;
  #takenBytes = 0;
  #wasBuffered = false;

  constructor(stream: Connection, clock: Clock, limits: PeerLimits, owner: SocketOwner) {
    this.#stream = stream;
    this.#clock = clock;
    this.#limits = limits;
    this.owner = owner;
    stream.onData = (chunk) => {
      if (!this.#isOpen) return;
      this.#heardBytes += chunk.length;
      this.frames.push(chunk);
      this.owner.received(this.frames);
    };
    stream.onDrain = () => {
      if (this.#isOpen) this.owner.drained();
    };
    stream.onEnd = () => this.destroy('the peer ended the connection');
    stream.onClose = (error) => {
      this.#isGone = true;
      this.#close(error === undefined ? 'the connection was closed' : `the connection broke: ${error.message}`);
    };
  }

  /** `host:port` of the other end. */
  get address(): string {
    return this.#stream.peer;
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  get bufferedBytes(): number {
    return this.#stream.bufferedBytes;
  }

  write(frame: Uint8Array): void {
    if (!this.#isOpen) return;
    this.#writtenBytes += frame.length;
    this.#stream.write(frame);
  }

  writeFields(fields: PeerFrameFields): void {
    this.write(encodePeerFields(fields));
  }

  pause(): void {
    this.#isPaused = true;
    this.#stream.pause();
  }

  resume(): void {
    this.#isPaused = false;
    this.#silentSweeps = 0;
    this.#stream.resume();
  }

  /** Says why, then closes. */
  refuse(refusal: Refusal): void {
    this.finish({ refusal }, refusal.text);
  }

  /** Sends a last frame and what is buffered, then closes. */
  finish(last: PeerFrameFields | null, reason: string): void {
    if (!this.#isOpen) return;
    if (last !== null) this.writeFields(last);
    // What still comes is dropped.
    if (this.#isPaused) this.#stream.resume();
    this.#stream.end();
    this.#clock.setTimer(this.#limits.lingerMs, () => {
      if (!this.#isGone) this.#stream.destroy();
    });
    this.#close(reason);
  }

  /** Closes at once. */
  destroy(reason: string): void {
    if (!this.#isOpen) return;
    this.#stream.destroy();
    this.#close(reason);
  }

  /** Looks for signs of life; called every `sweepMs`. True when it is time for a ping. */
  sweep(): boolean {
    if (!this.#isOpen) return false;
    const { silentMs, frameTimeoutMs, pingIntervalMs, sweepMs } = this.#limits;
    const { inFrame, taken } = this.frames;
    const isNewFrame = taken !== this.#framesTaken;
    const isHeard = isNewFrame || this.#heardBytes >= LONG_FRAME_BYTES;
    const hasProgress = this.#hasProgress();
    this.#silentSweeps = isHeard || hasProgress || this.#isPaused ? 0 : this.#silentSweeps + 1;
    this.#frameSweeps = inFrame && !this.#isPaused && !isNewFrame ? this.#frameSweeps + 1 : 0;
    this.#framesTaken = taken;
    this.#heardBytes = 0;
    if (this.#silentSweeps * sweepMs >= silentMs) {
      this.destroy(`the peer was silent for ${silentMs} ms`);
      return false;
    }
    // A length that was damaged into a larger one ends here.
    if (this.#frameSweeps * sweepMs >= frameTimeoutMs) {
      this.refuse({ code: 'late', text: `expected the rest of a frame within ${frameTimeoutMs} ms` });
      return false;
    }
    this.#pingSweeps++;
    if (this.#pingSweeps * sweepMs < pingIntervalMs) return false;
    this.#pingSweeps = 0;
    return true;
  }

  /**
   * A peer that takes bytes of a backlog lives, though its answer to a ping waits behind all of it. A system that takes bytes when
   * none waited says nothing of the peer.
   */
  #hasProgress(): boolean {
    const buffered = this.#stream.bufferedBytes;
    const taken = this.#writtenBytes - buffered;
    const hasProgress = this.#wasBuffered && taken > this.#takenBytes;
    this.#takenBytes = taken;
    this.#wasBuffered = buffered > 0;
    return hasProgress;
  }

  #close(reason: string): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.owner.closed(reason);
  }
}
