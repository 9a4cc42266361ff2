import { AssertionFailure, unreachable } from '../../base/assert.js';
import { CairnError } from '../../base/errors.js';
import type { Logger } from '../../base/logger.js';
import {
  MAX_PUT_ANSWER_FRAME_BYTES,
  type HotRequestReader,
  maxGetAnswerFrameBytes,
  writeAbsentAnswerFrame,
  writeGetAnswerFrame,
  writePutAnswerFrame,
} from '../../codec/client-hot-codec.js';
import {
  CONNECTION_ID,
  MAX_HELLO_BYTES,
  PROTOCOL_MAGIC,
  PROTOCOL_MAJOR,
  PROTOCOL_MINOR,
  type Request,
  type ResponseFields,
  decodeRequest,
  encodeResponseFrame,
  errorToWire,
} from '../../codec/client-protocol.js';
import { FRAME_HEADER_BYTES, FrameSplitter } from '../../codec/frame.js';
import type { Connection } from '../../ports/network.js';
import type { ReadOptions, Service } from '../service.js';
import type { AnswerWriter } from './answer-writer.js';
import type { TcpLimits } from './limits.js';
import { RangeStream, type RangeOwner } from './range-stream.js';
import { LATEST_READ, keyProblem, readOptionsOf } from './requests.js';
import { type AnswerSink, type CallKind, type UnaryRequests, answerTooLarge } from './unary-requests.js';

/** What the connections of one server share. */
export interface ConnectionHost {
  readonly service: Service;
  readonly limits: TcpLimits;
  readonly logger: Logger;
  readonly requests: UnaryRequests;
  readonly writer: AnswerWriter;
  readonly reader: HotRequestReader;
  readonly draining: boolean;
  /** Asks for `finishTurn` at the end of this loop turn. */
  wake(connection: ClientConnection): void;
  closed(connection: ClientConnection): void;
}

type State =
  /** Waits for the hello. */
  | 'hello'
  | 'open'
  /** The last answer is on its way out; what comes in is dropped. */
  | 'closing'
  | 'closed';

/**
 * One client's connection. Requests are taken from the stream while the limits allow it, plain Gets are answered in place,
 * the rest when the service calls back; answers of one loop turn leave in one write. Whatever goes wrong here
 * costs this connection only.
 */
export class ClientConnection implements AnswerSink, RangeOwner {
  readonly #host: ConnectionHost;
  readonly #stream: Connection;
  readonly #splitter = new FrameSplitter(MAX_HELLO_BYTES);
  #state: State = 'hello';
  #inFlight = 0;
  #waitingReads = 0;
  readonly #ranges = new Map<number, RangeStream>();
  /** Answers to puts since the last write: id, revision, id, revision. */
  #putAnswers: number[] = [];
  #frames: Uint8Array[] = [];
  #reading = false;
  #paused = false;
  /** The peer has not taken `maxBufferedBytes`; ends with onDrain. */
  #outputFull = false;
  #peerEnded = false;
  #awake = false;

  // What the sweep compares with the time before.
  #openedMs: number;
  #active = true;
  #activeMs: number;
  #closingMs = 0;
  #framesRead = 0;
  #frameMs: number;
  #framesReadAtFrameMs = 0;
  #writtenBytes = 0;
  #takenBytes = 0;
  #takenMs: number;

  constructor(stream: Connection, host: ConnectionHost, nowMs: number) {
    this.#stream = stream;
    this.#host = host;
    this.#openedMs = this.#activeMs = this.#frameMs = this.#takenMs = nowMs;
    stream.onData = (chunk) => this.#receive(chunk);
    stream.onDrain = () => this.#drained();
    stream.onEnd = () => {
      this.#peerEnded = true;
      this.#endWhenDone();
    };
    stream.onClose = () => this.#closed();
  }

  get isOpen(): boolean {
    return this.#state !== 'closed';
  }

  get acceptsPages(): boolean {
    return !this.#outputFull;
  }

  // --- Input ---

  #receive(chunk: Uint8Array): void {
    if (this.#state === 'closing' || this.#state === 'closed') return;
    this.#active = true;
    this.#splitter.push(chunk);
    this.#readRequests();
  }

  /** Takes requests from what has come until a limit is met, then writes the answers that are there. */
  #readRequests(): void {
    if (this.#reading) return;
    this.#reading = true;
    let waits = false;
    while (this.#state === 'hello' || this.#state === 'open') {
      if (this.#mustWait()) {
        waits = true;
        break;
      }
      if (!this.#nextRequest()) break;
      if (this.#host.writer.pendingBytes >= this.#host.limits.maxBufferedBytes) this.#flush();
    }
    this.#flush();
    this.#reading = false;
    if (waits !== this.#paused && this.#state !== 'closed') {
      this.#paused = waits;
      if (waits) this.#stream.pause();
      else this.#stream.resume();
    }
    if (!waits && this.#peerEnded) this.#endWhenDone();
  }

  #mustWait(): boolean {
    const limits = this.#host.limits;
    return this.#inFlight >= limits.maxInFlight || this.#waitingReads >= limits.maxWaitingReads || this.#outputFull;
  }

  /** False when no further request has come completely, or the connection ends. */
  #nextRequest(): boolean {
    try {
      if (!this.#splitter.next()) return false;
    } catch (error) {
      this.#fail(CONNECTION_ID, expected(error));
      return false;
    }
    this.#framesRead++;
    const { bytes, start, end } = this.#splitter;
    if (this.#state === 'open' && !this.#host.draining) {
      const reader = this.#host.reader;
      const kind = reader.read(bytes, start, end);
      if (kind === 'get') {
        this.#get(reader.id, bytes, reader.keyStart, reader.keyLength, LATEST_READ);
        return true;
      }
      if (kind === 'put') {
        this.#host.requests.plainPut(this, bytes, reader);
        return true;
      }
    }
    let request: Request;
    try {
      request = decodeRequest(bytes, start, end);
    } catch (error) {
      this.#fail(CONNECTION_ID, expected(error));
      return false;
    }
    if (this.#state === 'hello') this.#hello(request);
    else if (request.id === CONNECTION_ID) {
      this.#fail(
        CONNECTION_ID,
        new CairnError('protocol_error', 'expected a request id of at least 1, found 0 or none'),
      );
    } else if (this.#host.draining) this.answerError(request.id, shuttingDown());
    else this.#dispatch(request);
    return true;
  }

  #hello(request: Request): void {
    const hello = request.hello;
    const { service, limits } = this.#host;
    if (!hello || hello.magic !== PROTOCOL_MAGIC) {
      const found = hello ? `magic 0x${(hello.magic ?? 0).toString(16)}` : (request.body ?? 'something else');
      this.#fail(
        request.id,
        new CairnError('protocol_error', `expected a hello with magic 0x4e524943 first, found ${found}`),
      );
      return;
    }
    if (hello.versionMajor !== PROTOCOL_MAJOR) {
      const problem = `expected protocol version ${PROTOCOL_MAJOR}.x, found ${hello.versionMajor ?? 0}.${hello.versionMinor ?? 0}`;
      const extra = { versionMajor: PROTOCOL_MAJOR, versionMinor: PROTOCOL_MINOR };
      this.#fail(request.id, new CairnError('protocol_error', problem, { extra }));
      return;
    }
    const status = service.status();
    if (hello.clusterId && hello.clusterId !== status.clusterId) {
      const problem = `expected a client of cluster ${status.clusterId}, found one of ${hello.clusterId}`;
      this.#fail(request.id, new CairnError('protocol_error', problem));
      return;
    }
    if (this.#host.draining) {
      this.#fail(request.id, shuttingDown());
      return;
    }
    this.#state = 'open';
    this.#splitter.maxFrameBytes = limits.maxFrameBytes;
    this.answer({
      id: request.id,
      hello: {
        magic: PROTOCOL_MAGIC,
        versionMajor: PROTOCOL_MAJOR,
        versionMinor: PROTOCOL_MINOR,
        nodeId: service.nodeId,
        clusterId: status.clusterId,
        serverVersion: status.version,
        maxFrameBytes: limits.maxFrameBytes,
        maxInFlight: limits.maxInFlight,
        maxValueBytes: limits.maxValueBytes,
        partitionCount: status.partitions.length,
      },
    });
  }

  #dispatch(request: Request): void {
    const { id, body } = request;
    const { requests } = this.#host;
    switch (body) {
      case 'get': {
        const key = request.get!.key ?? new Uint8Array(0);
        const options = readOptionsOf(request.get!);
        if (options instanceof CairnError) this.answerError(id, options);
        else if (options.at !== 0) requests.get(this, id, key, options);
        else this.#get(id, key, 0, key.length, options);
        return;
      }
      case 'put':
        return requests.put(this, id, request.put!);
      case 'delete':
        return requests.delete(this, id, request.delete!);
      case 'batch':
        return requests.batch(this, id, request.batch!);
      case 'multiGet':
        return requests.multiGet(this, id, request.multiGet!);
      case 'range':
        return this.#range(id, request.range!);
      case 'rangeMore':
        this.#ranges.get(request.rangeMore!.rangeId ?? 0)?.more(request.rangeMore!.credits ?? 0);
        return;
      case 'rangeStop':
        return this.#stopRange(request.rangeStop!.rangeId ?? 0);
      case 'ping':
        this.answer({ id, ping: {} });
        return;
      case 'hello':
        this.#fail(id, new CairnError('protocol_error', 'expected one hello, found a second'));
        return;
      case undefined:
        this.answerError(
          id,
          new CairnError('not_implemented', 'expected a request kind that this version knows, found another'),
        );
        return;
      default:
        unreachable(body);
    }
  }

  // --- Requests ---

  /** Answers in place when memory has the answer. */
  #get(id: number, bytes: Uint8Array, keyStart: number, keyLength: number, options: ReadOptions): void {
    const problem = keyProblem(keyLength);
    if (problem !== null) {
      this.answerError(id, problem);
      return;
    }
    const { service, writer } = this.#host;
    const outcome = service.tryGet(bytes, keyStart, keyLength);
    if (outcome === 'blocked') {
      this.#host.requests.get(this, id, bytes.subarray(keyStart, keyStart + keyLength), options);
      return;
    }
    const found = service.found;
    if (outcome === 'absent') {
      writer.reserve(MAX_PUT_ANSWER_FRAME_BYTES);
      writer.at = writeAbsentAnswerFrame(writer.bytes, writer.at, id);
      return;
    }
    writer.reserve(maxGetAnswerFrameBytes(found.length, found.contentType.length));
    writer.at = writeGetAnswerFrame(
      writer.bytes,
      writer.at,
      id,
      found.bytes,
      found.start,
      found.length,
      found.revision,
      found.expiresAtMs,
      found.contentType,
    );
  }

  #range(id: number, fields: NonNullable<Request['range']>): void {
    const { limits, service } = this.#host;
    if (this.#ranges.has(id)) {
      this.#fail(
        id,
        new CairnError('protocol_error', `expected an id that is free, found the one of a range under way: ${id}`),
      );
      return;
    }
    if (this.#ranges.size >= limits.maxRanges) {
      const problem = `expected at most ${limits.maxRanges} ranges under way on one connection`;
      this.answerError(id, new CairnError('overloaded', problem, { extra: { maxRanges: limits.maxRanges } }));
      return;
    }
    const range = new RangeStream(id, fields, this, limits);
    this.#ranges.set(id, range);
    range.start(service, fields);
  }

  #stopRange(id: number): void {
    this.#ranges.get(id)?.stop();
    this.#ranges.delete(id);
  }

  sendPage(id: number, rangePage: NonNullable<ResponseFields['rangePage']>): void {
    this.answer({ id, rangePage });
    // A range goes on reading in the same turn, so what it has sent must count now.
    this.#flush();
  }

  rangeEnded(id: number, error: CairnError | null): void {
    this.#ranges.delete(id);
    if (error !== null) this.answerError(id, error);
    this.#wake();
  }

  unexpected(error: unknown): CairnError {
    // A broken invariant is not answered: it becomes an unhandled rejection, which ends the process.
    if (error instanceof AssertionFailure) throw error;
    this.#host.logger.error({ err: error, peer: this.#stream.peer }, 'a client request failed unexpectedly');
    return new CairnError('internal', 'the request failed; the log of the node says why', { cause: error });
  }

  began(kind: CallKind): void {
    this.#inFlight++;
    if (kind === 'read') this.#waitingReads++;
  }

  ended(kind: CallKind): void {
    this.#inFlight--;
    if (kind === 'read') this.#waitingReads--;
    this.#wake();
  }

  // --- Output ---

  answerPut(id: number, revision: number): void {
    this.#putAnswers.push(id, revision);
  }

  answer(response: ResponseFields): void {
    if (this.#state === 'closed') return;
    let frame = encodeResponseFrame(response);
    const { maxFrameBytes } = this.#host.limits;
    if (frame.length > maxFrameBytes + FRAME_HEADER_BYTES) {
      frame = encodeResponseFrame({ id: response.id ?? 0, error: errorToWire(answerTooLarge(maxFrameBytes)) });
    }
    this.#frames.push(frame);
    this.#wake();
  }

  answerError(id: number, error: CairnError): void {
    this.answer({ id, error: errorToWire(error) });
  }

  #wake(): void {
    if (this.#awake || this.#reading || this.#state === 'closed') return;
    this.#awake = true;
    this.#host.wake(this);
  }

  /** At the end of a loop turn in which answers came. */
  finishTurn(): void {
    this.#awake = false;
    if (this.#state === 'closed') return;
    this.#flush();
    if (this.#paused) this.#readRequests();
    this.#endWhenDone();
  }

  #flush(): void {
    const writer = this.#host.writer;
    for (let i = 0; i < this.#putAnswers.length; i += 2) {
      writer.reserve(MAX_PUT_ANSWER_FRAME_BYTES);
      writer.at = writePutAnswerFrame(writer.bytes, writer.at, this.#putAnswers[i]!, this.#putAnswers[i + 1]!);
    }
    if (this.#putAnswers.length > 0) this.#putAnswers = [];
    if (this.#frames.length > 0) {
      const frames = this.#frames;
      this.#frames = [];
      for (const frame of frames) writer.append(frame);
    }
    if (writer.pendingBytes === 0) return;
    const bytes = writer.take();
    if (this.#state === 'closed') return;
    this.#writtenBytes += bytes.length;
    this.#stream.write(bytes);
    if (this.#stream.bufferedBytes >= this.#host.limits.maxBufferedBytes) this.#outputFull = true;
  }

  #drained(): void {
    if (!this.#outputFull) return;
    this.#outputFull = false;
    for (const range of this.#ranges.values()) range.resume();
    if (this.#paused) this.#readRequests();
  }

  // --- The end ---

  /** Answers with the error, then closes. Input that is still to come is dropped. */
  #fail(id: number, error: CairnError): void {
    this.#host.logger.debug(
      { peer: this.#stream.peer, code: error.code, reason: error.message },
      'client connection refused',
    );
    this.answerError(id, error);
    this.#close();
  }

  #close(): void {
    if (this.#state === 'closing' || this.#state === 'closed') return;
    this.#flush();
    this.#state = 'closing';
    this.#stopRanges();
    this.#stream.end();
  }

  /** Refuses a connection that is one too many. */
  refuse(error: CairnError): void {
    this.#fail(CONNECTION_ID, error);
  }

  get #isIdle(): boolean {
    return this.#inFlight === 0 && this.#ranges.size === 0;
  }

  #endWhenDone(): void {
    if (!this.#peerEnded || this.#paused) return;
    // Nothing more comes from this peer, so neither do credits.
    for (const range of this.#ranges.values()) if (range.isStarved) this.#stopRange(range.id);
    if (this.#isIdle) this.#close();
  }

  /** Says that the node shuts down; requests under way are still answered. */
  startDrain(): void {
    if (this.#state !== 'open') return;
    this.answer({ id: CONNECTION_ID, error: errorToWire(shuttingDown()) });
  }

  /**
   * Closes when every request that was taken has been answered, and says so: what the client has sent and got no answer
   * to was not executed.
   */
  endDrain(): void {
    if (this.#state === 'hello') this.#fail(CONNECTION_ID, shuttingDown());
    if (this.#state !== 'open' || !this.#isIdle) return;
    const drained = new CairnError('shutting_down', 'the node is shutting down', { extra: { drained: true } });
    this.#fail(CONNECTION_ID, drained);
  }

  destroy(): void {
    if (this.#state === 'closed') return;
    this.#stream.destroy();
  }

  #closed(): void {
    this.#state = 'closed';
    this.#frames = [];
    this.#putAnswers = [];
    this.#stopRanges();
    this.#host.closed(this);
  }

  #stopRanges(): void {
    for (const range of this.#ranges.values()) range.stop();
    this.#ranges.clear();
  }

  // --- Time-outs ---

  /** Looks at every time-out; called every `sweepMs`. */
  sweep(nowMs: number): void {
    const { limits } = this.#host;
    if (this.#state === 'closed') return;
    if (this.#state === 'closing') {
      // Answers that the peer still takes are not cut off.
      if (this.#closingMs === 0 || (this.#stream.bufferedBytes > 0 && !this.#hasStalledOutput(nowMs)))
        this.#closingMs = nowMs;
      else if (nowMs - this.#closingMs >= limits.lingerMs) this.#stream.destroy();
      return;
    }
    if (this.#state === 'hello' && nowMs - this.#openedMs >= limits.helloTimeoutMs) {
      this.#fail(
        CONNECTION_ID,
        new CairnError('protocol_error', `expected a hello within ${limits.helloTimeoutMs} ms`),
      );
      return;
    }
    if (this.#hasStalledOutput(nowMs)) {
      this.#host.logger.debug(
        { peer: this.#stream.peer, bufferedBytes: this.#stream.bufferedBytes },
        'slow client cut off',
      );
      this.#stream.destroy();
      return;
    }
    if (this.#hasStalledFrame(nowMs)) {
      this.#fail(
        CONNECTION_ID,
        new CairnError('protocol_error', `expected the rest of a frame within ${limits.frameTimeoutMs} ms`),
      );
      return;
    }
    for (const range of this.#ranges.values())
      if (range.isAbandoned(nowMs, limits.rangeTimeoutMs)) this.#abandon(range);
    if (this.#active || !this.#isIdle) {
      this.#active = false;
      this.#activeMs = nowMs;
    } else if (nowMs - this.#activeMs >= limits.idleTimeoutMs) this.#close();
  }

  #abandon(range: RangeStream): void {
    this.#stopRange(range.id);
    const problem = `expected a request for more pages within ${this.#host.limits.rangeTimeoutMs} ms`;
    this.answerError(range.id, new CairnError('deadline_exceeded', problem));
  }

  #hasStalledOutput(nowMs: number): boolean {
    const buffered = this.#stream.bufferedBytes;
    const taken = this.#writtenBytes - buffered;
    if (buffered === 0 || taken !== this.#takenBytes) {
      this.#takenBytes = taken;
      this.#takenMs = nowMs;
    }
    return nowMs - this.#takenMs >= this.#host.limits.writeTimeoutMs;
  }

  #hasStalledFrame(nowMs: number): boolean {
    if (!this.#splitter.inFrame || this.#paused || this.#framesRead !== this.#framesReadAtFrameMs) {
      this.#framesReadAtFrameMs = this.#framesRead;
      this.#frameMs = nowMs;
    }
    return nowMs - this.#frameMs >= this.#host.limits.frameTimeoutMs;
  }
}

function shuttingDown(): CairnError {
  return new CairnError('shutting_down', 'the node is shutting down; nothing was executed');
}

/** A CairnError as it is; anything else is a bug and goes on. */
function expected(error: unknown): CairnError {
  if (error instanceof CairnError) return error;
  throw error;
}
