import type { Call, Operation, Outcome } from '../checkers/operation.js';
import type { Scan } from '../checkers/scan.js';
import type { StaleRead } from '../checkers/stale-reads.js';
import type { ScanOutcome, ScanRange, StaleOutcome } from './cluster-client.js';

interface Started<Subject> {
  readonly id: number;
  readonly client: number;
  readonly subject: Subject;
  readonly invoked: number;
}

export type StartedOperation = Started<{ readonly key: string; readonly call: Call }>;
export type StartedScan = Started<ScanRange>;
export type StartedStaleRead = Started<string>;

/** What clients asked for and were told, in the form that the checkers take. */
export class ClientHistory {
  readonly scans: Scan[] = [];
  readonly staleReads: StaleRead[] = [];
  /** Answers that were neither 'failed' nor 'unknown'. */
  answered = 0;
  readonly #nowMs: () => number;
  readonly #finished: Operation[] = [];
  readonly #open = new Map<number, StartedOperation>();
  #lastMicros = 0;
  #nextId = 1;

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  /** All operations. Those that are still open are unknown: what they asked for may happen yet. */
  get operations(): Operation[] {
    return [
      ...this.#finished,
      ...[...this.#open.values()].map((started) => operation(started, { kind: 'unknown' }, Infinity)),
    ];
  }

  /** The revisions of values that somebody saw. */
  get shown(): Map<string, number> {
    const shown = new Map<string, number>();
    for (const { outcome } of this.#finished) if (outcome.kind === 'found') shown.set(outcome.value, outcome.revision);
    for (const { items } of this.scans) for (const { value, revision } of items) shown.set(value, revision);
    for (const { found } of this.staleReads) if (found !== null) shown.set(found.value, found.revision);
    return shown;
  }

  get keys(): string[] {
    return [...new Set(this.operations.map(({ key }) => key))];
  }

  begin(client: number, key: string, call: Call): StartedOperation {
    const started = { id: this.#nextId++, client, subject: { key, call }, invoked: this.#point() };
    this.#open.set(started.id, started);
    return started;
  }

  finish(started: StartedOperation, outcome: Outcome): void {
    this.#open.delete(started.id);
    const isOpen = outcome.kind === 'unknown';
    if (!isOpen && outcome.kind !== 'failed') this.answered++;
    this.#finished.push(operation(started, outcome, isOpen ? Infinity : this.#point()));
  }

  beginScan(client: number, range: ScanRange): StartedScan {
    return { id: this.#nextId++, client, subject: range, invoked: this.#point() };
  }

  finishScan({ id, client, subject, invoked }: StartedScan, outcome: ScanOutcome): void {
    if (outcome.kind === 'failed') return;
    this.answered++;
    const { at, items, coveredTo: endKey } = outcome;
    const isLatest = subject.at === null;
    const { startKey } = subject;
    this.scans.push({ id, client, startKey, endKey, at, isLatest, items, invoked, returned: this.#point() });
  }

  beginStaleRead(client: number, key: string): StartedStaleRead {
    return { id: this.#nextId++, client, subject: key, invoked: this.#point() };
  }

  finishStaleRead({ id, client, subject: key, invoked }: StartedStaleRead, outcome: StaleOutcome): void {
    if (outcome.kind === 'failed') return;
    this.answered++;
    const { stalenessMs } = outcome;
    const found = outcome.kind === 'absent' ? null : { value: outcome.value, revision: outcome.revision };
    this.staleReads.push({ id, client, key, found, stalenessMs, invoked, returned: this.#point() });
  }

  /** Microseconds that never repeat: what began after something had ended is later, also within one event. */
  #point(): number {
    this.#lastMicros = Math.max(Math.round(this.#nowMs() * 1000), this.#lastMicros + 1);
    return this.#lastMicros;
  }
}

function operation({ id, client, subject, invoked }: StartedOperation, outcome: Outcome, returned: number): Operation {
  return { id, client, ...subject, outcome, invoked, returned };
}
