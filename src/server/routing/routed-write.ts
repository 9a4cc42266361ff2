import { copyBytes } from '../../base/bytes.js';
import type { CairnError } from '../../base/errors.js';
import { requestFrameBytes, writePutFrame } from '../../codec/client-hot-codec.js';
import { type ResponseFields, encodeRequestFrame } from '../../codec/client-protocol.js';
import type { Condition, DeleteDone, PutOptions, Service, WriteDone } from '../service.js';
import { RoutedCall, answerError, isPeerRefusal, isRefusal, type Refused } from './routed-call.js';
import { conditionField, putFields } from './write-fields.js';

export class RoutedPut extends RoutedCall {
  readonly isRead = false;
  readonly bytes: number;
  readonly #key: Uint8Array;
  readonly #value: Uint8Array;
  readonly #options: PutOptions;
  readonly #done: WriteDone;

  /** Copies key and value. */
  constructor(
    partition: number,
    deadlineMs: number,
    key: Uint8Array,
    start: number,
    length: number,
    value: Uint8Array,
    options: PutOptions,
    done: WriteDone,
  ) {
    super(partition, deadlineMs);
    this.#key = copyBytes(key, start, length);
    this.#value = copyBytes(value);
    this.#options = options;
    this.#done = done;
    this.bytes = length + value.length;
  }

  encode(id: number): Uint8Array {
    const { contentType, ttlSeconds, condition } = this.#options;
    if (contentType !== '' || ttlSeconds !== 0 || condition !== null) {
      return encodeRequestFrame({ id, put: putFields(this.#key, this.#value, this.#options, condition) });
    }
    const frame = new Uint8Array(requestFrameBytes(id, this.#key.length, this.#value.length));
    writePutFrame(frame, 0, id, this.#key, this.#value);
    return frame;
  }

  runLocal(local: Service, refused: Refused): void {
    const key = this.#key;
    local.put(key, 0, key.length, this.#value, this.#options, (error, revision) => {
      if (error !== null && isRefusal(error)) refused(error);
      else this.#end(error, revision);
    });
  }

  answered(response: ResponseFields): CairnError | null {
    const error = response.put ? null : answerError(response.error);
    if (error !== null && isPeerRefusal(error)) return error;
    this.#end(error, response.put?.revision ?? 0);
    return null;
  }

  protected endWith(error: CairnError): void {
    this.#done(error, 0);
  }

  #end(error: CairnError | null, revision: number): void {
    if (this.ended()) this.#done(error, revision);
  }
}

export class RoutedDelete extends RoutedCall {
  readonly isRead = false;
  readonly bytes: number;
  readonly #key: Uint8Array;
  readonly #condition: Condition | null;
  readonly #done: DeleteDone;

  /** Copies the key. */
  constructor(partition: number, deadlineMs: number, key: Uint8Array, condition: Condition | null, done: DeleteDone) {
    super(partition, deadlineMs);
    this.#key = copyBytes(key);
    this.#condition = condition;
    this.#done = done;
    this.bytes = key.length;
  }

  encode(id: number): Uint8Array {
    return encodeRequestFrame({ id, delete: { key: this.#key, ...conditionField(this.#condition) } });
  }

  runLocal(local: Service, refused: Refused): void {
    local.delete(this.#key, this.#condition, (error, revision, deleted) => {
      if (error !== null && isRefusal(error)) refused(error);
      else this.#end(error, revision, deleted);
    });
  }

  answered({ delete: answer, error: fields }: ResponseFields): CairnError | null {
    const error = answer ? null : answerError(fields);
    if (error !== null && isPeerRefusal(error)) return error;
    this.#end(error, answer?.revision ?? 0, answer?.deleted ?? false);
    return null;
  }

  protected endWith(error: CairnError): void {
    this.#done(error, 0, false);
  }

  #end(error: CairnError | null, revision: number, deleted: boolean): void {
    if (this.ended()) this.#done(error, revision, deleted);
  }
}
