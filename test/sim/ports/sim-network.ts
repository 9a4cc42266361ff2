import { assert } from '../../../src/base/assert.js';
import type { Prng } from '../../../src/base/prng.js';
import { NetworkError, type Connection, type Listener, type Network } from '../../../src/ports/network.js';
import { never, type Scheduler } from './scheduler.js';

export interface SimNetworkOptions {
  readonly scheduler: Scheduler;
  readonly prng: Prng;
  /** Each delivery takes from the shortest to the longest time; 0.1 and 2 unless told. */
  readonly shortestLatencyMs?: number;
  readonly longestLatencyMs?: number;
  /** Bytes that one direction of a connection takes before they count as buffered; 65,536 unless told. */
  readonly windowBytes?: number;
  /** How long a `connect` over a cut link waits; 1,000 unless told. */
  readonly connectTimeoutMs?: number;
}

function ignore(): void {}

/**
 * Hosts and the links between them. A connection delivers its bytes in order, cut into chunks at
 * random places, or breaks. A cut link holds bytes back, as TCP's retransmission does; `heal` lets them go.
 */
export class SimNetwork {
  readonly options: SimNetworkOptions;
  readonly prng: Prng;
  readonly #listeners = new Map<string, SimListener>();
  readonly #cut = new Set<string>();
  readonly #connections = new Set<SimConnection>();
  readonly #downHosts = new Set<string>();
  /** What cut links hold back. */
  #held: { readonly from: string; readonly to: string; readonly deliver: () => void }[] = [];
  #nextPort = 49_152;

  constructor(options: SimNetworkOptions) {
    this.options = options;
    this.prng = options.prng.fork();
  }

  /** The network as the host's processes see it. */
  host(name: string): Network {
    return new SimHost(this, name);
  }

  /** Holds back everything that `from` sends to `to`. */
  cutLink(from: string, to: string): void {
    this.#cut.add(link(from, to));
  }

  /** Cuts both directions. */
  partition(a: string, b: string): void {
    this.cutLink(a, b);
    this.cutLink(b, a);
  }

  /** Ends all cuts and delivers what they held back. */
  heal(): void {
    this.#cut.clear();
    const held = this.#held;
    this.#held = [];
    for (const { from, to, deliver } of held) this.send(from, to, deliver);
  }

  /** Delivers after the link's latency, or after it heals. */
  send(from: string, to: string, deliver: () => void): void {
    this.schedule(this.latencyMs(), () => {
      if (this.isCut(from, to)) this.#held.push({ from, to, deliver });
      else deliver();
    });
  }

  isCut(from: string, to: string): boolean {
    return this.#cut.has(link(from, to));
  }

  /** Breaks every connection between the two hosts; both ends see ECONNRESET. */
  breakConnections(a: string, b: string): void {
    for (const connection of [...this.#connections]) {
      const { localHost, remoteHost } = connection;
      if (localHost === a && remoteHost === b) connection.reset();
    }
  }

  /** The host's processes are gone: their listeners end, other ends see ECONNRESET, they themselves hear no more. */
  crashHost(name: string): void {
    for (const [address, listener] of this.#listeners) if (listener.host === name) this.#listeners.delete(address);
    for (const connection of [...this.#connections]) if (connection.localHost === name) connection.vanish();
    this.#downHosts.add(name);
  }

  /** After a crash the host can listen and connect again; use a new `host` view for the new process. */
  startHost(name: string): void {
    this.#downHosts.delete(name);
  }

  isDown(host: string): boolean {
    return this.#downHosts.has(host);
  }

  latencyMs(): number {
    const { shortestLatencyMs = 0.1, longestLatencyMs = 2 } = this.options;
    return shortestLatencyMs + this.prng.unit() * (longestLatencyMs - shortestLatencyMs);
  }

  schedule(delayMs: number, callback: () => void): void {
    this.options.scheduler.schedule(delayMs, callback);
  }

  listen(host: string, port: number, onConnection: (connection: Connection) => void): SimListener {
    const chosen = port === 0 ? this.#freePort(host) : port;
    const address = `${host}:${chosen}`;
    if (this.#listeners.has(address)) throw new NetworkError('EADDRINUSE', `${address} is taken`);
    const listener = new SimListener(host, chosen, onConnection, () => this.#listeners.delete(address));
    this.#listeners.set(address, listener);
    return listener;
  }

  /** Both ends of a new connection, or undefined when nobody listens. */
  open(from: string, host: string, port: number): Connection | undefined {
    const listener = this.#listeners.get(`${host}:${port}`);
    if (listener === undefined) return undefined;
    const fromPort = this.#nextPort++;
    const client = new SimConnection(this, from, host, `${host}:${port}`);
    const server = new SimConnection(this, host, from, `${from}:${fromPort}`);
    client.other = server;
    server.other = client;
    this.#connections.add(client).add(server);
    listener.onConnection(server);
    return client;
  }

  forget(connection: SimConnection): void {
    this.#connections.delete(connection);
  }

  #freePort(host: string): number {
    while (this.#listeners.has(`${host}:${this.#nextPort}`)) this.#nextPort++;
    return this.#nextPort++;
  }
}

function link(from: string, to: string): string {
  return `${from} > ${to}`;
}

class SimHost implements Network {
  readonly #network: SimNetwork;
  readonly #name: string;

  constructor(network: SimNetwork, name: string) {
    this.#network = network;
    this.#name = name;
  }

  /** The host of the address is ignored: a listener belongs to its host. */
  listen(_host: string, port: number, onConnection: (connection: Connection) => void): Promise<Listener> {
    if (this.#network.isDown(this.#name)) return never();
    return new Promise((resolve) => resolve(this.#network.listen(this.#name, port, onConnection)));
  }

  connect(host: string, port: number): Promise<Connection> {
    const network = this.#network;
    const name = this.#name;
    if (network.isDown(name)) return never();
    return new Promise((resolve, reject) => {
      if (network.isCut(name, host) || network.isCut(host, name) || network.isDown(host)) {
        const { connectTimeoutMs = 1000 } = network.options;
        const refuse = (): void => reject(new NetworkError('ETIMEDOUT', `no connection to ${host}:${port}`));
        network.schedule(connectTimeoutMs, refuse);
        return;
      }
      network.schedule(network.latencyMs(), () => {
        if (network.isDown(name)) return;
        const connection = network.open(name, host, port);
        if (connection === undefined) reject(new NetworkError('ECONNREFUSED', `nobody listens on ${host}:${port}`));
        else resolve(connection);
      });
    });
  }
}

class SimListener implements Listener {
  readonly host: string;
  readonly port: number;
  readonly onConnection: (connection: Connection) => void;
  readonly #remove: () => void;

  constructor(host: string, port: number, onConnection: (connection: Connection) => void, remove: () => void) {
    this.host = host;
    this.port = port;
    this.onConnection = onConnection;
    this.#remove = remove;
  }

  close(): Promise<void> {
    this.#remove();
    return Promise.resolve();
  }
}

/** One end. Bytes go from `#buffered` into the window (`#inFlight`), and from there to the other end's call back. */
class SimConnection implements Connection {
  readonly localHost: string;
  readonly remoteHost: string;
  readonly peer: string;
  other!: SimConnection;
  onData: (chunk: Uint8Array) => void = ignore;
  onDrain: () => void = ignore;
  onEnd: () => void = ignore;
  onClose: (error: Error | undefined) => void = ignore;
  readonly #network: SimNetwork;
  readonly #buffered: Uint8Array[] = [];
  #bufferedBytes = 0;
  #inFlightBytes = 0;
  /** What arrived while this end was paused, or in order behind such. */
  readonly #arrived: (Uint8Array | 'end')[] = [];
  #isPaused = false;
  /** A delivery from this end to the other is on its way; one at a time keeps the order. */
  #isSending = false;
  #isFlushQueued = false;
  #isEnding = false;
  #hasSentEnd = false;
  #hasSeenEnd = false;
  #isClosed = false;

  constructor(network: SimNetwork, localHost: string, remoteHost: string, peer: string) {
    this.#network = network;
    this.localHost = localHost;
    this.remoteHost = remoteHost;
    this.peer = peer;
  }

  get bufferedBytes(): number {
    return this.#bufferedBytes;
  }

  write(bytes: Uint8Array): void {
    if (bytes.length === 0 || this.#isEnding || this.#isClosed) return;
    this.#buffered.push(bytes);
    this.#bufferedBytes += bytes.length;
    this.#queueFlush();
  }

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.#network.schedule(0, () => this.#deliver());
  }

  end(): void {
    if (this.#isEnding || this.#isClosed) return;
    this.#isEnding = true;
    this.#queueFlush();
  }

  destroy(): void {
    if (this.#isClosed) return;
    this.#close(undefined);
    const { other } = this;
    const isClean = this.#hasSentEnd && this.#hasSeenEnd;
    if (!isClean) this.#network.send(this.localHost, this.remoteHost, () => other.#breakOff());
  }

  /** Both ends see the stream broken. */
  reset(): void {
    this.#breakOff();
    this.other.#breakOff();
  }

  /** This end's process is gone: it hears no more; the other end is told when its host can be reached. */
  vanish(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#network.forget(this);
    this.onData = this.onDrain = this.onEnd = this.onClose = ignore;
    const { other } = this;
    this.#network.send(this.localHost, this.remoteHost, () => other.#breakOff());
  }

  /** Sends on what may be sent now. */
  pump(): void {
    if (this.#isSending || this.#isClosed) return;
    const { windowBytes = 65_536 } = this.#network.options;
    const room = windowBytes - this.#inFlightBytes;
    if (this.#buffered.length > 0) {
      if (room > 0) this.#send(this.#takeChunk(room));
    } else if (this.#isEnding && !this.#hasSentEnd) {
      this.#hasSentEnd = true;
      this.#send('end');
    }
  }

  #queueFlush(): void {
    if (this.#isFlushQueued) return;
    this.#isFlushQueued = true;
    this.#network.schedule(0, () => {
      this.#isFlushQueued = false;
      this.pump();
    });
  }

  /** The next bytes, joined and cut at a random place as streams do. */
  #takeChunk(room: number): Uint8Array {
    const { prng } = this.#network;
    const available = Math.min(room, this.#bufferedBytes);
    const length = prng.chance(0.5) ? available : prng.between(1, available);
    const chunk = new Uint8Array(length);
    for (let done = 0; done < length;) {
      const first = this.#buffered[0]!;
      const count = Math.min(first.length, length - done);
      chunk.set(first.subarray(0, count), done);
      done += count;
      if (count === first.length) this.#buffered.shift();
      else this.#buffered[0] = first.subarray(count);
    }
    this.#bufferedBytes -= length;
    this.#inFlightBytes += length;
    return chunk;
  }

  #send(item: Uint8Array | 'end'): void {
    this.#isSending = true;
    const wasDrained = item !== 'end' && this.#bufferedBytes === 0;
    this.#network.send(this.localHost, this.remoteHost, () => this.#arrive(item));
    if (wasDrained) {
      this.#network.schedule(0, () => {
        if (!this.#isClosed && this.#bufferedBytes === 0) this.onDrain();
      });
    }
  }

  #arrive(item: Uint8Array | 'end'): void {
    this.#isSending = false;
    if (this.other.#isClosed) return;
    this.other.#arrived.push(item);
    this.other.#deliver();
    this.pump();
  }

  #deliver(): void {
    while (!this.#isPaused && !this.#isClosed) {
      const item = this.#arrived.shift();
      if (item === undefined) break;
      if (item === 'end') {
        this.#hasSeenEnd = true;
        this.onEnd();
      } else {
        this.other.#inFlightBytes -= item.length;
        assert(this.other.#inFlightBytes >= 0, 'no more bytes arrive than were sent');
        this.onData(item);
        if (!this.other.#isClosed) this.other.#queueFlush();
      }
    }
    this.#closeWhenDone();
    this.other.#closeWhenDone();
  }

  /** Both directions ended and everything was delivered. */
  #closeWhenDone(): void {
    if (!this.#isClosed && this.#hasSeenEnd && this.#hasSentEnd && this.other.#hasSeenEnd) this.#close(undefined);
  }

  #breakOff(): void {
    this.#close(new NetworkError('ECONNRESET', `${this.peer} broke the connection`));
  }

  #close(error: Error | undefined): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#buffered.length = 0;
    this.#bufferedBytes = 0;
    this.#network.forget(this);
    this.#network.schedule(0, () => {
      const { onClose } = this;
      this.onData = this.onDrain = this.onEnd = this.onClose = ignore;
      onClose(error);
    });
  }
}
