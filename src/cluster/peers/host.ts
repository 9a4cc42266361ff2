import type { Message } from '../../raft/message.js';
import type { Clock } from '../../ports/clock.js';
import type { Network } from '../../ports/network.js';
import type { Random } from '../../ports/random.js';
import type { Complaints } from './complaints.js';
import type { PeerIdentity, PeerSelf } from './handshake.js';
import type { PeerLimits } from './limits.js';
import type { Refusal } from './refusal.js';
import type { PeerCounters } from './stats.js';

export interface PeerAddress {
  readonly host: string;
  readonly port: number;
}

/** Something that collects output during a loop turn. */
export interface Flushable {
  flush(): void;
}

/** What the connections of one transport share. */
export interface PeerHost {
  readonly network: Network;
  readonly clock: Clock;
  readonly random: Random;
  readonly self: PeerSelf;
  readonly limits: PeerLimits;
  readonly complaints: Complaints;
  readonly counters: PeerCounters;
  addressOf(nodeId: string): PeerAddress | undefined;
  /** Null: welcome. */
  admit(peer: PeerIdentity): Refusal | null;
  /** A connection is in use from now on, until `unlinked`. */
  linked(peer: PeerIdentity): void;
  unlinked(peer: PeerIdentity): void;
  /** Asks for `flush` at the end of this loop turn. */
  wake(link: Flushable): void;
  messages(nodeId: string, messages: Message[]): void;
  requested(nodeId: string, body: Uint8Array, answer: (body: Uint8Array) => void, timeoutMs: number): void;
  up(nodeId: string): void;
  down(nodeId: string, reason: string): void;
}
