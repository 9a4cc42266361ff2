import { copyBytes } from '../../base/bytes.js';
import type { CairnError } from '../../base/errors.js';
import { type ResponseFields, encodeRequestFrame } from '../../codec/client-protocol.js';
import type { ReadOptions, Service, StoredVersion } from '../service.js';
import { RoutedCall, answerError, isPeerRefusal, isRefusal, type Refused } from './routed-call.js';
import { getFields } from './write-fields.js';

/** A point read. */
export class RoutedGet extends RoutedCall {
  readonly isRead = true;
  override readonly isForReplicas = true;
  override readonly needsLeader: boolean;
  readonly bytes: number;
  readonly #key: Uint8Array;
  readonly #options: ReadOptions;
  readonly #resolve: (version: StoredVersion | null) => void;
  readonly #reject: (error: unknown) => void;

  /** Copies the key. */
  constructor(
    partition: number,
    deadlineMs: number,
    key: Uint8Array,
    options: ReadOptions,
    resolve: (version: StoredVersion | null) => void,
    reject: (error: unknown) => void,
  ) {
    super(partition, deadlineMs);
    this.#key = copyBytes(key);
    this.#options = options;
    this.#resolve = resolve;
    this.#reject = reject;
    this.bytes = key.length;
    this.needsLeader = options.consistency !== 'stale';
  }

  override get isWanted(): boolean {
    return this.#options.caller?.isOpen !== false;
  }

  encode(id: number): Uint8Array {
    return encodeRequestFrame({ id, get: getFields(this.#key, this.#options) });
  }

  runLocal(local: Service, refused: Refused): void {
    local.get(this.#key, this.#options).then(
      (version) => {
        if (this.ended()) this.#resolve(version);
      },
      (error: CairnError) => {
        if (isRefusal(error)) refused(error);
        else this.fail(error);
      },
    );
  }

  answered({ get: answer, error: fields }: ResponseFields): CairnError | null {
    if (!answer) {
      const error = answerError(fields);
      // A read whose answer was lost on the way to the leader's quorum may be asked again as well.
      if (isPeerRefusal(error) || error.code === 'deadline_exceeded') return error;
      this.fail(error);
      return null;
    }
    if (!this.ended()) return null;
    const { revision, value, expiresAtMs, contentType, stalenessMs } = answer;
    this.#options.onStaleness?.(stalenessMs ?? 0);
    if (!revision) this.#resolve(null);
    else {
      this.#resolve({
        value: copyBytes(value ?? new Uint8Array(0)),
        revision,
        expiresAtMs: expiresAtMs ?? 0,
        contentType: contentType ?? '',
      });
    }
    return null;
  }

  protected endWith(error: CairnError): void {
    this.#reject(error);
  }
}
