/** Byte streams between processes, as `node:net` gives them. Delivery is in order, or the connection closes. */
export interface Network {
  /** Rejects with a `NetworkError` (for example EADDRINUSE). Port 0 picks a free one. */
  listen(host: string, port: number, onConnection: (connection: Connection) => void): Promise<Listener>;
  /** Resolves when connected; rejects with a `NetworkError` (for example ECONNREFUSED). */
  connect(host: string, port: number): Promise<Connection>;
}

export interface Listener {
  readonly host: string;
  readonly port: number;
  /** Takes no more connections; the open ones stay. */
  close(): Promise<void>;
}

export interface Connection {
  /** `host:port` of the other end, for messages. */
  readonly peer: string;
  /** Bytes handed to `write` that the system has not taken yet. */
  readonly bufferedBytes: number;
  /** Set before the current loop turn ends. A chunk is the receiver's to keep. */
  onData: (chunk: Uint8Array) => void;
  /** All buffered bytes were taken by the system. */
  onDrain: () => void;
  /** The other end sent its last byte; writing is still possible. */
  onEnd: () => void;
  /** Called once, with the cause when the stream broke. No other call back follows. */
  onClose: (error: Error | undefined) => void;
  /** Takes the bytes; the caller must not change them afterwards. */
  write(bytes: Uint8Array): void;
  pause(): void;
  resume(): void;
  /** Sends what is buffered, then closes. */
  end(): void;
  /** Closes at once, dropping what is buffered. */
  destroy(): void;
}

export class NetworkError extends Error {
  override readonly name = 'NetworkError';
  readonly code: string;

  constructor(code: string, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
  }
}
