import { Prng } from '../../../src/base/prng.js';
import type { Logger } from '../../../src/base/logger.js';
import type { PeerAddress } from '../../../src/cluster/peers/host.js';
import type { PeerLimits } from '../../../src/cluster/peers/limits.js';
import { PeerTransport, type AnswerRequest, type PeerTransportOptions } from '../../../src/cluster/peers/transport.js';
import { NodeClock } from '../../../src/platform/node-clock.js';
import { NodeNetwork } from '../../../src/platform/node-network.js';
import { NodeRandom } from '../../../src/platform/node-random.js';
import type { Clock, Timer } from '../../../src/ports/clock.js';
import type { Message } from '../../../src/raft/message.js';
import { untilReal } from '../../ports/port-world.js';
import { Scheduler } from '../../sim/ports/scheduler.js';
import { SimClock } from '../../sim/ports/sim-clock.js';
import { SimNetwork, type SimNetworkOptions } from '../../sim/ports/sim-network.js';
import { SimRandom } from '../../sim/ports/sim-random.js';

export const PEER_PORT = 9091;

/** One node, and what it has heard. Requests are answered with their own bytes, unless `onRequest` is changed. */
export class TestNode {
  readonly name: string;
  readonly transport: PeerTransport;
  readonly messages: { from: string; message: Message }[] = [];
  /** How many messages each call brought. */
  readonly batches: number[] = [];
  /** For example '+b', '-b'. */
  readonly changes: string[] = [];
  readonly warnings: { code: string; text: string }[] = [];
  onMessages: (from: string, messages: Message[]) => void = () => {};
  onRequest: (from: string, body: Uint8Array, answer: AnswerRequest, timeoutMs: number) => void = (_, body, answer) =>
    answer(body);

  constructor(name: string, options: TransportOptions) {
    this.name = name;
    const logger: Logger = {
      debug: () => {},
      info: () => {},
      error: () => {},
      warn: (fields, text) => void this.warnings.push({ code: String(fields['code']), text }),
    };
    this.transport = new PeerTransport({
      nodeId: name,
      clusterId: 'test',
      incarnation: `disk of ${name}`,
      logger,
      onMessages: (from, messages) => {
        this.batches.push(messages.length);
        for (const message of messages) this.messages.push({ from, message });
        this.onMessages(from, messages);
      },
      onRequest: (from, body, answer, timeoutMs) => this.onRequest(from, body, answer, timeoutMs),
      onPeerUp: (nodeId) => void this.changes.push(`+${nodeId}`),
      onPeerDown: (nodeId) => void this.changes.push(`-${nodeId}`),
      ...options,
    });
  }

  /** The index of every append that came from the node. */
  indexesFrom(from: string): number[] {
    return this.messages.flatMap((each) =>
      each.from === from && each.message.type === 'append' ? [each.message.prevIndex + 1] : [],
    );
  }

  warned(code: string): boolean {
    return this.warnings.some((warning) => warning.code === code);
  }
}

export type TransportOptions = Pick<
  PeerTransportOptions,
  'network' | 'clock' | 'random' | 'host' | 'port' | 'addresses'
> &
  Partial<PeerTransportOptions>;

/** Nodes on one network, simulated or real. */
export interface PeerWorld {
  /** A node that listens, and that all others can call. */
  start(name: string, options?: Partial<PeerTransportOptions>): Promise<TestNode>;
  settle<T>(promise: Promise<T>): Promise<T>;
  until(condition: () => boolean): Promise<void>;
  close(): Promise<void>;
}

/** Lets all nodes connect to each other. */
export async function allUp(world: PeerWorld, ...nodes: readonly TestNode[]): Promise<void> {
  await world.until(() =>
    nodes.every((node) => nodes.every(({ name }) => name === node.name || node.transport.isUp(name))),
  );
}

/** A node's clock whose timers stand still while its process is stopped, and are all due at once when it goes on. */
export class StoppableClock implements Clock {
  readonly #clock: Clock;
  #isStopped = false;
  #due: (() => void)[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  wallMs(): number {
    return this.#clock.wallMs();
  }

  monotonicMs(): number {
    return this.#clock.monotonicMs();
  }

  setTimer(delayMs: number, callback: () => void): Timer {
    return this.#clock.setTimer(delayMs, () => this.#run(callback));
  }

  defer(callback: () => void): void {
    this.#clock.defer(() => this.#run(callback));
  }

  stop(): void {
    this.#isStopped = true;
  }

  goOn(): void {
    this.#isStopped = false;
    const due = this.#due;
    this.#due = [];
    for (const callback of due) callback();
  }

  #run(callback: () => void): void {
    if (this.#isStopped) this.#due.push(callback);
    else callback();
  }
}

export class SimPeers implements PeerWorld {
  readonly scheduler: Scheduler;
  readonly network: SimNetwork;
  readonly prng: Prng;
  readonly addresses = new Map<string, PeerAddress>();
  readonly clocks = new Map<string, StoppableClock>();
  readonly #simClocks = new Map<string, SimClock>();

  constructor(seed: number, options: Partial<SimNetworkOptions> = {}) {
    this.prng = new Prng(seed);
    this.scheduler = new Scheduler(this.prng);
    this.network = new SimNetwork({ scheduler: this.scheduler, prng: this.prng, ...options });
  }

  /** A node that does nothing yet. */
  make(name: string, options: Partial<PeerTransportOptions> = {}): TestNode {
    const simClock = new SimClock(this.scheduler);
    const clock = new StoppableClock(simClock);
    this.#simClocks.set(name, simClock);
    this.clocks.set(name, clock);
    this.addresses.set(name, { host: name, port: PEER_PORT });
    return new TestNode(name, {
      network: this.network.host(name),
      clock,
      random: new SimRandom(this.prng.uint32()),
      host: name,
      port: PEER_PORT,
      addresses: () => this.addresses,
      ...options,
    });
  }

  async start(name: string, options: Partial<PeerTransportOptions> = {}): Promise<TestNode> {
    const node = this.make(name, options);
    await this.settle(node.transport.listen());
    return node;
  }

  /** The node's process is gone. */
  crash(name: string, death: 'reset' | 'hang' = 'reset'): void {
    this.network.crashHost(name, death);
    this.#simClocks.get(name)!.stop();
  }

  async restart(name: string, options: Partial<PeerTransportOptions> = {}): Promise<TestNode> {
    this.network.startHost(name);
    return this.start(name, options);
  }

  settle<T>(promise: Promise<T>): Promise<T> {
    return this.scheduler.run(promise, 3_600_000);
  }

  async until(condition: () => boolean): Promise<void> {
    if (!(await this.scheduler.runUntil(condition, 3_600_000))) throw new Error('the condition never holds');
  }

  /** The milliseconds until the condition holds, at most `limitMs`. */
  async within(limitMs: number, condition: () => boolean): Promise<number> {
    const beganMs = this.scheduler.nowMs;
    if (!(await this.scheduler.runUntil(condition, limitMs))) throw new Error(`not within ${limitMs} ms`);
    return this.scheduler.nowMs - beganMs;
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

export class RealPeers implements PeerWorld {
  readonly addresses = new Map<string, PeerAddress>();
  readonly #nodes: TestNode[] = [];

  async start(name: string, options: Partial<PeerTransportOptions> = {}): Promise<TestNode> {
    const node = new TestNode(name, {
      network: new NodeNetwork(),
      clock: new NodeClock(),
      random: new NodeRandom(),
      host: '127.0.0.1',
      port: 0,
      addresses: () => this.addresses,
      ...options,
    });
    this.#nodes.push(node);
    // With port 0 others can call only when it listens.
    await node.transport.listen();
    this.addresses.set(name, { host: '127.0.0.1', port: node.transport.port });
    return node;
  }

  settle<T>(promise: Promise<T>): Promise<T> {
    return promise;
  }

  until(condition: () => boolean): Promise<void> {
    return untilReal(condition);
  }

  async close(): Promise<void> {
    await Promise.all(this.#nodes.map(({ transport }) => transport.close()));
  }
}

export const SMALL_QUEUES: Partial<PeerLimits> = { maxQueuedBytes: 64 << 10, frameTargetBytes: 8 << 10 };
