import { once } from 'node:events';
import net from 'node:net';
import { build } from 'hdr-histogram-js';
import { KEY_COUNT, valueOf } from './data-set.js';

// Requests are due at a fixed rate whether or not earlier ones were answered, and a latency counts from the moment a request
// was due: a stall of the server is seen by everything that was due during it. (A closed loop would just send less.)

const CONNECTIONS = 64;
const TICK_MS = 1;
const ANSWER_TIMEOUT_MS = 30_000;
const BODY = JSON.stringify({ value: valueOf(30) });

export interface OpenLoopResult {
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
  readonly maxMs: number;
  readonly perSecond: number;
}

/** PUTs over HTTP at a fixed rate. */
export async function openLoopPuts(port: number, perSecond: number, seconds: number): Promise<OpenLoopResult> {
  const latencies = build({
    lowestDiscernibleValue: 1,
    highestTrackableValue: 60_000_000,
    numberOfSignificantValueDigits: 3,
  });
  const total = Math.floor(perSecond * seconds);
  const due: number[] = [];
  const idle: Connection[] = [];
  let issued = 0;
  let answered = 0;
  let finish: () => void = () => {};
  let fail: (error: Error) => void = () => {};
  const finished = new Promise<void>((resolve, reject) => {
    finish = resolve;
    fail = reject;
  });
  const free = (connection: Connection): void => {
    const next = due.shift();
    if (next === undefined) idle.push(connection);
    else connection.put(issuedKey(answered), next);
  };
  const answer = (connection: Connection, dueAt: number): void => {
    latencies.recordValue(Math.max(1, Math.round((performance.now() - dueAt) * 1000)));
    answered++;
    if (answered === total) finish();
    else free(connection);
  };
  const connections = await Promise.all(
    Array.from({ length: CONNECTIONS }, () => Connection.open(port, answer, (error) => fail(error))),
  );
  idle.push(...connections);

  const start = performance.now();
  const tick = setInterval(() => {
    const now = performance.now();
    const shouldBe = Math.min(total, Math.floor(((now - start) / 1000) * perSecond));
    for (; issued < shouldBe; issued++) {
      const connection = idle.pop();
      if (connection === undefined) due.push(now);
      else connection.put(issuedKey(issued), now);
    }
  }, TICK_MS);
  const patience = setTimeout(
    () => fail(new Error(`expected ${total} answers, found ${answered}`)),
    seconds * 1000 + ANSWER_TIMEOUT_MS,
  );
  try {
    await finished;
  } finally {
    clearInterval(tick);
    clearTimeout(patience);
    for (const connection of connections) connection.close();
  }
  const at = (percentile: number): number => latencies.getValueAtPercentile(percentile) / 1000;
  return {
    p50Ms: at(50),
    p99Ms: at(99),
    p999Ms: at(99.9),
    maxMs: latencies.maxValue / 1000,
    perSecond: total / ((performance.now() - start) / 1000),
  };
}

function issuedKey(number: number): string {
  return `user:${(number * 7919) % KEY_COUNT}`;
}

/** One keep-alive connection with at most one request under way. */
class Connection {
  readonly #socket: net.Socket;
  readonly #answer: (connection: Connection, dueAt: number) => void;
  readonly #fail: (error: Error) => void;
  #received = '';
  #dueAt = 0;

  private constructor(
    socket: net.Socket,
    answer: (connection: Connection, dueAt: number) => void,
    fail: (error: Error) => void,
  ) {
    this.#socket = socket;
    this.#answer = answer;
    this.#fail = fail;
    socket.setNoDelay(true);
    socket.setEncoding('latin1');
    socket.on('data', (text: string) => this.#receive(text));
    socket.on('error', fail);
  }

  static async open(
    port: number,
    answer: (connection: Connection, dueAt: number) => void,
    fail: (error: Error) => void,
  ): Promise<Connection> {
    const socket = net.connect(port, '127.0.0.1');
    await once(socket, 'connect');
    return new Connection(socket, answer, fail);
  }

  put(key: string, dueAt: number): void {
    this.#dueAt = dueAt;
    this.#socket.write(
      `PUT /api/v1/kv/${key} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${BODY.length}\r\n\r\n${BODY}`,
    );
  }

  close(): void {
    this.#socket.destroy();
  }

  #receive(text: string): void {
    this.#received += text;
    const head = this.#received.indexOf('\r\n\r\n');
    if (head === -1) return;
    const length = Number(/\r\ncontent-length: (\d+)/i.exec(this.#received)?.[1] ?? 0);
    if (this.#received.length < head + 4 + length) return;
    if (!this.#received.startsWith('HTTP/1.1 200'))
      return this.#fail(new Error(`PUT: expected 200, found ${this.#received}`));
    this.#received = '';
    this.#answer(this, this.#dueAt);
  }
}
