import { AssertionFailure } from '../../base/assert.js';
import { CairnError } from '../../base/errors.js';
import type { InstantHolds } from '../../cluster/instants/instant-holds.js';
import type { Logger } from '../../base/logger.js';
import { HotRequestReader, MAX_PUT_ANSWER_FRAME_BYTES, writePutAnswerFrame } from '../../codec/client-hot-codec.js';
import {
  CONNECTION_ID,
  type Request,
  type ResponseFields,
  decodeForwardHeader,
  decodeRequest,
  encodeResponseFrame,
  errorToWire,
} from '../../codec/client-protocol.js';
import type { Clock, Timer } from '../../ports/clock.js';
import type { Service } from '../service.js';
import { DEFAULT_TCP_LIMITS, type TcpLimits } from '../tcp/limits.js';
import { readOptionsOf } from '../tcp/requests.js';
import { type AnswerSink, UnaryRequests } from '../tcp/unary-requests.js';
import { FrameWalk, joinFrames } from './envelope.js';
import { answerInstant } from './instant-requests.js';
import { LeaderOnly } from './leader-only.js';
import type { PartitionMap } from './partition-map.js';

export interface ForwardedRequestsOptions {
  readonly local: Service;
  readonly map: PartitionMap;
  /** Of the leaders here, for scans of other nodes. */
  readonly holds: Pick<InstantHolds, 'handle'>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly limits?: Partial<Pick<TcpLimits, 'maxValueBytes' | 'maxBatchKeys' | 'maxFrameBytes'>>;
  /** Under way at a time, from all nodes; more are refused as `overloaded`. */
  readonly maxRequests?: number;
  readonly maxBytes?: number;
}

const DEFAULT_MAX_REQUESTS = 16_384;
const DEFAULT_MAX_BYTES = 64 << 20;
const MAX_TIME_LIMIT_MS = 600_000;
/** Values were checked where they came in, and frames between nodes have checksums. */
const checkedBefore = (): null => null;

/** Answers what other nodes send on because this node leads the partitions, or holds their data. */
export class ForwardedRequests {
  readonly #requests: UnaryRequests;
  readonly #holds: ForwardedRequestsOptions['holds'];
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #reader = new HotRequestReader();
  readonly #maxRequests: number;
  readonly #maxBytes: number;
  #requestsUnderWay = 0;
  #bytesUnderWay = 0;

  constructor(options: ForwardedRequestsOptions) {
    this.#requests = new UnaryRequests({
      service: new LeaderOnly(options.local, options.map),
      limits: { ...DEFAULT_TCP_LIMITS, ...options.limits },
      checkJson: checkedBefore,
    });
    this.#holds = options.holds;
    this.#clock = options.clock;
    this.#logger = options.logger;
    this.#maxRequests = options.maxRequests ?? DEFAULT_MAX_REQUESTS;
    this.#maxBytes = options.maxBytes ?? DEFAULT_MAX_BYTES;
  }

  /** Requests that the service has not answered. */
  get requestsUnderWay(): number {
    return this.#requestsUnderWay;
  }

  /**
   * Takes a body as `encodeEnvelope` makes it and resolves with the body of the answer; never rejects. All requests are
   * decoded before the first one is executed, so a body that is refused had no effect.
   */
  handle(body: Uint8Array): Promise<Uint8Array> {
    let envelope: Envelope;
    try {
      envelope = this.#decode(body);
      if (envelope.instant.length > 0) return answerInstant(this.#holds, envelope.instant);
      this.#admit(envelope.requests.length, body.length);
    } catch (error) {
      if (!(error instanceof CairnError)) throw error;
      if (error.code === 'protocol_error') this.#logger.warn({ reason: error.message }, 'forwarded requests refused');
      return Promise.resolve(encodeResponseFrame({ id: CONNECTION_ID, error: errorToWire(error) }));
    }
    return new Promise((resolve) => {
      const underWay = new EnvelopeUnderWay(envelope.requests.length, this.#clock, this.#logger, resolve);
      underWay.onEnded = () => {
        this.#requestsUnderWay -= envelope.requests.length;
        this.#bytesUnderWay -= body.length;
      };
      this.#requestsUnderWay += envelope.requests.length;
      this.#bytesUnderWay += body.length;
      underWay.limitTime(envelope.timeLimitMs);
      this.#execute(envelope, underWay);
    });
  }

  #decode(body: Uint8Array): Envelope {
    const walk = new FrameWalk(body);
    if (!walk.next()) throw new CairnError('protocol_error', 'expected a header and requests, found an empty body');
    const { timeLimitMs, instant } = decodeForwardHeader(walk.bytes, walk.start, walk.end);
    if (timeLimitMs === 0) throw new CairnError('protocol_error', 'expected a time limit of at least 1 ms, found none');
    const requestsStart = walk.end;
    const requests: (Request | null)[] = [];
    while (walk.next()) {
      const isPlainPut = this.#reader.read(walk.bytes, walk.start, walk.end) === 'put';
      const request = isPlainPut ? null : decodeRequest(walk.bytes, walk.start, walk.end);
      const id = request === null ? this.#reader.id : request.id;
      if (id !== requests.length + 1) {
        throw new CairnError('protocol_error', `expected a request with the id ${requests.length + 1}, found ${id}`);
      }
      if (request !== null && !isForwardable(request)) {
        throw new CairnError('protocol_error', `expected a get, put, delete or batch, found ${request.body ?? 'none'}`);
      }
      requests.push(request);
    }
    if (requests.length === 0 && instant.length === 0)
      throw new CairnError('protocol_error', 'expected requests behind the header, found none');
    if (requests.length > 0 && instant.length > 0)
      throw new CairnError('protocol_error', `expected no requests behind a step of a read, found ${requests.length}`);
    return {
      bytes: walk.bytes,
      requestsStart,
      timeLimitMs: Math.min(timeLimitMs, MAX_TIME_LIMIT_MS),
      requests,
      instant,
    };
  }

  #admit(requests: number, bytes: number): void {
    if (this.#requestsUnderWay === 0) return;
    const isFull =
      this.#requestsUnderWay + requests > this.#maxRequests || this.#bytesUnderWay + bytes > this.#maxBytes;
    if (!isFull) return;
    const found = `${this.#requestsUnderWay} requests with ${this.#bytesUnderWay} bytes`;
    throw new CairnError('overloaded', `the leader has ${found} of other nodes under way; retry`);
  }

  #execute({ bytes, requestsStart, requests }: Envelope, sink: EnvelopeUnderWay): void {
    const walk = new FrameWalk(bytes);
    walk.end = requestsStart;
    for (const request of requests) {
      walk.next();
      if (request === null) {
        this.#reader.read(bytes, walk.start, walk.end);
        this.#requests.plainPut(sink, bytes, this.#reader);
      } else this.#dispatch(request, sink);
    }
  }

  #dispatch(request: Request, sink: EnvelopeUnderWay): void {
    const { id } = request;
    if (request.put) this.#requests.put(sink, id, request.put);
    else if (request.delete) this.#requests.delete(sink, id, request.delete);
    else if (request.batch) this.#requests.batch(sink, id, request.batch);
    else {
      const options = readOptionsOf(request.get!);
      if (options instanceof CairnError) sink.answerError(id, options);
      else this.#requests.get(sink, id, request.get!.key ?? new Uint8Array(0), options);
    }
  }
}

interface Envelope {
  readonly bytes: Uint8Array;
  readonly requestsStart: number;
  readonly timeLimitMs: number;
  /** Null for a plain put, which is read in place. */
  readonly requests: readonly (Request | null)[];
  /** See ForwardHeader. */
  readonly instant: Uint8Array;
}

function isForwardable({ body }: Request): boolean {
  return body === 'put' || body === 'delete' || body === 'batch' || body === 'get';
}

/** Collects the answers of one envelope, and sends them when the last one is there or the time is over. */
class EnvelopeUnderWay implements AnswerSink {
  onEnded: () => void = () => undefined;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #resolve: (body: Uint8Array) => void;
  readonly #frames: Uint8Array[] = [];
  readonly #isAnswered: boolean[];
  #unanswered: number;
  #timer: Timer | null = null;
  #isSent = false;

  constructor(count: number, clock: Clock, logger: Logger, resolve: (body: Uint8Array) => void) {
    this.#isAnswered = Array.from({ length: count }, () => false);
    this.#unanswered = count;
    this.#clock = clock;
    this.#logger = logger;
    this.#resolve = resolve;
  }

  limitTime(timeLimitMs: number): void {
    this.#timer = this.#clock.setTimer(timeLimitMs, () => this.#timeIsOver(timeLimitMs));
  }

  get isOpen(): boolean {
    return !this.#isSent;
  }

  // What is under way is counted by envelopes.
  began(): void {}
  ended(): void {}

  answerPut(id: number, revision: number): void {
    const bytes = new Uint8Array(MAX_PUT_ANSWER_FRAME_BYTES);
    this.#take(id, bytes.subarray(0, writePutAnswerFrame(bytes, 0, id, revision)));
  }

  answer(response: ResponseFields): void {
    this.#take(response.id ?? 0, encodeResponseFrame(response));
  }

  answerError(id: number, error: CairnError): void {
    this.answer({ id, error: errorToWire(error) });
  }

  unexpected(error: unknown): CairnError {
    // A broken invariant is not answered: it becomes an unhandled rejection, which ends the process.
    if (error instanceof AssertionFailure) throw error;
    this.#logger.error({ err: error }, 'a forwarded request failed unexpectedly');
    return new CairnError('internal', 'the request failed; the log of the leader says why', { cause: error });
  }

  #take(id: number, frame: Uint8Array): void {
    this.#isAnswered[id - 1] = true;
    if (!this.#isSent) this.#frames.push(frame);
    if (--this.#unanswered > 0) return;
    this.#send();
    this.onEnded();
  }

  #timeIsOver(timeLimitMs: number): void {
    const error = errorToWire(
      new CairnError(
        'deadline_exceeded',
        `the leader did not answer within ${timeLimitMs} ms; the outcome is unknown`,
        {
          extra: { outcome: 'unknown' },
        },
      ),
    );
    this.#isAnswered.forEach((isAnswered, i) => {
      if (!isAnswered) this.#frames.push(encodeResponseFrame({ id: i + 1, error }));
    });
    this.#send();
  }

  #send(): void {
    if (this.#isSent) return;
    this.#isSent = true;
    this.#timer?.cancel();
    this.#resolve(joinFrames(this.#frames));
    this.#frames.length = 0;
  }
}
