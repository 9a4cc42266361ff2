import { CairnError } from '../../base/errors.js';
import { Fifo } from '../../base/fifo.js';
import { mutated } from '../../base/mutations.js';
import { HotResponseReader } from '../../codec/client-hot-codec.js';
import { CONNECTION_ID, type ResponseFields, decodeResponse } from '../../codec/client-protocol.js';
import type { Clock, Timer } from '../../ports/clock.js';
import { encodeEnvelope, FrameWalk } from './envelope.js';
import type { Peers } from './partition-map.js';
import { isPeerRefusal, unknownOutcome, type RoutedCall } from './routed-call.js';

export interface OutboxOptions {
  readonly peers: Peers;
  readonly clock: Clock;
  readonly partitionCount: number;
  /** The call was not executed, or is a read: it may be tried again. */
  readonly onRefused: (call: RoutedCall, error: CairnError, nodeId: string) => void;
}

/** An envelope ends here, so that one answer does not wait for very many others. */
const MAX_ENVELOPE_REQUESTS = 256;
const MAX_ENVELOPE_BYTES = 256 << 10;
/** A partition with a request under way for longer travels alone: it must not keep the answers of others back. */
const LATE_MS = 100;
/** The leader answers this much before the callers' deadline, with what it has by then. */
const MARGIN_MS = 250;

/** Gathers the calls of one loop turn into few requests to each node, and gives the answers back. */
export class Outbox {
  readonly #peers: Peers;
  readonly #clock: Clock;
  readonly #onRefused: OutboxOptions['onRefused'];
  #queued = new Map<string, RoutedCall[]>();
  /** Under way, in the order of sending, not yet known to be late. */
  readonly #recent = new Fifo<SentEnvelope>();
  /** By partition: calls under way in late envelopes. */
  readonly #lateCalls: Uint32Array;
  readonly #reader = new HotResponseReader();
  /** Since the start. */
  sentEnvelopes = 0;
  sentCalls = 0;

  constructor(options: OutboxOptions) {
    this.#peers = options.peers;
    this.#clock = options.clock;
    this.#onRefused = options.onRefused;
    this.#lateCalls = new Uint32Array(options.partitionCount);
  }

  /** Sends the call at the end of this loop turn. */
  add(nodeId: string, call: RoutedCall): void {
    if (this.#queued.size === 0) this.#clock.defer(() => this.#flush());
    const calls = this.#queued.get(nodeId);
    if (calls === undefined) this.#queued.set(nodeId, [call]);
    else calls.push(call);
  }

  #flush(): void {
    this.#findLate();
    const queued = this.#queued;
    this.#queued = new Map();
    for (const [nodeId, calls] of queued) {
      const alone = new Map<number, RoutedCall[]>();
      const together = calls.filter((call) => {
        if (this.#lateCalls[call.partition] === 0) return true;
        const others = alone.get(call.partition);
        if (others === undefined) alone.set(call.partition, [call]);
        else others.push(call);
        return false;
      });
      for (const group of [together, ...alone.values()]) this.#sendGroup(nodeId, group);
    }
  }

  #findLate(): void {
    const lateMs = this.#clock.monotonicMs() - LATE_MS;
    let envelope = this.#recent.peek();
    while (envelope !== undefined && (envelope.unanswered === 0 || envelope.sentMs < lateMs)) {
      this.#recent.shift();
      envelope.isLate = true;
      for (const call of envelope.calls) if (call !== null) this.#lateCalls[call.partition]!++;
      envelope = this.#recent.peek();
    }
  }

  #sendGroup(nodeId: string, calls: readonly RoutedCall[]): void {
    let from = 0;
    let bytes = 0;
    for (const [i, call] of calls.entries()) {
      if (i > from && (i - from === MAX_ENVELOPE_REQUESTS || bytes + call.bytes > MAX_ENVELOPE_BYTES)) {
        this.#send(nodeId, calls.slice(from, i));
        from = i;
        bytes = 0;
      }
      bytes += call.bytes;
    }
    if (from < calls.length) this.#send(nodeId, calls.slice(from));
  }

  #send(nodeId: string, calls: RoutedCall[]): void {
    const nowMs = this.#clock.monotonicMs();
    const envelope: SentEnvelope = {
      nodeId,
      calls,
      unanswered: calls.length,
      sentMs: nowMs,
      isLate: false,
      timer: null,
    };
    const leftMs = calls.reduce((most, call) => Math.max(most, call.deadlineMs - nowMs), 1);
    const timeLimitMs = Math.max(1, Math.floor(leftMs - Math.min(MARGIN_MS, leftMs / 4)));
    const body = encodeEnvelope(
      timeLimitMs,
      calls.map((call, i) => call.encode(i + 1)),
    );
    this.sentEnvelopes++;
    this.sentCalls += calls.length;
    this.#recent.push(envelope);
    this.#watchDeadlines(envelope, nowMs);
    this.#peers.request(nodeId, body, Math.ceil(leftMs)).then(
      (answer) => this.#answered(envelope, answer),
      (error: unknown) => this.#failed(envelope, error),
    );
  }

  #answered(envelope: SentEnvelope, body: Uint8Array): void {
    try {
      const walk = new FrameWalk(body);
      while (walk.next()) this.#answer(envelope, walk);
    } catch (error) {
      if (!(error instanceof CairnError)) throw error;
      this.#endUnknown(envelope, `${envelope.nodeId} gave an answer that can't be read (${error.message})`);
    }
    this.#endUnknown(envelope, `${envelope.nodeId} left the call without an answer`);
  }

  #answer(envelope: SentEnvelope, walk: FrameWalk): void {
    if (this.#reader.read(walk.bytes, walk.start, walk.end) === 'put') {
      this.#settle(envelope, this.#reader.id, { put: { revision: this.#reader.revision } });
      return;
    }
    const response = decodeResponse(walk.bytes, walk.start, walk.end);
    if (response.id !== CONNECTION_ID) this.#settle(envelope, response.id, response);
    else if (response.error) {
      for (let id = 1; id <= envelope.calls.length; id++) this.#settle(envelope, id, response);
    }
  }

  /** Without effect when the call has ended: its deadline has passed, or the answer came twice. */
  #settle(envelope: SentEnvelope, id: number, response: ResponseFields): void {
    const call = this.#take(envelope, id - 1);
    if (call === null) return;
    const refusal = call.answered(response);
    if (refusal !== null) this.#onRefused(call, refusal, envelope.nodeId);
  }

  #failed(envelope: SentEnvelope, error: unknown): void {
    const known = error instanceof CairnError ? error : null;
    if (known === null || (known.code !== 'unavailable' && !isPeerRefusal(known))) {
      this.#endUnknown(envelope, `${envelope.nodeId} did not answer (${(error as Error).message})`);
      return;
    }
    for (let i = 0; i < envelope.calls.length; i++) {
      const call = this.#take(envelope, i);
      if (call !== null) this.#onRefused(call, known, envelope.nodeId);
    }
  }

  /** Ends the calls that were perhaps executed; reads may be asked again. */
  #endUnknown(envelope: SentEnvelope, reason: string): void {
    for (let i = 0; i < envelope.calls.length; i++) {
      const call = this.#take(envelope, i);
      if (call === null) continue;
      if (call.isRead || mutated('routing-unknown-retried'))
        this.#onRefused(call, new CairnError('unavailable', reason), envelope.nodeId);
      else call.fail(unknownOutcome(reason));
    }
  }

  /** Each call is taken out of its envelope once. */
  #take(envelope: SentEnvelope, position: number): RoutedCall | null {
    const call = envelope.calls[position] ?? null;
    if (call === null) return null;
    envelope.calls[position] = null;
    if (envelope.isLate) this.#lateCalls[call.partition]!--;
    if (--envelope.unanswered === 0) envelope.timer?.cancel();
    return call;
  }

  /** A peer that is silent does not keep a caller beyond its deadline; calls that were tried before have less time than others. */
  #watchDeadlines(envelope: SentEnvelope, nowMs: number): void {
    let nextMs = Infinity;
    for (const call of envelope.calls) if (call !== null && call.deadlineMs < nextMs) nextMs = call.deadlineMs;
    if (nextMs === Infinity) return;
    envelope.timer = this.#clock.setTimer(Math.max(0, nextMs - nowMs), () => {
      const dueMs = this.#clock.monotonicMs();
      for (const [i, call] of envelope.calls.entries()) {
        if (call === null || call.deadlineMs > dueMs) continue;
        this.#take(envelope, i);
        const reason = `${envelope.nodeId} did not answer in time`;
        call.fail(call.isRead ? new CairnError('unavailable', reason) : unknownOutcome(reason));
      }
      this.#watchDeadlines(envelope, dueMs);
    });
  }
}

interface SentEnvelope {
  readonly nodeId: string;
  /** Null once it was answered. */
  readonly calls: (RoutedCall | null)[];
  unanswered: number;
  readonly sentMs: number;
  isLate: boolean;
  timer: Timer | null;
}
