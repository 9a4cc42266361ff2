/**
 * A process of its own between the nodes: takes connections to a node's peer port and passes the bytes on, late or not at
 * all. Who calls is in the first frame, the hello of the peer protocol.
 */
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { PeerFrameSplitter } from '../../src/codec/peer-frame.js';
import { decodePeerFrame, MAX_PEER_HELLO_BYTES } from '../../src/codec/peer-protocol.js';
import type { LinkRule, RelayOpened, RelayOrder, RelayTarget } from './relay-messages.js';

/** Of TCP on Linux: the least time until it sends again. A packet that is lost again costs twice that. */
const RETRANSMISSION_MS = 200;
const MOST_RETRANSMISSIONS = 5;
/** More bytes under way hold the sender up, as a window does. */
const WINDOW_BYTES = 1 << 20;

let rules: readonly LinkRule[] = [];
const flows = new Set<Flow>();
const sockets = new Set<Socket>();

interface Chunk {
  /** Null: the end of the connection. */
  readonly bytes: Buffer | null;
  readonly dueMs: number;
}

/** Bytes from one node to another. */
class Flow {
  from = '';
  to = '';
  readonly #source: Socket;
  readonly #sink: Socket;
  readonly #chunks: Chunk[] = [];
  #heldBytes = 0;
  #lastDueMs = 0;
  #timer: NodeJS.Timeout | null = null;

  constructor(source: Socket, sink: Socket) {
    this.#source = source;
    this.#sink = sink;
    source.on('data', (bytes) => this.#add(bytes));
    source.on('close', () => this.#add(null));
    source.on('error', () => undefined);
    sink.on('drain', () => this.pump());
    flows.add(this);
  }

  get #rule(): LinkRule | undefined {
    return rules.find(({ from, to }) => from === this.from && to === this.to);
  }

  #add(bytes: Buffer | null): void {
    const { delayMs = 0, stallShare = 0 } = this.#rule ?? {};
    let late = delayMs;
    for (let again = 0; again < MOST_RETRANSMISSIONS && Math.random() < stallShare; again++) {
      late += RETRANSMISSION_MS * 2 ** again;
    }
    // In order: what comes behind a lost packet waits for it.
    this.#lastDueMs = Math.max(this.#lastDueMs, performance.now() + late);
    this.#chunks.push({ bytes, dueMs: this.#lastDueMs });
    this.#heldBytes += bytes?.length ?? 0;
    if (this.#heldBytes > WINDOW_BYTES) this.#source.pause();
    this.pump();
  }

  pump(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    while (this.#chunks.length > 0 && this.#rule?.cut !== true && !this.#sink.writableNeedDrain) {
      const { bytes, dueMs } = this.#chunks[0]!;
      const waitMs = dueMs - performance.now();
      if (waitMs > 0) {
        this.#timer = setTimeout(() => this.pump(), waitMs);
        return;
      }
      this.#chunks.shift();
      if (bytes === null) {
        flows.delete(this);
        this.#sink.destroy();
        return;
      }
      this.#sink.write(bytes);
      this.#heldBytes -= bytes.length;
      if (this.#heldBytes <= WINDOW_BYTES) this.#source.resume();
    }
  }
}

function relay(caller: Socket, node: string, { host, port }: RelayTarget): void {
  const splitter = new PeerFrameSplitter(MAX_PEER_HELLO_BYTES);
  const first: Buffer[] = [];
  keep(caller);
  const look = (bytes: Buffer): void => {
    first.push(bytes);
    try {
      splitter.push(bytes);
      if (!splitter.next()) return;
      const { hello } = decodePeerFrame(splitter.bytes, splitter.start, splitter.end);
      caller.pause();
      caller.off('data', look);
      start(hello?.nodeId ?? '');
    } catch {
      caller.destroy();
    }
  };
  const start = (name: string): void => {
    const target = keep(connect({ host, port, noDelay: true }));
    const forth = new Flow(caller, target);
    const back = new Flow(target, caller);
    [forth.from, forth.to, back.from, back.to] = [name, node, node, name];
    caller.unshift(Buffer.concat(first));
    caller.resume();
  };
  caller.on('data', look);
  caller.on('error', () => undefined);
}

function keep(socket: Socket): Socket {
  sockets.add(socket);
  socket.setNoDelay(true);
  socket.once('close', () => sockets.delete(socket));
  return socket;
}

process.on('message', (order: RelayOrder) => {
  switch (order.kind) {
    case 'open': {
      const server = createServer((caller) => relay(caller, order.node, order.target));
      server.listen(0, order.host, () => {
        const opened: RelayOpened = { node: order.node, port: (server.address() as AddressInfo).port };
        process.send!(opened);
      });
      return;
    }
    case 'rules':
      rules = order.rules;
      for (const flow of flows) flow.pump();
      return;
    case 'drop':
      for (const socket of sockets) socket.destroy();
  }
});
process.on('disconnect', () => process.exit());
