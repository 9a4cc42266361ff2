import { copyBytes } from '../../base/bytes.js';
import { CairnError } from '../../base/errors.js';
import { type ResponseFields, encodeRequestFrame, errorFromWire } from '../../codec/client-protocol.js';
import type { BatchOperation, BatchResult, Service } from '../service.js';
import { RoutedCall, answerError, isPeerRefusal, isRefusal, unknownOutcome, type Refused } from './routed-call.js';
import { batchFields } from './write-fields.js';

/** The results of a batch, in the order of its operations, while its parts are under way. */
export class BatchResults {
  readonly #results: (BatchResult | undefined)[];
  readonly #done: (results: readonly BatchResult[]) => void;
  #missing: number;

  constructor(count: number, done: (results: readonly BatchResult[]) => void) {
    this.#results = Array.from({ length: count });
    this.#missing = count;
    this.#done = done;
  }

  set(position: number, result: BatchResult): void {
    this.#results[position] = result;
    if (--this.#missing === 0) this.#done(this.#results as BatchResult[]);
  }
}

interface Operation {
  readonly position: number;
  readonly operation: BatchOperation;
}

/** What a batch has for one partition. What of it is refused as a whole is tried again; what has a result, has it for good. */
export class RoutedBatchPart extends RoutedCall {
  readonly isRead = false;
  bytes = 0;
  readonly #results: BatchResults;
  #waiting: Operation[] = [];

  constructor(partition: number, deadlineMs: number, results: BatchResults) {
    super(partition, deadlineMs);
    this.#results = results;
  }

  /** Copies key and value. */
  add(position: number, operation: BatchOperation): void {
    const key = copyBytes(operation.key);
    this.bytes += key.length;
    if (operation.kind === 'delete') this.#waiting.push({ position, operation: { kind: 'delete', key } });
    else {
      const value = copyBytes(operation.value);
      this.bytes += value.length;
      this.#waiting.push({ position, operation: { ...operation, key, value } });
    }
  }

  encode(id: number): Uint8Array {
    return encodeRequestFrame({ id, batch: batchFields(this.#operations()) });
  }

  runLocal(local: Service, refused: Refused): void {
    local.batch(this.#operations(), (results) => {
      const refusal = this.#take(results, isRefusal);
      if (refusal !== null) refused(refusal);
    });
  }

  answered(response: ResponseFields): CairnError | null {
    const fields = response.batch?.results;
    if (!fields || fields.length !== this.#waiting.length) {
      const error = response.batch ? unknownOutcome('the leader gave too few results') : answerError(response.error);
      if (isPeerRefusal(error)) return error;
      this.fail(error);
      return null;
    }
    const results = fields.map(({ error, revision, deleted }) => ({
      error: error ? errorFromWire(error) : null,
      revision: revision ?? 0,
      deleted: deleted ?? false,
    }));
    return this.#take(results, isPeerRefusal);
  }

  protected endWith(error: CairnError): void {
    for (const { position } of this.#waiting.splice(0)) {
      this.#results.set(position, { error, revision: 0, deleted: false });
    }
  }

  #operations(): BatchOperation[] {
    return this.#waiting.map(({ operation }) => operation);
  }

  /** Keeps the operations that were refused, and returns why; null when there are none. */
  #take(results: readonly BatchResult[], isRefused: (error: CairnError) => boolean): CairnError | null {
    const taken = this.#waiting;
    const settled: number[] = [];
    let refusal: CairnError | null = null;
    this.#waiting = [];
    taken.forEach((operation, i) => {
      const { error } = results[i]!;
      if (error === null || !isRefused(error)) settled.push(i);
      else {
        refusal = error;
        this.#waiting.push(operation);
      }
    });
    if (refusal === null) this.ended();
    for (const i of settled) this.#results.set(taken[i]!.position, results[i]!);
    return refusal;
  }
}
