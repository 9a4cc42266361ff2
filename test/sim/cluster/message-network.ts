import { InstantHolds } from '../../../src/cluster/instants/instant-holds.js';
import { Instants } from '../../../src/cluster/instants/instants.js';
import type { Prng } from '../../../src/base/prng.js';
import { decodeInstantAnswer, encodeInstantRequest } from '../../../src/codec/instant-protocol.js';
import type { Message } from '../../../src/raft/message.js';
import { NodeService } from '../../../src/server/node-service.js';
import { answerInstant } from '../../../src/server/routing/instant-requests.js';
import type { Scheduler } from '../ports/scheduler.js';
import type { SimMachine } from '../sim-machine.js';
import { BulkStreams } from './bulk-streams.js';
import { FINE_WEATHER, type ClusterNetwork, type NetworkWeather, type NodeNetwork } from './cluster-network.js';
import { RequestLinks } from './request-links.js';

type Receive = (from: string, messages: readonly Message[]) => void;

/**
 * Carries Raft messages between simulated nodes as a datagram network would: late, twice, in any order or not at all. Harsher to Raft than
 * the streams of the real transport; but each node answers for itself, and clients find the leader.
 */
export class MessageNetwork implements ClusterNetwork {
  readonly streams = null;
  readonly #weather: NetworkWeather = { ...FINE_WEATHER };
  /** Messages from the first to the second do not arrive. */
  readonly #cut = new Set<string>();
  readonly #bulk: BulkStreams;
  readonly #requests: RequestLinks;
  readonly #receivers = new Map<string, Receive>();
  readonly #scheduler: Scheduler;
  readonly #prng: Prng;
  readonly #requestTimeoutMs: number;
  #delivered = 0;
  #lost = 0;

  constructor(scheduler: Scheduler, prng: Prng, requestTimeoutMs: number) {
    this.#scheduler = scheduler;
    this.#prng = prng.fork();
    this.#requestTimeoutMs = requestTimeoutMs;
    this.#bulk = new BulkStreams(scheduler, prng, (from, to) => this.#cut.has(`${from}>${to}`));
    const requestPrng = prng.fork();
    this.#requests = new RequestLinks(scheduler, (from, to) => {
      const { lossProbability, longestDelayMs } = this.#weather;
      const isLost = this.#cut.has(`${from}>${to}`) || requestPrng.chance(lossProbability);
      return isLost ? null : requestPrng.unit() * longestDelayMs;
    });
  }

  get fingerprint(): readonly number[] {
    return [this.#delivered, this.#lost];
  }

  attach(name: string, machine: SimMachine): NodeNetwork {
    const { clock, random } = machine;
    // What waits for a stopped process ends with it.
    const arrive = (call: () => void): void =>
      machine.events.arrive(() => {
        if (!machine.disk.isOff) call();
      });
    return {
      transport: {
        send: (to, message) => this.#send(name, to, message),
        flush: () => {},
        openBulk: (to, header) => this.#bulk.open(name, to, header),
      },
      missingMembers: () => [],
      join: (node, localOptions) => {
        const { host, engine } = node;
        const holds = new InstantHolds(host, clock);
        const instants = new Instants({
          nodeId: name,
          host,
          engine,
          holds,
          ask: (to, request) =>
            new Promise<Uint8Array>((resolve) => {
              const body = encodeInstantRequest(request);
              this.#requests.request(name, to, body, (answer) => arrive(() => resolve(answer)));
            }).then(decodeInstantAnswer),
          clock,
          random,
          requestTimeoutMs: this.#requestTimeoutMs,
        });
        this.#receivers.set(name, (from, messages) => arrive(() => host.receive(from, messages)));
        this.#bulk.attach(name, (from, header, source) => arrive(() => host.receiveBulk(from, header, source)));
        this.#requests.attach(
          name,
          (body) =>
            new Promise((resolve, reject) => arrive(() => void answerInstant(holds, body).then(resolve, reject))),
        );
        return Promise.resolve({ service: new NodeService({ ...localOptions, instants }), instants });
      },
      count: () => {},
    };
  }

  detach(node: string): void {
    this.#receivers.delete(node);
    this.#bulk.detach(node);
    this.#requests.detach(node);
  }

  cut(from: string, to: string): void {
    this.#cut.add(`${from}>${to}`);
  }

  heal(from: string, to: string): void {
    this.#cut.delete(`${from}>${to}`);
  }

  change(weather: Partial<NetworkWeather>): void {
    Object.assign(this.#weather, weather);
  }

  healAll(): void {
    this.#cut.clear();
    this.change(FINE_WEATHER);
  }

  #send(from: string, to: string, message: Message): void {
    const { lossProbability, duplicateProbability, longestDelayMs } = this.#weather;
    const copies = this.#prng.chance(duplicateProbability) ? 2 : 1;
    // What is in the message now is what travels: the sender may use its memory again.
    const travelling = structuredClone(message);
    for (let i = 0; i < copies; i++) {
      if (this.#cut.has(`${from}>${to}`) || this.#prng.chance(lossProbability)) {
        this.#lost++;
        continue;
      }
      this.#scheduler.schedule(this.#prng.unit() * longestDelayMs, () => {
        this.#delivered++;
        this.#receivers.get(to)?.(from, [travelling]);
      });
    }
  }
}
