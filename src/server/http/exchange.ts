import { corsHeaders, writeAnswer, writeProblem, type AnswerTarget } from './answer.js';
import type { HttpContext } from './context.js';
import type { HttpRequest, HttpResponse } from './uws.js';

/**
 * One request whose answer comes later than its handler returns. It alone knows whether the response may still be touched:
 * after an abort uWebSockets ends the process if anybody does.
 */
export class Exchange implements AnswerTarget {
  readonly context: HttpContext;
  readonly response: HttpResponse;
  readonly route: number;
  readonly startedMs: number;
  readonly headOnly: boolean;
  readonly cors: string;
  /** For the headers of the answer; -1 for none. */
  partition = -1;
  #isOpen = true;
  #onAborted: (() => void) | null = null;

  constructor(context: HttpContext, response: HttpResponse, request: HttpRequest, route: number, headOnly: boolean) {
    this.context = context;
    this.response = response;
    this.route = route;
    this.headOnly = headOnly;
    this.startedMs = context.clock.monotonicMs();
    this.cors = context.corsOrigins === null ? '' : corsHeaders(context, request);
    context.begin();
    response.onAborted(() => this.#abort());
  }

  /** False once answered or aborted: the response must not be touched. */
  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** Called when the client goes away before the answer is complete. */
  set onAborted(callback: () => void) {
    this.#onAborted = callback;
  }

  /** Sends the answer unless the client has gone. `body` is read before this returns. */
  answer(status: number, headers: string, body: string | Uint8Array, close = false): void {
    if (!this.#isOpen) return;
    this.response.cork(() => {
      this.#finish();
      writeAnswer(this, status, headers, body, close);
    });
  }

  /** Sends the answer that `write` writes, unless the client has gone. */
  answerWith(write: (target: AnswerTarget) => void): void {
    if (!this.#isOpen) return;
    this.response.cork(() => {
      this.#finish();
      try {
        write(this);
      } catch (error) {
        writeProblem(this, error, this.partition, false);
      }
    });
  }

  fail(error: unknown, close = false): void {
    if (!this.#isOpen) return;
    this.response.cork(() => {
      this.#finish();
      writeProblem(this, error, this.partition, close);
    });
  }

  /** For a streamed answer, whose last bytes the caller has just written. */
  streamed(status: number): void {
    if (!this.#isOpen) return;
    this.#finish();
    this.context.metrics.answered(this.route, status, this.context.clock.monotonicMs() - this.startedMs);
  }

  #finish(): void {
    this.#isOpen = false;
    this.#onAborted = null;
    this.context.end();
  }

  #abort(): void {
    if (!this.#isOpen) return;
    const callback = this.#onAborted;
    this.#finish();
    this.context.metrics.aborted();
    callback?.();
  }
}
