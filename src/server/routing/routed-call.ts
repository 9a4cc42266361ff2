import { CairnError } from '../../base/errors.js';
import { type ErrorFields, type ResponseFields, errorFromWire } from '../../codec/client-protocol.js';
import type { Timer } from '../../ports/clock.js';
import type { Service } from '../service.js';

/** Called when an attempt was refused with nothing executed, so that another one may follow. */
export type Refused = (error: CairnError) => void;

/**
 * One call on its way to the leader of its partition. It owns its bytes, so that it may be tried again; the router says where and
 * when. It ends, once, with an answer of the local service, with `answered` returning null, or with `fail`; what comes later has no effect.
 */
export abstract class RoutedCall {
  readonly partition: number;
  /** In monotonic time. */
  readonly deadlineMs: number;
  attempts = 0;
  /** Why the last attempt came to nothing. */
  lastError: CairnError | null = null;
  /** The node that refused last, and the leader that it named, or ''. */
  refusedBy = '';
  hint = '';
  /** Set while the router counts the call. */
  onEnded: ((call: RoutedCall) => void) | null = null;
  /** Ends the call while the local service has it, when it had to wait before. */
  timer: Timer | null = null;
  isEnded = false;

  constructor(partition: number, deadlineMs: number) {
    this.partition = partition;
    this.deadlineMs = deadlineMs;
  }

  /** Of keys and values held. */
  abstract readonly bytes: number;
  /** May be tried again also when nobody knows whether it was executed. */
  abstract readonly isRead: boolean;
  /** Every node with the partition's data can answer, not only its leader. */
  readonly isForReplicas: boolean = false;
  /** Whether there is no use in asking before somebody leads the partition. */
  readonly needsLeader: boolean = true;
  /** A frame of the client protocol. */
  abstract encode(id: number): Uint8Array;
  /** Calls the local service, which answers later; `refused` instead of the end when that refuses. */
  abstract runLocal(local: Service, refused: Refused): void;
  /** Takes the answer of another node; returns the error when the call was refused and may be tried again. */
  abstract answered(response: ResponseFields): CairnError | null;
  protected abstract endWith(error: CairnError): void;

  /** False when nobody waits for the answer any more, and nothing was executed for it. */
  get isWanted(): boolean {
    return true;
  }

  fail(error: CairnError): void {
    if (this.ended()) this.endWith(error);
  }

  /** Before the caller is told; false when it was told before. */
  protected ended(): boolean {
    if (this.isEnded) return false;
    this.isEnded = true;
    this.timer?.cancel();
    const { onEnded } = this;
    this.onEnded = null;
    onEnded?.(this);
    return true;
  }
}

/** The service that was asked executed nothing, and another one can. */
export function isRefusal(error: CairnError): boolean {
  return error.code === 'not_leader' || error.code === 'not_ready';
}

/** A peer that shuts down hands its partitions over; this node doing so itself is the end of the call. */
export function isPeerRefusal(error: CairnError): boolean {
  return isRefusal(error) || error.code === 'shutting_down';
}

/** Of an answer without the body that the request asks for. */
export function answerError(fields: ErrorFields | null | undefined): CairnError {
  return fields ? errorFromWire(fields) : unknownOutcome('the leader gave an answer of another kind');
}

export function unknownOutcome(reason: string): CairnError {
  return new CairnError('deadline_exceeded', `${reason}; the outcome is unknown`, { extra: { outcome: 'unknown' } });
}
