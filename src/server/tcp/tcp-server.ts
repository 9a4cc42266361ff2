import { CairnError } from '../../base/errors.js';
import { SILENT_LOGGER, type Logger } from '../../base/logger.js';
import { HotRequestReader } from '../../codec/client-hot-codec.js';
import type { Clock, Timer } from '../../ports/clock.js';
import type { Listener, Network } from '../../ports/network.js';
import type { Service } from '../service.js';
import { AnswerWriter } from './answer-writer.js';
import { ClientConnection, type ConnectionHost } from './client-connection.js';
import { DEFAULT_TCP_LIMITS, type TcpLimits } from './limits.js';
import type { JsonCheck } from './requests.js';
import { UnaryRequests } from './unary-requests.js';

export interface TcpServerOptions {
  readonly service: Service;
  readonly network: Network;
  readonly clock: Clock;
  readonly host: string;
  /** 0 picks a free one. */
  readonly port: number;
  readonly checkJson: JsonCheck;
  readonly limits?: Partial<TcpLimits>;
  readonly logger?: Logger;
}

/** Between the notice of a shutdown and the end of idle connections: time for clients to go elsewhere. */
const DRAIN_NOTICE_MS = 100;
const DRAIN_POLL_MS = 20;

/** The server of the binary client protocol (proto/README.md). */
export class TcpServer implements ConnectionHost {
  readonly service: Service;
  readonly limits: TcpLimits;
  readonly logger: Logger;
  readonly requests: UnaryRequests;
  readonly writer = new AnswerWriter();
  readonly reader = new HotRequestReader();
  draining = false;
  readonly #network: Network;
  readonly #clock: Clock;
  readonly #connections = new Set<ClientConnection>();
  #awake: ClientConnection[] = [];
  #listener: Listener | null = null;
  #sweepTimer: Timer | null = null;
  #onEmpty: (() => void) | null = null;

  private constructor(options: TcpServerOptions) {
    this.service = options.service;
    this.limits = { ...DEFAULT_TCP_LIMITS, ...options.limits };
    this.logger = options.logger ?? SILENT_LOGGER;
    this.requests = new UnaryRequests({ service: this.service, limits: this.limits, checkJson: options.checkJson });
    this.#network = options.network;
    this.#clock = options.clock;
  }

  /** Rejects with a NetworkError when the port is taken. */
  static async listen(options: TcpServerOptions): Promise<TcpServer> {
    const server = new TcpServer(options);
    server.#listener = await server.#network.listen(options.host, options.port, (stream) => {
      const connection = new ClientConnection(stream, server, server.#clock.monotonicMs());
      server.#connections.add(connection);
      if (server.#connections.size > server.limits.maxConnections) {
        const problem = `expected at most ${server.limits.maxConnections} connections`;
        connection.refuse(new CairnError('overloaded', problem));
      }
    });
    server.#sweepLater();
    return server;
  }

  get port(): number {
    return this.#listener!.port;
  }

  get connectionCount(): number {
    return this.#connections.size;
  }

  wake(connection: ClientConnection): void {
    this.#awake.push(connection);
    if (this.#awake.length === 1) this.#clock.defer(() => this.#finishTurn());
  }

  #finishTurn(): void {
    const awake = this.#awake;
    this.#awake = [];
    for (const connection of awake) connection.finishTurn();
  }

  closed(connection: ClientConnection): void {
    this.#connections.delete(connection);
    if (this.#connections.size === 0) this.#onEmpty?.();
  }

  #sweepLater(): void {
    this.#sweepTimer = this.#clock.setTimer(this.limits.sweepMs, () => {
      const nowMs = this.#clock.monotonicMs();
      for (const connection of this.#connections) connection.sweep(nowMs);
      this.#sweepLater();
    });
  }

  /**
   * Takes no more connections and requests, answers those under way, then closes. Connections that are not done after
   * `timeoutMs` are cut.
   */
  async close(timeoutMs: number): Promise<void> {
    this.draining = true;
    const deadlineMs = this.#clock.monotonicMs() + timeoutMs;
    const listening = this.#listener!.close();
    for (const connection of this.#connections) connection.startDrain();
    await this.#emptyWithin(Math.min(DRAIN_NOTICE_MS, timeoutMs));
    while (this.#connections.size > 0 && this.#clock.monotonicMs() < deadlineMs) {
      for (const connection of this.#connections) connection.endDrain();
      await this.#emptyWithin(DRAIN_POLL_MS);
    }
    for (const connection of this.#connections) connection.destroy();
    this.#sweepTimer?.cancel();
    await listening;
  }

  /** Resolves when the last connection has closed, or after `delayMs`. */
  async #emptyWithin(delayMs: number): Promise<void> {
    if (this.#connections.size === 0 || delayMs <= 0) return;
    await new Promise<void>((resolve) => {
      const timer = this.#clock.setTimer(delayMs, resolve);
      this.#onEmpty = () => {
        timer.cancel();
        resolve();
      };
    });
    this.#onEmpty = null;
  }
}
