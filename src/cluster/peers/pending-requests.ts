import { CairnError } from '../../base/errors.js';
import { peerWire } from '../../codec/peer-protocol.js';
import type { ReceivedAnswer } from './frame-reader.js';
import type { PeerCounters } from './stats.js';

interface Pending {
  readonly deadlineMs: number;
  readonly resolve: (body: Uint8Array) => void;
  readonly reject: (error: CairnError) => void;
}

export function notDelivered(nodeId: string, why: string): CairnError {
  return new CairnError('unavailable', `the request did not reach node ${nodeId}: ${why}`);
}

function outcomeUnknown(nodeId: string, why: string): CairnError {
  const extra = { outcome: 'unknown' };
  return new CairnError('deadline_exceeded', `node ${nodeId} may have executed the request: ${why}`, { extra });
}

/** The requests of one connection that have no answer yet. They end with it: an answer never comes on another one. */
export class PendingRequests {
  readonly #nodeId: string;
  readonly #counters: PeerCounters;
  readonly #pending = new Map<number, Pending>();
  #lastId = 0;
  /** Ids up to here were handed to the network. */
  #sentId = 0;

  constructor(nodeId: string, counters: PeerCounters) {
    this.#nodeId = nodeId;
    this.#counters = counters;
  }

  get size(): number {
    return this.#pending.size;
  }

  /** The next request's id. */
  add(pending: Pending): number {
    const id = ++this.#lastId;
    this.#pending.set(id, pending);
    return id;
  }

  allSent(): void {
    this.#sentId = this.#lastId;
  }

  answered({ id, body, status }: ReceivedAnswer): void {
    const pending = this.#pending.get(id);
    // Its time was over before.
    if (pending === undefined) return;
    this.#pending.delete(id);
    if (status === peerWire.AnswerStatus.ANSWERED) {
      pending.resolve(body);
    } else if (status === peerWire.AnswerStatus.REFUSED) {
      this.#counters.refusedRequests++;
      pending.reject(
        new CairnError('unavailable', `node ${this.#nodeId} did not execute the request: it has too many`),
      );
    } else this.#unknown(pending, 'its answer was lost');
  }

  expire(expiredMs: number): void {
    for (const [id, pending] of this.#pending) {
      if (expiredMs < pending.deadlineMs) continue;
      this.#pending.delete(id);
      this.#unknown(pending, 'it has not answered in time');
    }
  }

  /** The connection is gone. */
  fail(why: string): void {
    const pending = [...this.#pending];
    this.#pending.clear();
    for (const [id, request] of pending) {
      if (id <= this.#sentId) this.#unknown(request, why);
      else {
        this.#counters.refusedRequests++;
        request.reject(notDelivered(this.#nodeId, why));
      }
    }
  }

  #unknown({ reject }: Pending, why: string): void {
    this.#counters.unknownRequests++;
    reject(outcomeUnknown(this.#nodeId, why));
  }
}
