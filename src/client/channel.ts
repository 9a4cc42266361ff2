import { CairnError } from '../base/errors.js';
import { HotResponseReader } from '../codec/client-hot-codec.js';
import {
  CONNECTION_ID,
  DEFAULT_MAX_FRAME_BYTES,
  MAX_REQUEST_ID,
  PROTOCOL_MAGIC,
  PROTOCOL_MAJOR,
  PROTOCOL_MINOR,
  type ResponseFields,
  decodeResponse,
  encodeRequestFrame,
  errorFromWire,
} from '../codec/client-protocol.js';
import { FrameSplitter } from '../codec/frame.js';
import type { Clock, Timer } from '../ports/clock.js';
import type { Connection, Network } from '../ports/network.js';

/** One request under way, as a channel sees it. */
export interface Call {
  encode(id: number): Uint8Array;
  /** May be called again until `forget`, for streamed answers. Byte fields are views that stay valid. */
  answered(response: ResponseFields): void;
  /** The connection is gone. `executed` is 'no' when the server said that it had taken up nothing that it did not answer. */
  lost(executed: 'no' | 'unknown', cause: Error): void;
}

export interface ChannelOptions {
  readonly network: Network;
  readonly clock: Clock;
  readonly host: string;
  readonly port: number;
  readonly token: string;
  readonly clientName: string;
  readonly connectTimeoutMs: number;
  /** As in PoolOptions; Infinity waits for ever. */
  readonly silenceMs: number;
}

export type ServerHello = NonNullable<ResponseFields['hello']>;

const HELLO_ID = 1;
const reader = new HotResponseReader();

/** One connection to one endpoint: many calls at a time, answered in any order. */
export class Channel {
  readonly endpoint: string;
  readonly server: ServerHello;
  /** False once it takes no more calls: it broke, was ended, or the server is shutting down. */
  usable = true;
  /** Raised whenever something comes in, so that a caller can tell a slow answer from a dead peer. */
  receivedChunks = 0;
  readonly #stream: Connection;
  readonly #splitter: FrameSplitter;
  readonly #calls = new Map<number, Call>();
  #nextId = HELLO_ID + 1;
  #unsent: Uint8Array[] = [];
  #ending = false;
  #drained = false;
  readonly #clock: Clock;
  readonly #silenceMs: number;
  #silenceTimer: Timer | null = null;

  private constructor(
    stream: Connection,
    splitter: FrameSplitter,
    endpoint: string,
    server: ServerHello,
    { clock, silenceMs }: ChannelOptions,
  ) {
    this.#clock = clock;
    this.#silenceMs = silenceMs;
    this.#stream = stream;
    this.#splitter = splitter;
    this.endpoint = endpoint;
    this.server = server;
    stream.onData = (chunk) => this.#receive(chunk);
    stream.onEnd = () => this.#broken(new Error('the server closed the connection'));
    stream.onClose = (error) => this.#broken(error ?? new Error('the connection closed'));
  }

  /** Connects and says hello. Rejects with the CairnError of a refusal, or a NetworkError. */
  static async connect(options: ChannelOptions): Promise<Channel> {
    const { clock, connectTimeoutMs, host, port } = options;
    const endpoint = `${host}:${port}`;
    let stream: Connection | null = null;
    let timedOut = false;
    return await new Promise<Channel>((resolve, reject) => {
      const fail = (error: Error): void => {
        timer.cancel();
        stream?.destroy();
        reject(error);
      };
      const timer = clock.setTimer(connectTimeoutMs, () => {
        timedOut = true;
        fail(new CairnError('unavailable', `${endpoint}: expected a hello within ${connectTimeoutMs} ms`));
      });
      options.network.connect(host, port).then((connected) => {
        if (timedOut) {
          connected.destroy();
          return;
        }
        stream = connected;
        const splitter = new FrameSplitter(DEFAULT_MAX_FRAME_BYTES);
        connected.onEnd = () =>
          fail(new CairnError('unavailable', `${endpoint}: closed before the hello was answered`));
        connected.onClose = (error) =>
          fail(error ?? new CairnError('unavailable', `${endpoint}: closed before the hello was answered`));
        connected.onData = (chunk) => {
          try {
            splitter.push(chunk);
            if (!splitter.next()) return;
            const server = readHello(splitter);
            splitter.maxFrameBytes = Math.max(DEFAULT_MAX_FRAME_BYTES, server.maxFrameBytes ?? 0);
            timer.cancel();
            resolve(new Channel(connected, splitter, endpoint, server, options));
          } catch (error) {
            fail(error as Error);
          }
        };
        connected.write(
          encodeRequestFrame({
            id: HELLO_ID,
            hello: {
              magic: PROTOCOL_MAGIC,
              versionMajor: PROTOCOL_MAJOR,
              versionMinor: PROTOCOL_MINOR,
              token: options.token,
              clientName: options.clientName,
            },
          }),
        );
      }, fail);
    });
  }

  /** Calls that wait for an answer. */
  get callCount(): number {
    return this.#calls.size;
  }

  /** Queues the call; what is queued in one run of microtasks leaves in one write. Returns its id. */
  send(call: Call): number {
    let id = this.#nextId;
    while (this.#calls.has(id)) id = id === MAX_REQUEST_ID ? 1 : id + 1;
    this.#nextId = id === MAX_REQUEST_ID ? 1 : id + 1;
    this.#calls.set(id, call);
    this.#enqueue(call.encode(id));
    if (this.#silenceTimer === null && this.#silenceMs !== Infinity) this.#watchSilence(false);
    return id;
  }

  /** A node that hangs does not close its connections; it can only be told from a slow one by a ping. */
  #watchSilence(wasAsked: boolean): void {
    const chunksBefore = this.receivedChunks;
    this.#silenceTimer = this.#clock.setTimer(this.#silenceMs, () => {
      this.#silenceTimer = null;
      if (this.#calls.size === 0) return;
      const isSilent = this.receivedChunks === chunksBefore;
      if (isSilent && wasAsked) {
        this.destroy(new Error(`${this.endpoint} has not answered a ping for ${this.#silenceMs} ms`));
        return;
      }
      this.#watchSilence(isSilent);
      if (isSilent) this.#ping();
    });
  }

  #ping(): void {
    const id = this.send({
      encode: (pingId) => encodeRequestFrame({ id: pingId, ping: {} }),
      answered: () => this.forget(id),
      lost: () => undefined,
    });
  }

  /** Sends a request that has no answer. */
  tell(frame: Uint8Array): void {
    if (this.usable) this.#enqueue(frame);
  }

  /** Drops an answer that is still to come, or marks the last one of a stream. */
  forget(id: number): void {
    this.#calls.delete(id);
    if (this.#ending && this.#calls.size === 0) this.#stream.end();
  }

  /** Takes no more calls, and closes when those under way are answered. */
  end(): void {
    this.usable = false;
    this.#ending = true;
    if (this.#calls.size === 0) this.#stream.end();
  }

  /** Gives the connection up: something is wrong with it. */
  destroy(cause: Error): void {
    this.#broken(cause);
  }

  #enqueue(frame: Uint8Array): void {
    this.#unsent.push(frame);
    if (this.#unsent.length === 1) queueMicrotask(() => this.#flush());
  }

  #flush(): void {
    const frames = this.#unsent;
    this.#unsent = [];
    if (frames.length === 1) this.#stream.write(frames[0]!);
    else if (frames.length > 1) this.#stream.write(Buffer.concat(frames));
  }

  #receive(chunk: Uint8Array): void {
    this.receivedChunks++;
    const splitter = this.#splitter;
    try {
      splitter.push(chunk);
      while (splitter.next()) this.#dispatch(splitter.bytes, splitter.start, splitter.end);
    } catch (error) {
      // The stream can't be followed any more. Errors of callers do not come this way: calls only settle promises.
      this.destroy(error as Error);
    }
  }

  #dispatch(bytes: Uint8Array, start: number, end: number): void {
    const kind = reader.read(bytes, start, end);
    if (kind === 'other') {
      const response = decodeResponse(bytes, start, end);
      if (response.id === CONNECTION_ID) this.#connectionError(errorFromWire(response.error ?? {}));
      else this.#calls.get(response.id)?.answered(response);
      return;
    }
    const call = this.#calls.get(reader.id);
    if (call === undefined) return;
    const { revision, valueStart, valueLength } = reader;
    if (kind === 'put') call.answered({ put: { revision } });
    else call.answered({ get: { revision, value: bytes.subarray(valueStart, valueStart + valueLength) } });
  }

  #connectionError(error: CairnError): void {
    this.usable = false;
    if (error.code !== 'shutting_down') this.destroy(error);
    else if (error.extra?.['drained'] === true) this.#drained = true;
    else this.end();
  }

  #broken(cause: Error): void {
    this.usable = false;
    this.#silenceTimer?.cancel();
    this.#unsent = [];
    const calls = [...this.#calls.values()];
    this.#calls.clear();
    for (const call of calls) call.lost(this.#drained ? 'no' : 'unknown', cause);
    this.#stream.destroy();
  }
}

function readHello(splitter: FrameSplitter): ServerHello {
  const response = decodeResponse(splitter.bytes, splitter.start, splitter.end);
  if (response.error) throw errorFromWire(response.error);
  if (response.hello?.magic !== PROTOCOL_MAGIC || response.hello.versionMajor !== PROTOCOL_MAJOR) {
    throw new CairnError(
      'protocol_error',
      `expected the answer to a hello of protocol ${PROTOCOL_MAJOR}.x, found ${response.body ?? 'something else'}`,
    );
  }
  return response.hello;
}
