import { CairnError } from '../../base/errors.js';
import { decodePeerFrame } from '../../codec/peer-protocol.js';
import type { PeerFrameSplitter } from '../../codec/peer-frame.js';
import type { Timer } from '../../ports/clock.js';
import type { Connection } from '../../ports/network.js';
import { checkHello, helloFields, type PeerIdentity, type Purpose } from './handshake.js';
import type { PeerHost } from './host.js';
import { PeerSocket, type SocketOwner } from './peer-socket.js';
import { refusalOf, type Refusal } from './refusal.js';

/** How a call ends: a socket whose hello is through, to be owned at once, or why not. */
export type DialOutcome = { readonly socket: PeerSocket; readonly peer: PeerIdentity } | { readonly failure: string };

/** One attempt to reach a node: connect, say hello, hear its hello. Calls `done` once, unless it is cancelled before. */
export class Dial implements SocketOwner {
  readonly #host: PeerHost;
  readonly #nodeId: string;
  readonly #purpose: Purpose;
  readonly #done: (outcome: DialOutcome) => void;
  #isDone = false;
  #socket: PeerSocket | null = null;
  #timer: Timer;

  constructor(host: PeerHost, nodeId: string, purpose: Purpose, done: (outcome: DialOutcome) => void) {
    this.#host = host;
    this.#nodeId = nodeId;
    this.#purpose = purpose;
    this.#done = done;
    const { connectTimeoutMs } = host.limits;
    this.#timer = this.#giveUpAfter(connectTimeoutMs, `no connection within ${connectTimeoutMs} ms`);
    const address = host.addressOf(nodeId);
    if (address === undefined) {
      this.#finish({ failure: 'it has no address' });
      return;
    }
    void host.network.connect(address.host, address.port).then(
      (stream) => this.#connected(stream),
      (error: unknown) => this.#finish({ failure: (error as Error).message }),
    );
  }

  /** Nothing is called any more. */
  cancel(): void {
    this.#finish(null);
  }

  giveUp(failure: string): void {
    this.#finish({ failure });
  }

  #connected(stream: Connection): void {
    if (this.#isDone) {
      stream.destroy();
      return;
    }
    const { clock, limits, self } = this.#host;
    this.#timer.cancel();
    this.#timer = this.#giveUpAfter(limits.helloTimeoutMs, `no hello within ${limits.helloTimeoutMs} ms`);
    this.#socket = new PeerSocket(stream, clock, limits, this);
    this.#socket.writeFields({ hello: helloFields(self, this.#nodeId, this.#purpose) });
  }

  received(frames: PeerFrameSplitter): void {
    const { limits, self } = this.#host;
    let fault: Refusal | null;
    let peer: PeerIdentity | null = null;
    try {
      if (!frames.next()) return;
      const { hello, refusal } = decodePeerFrame(frames.bytes, frames.start, frames.end);
      if (refusal) {
        this.#complain(refusal.code ?? '', `the peer refuses: ${refusal.text ?? ''}`);
        this.#finish({ failure: refusal.text ?? 'refused' });
        return;
      }
      const checked = checkHello(hello, self, this.#nodeId);
      if ('code' in checked) {
        fault = checked;
      } else {
        peer = checked;
        fault = this.#host.admit(peer);
      }
    } catch (error) {
      if (!(error instanceof CairnError)) throw error;
      fault = refusalOf(error);
    }
    if (fault !== null) {
      this.#host.counters.refusedConnections++;
      this.#complain(fault.code, fault.text);
      this.#socket!.refuse(fault);
      return;
    }
    frames.maxBodyBytes = limits.maxFrameBytes;
    this.#finish({ socket: this.#socket!, peer: peer! });
  }

  drained(): void {}

  closed(reason: string): void {
    this.#finish({ failure: reason });
  }

  #complain(code: string, text: string): void {
    const { complaints } = this.#host;
    const fields = { peer: this.#nodeId, address: this.#socket!.address, code, reason: text };
    complaints.warn(`dial ${this.#nodeId} ${code}`, fields, 'no connection to a peer');
  }

  /** Bytes that came while this process stood still are read before the timer counts (Raft rule 17). */
  #giveUpAfter(delayMs: number, failure: string): Timer {
    let isCancelled = false;
    const { clock } = this.#host;
    const timer = clock.setTimer(delayMs, () =>
      clock.defer(() => {
        if (!isCancelled) this.#finish({ failure });
      }),
    );
    return {
      cancel: () => {
        isCancelled = true;
        timer.cancel();
      },
    };
  }

  #finish(outcome: DialOutcome | null): void {
    if (this.#isDone) return;
    this.#isDone = true;
    this.#timer.cancel();
    if (outcome === null || 'failure' in outcome) this.#socket?.destroy('given up');
    if (outcome !== null) this.#done(outcome);
  }
}
