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
  /** A node that has calls under way and says nothing for so long is asked; if it says nothing for as long again, it is given up. */
  readonly silenceMs: number;
  readonly backoffMs: number;
  readonly maxBackoffMs: number;
}

/** Keeps one channel open, to the first endpoint that answers, and goes to another when it breaks or its node can't serve. */
export class EndpointPool {
  readonly #ports: ClientPorts;
  readonly #options: PoolOptions;
  #channel: Channel | null = null;
  #connecting: Promise<Channel> | null = null;
  /** The endpoint to try first: while there is a channel, the one behind its own. */
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

  /**
   * The channel's node says that it can't serve for now, so another endpoint is tried before it. What is under way on the channel
   * is still answered.
   */
  leave(channel: Channel): void {
    if (this.#channel !== channel || this.#options.endpoints.length === 1) return;
    this.#channel = null;
    channel.end();
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
      this.#next = (this.#next + 1) % endpoints.length;
      try {
        // With nowhere else to go, waiting for a silent node is as good as anything.
        const silenceMs = endpoints.length === 1 ? Infinity : this.#options.silenceMs;
        const channel = await Channel.connect({ ...this.#options, ...this.#ports, ...endpoint, silenceMs });
        if (this.#closed) channel.end();
        this.#failedRounds = 0;
        this.#channel = channel;
        return channel;
      } catch (error) {
        last = connectError(`${endpoint.host}:${endpoint.port}`, error as Error);
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
