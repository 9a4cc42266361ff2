import type { CairnError } from '../../base/errors.js';
import { FieldReader, malformed } from '../../codec/peer-fields.js';
import {
  MAX_FRAME_ITEMS,
  MAX_PEER_REVISION,
  TAG,
  decodePeerFrame,
  peerWire,
  type PeerFrame,
} from '../../codec/peer-protocol.js';
import { NO_DATA, type Entry } from '../../raft/entry.js';
import type { Message } from '../../raft/message.js';
import { unzigzag } from './heartbeat-packer.js';
import { ENTRY_KINDS } from './message-writer.js';
import { readSnapshot } from './snapshot-fields.js';

const T = TAG.message;
const { RaftMessageType } = peerWire;
const MAX_PREV_INDEX = Number.MAX_SAFE_INTEGER - MAX_FRAME_ITEMS;

export interface ReceivedRequest {
  readonly id: number;
  readonly body: Uint8Array;
  readonly timeoutMs: number;
}

export interface ReceivedAnswer {
  readonly id: number;
  readonly body: Uint8Array;
  /** A number of AnswerStatus; one that this version does not know counts as lost. */
  readonly status: number;
}

/**
 * Takes frames apart, by hand on the wire of proto/peer.proto; the rare fields (hello, bulk) are left to the generated code. What
 * it finds piles up in the lists until their owner takes them. Entry data and bodies are views of the frame's bytes.
 */
export class FrameReader extends FieldReader {
  messages: Message[] = [];
  requests: ReceivedRequest[] = [];
  answers: ReceivedAnswer[] = [];
  /** The newest; 0: none. */
  ping = 0;
  pong = 0;
  /** The last frame with rare fields. */
  rare: PeerFrame | null = null;
  /** Messages of types that only a later version knows. */
  unknownMessages = 0;
  #items = 0;

  takeMessages(): Message[] {
    const taken = this.messages;
    this.messages = [];
    return taken;
  }

  takeRequests(): ReceivedRequest[] {
    const taken = this.requests;
    this.requests = [];
    return taken;
  }

  takeAnswers(): ReceivedAnswer[] {
    const taken = this.answers;
    this.answers = [];
    return taken;
  }

  /** Throws `protocol_error`; the items of the frame in front of the fault are taken then. */
  read(bytes: Uint8Array, start: number, end: number): void {
    this.bytes = bytes;
    this.at = start;
    this.end = end;
    this.#items = 0;
    this.rare = null;
    while (this.at < end) {
      const tag = this.varint();
      switch (tag) {
        case TAG.frame.messages:
          this.#message(this.enter());
          break;
        case TAG.frame.heartbeats:
          this.#heartbeats(this.enter());
          break;
        case TAG.frame.heartbeatReplies:
          this.#heartbeatReplies(this.enter());
          break;
        case TAG.frame.requests:
          this.#request(this.enter());
          break;
        case TAG.frame.answers:
          this.#answer(this.enter());
          break;
        case TAG.frame.ping:
          this.ping = this.#pingId(this.enter());
          break;
        case TAG.frame.pong:
          this.pong = this.#pingId(this.enter());
          break;
        default:
          this.rare ??= decodePeerFrame(bytes, start, end);
          this.skip(tag);
      }
    }
    this.bytes = NO_DATA;
  }

  #countItem(): void {
    if (++this.#items > MAX_FRAME_ITEMS) throw malformed(`at most ${MAX_FRAME_ITEMS} items in a frame`, 'more');
  }

  #message(outer: number): void {
    this.#countItem();
    let type = 0;
    let group = 0;
    let from = 0;
    let to = 0;
    let term = 0;
    let index = 0;
    let logTerm = 0;
    let commit = 0;
    let token = 0;
    let clock = 0;
    let hintIndex = 0;
    let refused = 0;
    let granted = 0;
    let pre = 0;
    let transfer = 0;
    let lost = 0;
    let entries: Entry[] | null = null;
    let firstEntry = 0;
    let snapshotStart = -1;
    let snapshotEnd = 0;
    while (this.at < this.end) {
      const tag = this.tag();
      switch (tag) {
        case T.type:
          type = this.varint();
          break;
        case T.group:
          group = this.varint();
          break;
        case T.from:
          from = this.varint();
          break;
        case T.to:
          to = this.varint();
          break;
        case T.term:
          term = this.varint();
          break;
        case T.index:
          index = this.varint();
          break;
        case T.logTerm:
          logTerm = this.varint();
          break;
        case T.commit:
          commit = this.varint();
          break;
        case T.token:
          token = this.varint();
          break;
        case T.clock:
          clock = this.fixed64();
          break;
        case T.hintIndex:
          hintIndex = this.varint();
          break;
        case T.entries:
          // Fields stand in the order of their numbers, as every protobuf writer has them; checked below.
          if (entries === null) {
            entries = [];
            firstEntry = index + 1;
          }
          entries.push(this.#entry(this.enter(), firstEntry + entries.length));
          break;
        case T.refused:
          refused = this.varint();
          break;
        case T.granted:
          granted = this.varint();
          break;
        case T.pre:
          pre = this.varint();
          break;
        case T.transfer:
          transfer = this.varint();
          break;
        case T.lost:
          lost = this.varint();
          break;
        case T.snapshot: {
          const end = this.enter();
          snapshotStart = this.at;
          snapshotEnd = this.at = this.end;
          this.leave(end);
          break;
        }
        default:
          this.skip(tag);
      }
    }
    this.leave(outer);
    switch (type) {
      case RaftMessageType.APPEND:
        if (entries !== null && firstEntry !== index + 1) throw malformed('the index in front of entries', 'it behind');
        if (index > MAX_PREV_INDEX) throw malformed('entries below 2^53', `the previous index ${index}`);
        this.messages.push({
          type: 'append',
          group,
          from,
          to,
          term,
          prevIndex: index,
          prevTerm: logTerm,
          commit,
          entries: entries ?? [],
        });
        return;
      case RaftMessageType.APPEND_REPLY:
        this.messages.push({ type: 'append_reply', group, from, to, term, index, clock });
        return;
      case RaftMessageType.APPEND_REJECT:
        this.messages.push({
          type: 'append_reject',
          group,
          from,
          to,
          term,
          rejectedIndex: index,
          hintIndex,
          hintTerm: logTerm,
          lost: lost !== 0,
          clock,
        });
        return;
      case RaftMessageType.COMMIT:
        this.messages.push({ type: 'commit', group, from, to, term, commit });
        return;
      case RaftMessageType.VOTE:
        this.messages.push({
          type: 'vote',
          group,
          from,
          to,
          term,
          pre: pre !== 0,
          transfer: transfer !== 0,
          lastIndex: index,
          lastTerm: logTerm,
        });
        return;
      case RaftMessageType.VOTE_REPLY:
        this.messages.push({
          type: 'vote_reply',
          group,
          from,
          to,
          term,
          pre: pre !== 0,
          granted: granted !== 0,
          clock,
        });
        return;
      case RaftMessageType.TIMEOUT_NOW:
        this.messages.push({ type: 'timeout_now', group, from, to, term });
        return;
      case RaftMessageType.READ:
        this.messages.push({ type: 'read', group, from, to, term, token });
        return;
      case RaftMessageType.READ_REPLY:
        this.messages.push({ type: 'read_reply', group, from, to, term, token, refused: refused !== 0, index, clock });
        return;
      case RaftMessageType.SNAPSHOT: {
        if (snapshotStart < 0) throw malformed('a snapshot in a snapshot message', 'none');
        const snapshot = readSnapshot(this.bytes, snapshotStart, snapshotEnd);
        this.messages.push({ type: 'snapshot', group, from, to, term, snapshot });
        return;
      }
      case RaftMessageType.REPAIR:
        this.messages.push({ type: 'repair', group, from, to, term, token });
        return;
      case RaftMessageType.REPAIR_REPLY:
        this.messages.push({ type: 'repair_reply', group, from, to, term, token, lastIndex: index });
        return;
      case RaftMessageType.TERM_NOTICE:
        this.messages.push({ type: 'term_notice', group, from, to, term });
        return;
      default:
        this.unknownMessages++;
    }
  }

  #entry(outer: number, index: number): Entry {
    this.#countItem();
    let term = 0;
    let kind = 0;
    let revision = 0;
    let data = NO_DATA;
    while (this.at < this.end) {
      const tag = this.tag();
      switch (tag) {
        case TAG.entry.term:
          term = this.varint();
          break;
        case TAG.entry.kind:
          kind = this.varint();
          break;
        case TAG.entry.revision:
          revision = this.fixed64();
          break;
        case TAG.entry.data:
          data = this.view();
          break;
        default:
          this.skip(tag);
      }
    }
    this.leave(outer);
    const name = ENTRY_KINDS[kind];
    // To skip one would be to skip what it says: the log would no longer be the leader's.
    if (name === undefined) throw malformed('a kind of entry', `${kind}`);
    return { term, index, kind: name, revision, data };
  }

  #heartbeats(outer: number): void {
    let token = 0;
    let clock = 0;
    let confirmedClock = 0;
    let hasRows = false;
    while (this.at < this.end) {
      const tag = this.tag();
      switch (tag) {
        case TAG.heartbeats.token:
          if (hasRows) throw rowsBehind();
          token = this.varint();
          break;
        case TAG.heartbeats.clock:
          if (hasRows) throw rowsBehind();
          clock = this.fixed64();
          break;
        case TAG.heartbeats.confirmedClock:
          if (hasRows) throw rowsBehind();
          confirmedClock = this.fixed64();
          break;
        case TAG.heartbeats.rows: {
          hasRows = true;
          const batch = this.enter();
          while (this.at < this.end) {
            this.#countItem();
            this.messages.push({
              type: 'heartbeat',
              group: this.varint(),
              from: this.varint(),
              to: this.varint(),
              term: this.varint(),
              commit: this.varint(),
              token,
              clock: clockNear(clock, this.varint()),
              confirmedClock: clockNear(confirmedClock, this.varint()),
            });
          }
          this.leave(batch);
          break;
        }
        default:
          this.skip(tag);
      }
    }
    this.leave(outer);
  }

  #heartbeatReplies(outer: number): void {
    let token = 0;
    let clock = 0;
    let hasRows = false;
    while (this.at < this.end) {
      const tag = this.tag();
      switch (tag) {
        case TAG.heartbeatReplies.token:
          if (hasRows) throw rowsBehind();
          token = this.varint();
          break;
        case TAG.heartbeatReplies.clock:
          if (hasRows) throw rowsBehind();
          clock = this.fixed64();
          break;
        case TAG.heartbeatReplies.rows: {
          hasRows = true;
          const batch = this.enter();
          while (this.at < this.end) {
            this.#countItem();
            this.messages.push({
              type: 'heartbeat_reply',
              group: this.varint(),
              from: this.varint(),
              to: this.varint(),
              term: this.varint(),
              token,
              index: this.varint(),
              clock: clockNear(clock, this.varint()),
            });
          }
          this.leave(batch);
          break;
        }
        default:
          this.skip(tag);
      }
    }
    this.leave(outer);
  }

  #request(outer: number): void {
    this.#countItem();
    let id = 0;
    let body = NO_DATA;
    let timeoutMs = 0;
    while (this.at < this.end) {
      const tag = this.tag();
      if (tag === TAG.request.id) id = this.varint();
      else if (tag === TAG.request.body) body = this.view();
      else if (tag === TAG.request.timeoutMs) timeoutMs = this.varint();
      else this.skip(tag);
    }
    this.leave(outer);
    if (id === 0) throw malformed('a request id of at least 1', '0 or none');
    this.requests.push({ id, body, timeoutMs });
  }

  #answer(outer: number): void {
    this.#countItem();
    let id = 0;
    let body = NO_DATA;
    let status = 0;
    while (this.at < this.end) {
      const tag = this.tag();
      if (tag === TAG.answer.id) id = this.varint();
      else if (tag === TAG.answer.body) body = this.view();
      else if (tag === TAG.answer.status) status = this.varint();
      else this.skip(tag);
    }
    this.leave(outer);
    this.answers.push({ id, body, status });
  }

  #pingId(outer: number): number {
    let id = 0;
    while (this.at < this.end) {
      const tag = this.tag();
      if (tag === TAG.ping.id) id = this.varint();
      else this.skip(tag);
    }
    this.leave(outer);
    return id;
  }
}

function clockNear(base: number, zigzagged: number): number {
  const clock = base + unzigzag(zigzagged);
  if (clock < 0 || clock > MAX_PEER_REVISION) throw malformed(`a clock of at most ${MAX_PEER_REVISION}`, `${clock}`);
  return clock;
}

function rowsBehind(): CairnError {
  return malformed('rows behind what they share', 'them in front');
}
