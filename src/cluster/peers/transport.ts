import { assert } from '../../base/assert.js';
import { CairnError } from '../../base/errors.js';
import type { Logger } from '../../base/logger.js';
import type { Message } from '../../raft/message.js';
import type { Clock, Timer } from '../../ports/clock.js';
import type { Connection, Listener, Network } from '../../ports/network.js';
import type { Random } from '../../ports/random.js';
import { Bandwidth } from './bandwidth.js';
import { BulkReceiver, type BulkHandler } from './bulk-receiver.js';
import { BulkSender } from './bulk-sender.js';
import { Complaints } from './complaints.js';
import { Dial } from './dial.js';
import type { PeerIdentity, PeerSelf } from './handshake.js';
import type { Flushable, PeerAddress } from './host.js';
import { IncomingLink, type IncomingHost } from './incoming-link.js';
import { DEFAULT_PEER_LIMITS, type PeerLimits } from './limits.js';
import { OutgoingLink } from './outgoing-link.js';
import type { PeerSocket } from './peer-socket.js';
import { notDelivered } from './pending-requests.js';
import type { Refusal } from './refusal.js';
import { newCounters, type PeerStats } from './stats.js';

export type AnswerRequest = (body: Uint8Array) => void;

export interface PeerTransportOptions {
  readonly network: Network;
  readonly clock: Clock;
  readonly random: Random;
  readonly nodeId: string;
  readonly clusterId: string;
  /** The random id of the data directory. */
  readonly incarnation: string;
  /** Where to listen; port 0 picks a free one. */
  readonly host: string;
  readonly port: number;
  /** Where the nodes are now, this one or not. Asked again and again; a node that is no longer in it is hung up on. */
  readonly addresses: () => ReadonlyMap<string, PeerAddress>;
  /**
   * Why this node is not wanted, or null; asked when it connects and again while it is connected. Unless told: nodes that have
   * an address are wanted. It is the place to compare incarnations with those that the cluster knows.
   */
  readonly admit?: (peer: PeerIdentity) => string | null;
  readonly logger: Logger;
  readonly limits?: Partial<PeerLimits>;
  /** All messages of one received chunk. Data of entries are views of the chunk, which nobody writes to: keep them or copy. */
  readonly onMessages: (nodeId: string, messages: Message[]) => void;
  /** The body is a view as above. `answer` may be called once, at any time; its bytes are copied at once. */
  readonly onRequest: (nodeId: string, body: Uint8Array, answer: AnswerRequest, timeoutMs: number) => void;
  /** From now on messages to this node are sent. Says nothing of the other direction. */
  readonly onPeerUp: (nodeId: string) => void;
  readonly onPeerDown: (nodeId: string, reason: string) => void;
  /** Without it bulk streams are refused. */
  readonly onBulk?: BulkHandler;
}

/**
 * Carries messages between the nodes of a cluster. Each node calls each other one and sends on the connection that it made itself
 * (OutgoingLink); what it hears comes on those that others made (IncomingLink). Messages may be lost at any time, never
 * damaged; on one connection they stay in order, but for heartbeats, which leave at the end of their loop turn.
 */
export class PeerTransport implements IncomingHost {
  readonly network: Network;
  readonly clock: Clock;
  readonly random: Random;
  readonly self: PeerSelf;
  readonly limits: PeerLimits;
  readonly complaints: Complaints;
  readonly counters = newCounters();
  readonly #options: PeerTransportOptions;
  readonly #bandwidth: Bandwidth;
  #listener: Listener | null = null;
  readonly #outgoing = new Map<string, OutgoingLink>();
  readonly #incoming = new Set<IncomingLink>();
  /** The newest incoming connection of each node. */
  readonly #accepted = new Map<string, IncomingLink>();
  readonly #bulkReceivers = new Set<BulkReceiver>();
  readonly #bulkSenders = new Set<BulkSender>();
  readonly #bulkDials = new Set<Dial>();
  /** Which data directory the connections of each node in use belong to, and how many they are. */
  readonly #incarnations = new Map<string, { readonly incarnation: string; links: number }>();
  #awake: Flushable[] = [];
  #sweepTimer: Timer | null = null;
  #sweptMs = 0;
  #isClosed = false;

  constructor(options: PeerTransportOptions) {
    this.#options = options;
    this.network = options.network;
    this.clock = options.clock;
    this.random = options.random;
    this.self = { nodeId: options.nodeId, clusterId: options.clusterId, incarnation: options.incarnation };
    this.limits = { ...DEFAULT_PEER_LIMITS, ...options.limits };
    this.complaints = new Complaints(options.logger, options.clock);
    this.#bandwidth = new Bandwidth(options.clock, this.limits.bulkBytesPerSecond);
  }

  /** Listens, then calls the other nodes. Rejects with a NetworkError when the port is taken. */
  async listen(): Promise<void> {
    assert(this.#listener === null && !this.#isClosed, 'a transport listens once');
    const { host, port } = this.#options;
    const listener = await this.network.listen(host, port, (stream) => this.#incomingConnection(stream));
    if (this.#isClosed) {
      await listener.close();
      return;
    }
    this.#listener = listener;
    this.refresh();
    this.#sweepLater();
  }

  /** Where it listens, after `listen()`. */
  get port(): number {
    return this.#listener!.port;
  }

  // --- Sending ---

  /** To be sent at the end of this loop turn. Dropped when the node is not connected or too slow. */
  send(nodeId: string, message: Message): void {
    const link = this.#outgoing.get(nodeId);
    if (link === undefined) this.counters.droppedMessages++;
    else link.send(message);
  }

  /**
   * Rejects with `unavailable` when the request was certainly not executed; with `deadline_exceeded` and the extra
   * `outcome: 'unknown'` when it may have been; with `too_large`. Checked every `sweepMs`, so a time-out comes up to twice that later.
   */
  request(nodeId: string, body: Uint8Array, timeoutMs: number): Promise<Uint8Array> {
    const link = this.#outgoing.get(nodeId);
    if (link !== undefined) return link.request(body, timeoutMs);
    this.counters.refusedRequests++;
    return Promise.reject(notDelivered(nodeId, 'it has no address'));
  }

  /** Sends what was queued in this loop turn now. */
  flush(): void {
    const awake = this.#awake;
    this.#awake = [];
    for (const link of awake) link.flush();
  }

  /** Opens a bulk stream over a connection of its own. Rejects with `unavailable`. */
  openBulk(nodeId: string, header: Uint8Array): Promise<BulkSender> {
    const failed = (why: string): CairnError =>
      new CairnError('unavailable', `no bulk stream to node ${nodeId}: ${why}`);
    if (this.#isClosed) return Promise.reject(failed('this node shuts down'));
    if (this.addressOf(nodeId) === undefined) return Promise.reject(failed('it has no address'));
    if (header.length > this.limits.maxFrameBytes / 2) {
      return Promise.reject(new CairnError('too_large', `a header of a bulk stream of ${header.length} bytes`));
    }
    return new Promise((resolve, reject) => {
      const dial = new Dial(this, nodeId, 'bulk', (outcome) => {
        this.#bulkDials.delete(dial);
        if ('failure' in outcome) {
          reject(failed(outcome.failure));
          return;
        }
        const closed = (ended: BulkSender): void => void this.#bulkSenders.delete(ended);
        const sender = new BulkSender(this, this.#bandwidth, outcome.peer, outcome.socket, header, closed);
        if (outcome.socket.isOpen) this.#bulkSenders.add(sender);
        resolve(sender);
      });
      this.#bulkDials.add(dial);
    });
  }

  /** Messages to this node are sent. */
  isUp(nodeId: string): boolean {
    return this.#outgoing.get(nodeId)?.isUp ?? false;
  }

  /** Smoothed; null until measured. */
  roundTripMs(nodeId: string): number | null {
    return this.#outgoing.get(nodeId)?.roundTripMs ?? null;
  }

  stats(): PeerStats {
    return {
      ...this.counters,
      peers: [...this.#outgoing.values()].map(({ state }) => state),
      incomingConnections: this.#incoming.size,
      bulkStreams: this.#bulkReceivers.size + this.#bulkSenders.size,
    };
  }

  // --- Life ---

  /** Follows the addresses at once instead of at the next sweep. */
  refresh(): void {
    if (this.#isClosed || this.#listener === null) return;
    const addresses = this.#options.addresses();
    for (const [nodeId, link] of this.#outgoing) {
      const address = addresses.get(nodeId);
      if (address?.host === link.address.host && address.port === link.address.port) continue;
      this.#outgoing.delete(nodeId);
      link.close(address === undefined ? 'the node has no address any more' : 'the node has moved');
    }
    for (const [nodeId, address] of addresses) {
      if (nodeId === this.self.nodeId || this.#outgoing.has(nodeId)) continue;
      const link = new OutgoingLink(this, nodeId, address);
      this.#outgoing.set(nodeId, link);
      link.connect();
    }
    for (const link of this.#incoming) {
      const refusal = link.peer === null ? null : this.#unwanted(link.peer);
      if (refusal !== null) link.refuse(refusal);
    }
  }

  /** Sends what waits, then closes everything. Requests without an answer are rejected. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#sweepTimer?.cancel();
    for (const link of this.#outgoing.values()) link.close('this node shuts down');
    for (const link of this.#incoming) link.close('this node shuts down');
    for (const dial of this.#bulkDials) dial.giveUp('this node shuts down');
    for (const bulk of [...this.#bulkSenders, ...this.#bulkReceivers]) bulk.destroy('this node shuts down');
    await this.#listener?.close();
  }

  #sweepLater(): void {
    // The sockets that are ready are read before anybody is given up on (Raft rule 17).
    this.#sweepTimer = this.clock.setTimer(this.limits.sweepMs, () => this.clock.defer(() => this.#sweep()));
  }

  #sweep(): void {
    if (this.#isClosed) return;
    const nowMs = this.clock.monotonicMs();
    // After a pause an answer may still lie in the socket: a request's time is over when it was so a sweep ago.
    for (const link of this.#outgoing.values()) link.sweep(this.#sweptMs);
    this.#sweptMs = nowMs;
    for (const link of this.#incoming) link.sweep();
    for (const bulk of this.#bulkSenders) bulk.sweep();
    for (const bulk of this.#bulkReceivers) bulk.sweep();
    this.refresh();
    this.#sweepLater();
  }

  #incomingConnection(stream: Connection): void {
    const link = new IncomingLink(this, stream);
    this.#incoming.add(link);
    if (this.#isClosed) link.destroy('this node shuts down');
    else if (this.#incoming.size > this.limits.maxConnections) {
      link.refuse({ code: 'busy', text: `expected at most ${this.limits.maxConnections} connections of peers` });
    }
  }

  // --- For the connections ---

  addressOf(nodeId: string): PeerAddress | undefined {
    return this.#options.addresses().get(nodeId);
  }

  admit(peer: PeerIdentity): Refusal | null {
    const { nodeId, incarnation } = peer;
    const unwanted = this.#unwanted(peer);
    if (unwanted !== null) return unwanted;
    const present = this.#incarnations.get(nodeId);
    if (present !== undefined && present.incarnation !== incarnation) {
      const text = `node ${nodeId} is connected with data directory ${present.incarnation}, found ${incarnation}`;
      return { code: 'incarnation', text };
    }
    return null;
  }

  admitIncoming(peer: PeerIdentity): Refusal | null {
    if (peer.purpose === 'bulk') {
      const { maxBulkStreams } = this.limits;
      if (this.#options.onBulk === undefined) return { code: 'purpose', text: 'this node takes no bulk streams' };
      if (this.#bulkReceivers.size >= maxBulkStreams) {
        return { code: 'busy', text: `expected at most ${maxBulkStreams} bulk streams` };
      }
    }
    return this.admit(peer);
  }

  #unwanted(peer: PeerIdentity): Refusal | null {
    const { addresses, admit } = this.#options;
    const why =
      admit !== undefined
        ? admit(peer)
        : addresses().has(peer.nodeId)
          ? null
          : `expected a node of this cluster, found ${peer.nodeId}`;
    return why === null ? null : { code: 'not_admitted', text: why };
  }

  linked({ nodeId, incarnation }: PeerIdentity): void {
    const present = this.#incarnations.get(nodeId);
    if (present === undefined) this.#incarnations.set(nodeId, { incarnation, links: 1 });
    else present.links++;
  }

  unlinked({ nodeId }: PeerIdentity): void {
    const present = this.#incarnations.get(nodeId);
    if (present !== undefined && --present.links === 0) this.#incarnations.delete(nodeId);
  }

  accepted(link: IncomingLink, { nodeId }: PeerIdentity): void {
    const earlier = this.#accepted.get(nodeId);
    this.#accepted.set(nodeId, link);
    earlier?.destroy('the peer has made a new connection');
    // It can be reached, so there is no point in waiting longer.
    this.#outgoing.get(nodeId)?.connect();
  }

  becameBulk(link: IncomingLink, peer: PeerIdentity, socket: PeerSocket): void {
    this.#incoming.delete(link);
    const gone = (ended: BulkReceiver): void => void this.#bulkReceivers.delete(ended);
    const receiver = new BulkReceiver(this, peer, socket, this.#options.onBulk!, gone);
    this.#bulkReceivers.add(receiver);
  }

  gone(link: IncomingLink): void {
    this.#incoming.delete(link);
    const nodeId = link.peer?.nodeId;
    if (nodeId !== undefined && this.#accepted.get(nodeId) === link) this.#accepted.delete(nodeId);
  }

  wake(link: Flushable): void {
    if (this.#awake.push(link) === 1) this.clock.defer(() => this.flush());
  }

  messages(nodeId: string, messages: Message[]): void {
    this.#options.onMessages(nodeId, messages);
  }

  requested(nodeId: string, body: Uint8Array, answer: AnswerRequest, timeoutMs: number): void {
    this.#options.onRequest(nodeId, body, answer, timeoutMs);
  }

  up(nodeId: string): void {
    this.#options.onPeerUp(nodeId);
  }

  down(nodeId: string, reason: string): void {
    this.#options.onPeerDown(nodeId, reason);
  }
}
