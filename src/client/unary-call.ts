import { type ResponseFields, errorFromWire } from '../codec/client-protocol.js';
import type { Timer } from '../ports/clock.js';
import type { Call, Channel } from './channel.js';
import { ClientError, DeadlineError, UnavailableError, clientError } from './errors.js';
import type { ClientPorts, EndpointPool } from './pool.js';

/** What one call needs besides its request. */
export interface CallLimits {
  readonly deadlineMs: number;
  readonly signal: AbortSignal | undefined;
  /** Rounds of connecting and sends, the first included. */
  readonly maxAttempts: number;
}

export interface UnaryRequest<T> {
  encode(id: number): Uint8Array;
  /** May throw a ClientError. */
  decode(response: ResponseFields): T;
  /** Reads may be sent again when their answer was lost; writes only when they were not executed. */
  readonly isRead: boolean;
}

/** A request with one answer: sent, sent again where that is safe, settled once. */
export class UnaryCall<T> implements Call {
  readonly promise: Promise<T>;
  readonly #request: UnaryRequest<T>;
  readonly #limits: CallLimits;
  readonly #pool: EndpointPool;
  #resolve!: (value: T) => void;
  #reject!: (reason: unknown) => void;
  #settled = false;
  #timer: Timer | null = null;
  #attempts = 0;
  #channel: Channel | null = null;
  #id = 0;
  #receivedChunksAtSend = 0;
  #lastError: ClientError | null = null;

  constructor(request: UnaryRequest<T>, limits: CallLimits, pool: EndpointPool, ports: ClientPorts) {
    this.#request = request;
    this.#limits = limits;
    this.#pool = pool;
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    if (limits.signal?.aborted) {
      this.#fail(limits.signal.reason);
      return;
    }
    limits.signal?.addEventListener('abort', this.#onAbort, { once: true });
    this.#timer = ports.clock.setTimer(limits.deadlineMs, () => this.#deadlinePassed());
    this.#attempt();
  }

  encode(id: number): Uint8Array {
    return this.#request.encode(id);
  }

  answered(response: ResponseFields): void {
    const channel = this.#channel;
    this.#release();
    if (response.error) {
      const error = clientError(errorFromWire(response.error));
      if (error.outcome === 'not_executed') this.#refused(error, channel);
      else this.#fail(error);
      return;
    }
    let value: T;
    try {
      value = this.#request.decode(response);
    } catch (error) {
      this.#fail(error);
      return;
    }
    this.#settle();
    this.#resolve(value);
  }

  lost(executed: 'no' | 'unknown', cause: Error): void {
    this.#channel = null;
    const outcome = executed === 'no' || this.#request.isRead ? 'not_executed' : 'unknown';
    const error = new UnavailableError('unavailable', `the connection was lost: ${cause.message}`, outcome, { cause });
    if (outcome === 'not_executed') this.#retry(error);
    else this.#fail(error);
  }

  #attempt(): void {
    this.#attempts++;
    const ready = this.#pool.ready;
    if (ready !== null) {
      this.#send(ready);
      return;
    }
    this.#pool.connect().then(
      (channel) => {
        if (this.#settled) return;
        if (channel.usable) this.#send(channel);
        else
          this.#retry(new UnavailableError('unavailable', `${channel.endpoint} closed the connection`, 'not_executed'));
      },
      (error: ClientError) => {
        if (this.#settled) return;
        if (error.outcome === 'not_executed') this.#retry(error);
        else this.#fail(error);
      },
    );
  }

  #send(channel: Channel): void {
    this.#channel = channel;
    this.#receivedChunksAtSend = channel.receivedChunks;
    this.#id = channel.send(this);
  }

  /** The node is there and can't serve this now. Another one may; a busy one is left in peace for a while. */
  #refused(error: ClientError, channel: Channel | null): void {
    if (channel !== null && error.code !== 'overloaded') this.#pool.leave(channel);
    if (this.#attempts === 1 && this.#pool.ready === null) this.#retry(error);
    else if (this.#mayRetry(error)) this.#attemptLater();
  }

  #retry(error: ClientError): void {
    if (!this.#mayRetry(error)) return;
    // Connecting has a back-off of its own.
    if (this.#pool.ready === null) this.#attempt();
    else this.#attemptLater();
  }

  #mayRetry(error: ClientError): boolean {
    this.#lastError = error;
    if (this.#attempts < this.#limits.maxAttempts) return true;
    this.#fail(error);
    return false;
  }

  #attemptLater(): void {
    void this.#pool.pause(this.#attempts).then(() => (this.#settled ? undefined : this.#attempt()));
  }

  readonly #onAbort = (): void => this.#fail(this.#limits.signal!.reason);

  #deadlinePassed(): void {
    const channel = this.#channel;
    const passed = `the deadline of ${this.#limits.deadlineMs} ms passed`;
    if (channel === null) {
      const reason = this.#lastError === null ? 'no endpoint answered' : this.#lastError.message;
      this.#fail(
        new UnavailableError('unavailable', `${passed}: ${reason}`, 'not_executed', { cause: this.#lastError }),
      );
      return;
    }
    const isDead = channel.receivedChunks === this.#receivedChunksAtSend;
    const outcome = this.#request.isRead ? 'not_executed' : 'unknown';
    const error = new DeadlineError(
      'deadline_exceeded',
      `${passed} without an answer from ${channel.endpoint}`,
      outcome,
    );
    this.#fail(error);
    // Nothing at all came since: a peer that is gone without a word. The other calls on it may go elsewhere.
    if (isDead) channel.destroy(error);
  }

  #fail(reason: unknown): void {
    if (this.#settled) return;
    this.#settle();
    this.#reject(reason);
  }

  #settle(): void {
    this.#settled = true;
    this.#release();
    this.#timer?.cancel();
    this.#limits.signal?.removeEventListener('abort', this.#onAbort);
  }

  #release(): void {
    this.#channel?.forget(this.#id);
    this.#channel = null;
  }
}
