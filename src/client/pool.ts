import { CairnError } from '../base/errors.js';
import type { Clock } from '../ports/clock.js';
import type { Network } from '../ports/network.js';
import type { Random } from '../ports/random.js';
import { Channel } from './channel.js';
import { type ClientError, UnavailableError, clientError, outcomeOf } from './errors.js';

/** What the client needs of the world; `index.ts` gives the real ones. */
export interface ClientPorts {
  readonly network: Network;
  readonly clock: Clock;
  readonly random: Random;
}

export interface PoolOptions {
  readonly endpoints: readonly { readonly host: string; readonly port: number }[];
  readonly token: string;
  readonly clientName: string;
  readonly connectTimeoutMs: number;
  readonly backoffMs: number;
  readonly maxBackoffMs: number;
}

/** Keeps one channel open, to the first endpoint that answers, and finds another when it breaks. */
export class EndpointPool {
  readonly #ports: ClientPorts;
  readonly #options: PoolOptions;
  #channel: Channel | null = null;
  #connecting: Promise<Channel> | null = null;
  /** The endpoint to try first. */
  #next = 0;
  #failedRounds = 0;
  #closed = false;

  constructor(options: PoolOptions, ports: ClientPorts) {
    this.#options = options;
    this.#ports = ports;
  }

  /** A channel that can be used at once, or null. */
  get ready(): Channel | null {
    return this.#channel !== null && this.#channel.usable ? this.#channel : null;
  }

  /**
   * Tries every endpoint once, after a back-off with jitter when the last round failed. Rejects with the ClientError of the
   * last one. Callers share one round.
   */
  connect(): Promise<Channel> {
    this.#connecting ??= this.#round().finally(() => {
      this.#connecting = null;
    });
    return this.#connecting;
  }

  close(): void {
    this.#closed = true;
    this.#channel?.end();
  }

  async #round(): Promise<Channel> {
    if (this.#failedRounds > 0) await this.pause(this.#failedRounds);
    const { endpoints } = this.#options;
    let last: ClientError | null = null;
    for (let i = 0; i < endpoints.length && !this.#closed; i++) {
      const endpoint = endpoints[this.#next]!;
      try {
        const channel = await Channel.connect({ ...this.#options, ...this.#ports, ...endpoint });
        if (this.#closed) channel.end();
        this.#failedRounds = 0;
        this.#channel = channel;
        return channel;
      } catch (error) {
        last = connectError(`${endpoint.host}:${endpoint.port}`, error as Error);
        this.#next = (this.#next + 1) % endpoints.length;
      }
    }
    this.#failedRounds++;
    throw last ?? new UnavailableError('unavailable', 'the client was closed', 'not_executed');
  }

  /** Waits before another try, longer after more failures. */
  async pause(failures: number): Promise<void> {
    const { backoffMs, maxBackoffMs } = this.#options;
    const most = Math.min(maxBackoffMs, backoffMs * 2 ** (failures - 1));
    // Between half and all of it, so that clients that were cut off together do not come back together.
    const delayMs = most * (0.5 + this.#ports.random.uint32() / 2 ** 33);
    await new Promise<void>((resolve) => this.#ports.clock.setTimer(delayMs, resolve));
  }
}

/** A refusal keeps its code; everything else means that nobody was there. */
function connectError(endpoint: string, error: Error): ClientError {
  if (error instanceof CairnError && outcomeOf(error.code) === 'refused') return clientError(error);
  return new UnavailableError('unavailable', `${endpoint} can't be reached: ${error.message}`, 'not_executed', {
    cause: error,
  });
}
