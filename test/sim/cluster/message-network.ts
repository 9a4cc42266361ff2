import type { Prng } from '../../../src/base/prng.js';
import type { RaftTransport } from '../../../src/cluster/host/raft-transport.js';
import type { Message } from '../../../src/raft/message.js';
import type { Scheduler } from '../ports/scheduler.js';
import { BulkStreams } from './bulk-streams.js';
import { RequestLinks } from './request-links.js';

export interface NetworkWeather {
  longestDelayMs: number;
  lossProbability: number;
  duplicateProbability: number;
}

/**
 * Carries Raft messages between simulated nodes as a datagram network would: late, twice, in any order or not at all. Harsher than
 * the streams of the real transport, which is simulated by itself.
 */
export class MessageNetwork {
  readonly weather: NetworkWeather = { longestDelayMs: 2, lossProbability: 0, duplicateProbability: 0 };
  /** Messages from the first to the second do not arrive. */
  readonly #cut = new Set<string>();
  readonly bulk: BulkStreams;
  readonly requests: RequestLinks;
  readonly #receivers = new Map<string, (from: string, messages: readonly Message[]) => void>();
  readonly #scheduler: Scheduler;
  readonly #prng: Prng;
  delivered = 0;
  lost = 0;

  constructor(scheduler: Scheduler, prng: Prng) {
    this.#scheduler = scheduler;
    this.#prng = prng.fork();
    this.bulk = new BulkStreams(scheduler, prng, (from, to) => this.#cut.has(`${from}>${to}`));
    const requestPrng = prng.fork();
    this.requests = new RequestLinks(scheduler, (from, to) => {
      const { lossProbability, longestDelayMs } = this.weather;
      const isLost = this.#cut.has(`${from}>${to}`) || requestPrng.chance(lossProbability);
      return isLost ? null : requestPrng.unit() * longestDelayMs;
    });
  }

  transport(from: string): RaftTransport {
    return {
      send: (to, message) => this.#send(from, to, message),
      flush: () => {},
      openBulk: (to, header) => this.bulk.open(from, to, header),
    };
  }

  attach(node: string, receive: (from: string, messages: readonly Message[]) => void): void {
    this.#receivers.set(node, receive);
  }

  detach(node: string): void {
    this.#receivers.delete(node);
    this.bulk.detach(node);
    this.requests.detach(node);
  }

  cut(from: string, to: string): void {
    this.#cut.add(`${from}>${to}`);
  }

  heal(from: string, to: string): void {
    this.#cut.delete(`${from}>${to}`);
  }

  healAll(): void {
    this.#cut.clear();
    this.weather.lossProbability = 0;
    this.weather.duplicateProbability = 0;
    this.weather.longestDelayMs = 2;
  }

  #send(from: string, to: string, message: Message): void {
    const { lossProbability, duplicateProbability, longestDelayMs } = this.weather;
    const copies = this.#prng.chance(duplicateProbability) ? 2 : 1;
    // What is in the message now is what travels: the sender may use its memory again.
    const travelling = structuredClone(message);
    for (let i = 0; i < copies; i++) {
      if (this.#cut.has(`${from}>${to}`) || this.#prng.chance(lossProbability)) {
        this.lost++;
        continue;
      }
      this.#scheduler.schedule(this.#prng.unit() * longestDelayMs, () => {
        this.delivered++;
        this.#receivers.get(to)?.(from, [travelling]);
      });
    }
  }
}
