import net from 'node:net';
import { NetworkError, type Connection, type Listener, type Network } from '../ports/network.js';

export interface NodeNetworkOptions {
  /** How long `connect` waits for the other end; 5,000 unless told. */
  readonly connectTimeoutMs?: number;
  /** How many connections may wait to be accepted; 1,024 unless told. The system may bound it lower. */
  readonly backlog?: number;
  /** Hears of connections that could not be accepted (EMFILE, say); the listener goes on. */
  readonly onAcceptError?: (error: NetworkError) => void;
}

/** Up to this many bytes of small writes are copied together, which costs less than a vector of them. */
const SLAB_BYTES = 256 * 1024;
const KEEP_ALIVE_DELAY_MS = 30_000;

function ignore(): void {}

function networkError(error: Error): NetworkError {
  return new NetworkError((error as NodeJS.ErrnoException).code ?? 'UNKNOWN', error.message, error);
}

/** TCP over `node:net`, without Nagle's delay. */
export class NodeNetwork implements Network {
  readonly #options: NodeNetworkOptions;
  readonly #writes = new WriteCollector();

  constructor(options: NodeNetworkOptions = {}) {
    this.#options = options;
  }

  listen(host: string, port: number, onConnection: (connection: Connection) => void): Promise<Listener> {
    const server = net.createServer(
      { allowHalfOpen: true, noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_DELAY_MS },
      (socket) => onConnection(new NodeConnection(socket, this.#writes)),
    );
    return new Promise((resolve, reject) => {
      const refuse = (error: Error): void => reject(networkError(error));
      server.once('error', refuse);
      server.listen({ host, port, backlog: this.#options.backlog ?? 1024 }, () => {
        server.off('error', refuse);
        server.on('error', (error) => this.#options.onAcceptError?.(networkError(error)));
        resolve(new NodeListener(server));
      });
    });
  }

  connect(host: string, port: number): Promise<Connection> {
    const { connectTimeoutMs = 5000 } = this.#options;
    return new Promise((resolve, reject) => {
      const socket = net.connect({
        host,
        port,
        allowHalfOpen: true,
        noDelay: true,
        keepAlive: true,
        keepAliveInitialDelay: KEEP_ALIVE_DELAY_MS,
      });
      const timeout = setTimeout(() => {
        const waited = `no connection to ${host}:${port} within ${connectTimeoutMs} ms`;
        reject(new NetworkError('ETIMEDOUT', waited));
        socket.destroy();
      }, connectTimeoutMs);
      const refuse = (error: Error): void => {
        clearTimeout(timeout);
        reject(networkError(error));
      };
      socket.once('error', refuse);
      socket.once('connect', () => {
        clearTimeout(timeout);
        socket.off('error', refuse);
        resolve(new NodeConnection(socket, this.#writes));
      });
    });
  }
}

class NodeListener implements Listener {
  readonly host: string;
  readonly port: number;
  readonly #server: net.Server;

  constructor(server: net.Server) {
    const address = server.address() as net.AddressInfo;
    this.host = address.address;
    this.port = address.port;
    this.#server = server;
  }

  close(): Promise<void> {
    // The socket stops listening at once. The server's own call back would wait for the open connections too.
    this.#server.close();
    return Promise.resolve();
  }
}

/**
 * Holds the connections that were written to since the last flush. The flush comes when the running call back and all
 * promises it settled are through, so every answer to one chunk of pipelined requests, or to one group commit, goes out
 * in one system call for each connection, and none waits for a turn of the loop.
 */
class WriteCollector {
  #waiting: NodeConnection[] = [];
  #flushing: NodeConnection[] = [];
  #slab = Buffer.allocUnsafeSlow(SLAB_BYTES);

  add(connection: NodeConnection): void {
    // A tick queued by a microtask runs after the last microtask.
    if (this.#waiting.push(connection) === 1) queueMicrotask(this.#afterMicrotasks);
  }

  /**
   * Writes the chunks as one. The slab serves all connections: it is free again when the system took the bytes within
   * the call, as it nearly always does; otherwise it is left to the socket.
   */
  writeTogether(socket: net.Socket, chunks: readonly Uint8Array[], totalBytes: number, done: () => void): void {
    const slab = this.#slab;
    let end = 0;
    for (const chunk of chunks) {
      slab.set(chunk, end);
      end += chunk.length;
    }
    socket.write(slab.subarray(0, totalBytes), done);
    if (socket.writableLength > 0) this.#slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
  }

  readonly #afterMicrotasks = (): void => process.nextTick(this.#flush);

  readonly #flush = (): void => {
    const connections = this.#waiting;
    this.#waiting = this.#flushing;
    this.#flushing = connections;
    for (const connection of connections) connection.flush();
    connections.length = 0;
  };
}

class NodeConnection implements Connection {
  readonly peer: string;
  onData: (chunk: Uint8Array) => void = ignore;
  onDrain: () => void = ignore;
  onEnd: () => void = ignore;
  onClose: (error: Error | undefined) => void = ignore;
  readonly #socket: net.Socket;
  readonly #writes: WriteCollector;
  readonly #chunks: Uint8Array[] = [];
  #chunkBytes = 0;
  #isEnding = false;
  #isPaused = false;
  #isReading = false;
  #error: NetworkError | undefined;

  constructor(socket: net.Socket, writes: WriteCollector) {
    this.#socket = socket;
    this.#writes = writes;
    this.peer = `${socket.remoteAddress ?? 'unknown'}:${socket.remotePort ?? 0}`;
    socket.on('error', (error) => {
      this.#error = networkError(error);
    });
    socket.on('close', () => this.onClose(this.#error));
    // Reading starts in the next turn, when the owner has set its call backs.
    setImmediate(() => this.#startReading());
  }

  get bufferedBytes(): number {
    return this.#chunkBytes + this.#socket.writableLength;
  }

  /** Bytes written after `end`, `destroy` or the close are dropped, as those on their way would be. */
  write(bytes: Uint8Array): void {
    if (bytes.length === 0 || this.#isEnding || this.#socket.destroyed) return;
    this.#chunkBytes += bytes.length;
    if (this.#chunks.push(bytes) === 1) this.#writes.add(this);
  }

  pause(): void {
    this.#isPaused = true;
    if (this.#isReading) this.#socket.pause();
  }

  resume(): void {
    this.#isPaused = false;
    // A socket that flows without a listener loses its bytes.
    if (this.#isReading) this.#socket.resume();
  }

  end(): void {
    if (this.#isEnding || this.#socket.destroyed) return;
    this.#isEnding = true;
    this.flush();
    this.#socket.end();
  }

  destroy(): void {
    this.#isEnding = true;
    this.#dropChunks();
    this.#socket.destroy();
  }

  /** Hands what was collected to the socket. */
  flush(): void {
    const chunks = this.#chunks;
    const socket = this.#socket;
    if (chunks.length === 0) return;
    if (socket.destroyed) {
      this.#dropChunks();
    } else if (chunks.length === 1) {
      socket.write(chunks[0]!, this.#onTaken);
    } else if (this.#chunkBytes <= SLAB_BYTES) {
      this.#writes.writeTogether(socket, chunks, this.#chunkBytes, this.#onTaken);
    } else {
      socket.cork();
      const last = chunks.length - 1;
      for (let i = 0; i < last; i++) socket.write(chunks[i]!);
      socket.write(chunks[last]!, this.#onTaken);
      socket.uncork();
    }
    this.#dropChunks();
  }

  #startReading(): void {
    const socket = this.#socket;
    this.#isReading = true;
    if (this.#isPaused) socket.pause();
    // A destroyed socket reports nothing but its close.
    socket.on('end', () => {
      if (!socket.destroyed) this.onEnd();
    });
    socket.on('data', (chunk: Buffer) => {
      if (!socket.destroyed) this.onData(chunk);
    });
  }

  readonly #onTaken = (): void => {
    if (!this.#socket.destroyed && this.bufferedBytes === 0) this.onDrain();
  };

  #dropChunks(): void {
    this.#chunks.length = 0;
    this.#chunkBytes = 0;
  }
}
