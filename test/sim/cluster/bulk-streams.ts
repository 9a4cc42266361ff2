import type { Prng } from '../../../src/base/prng.js';
import type { BulkSink, BulkSource } from '../../../src/cluster/snapshot-streams.js';
import type { Scheduler } from '../ports/scheduler.js';

export type BulkReceive = (from: string, header: Uint8Array, source: BulkSource) => void;

const LONGEST_DELAY_MS = 5;
const STALL_MS = 1000;

interface Stream {
  readonly from: string;
  readonly to: string;
  readonly fail: (why: string) => void;
}

/** Streams of bytes between simulated nodes, for snapshots: in order, broken by a cut or by the end of either node. */
export class BulkStreams {
  readonly #scheduler: Scheduler;
  readonly #prng: Prng;
  readonly #isCut: (from: string, to: string) => boolean;
  readonly #receivers = new Map<string, BulkReceive>();
  readonly #streams = new Set<Stream>();
  opened = 0;

  constructor(scheduler: Scheduler, prng: Prng, isCut: (from: string, to: string) => boolean) {
    this.#scheduler = scheduler;
    this.#prng = prng.fork();
    this.#isCut = isCut;
  }

  attach(node: string, receive: BulkReceive): void {
    this.#receivers.set(node, receive);
  }

  detach(node: string): void {
    this.#receivers.delete(node);
    for (const stream of this.#streams) if (stream.from === node || stream.to === node) stream.fail(`${node} is gone`);
  }

  async open(from: string, to: string, header: Uint8Array): Promise<BulkSink> {
    await this.#delay();
    const receive = this.#receivers.get(to);
    if (receive === undefined || this.#isCut(from, to)) throw new Error(`${to} is not reached`);
    this.opened++;
    const arrived: (Uint8Array | null)[] = [];
    let failure: Error | null = null;
    let wake = (): void => {};
    let ended: { resolve: (answer: Uint8Array) => void; reject: (error: Error) => void } | null = null;
    let answer: Uint8Array | null = null;
    const stream: Stream = {
      from,
      to,
      fail: (why) => {
        failure ??= new Error(`stream from ${from} to ${to}: ${why}`);
        this.#streams.delete(stream);
        wake();
        ended?.reject(failure);
      },
    };
    this.#streams.add(stream);
    const arrive = async (chunk: Uint8Array | null): Promise<void> => {
      await this.#delay();
      if (this.#isCut(from, to)) {
        await this.#scheduler.sleep(STALL_MS);
        if (this.#isCut(from, to)) stream.fail('stalled');
      }
      if (failure !== null) throw failure;
      arrived.push(chunk);
      wake();
    };
    const source: BulkSource = {
      next: async () => {
        while (arrived.length === 0 && failure === null) await new Promise<void>((resolve) => (wake = resolve));
        if (arrived.length === 0 && failure !== null) throw failure;
        return arrived.shift() ?? null;
      },
      finish: (bytes) => {
        answer = bytes;
        this.#streams.delete(stream);
        ended?.resolve(bytes);
      },
      refuse: (reason) => stream.fail(reason),
    };
    receive(from, header.slice(), source);
    return {
      write: async (chunk) => {
        const copy = chunk.slice();
        const cut = this.#prng.below(copy.length + 1);
        for (const piece of [copy.subarray(0, cut), copy.subarray(cut)]) if (piece.length > 0) await arrive(piece);
      },
      end: async () => {
        await arrive(null);
        if (answer !== null) return answer;
        return new Promise<Uint8Array>((resolve, reject) => (ended = { resolve, reject }));
      },
      abort: (reason) => stream.fail(reason),
    };
  }

  #delay(): Promise<void> {
    return this.#scheduler.sleep(this.#prng.unit() * LONGEST_DELAY_MS);
  }
}
