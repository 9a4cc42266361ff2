import { assert } from '../../../src/base/assert.js';
import type { Prng } from '../../../src/base/prng.js';
import { NetworkError, type Connection } from '../../../src/ports/network.js';
import type { Scheduler } from './scheduler.js';
import type { Segment, SimPipe } from './sim-pipe.js';

/** What a connection needs of the world around it. */
export interface ConnectionWorld {
  readonly scheduler: Scheduler;
  readonly prng: Prng;
  /** Bytes that one direction takes before they count as buffered. */
  readonly windowBytes: number;
  /** That what is sent is cut at a random place. */
  readonly cutProbability: number;
  /** Runs the call in the host's process: now, or when that is no longer paused. */
  inProcess(host: string, call: () => void): void;
  /** Which process of the host is alive. */
  lifeOf(host: string): number;
  /** Sends made now would be lost. */
  isBlocked(from: string, to: string): boolean;
  forget(connection: SimConnection): void;
}

function ignore(): void {}

/**
 * One end. Bytes go from `#buffered`, in the process, into the pipe, as far as the window allows, and from there into
 * `#arrived` of the other end's system, from where its process takes them.
 */
export class SimConnection implements Connection {
  readonly id: number;
  readonly localHost: string;
  readonly remoteHost: string;
  readonly peer: string;
  other!: SimConnection;
  onData: (chunk: Uint8Array) => void = ignore;
  onDrain: () => void = ignore;
  onEnd: () => void = ignore;
  onClose: (error: Error | undefined) => void = ignore;
  readonly #world: ConnectionWorld;
  #out!: SimPipe;
  readonly #buffered: Uint8Array[] = [];
  #bufferedBytes = 0;
  readonly #arrived: (Uint8Array | 'end')[] = [];
  readonly #life: number;
  /** The process does not have it yet. */
  #isHeld = true;
  #isPaused = false;
  #isPumpQueued = false;
  #isEnding = false;
  #hasSentEnd = false;
  #hasSeenEnd = false;
  #isClosed = false;
  #error: Error | undefined;

  constructor(world: ConnectionWorld, id: number, localHost: string, remoteHost: string, peer: string) {
    this.#world = world;
    this.#life = world.lifeOf(localHost);
    this.id = id;
    this.localHost = localHost;
    this.remoteHost = remoteHost;
    this.peer = peer;
  }

  /** Before anything else. */
  join(other: SimConnection, out: SimPipe): void {
    this.other = other;
    this.#out = out;
  }

  /** The process has it, and has said who listens, or does so before anything else happens. */
  opened(): void {
    this.#isHeld = false;
    // Who has it sets its handlers within this turn.
    if (this.#isClosed) this.#world.scheduler.schedule(0, () => this.#inProcess(() => this.onClose(this.#error)));
    else if (this.#arrived.length > 0) this.#world.scheduler.schedule(0, () => this.#inProcess(() => this.#deliver()));
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  get bufferedBytes(): number {
    return this.#bufferedBytes;
  }

  write(bytes: Uint8Array): void {
    if (bytes.length === 0 || this.#isEnding || this.#isClosed) return;
    this.#buffered.push(bytes);
    this.#bufferedBytes += bytes.length;
    this.queuePump();
  }

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.#world.scheduler.schedule(0, () => this.#inProcess(() => this.#deliver()));
  }

  end(): void {
    if (this.#isEnding || this.#isClosed) return;
    this.#isEnding = true;
    this.queuePump();
  }

  destroy(): void {
    if (this.#isClosed) return;
    const isClean = this.#hasSentEnd && this.#hasSeenEnd;
    this.#close(undefined);
    if (!isClean) this.#out.send('reset');
  }

  /** This end's system breaks the stream, and doesn't tell the other. */
  breakOff(code: 'ECONNRESET' | 'ETIMEDOUT'): void {
    this.#close(new NetworkError(code, `the connection to ${this.peer} broke: ${code}`));
  }

  /** This end's process is gone and hears no more. With `isTold` its system says so to the other end, if it can. */
  vanish(isTold: boolean): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#forget();
    if (isTold && !this.#world.isBlocked(this.localHost, this.remoteHost)) this.#out.send('reset');
  }

  /** A segment comes out of the other end's pipe. */
  arrive(segment: Segment): void {
    if (segment === 'reset') {
      this.breakOff('ECONNRESET');
    } else if (this.#isClosed) {
      // Nobody is here: the sender's system hears so, if the link back carries it or heals in time.
      this.#out.send('reset');
    } else {
      this.#arrived.push(segment);
      this.#inProcess(() => this.#deliver());
    }
  }

  queuePump(): void {
    if (this.#isPumpQueued || this.#isClosed) return;
    this.#isPumpQueued = true;
    this.#world.scheduler.schedule(0, () =>
      this.#inProcess(() => {
        this.#isPumpQueued = false;
        this.#pump();
      }),
    );
  }

  /** Hands the system what it takes now. */
  #pump(): void {
    if (this.#isClosed) return;
    const wasBuffered = this.#bufferedBytes > 0;
    for (;;) {
      const room = this.#world.windowBytes - this.#out.inFlightBytes;
      if (this.#bufferedBytes === 0 || room <= 0) break;
      this.#out.send(this.#takeChunk(room));
    }
    if (this.#bufferedBytes > 0) return;
    if (this.#isEnding && !this.#hasSentEnd) {
      this.#hasSentEnd = true;
      this.#out.send('end');
    }
    if (!wasBuffered) return;
    this.#world.scheduler.schedule(0, () =>
      this.#inProcess(() => {
        if (!this.#isClosed && this.#bufferedBytes === 0) this.onDrain();
      }),
    );
  }

  /** The next bytes, joined and cut at a random place as streams do. */
  #takeChunk(room: number): Uint8Array {
    const { cutProbability, prng } = this.#world;
    const available = Math.min(room, this.#bufferedBytes);
    const length = prng.chance(cutProbability) ? prng.between(1, available) : available;
    const chunk = new Uint8Array(length);
    for (let done = 0; done < length;) {
      const first = this.#buffered[0]!;
      const count = Math.min(first.length, length - done);
      chunk.set(first.subarray(0, count), done);
      done += count;
      if (count === first.length) this.#buffered.shift();
      else this.#buffered[0] = first.subarray(count);
    }
    this.#bufferedBytes -= length;
    return chunk;
  }

  /** Gives the process what has arrived. */
  #deliver(): void {
    while (!this.#isHeld && !this.#isPaused && !this.#isClosed) {
      const item = this.#arrived.shift();
      if (item === undefined) break;
      if (item === 'end') {
        assert(!this.#hasSeenEnd, 'a stream ends once');
        this.#hasSeenEnd = true;
        this.onEnd();
      } else {
        this.other.#out.taken(item.length);
        this.onData(item);
      }
    }
    this.#closeWhenDone();
    this.other.#closeWhenDone();
  }

  /** Both directions ended and everything was delivered. */
  #closeWhenDone(): void {
    if (!this.#isClosed && this.#hasSeenEnd && this.#hasSentEnd && this.other.#hasSeenEnd) this.#close(undefined);
  }

  #close(error: Error | undefined): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#error = error;
    const { onClose } = this;
    this.#forget();
    if (!this.#isHeld) this.#world.scheduler.schedule(0, () => this.#inProcess(() => onClose(error)));
  }

  /** Of a process that is gone nothing goes on. */
  #inProcess(call: () => void): void {
    const { localHost } = this;
    this.#world.inProcess(localHost, () => {
      if (this.#world.lifeOf(localHost) === this.#life) call();
    });
  }

  #forget(): void {
    this.onData = this.onDrain = this.onEnd = this.onClose = ignore;
    this.#buffered.length = 0;
    this.#bufferedBytes = 0;
    this.#out.giveUp();
    this.#world.forget(this);
  }
}
