import net from 'node:net';
import { once } from 'node:events';
import type { TestContext } from 'node:test';
import { jsonProblem } from '../../../src/codec/json-scan.js';
import {
  DEFAULT_MAX_FRAME_BYTES,
  PROTOCOL_MAGIC,
  type RequestFields,
  type Response,
  decodeResponse,
  encodeRequestFrame,
} from '../../../src/codec/client-protocol.js';
import { FrameSplitter } from '../../../src/codec/frame.js';
import { NodeClock } from '../../../src/platform/node-clock.js';
import { NodeNetwork } from '../../../src/platform/node-network.js';
import type { Clock, Timer } from '../../../src/ports/clock.js';
import type { TcpLimits } from '../../../src/server/tcp/limits.js';
import { TcpServer } from '../../../src/server/tcp/tcp-server.js';
import { MemoryService } from '../memory-service.js';

/** Time that stands still until a test moves it; call backs run when they are due. */
export class ManualClock extends NodeClock {
  #nowMs = 1000;
  #timers = new Set<{ dueMs: number; callback: () => void }>();

  override monotonicMs(): number {
    return this.#nowMs;
  }

  override setTimer(delayMs: number, callback: () => void): Timer {
    const timer = { dueMs: this.#nowMs + delayMs, callback };
    this.#timers.add(timer);
    return { cancel: () => void this.#timers.delete(timer) };
  }

  advance(byMs: number, stepMs = 100): void {
    for (let left = byMs; left > 0; left -= stepMs) {
      this.#nowMs += Math.min(stepMs, left);
      for (const timer of this.#timers) {
        if (timer.dueMs > this.#nowMs) continue;
        this.#timers.delete(timer);
        timer.callback();
      }
    }
  }
}

export interface Running {
  readonly server: TcpServer;
  readonly service: MemoryService;
}

/** A server over a MemoryService on a free port, closed when the test ends. */
export async function startServer(
  t: TestContext,
  limits: Partial<TcpLimits> = {},
  clock: Clock = new NodeClock(),
): Promise<Running> {
  const service = new MemoryService();
  const server = await TcpServer.listen({
    service,
    network: new NodeNetwork(),
    clock,
    host: '127.0.0.1',
    port: 0,
    checkJson: jsonProblem,
    limits,
  });
  t.after(() => server.close(0));
  return { server, service };
}

/** A client by hand, that can send anything. */
export class RawClient {
  readonly socket: net.Socket;
  readonly #splitter = new FrameSplitter(DEFAULT_MAX_FRAME_BYTES);
  readonly #answers: Response[] = [];
  #wake: () => void = () => undefined;
  #ended = false;

  private constructor(socket: net.Socket) {
    this.socket = socket;
    socket.on('data', (chunk) => {
      this.#splitter.push(chunk);
      while (this.#splitter.next()) {
        const { bytes, start, end } = this.#splitter;
        this.#answers.push(decodeResponse(bytes, start, end));
      }
      this.#wake();
    });
    const end = (): void => {
      this.#ended = true;
      this.#wake();
    };
    socket.on('error', end);
    socket.on('end', end);
    socket.on('close', end);
  }

  /** Connects without a hello. */
  static async connect(t: TestContext, port: number): Promise<RawClient> {
    const socket = net.connect({ port, host: '127.0.0.1', noDelay: true });
    t.after(() => socket.destroy());
    await once(socket, 'connect');
    return new RawClient(socket);
  }

  /** Connects and says hello. */
  static async open(t: TestContext, port: number): Promise<RawClient> {
    const client = await RawClient.connect(t, port);
    client.send({ id: 1, hello: { magic: PROTOCOL_MAGIC, versionMajor: 1, versionMinor: 0 } });
    const answer = await client.next();
    if (answer?.body !== 'hello') throw new Error(`expected a hello, found ${answer?.error?.message ?? 'the end'}`);
    return client;
  }

  send(...requests: RequestFields[]): void {
    this.write(Buffer.concat(requests.map(encodeRequestFrame)));
  }

  write(bytes: Uint8Array): void {
    this.socket.write(bytes);
  }

  /** The next answer, or null when the server has ended the connection. */
  async next(): Promise<Response | null> {
    while (this.#answers.length === 0) {
      if (this.#ended) return null;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    return this.#answers.shift()!;
  }

  async take(count: number): Promise<Response[]> {
    const answers: Response[] = [];
    while (answers.length < count) {
      const answer = await this.next();
      if (answer === null) throw new Error(`expected ${count} answers, found the end after ${answers.length}`);
      answers.push(answer);
    }
    return answers;
  }
}

export function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
