import type { Scheduler } from '../ports/scheduler.js';

type HandleRequest = (body: Uint8Array) => Promise<Uint8Array>;

/** Carries requests between simulated nodes and brings the answers back: each once, late or never. */
export class RequestLinks {
  readonly #scheduler: Scheduler;
  /** How long something takes from one node to another; null when it is lost. */
  readonly #delayMs: (from: string, to: string) => number | null;
  readonly #handlers = new Map<string, HandleRequest>();

  constructor(scheduler: Scheduler, delayMs: (from: string, to: string) => number | null) {
    this.#scheduler = scheduler;
    this.#delayMs = delayMs;
  }

  attach(node: string, handle: HandleRequest): void {
    this.#handlers.set(node, handle);
  }

  detach(node: string): void {
    this.#handlers.delete(node);
  }

  /** `arrived` is called with the answer; never when something was lost. */
  request(from: string, to: string, body: Uint8Array, arrived: (answer: Uint8Array) => void): void {
    this.#travel(from, to, () => {
      const handle = this.#handlers.get(to);
      handle?.(body.slice()).then(
        (answer) => this.#travel(to, from, () => arrived(answer.slice())),
        (error: unknown) => this.#scheduler.fail(error),
      );
    });
  }

  #travel(from: string, to: string, arrive: () => void): void {
    const delayMs = this.#delayMs(from, to);
    if (delayMs !== null) this.#scheduler.schedule(delayMs, arrive);
  }
}
