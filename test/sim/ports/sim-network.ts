import { xxHash32 } from '../../../src/base/hash.js';
import type { Prng } from '../../../src/base/prng.js';
import { NetworkError, type Connection, type Listener, type Network } from '../../../src/ports/network.js';
import { uniform } from './delay.js';
import { never, type Scheduler } from './scheduler.js';
import { SimConnection, type ConnectionWorld } from './sim-connection.js';
import { SimLink, type LinkProfile } from './sim-link.js';
import { SimPipe, type Segment } from './sim-pipe.js';
import type { TraceHash } from './trace-hash.js';

export interface SimNetworkOptions {
  readonly scheduler: Scheduler;
  readonly prng: Prng;
  /** What links do unless told otherwise; 0.1 to 2 ms and nothing else unless told. */
  readonly link?: Partial<LinkProfile>;
  /** Bytes that one direction of a connection takes before they count as buffered; 65,536 unless told. */
  readonly windowBytes?: number;
  /** That what is sent is cut at a random place; 0.5 unless told. */
  readonly cutProbability?: number;
  /** How long a `connect` over a cut link waits; 1,000 unless told. */
  readonly connectTimeoutMs?: number;
  /** How long a sender's system waits for a cut link before it breaks the connection; 30,000 unless told. */
  readonly stallTimeoutMs?: number;
  /** Runs a call in the host's process, now or when that goes on; unless told hosts are stopped with `pauseHost`. */
  readonly inProcess?: (host: string, call: () => void) => void;
  /** Gets an event for everything that happens. */
  readonly trace?: TraceHash;
}

const PLAIN_LINK: LinkProfile = {
  latency: uniform(0.1, 2),
  bytesPerMs: Infinity,
  lossProbability: 0,
  corruptionProbability: 0,
};

/** How a host ends: its process, so that its system resets the connections, or all of it, so that others hear nothing. */
export type HostDeath = 'reset' | 'hang';

/** A stopped process: what is to run in it waits. */
interface PausedProcess {
  readonly calls: (() => void)[];
  isDraining: boolean;
}

/**
 * Hosts and the links between them. A connection delivers its bytes in order, cut into chunks at random places, or breaks.
 * A cut link drops everything, so that connections stall, as TCP's do, until it heals or a system gives up; an end that has
 * nothing to send does not notice. All of it follows from the seed, the calls and their order.
 */
export class SimNetwork implements ConnectionWorld {
  readonly scheduler: Scheduler;
  readonly prng: Prng;
  readonly windowBytes: number;
  readonly cutProbability: number;
  /** Segments that arrived with a flipped bit. */
  corruptedSegments = 0;
  readonly #options: SimNetworkOptions;
  readonly #links = new Map<string, SimLink>();
  readonly #listeners = new Map<string, SimListener>();
  readonly #connections = new Set<SimConnection>();
  /** Also of connections that are closed: the news of that may be what waits. */
  readonly #stalled = new Set<SimPipe>();
  /** Switched off: nothing gets there. */
  readonly #offHosts = new Set<string>();
  readonly #paused = new Map<string, PausedProcess>();
  /** Which process of the host is alive; the views of earlier ones are dead. */
  readonly #lives = new Map<string, number>();
  #nextPort = 49_152;
  #nextConnection = 1;

  constructor(options: SimNetworkOptions) {
    this.#options = options;
    this.scheduler = options.scheduler;
    this.prng = options.prng.fork();
    this.windowBytes = options.windowBytes ?? 65_536;
    this.cutProbability = options.cutProbability ?? 0.5;
  }

  /** The network as the host's present process sees it. */
  host(name: string): Network {
    return new SimHost(this, name, this.lifeOf(name));
  }

  /** Changes what the link does; the rest stays. */
  setLink(from: string, to: string, profile: Partial<LinkProfile>): void {
    const link = this.link(from, to);
    link.profile = { ...link.profile, ...profile };
    this.#trace('link', from, to);
  }

  /** Drops everything that `from` sends to `to`. */
  cutLink(from: string, to: string): void {
    this.link(from, to).cutSinceMs ??= this.scheduler.nowMs;
    this.#trace('cut', from, to);
  }

  /** Cuts both directions. */
  partition(a: string, b: string): void {
    this.cutLink(a, b);
    this.cutLink(b, a);
  }

  /** Cuts all links between hosts of different groups. A host of no group still reaches all: a bridge. */
  split(...groups: readonly (readonly string[])[]): void {
    for (const group of groups) {
      for (const other of groups) {
        if (other !== group) for (const from of group) for (const to of other) this.cutLink(from, to);
      }
    }
  }

  healLink(from: string, to: string): void {
    this.link(from, to).cutSinceMs = undefined;
    this.#trace('heal', from, to);
    this.#retry();
  }

  /** Ends all cuts. */
  heal(): void {
    for (const link of this.#links.values()) link.cutSinceMs = undefined;
    this.#trace('heal');
    this.#retry();
  }

  /** Links behave again as they did in the beginning. */
  restoreLinks(): void {
    for (const link of this.#links.values()) link.restore(this.#plainLink());
    this.#trace('restore');
  }

  isCut(from: string, to: string): boolean {
    return this.link(from, to).cutSinceMs !== undefined;
  }

  isBlocked(from: string, to: string): boolean {
    return this.isCut(from, to) || this.#offHosts.has(to);
  }

  /** Breaks every connection between the two hosts; both ends see ECONNRESET. */
  breakConnections(a: string, b: string): void {
    this.#trace('break', a, b);
    for (const connection of this.#between(a, b)) connection.breakOff('ECONNRESET');
    for (const connection of this.#between(b, a)) connection.breakOff('ECONNRESET');
  }

  /** The host forgets its connections to the other, which hears of it when it sends: half-open ones remain. */
  forgetConnections(host: string, other: string): void {
    this.#trace('forget', host, other);
    for (const connection of this.#between(host, other)) connection.breakOff('ETIMEDOUT');
  }

  /** The host's process is gone: its listeners end, it hears no more. */
  crashHost(name: string, death: HostDeath = 'reset'): void {
    this.#trace('crash', name, death);
    for (const [address, listener] of this.#listeners) if (listener.host === name) this.#listeners.delete(address);
    for (const connection of [...this.#connections]) {
      if (connection.localHost === name) connection.vanish(death === 'reset');
    }
    this.#paused.delete(name);
    this.#lives.set(name, this.lifeOf(name) + 1);
    if (death === 'hang') this.#offHosts.add(name);
  }

  /** After a crash the host can be reached again; use a new `host` view for the new process. */
  startHost(name: string): void {
    this.#trace('start', name);
    this.#offHosts.delete(name);
    this.#retry();
  }

  /** Stops the host's process (SIGSTOP): its system still takes bytes, up to the windows, and new connections. */
  pauseHost(name: string): void {
    this.#trace('pause', name);
    const paused = this.#paused.get(name);
    if (paused === undefined) this.#paused.set(name, { calls: [], isDraining: false });
    else paused.isDraining = false;
  }

  /** The process goes on, first with what waited for it. */
  resumeHost(name: string): void {
    this.#trace('resume', name);
    const paused = this.#paused.get(name);
    if (paused === undefined || paused.isDraining) return;
    paused.isDraining = true;
    this.scheduler.schedule(0, () => this.#drain(name, paused));
  }

  isPaused(host: string): boolean {
    return this.#paused.has(host);
  }

  inProcess(host: string, call: () => void): void {
    const paused = this.#paused.get(host);
    if (paused !== undefined) paused.calls.push(call);
    else if (this.#options.inProcess === undefined) call();
    else this.#options.inProcess(host, call);
  }

  lifeOf(host: string): number {
    return this.#lives.get(host) ?? 0;
  }

  forget(connection: SimConnection): void {
    this.#connections.delete(connection);
  }

  listen(host: string, port: number, onConnection: (connection: Connection) => void): SimListener {
    const chosen = port === 0 ? this.#freePort(host) : port;
    const address = `${host}:${chosen}`;
    if (this.#listeners.has(address)) throw new NetworkError('EADDRINUSE', `${address} is taken`);
    const listener = new SimListener(host, chosen, onConnection, () => {
      if (this.#listeners.get(address) === listener) this.#listeners.delete(address);
    });
    this.#listeners.set(address, listener);
    return listener;
  }

  /** Tries until the host answers or the time is over. */
  connect(from: string, host: string, port: number, settle: (outcome: Connection | NetworkError) => void): void {
    const { connectTimeoutMs = 1000 } = this.#options;
    const life = this.lifeOf(from);
    const deadlineMs = this.scheduler.nowMs + connectTimeoutMs;
    const finish = (outcome: SimConnection | NetworkError): void => {
      this.inProcess(from, () => {
        if (this.lifeOf(from) !== life) return;
        settle(outcome);
        if (outcome instanceof SimConnection) outcome.opened();
      });
    };
    const attempt = (retryMs: number): void => {
      const travelMs = this.link(from, host).travelMs(this.scheduler.nowMs, 0);
      this.scheduler.schedule(travelMs, () => {
        if (this.lifeOf(from) !== life) return;
        if (!this.isBlocked(from, host) && !this.isBlocked(host, from)) {
          finish(this.#open(from, host, port) ?? new NetworkError('ECONNREFUSED', `nobody listens on ${host}:${port}`));
          return;
        }
        const leftMs = Math.max(0, deadlineMs - this.scheduler.nowMs);
        const next = (): void => {
          if (retryMs < leftMs) attempt(2 * retryMs);
          else finish(new NetworkError('ETIMEDOUT', `no connection to ${host}:${port}`));
        };
        this.scheduler.schedule(Math.min(retryMs, leftMs), next);
      });
    };
    attempt(1000);
  }

  link(from: string, to: string): SimLink {
    const name = `${from} > ${to}`;
    let link = this.#links.get(name);
    if (link === undefined) {
      link = new SimLink(from, to, this.#plainLink(), this.prng.fork());
      this.#links.set(name, link);
    }
    return link;
  }

  /** Both ends of a new connection, or undefined when nobody listens. */
  #open(from: string, host: string, port: number): SimConnection | undefined {
    const listener = this.#listeners.get(`${host}:${port}`);
    if (listener === undefined) return undefined;
    const id = this.#nextConnection++;
    const client = new SimConnection(this, id, from, host, `${host}:${port}`);
    const server = new SimConnection(this, id, host, from, `${from}:${this.#nextPort++}`);
    client.join(server, this.#pipe(client, server));
    server.join(client, this.#pipe(server, client));
    this.#connections.add(client).add(server);
    this.#trace('open', from, host, port, id);
    const life = this.lifeOf(host);
    this.inProcess(host, () => {
      if (this.lifeOf(host) !== life || server.isClosed) return;
      listener.onConnection(server);
      server.opened();
    });
    return client;
  }

  #pipe(sender: SimConnection, receiver: SimConnection): SimPipe {
    const [from, to] = [sender.localHost, receiver.localHost];
    const link = this.link(from, to);
    return new SimPipe({
      scheduler: this.scheduler,
      prng: this.prng,
      link,
      isBlocked: (direction) => (direction === 'there' ? this.isBlocked(from, to) : this.isBlocked(to, from)),
      stallTimeoutMs: this.#options.stallTimeoutMs ?? 30_000,
      deliver: (segment) => receiver.arrive(this.#carry(link, sender.id, segment)),
      onRoom: () => sender.queuePump(),
      onStall: (pipe) => this.#stalled.add(pipe),
      onTimeout: () => {
        this.#trace('timeout', from, to, sender.id);
        sender.breakOff('ETIMEDOUT');
      },
    });
  }

  #carry(link: SimLink, id: number, segment: Segment): Segment {
    if (typeof segment === 'string') {
      this.#trace(segment, link.from, link.to, id);
      return segment;
    }
    const carried = link.carry(segment);
    if (carried !== segment) this.corruptedSegments++;
    if (this.#options.trace !== undefined) {
      this.#trace('data', link.from, link.to, id, carried.length, xxHash32(carried, 0, carried.length));
    }
    return carried;
  }

  /** One call a scheduler's event, so that promises settle in between; what comes meanwhile waits its turn. */
  #drain(name: string, paused: PausedProcess): void {
    if (this.#paused.get(name) !== paused || !paused.isDraining) return;
    const call = paused.calls.shift();
    if (call === undefined) {
      this.#paused.delete(name);
      return;
    }
    call();
    this.scheduler.schedule(0, () => this.#drain(name, paused));
  }

  #between(local: string, remote: string): SimConnection[] {
    return [...this.#connections].filter(({ localHost, remoteHost }) => localHost === local && remoteHost === remote);
  }

  #retry(): void {
    for (const pipe of [...this.#stalled]) {
      pipe.retry();
      if (!pipe.isStalled) this.#stalled.delete(pipe);
    }
  }

  #plainLink(): LinkProfile {
    return { ...PLAIN_LINK, ...this.#options.link };
  }

  #freePort(host: string): number {
    while (this.#listeners.has(`${host}:${this.#nextPort}`)) this.#nextPort++;
    return this.#nextPort++;
  }

  #trace(...parts: readonly (string | number)[]): void {
    this.#options.trace?.event(this.scheduler.nowMs, ...parts);
  }
}

class SimHost implements Network {
  readonly #network: SimNetwork;
  readonly #name: string;
  readonly #life: number;

  constructor(network: SimNetwork, name: string, life: number) {
    this.#network = network;
    this.#name = name;
    this.#life = life;
  }

  /** The host of the address is ignored: a listener belongs to its host. */
  listen(_host: string, port: number, onConnection: (connection: Connection) => void): Promise<Listener> {
    if (this.#isDead()) return never();
    return new Promise((resolve) => resolve(this.#network.listen(this.#name, port, onConnection)));
  }

  connect(host: string, port: number): Promise<Connection> {
    if (this.#isDead()) return never();
    return new Promise((resolve, reject) => {
      this.#network.connect(this.#name, host, port, (outcome) => {
        if (outcome instanceof NetworkError) reject(outcome);
        else resolve(outcome);
      });
    });
  }

  #isDead(): boolean {
    return this.#network.lifeOf(this.#name) !== this.#life;
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
