import { CairnError } from '../../base/errors.js';
import type { HotRequestReader } from '../../codec/client-hot-codec.js';
import type { Request, ResponseFields } from '../../codec/client-protocol.js';
import type { Caller, MultiGetResult, ReadOptions, Service, StoredVersion, WriteDone } from '../service.js';
import { PLAIN_PUT } from '../service.js';
import type { TcpLimits } from './limits.js';
import {
  type CheckedBatch,
  type JsonCheck,
  batchAnswer,
  checkBatch,
  conditionOf,
  keyProblem,
  putOptionsOf,
  putProblem,
  readOptionsOf,
  tooManyKeys,
  valueProblem,
  versionFields,
} from './requests.js';

/** Where the answers go: a client's connection, or the envelope in which another node sent the requests on. */
export interface AnswerSink extends Caller {
  /** The service has taken a request; `ended` follows, then its answer. */
  began(kind: CallKind): void;
  ended(kind: CallKind): void;
  answer(response: ResponseFields): void;
  answerPut(id: number, revision: number): void;
  answerError(id: number, error: CairnError): void;
  /** An error that is none of the expected ones. */
  unexpected(error: unknown): CairnError;
}

/** Reads that wait may each hold a whole value. */
export type CallKind = 'write' | 'read';

export type UnaryService = Pick<Service, 'put' | 'delete' | 'batch' | 'get' | 'multiGet'>;

export interface UnaryRequestsOptions {
  readonly service: UnaryService;
  readonly limits: Pick<TcpLimits, 'maxValueBytes' | 'maxBatchKeys' | 'maxFrameBytes'>;
  readonly checkJson: JsonCheck;
}

/** A multi-get is read in parts of this many keys, so that the answer's limit is seen before all values are in memory. */
const MULTI_GET_PART_KEYS = 64;
const NO_KEY = new Uint8Array(0);

/** Requests with one answer: checks them, calls the service, and hands the answer to whoever asked. */
export class UnaryRequests {
  readonly #service: UnaryService;
  readonly #limits: UnaryRequestsOptions['limits'];
  readonly #checkJson: JsonCheck;
  readonly #idlePuts: PutCall[] = [];

  constructor(options: UnaryRequestsOptions) {
    this.#service = options.service;
    this.#limits = options.limits;
    this.#checkJson = options.checkJson;
  }

  /** The put that the reader has just found in `bytes`. */
  plainPut(sink: AnswerSink, bytes: Uint8Array, reader: HotRequestReader): void {
    const { id, keyStart, keyLength, valueStart, valueLength } = reader;
    const problem =
      keyProblem(keyLength) ??
      valueProblem(valueLength, this.#limits.maxValueBytes) ??
      this.#checkJson(bytes, valueStart, valueLength);
    if (problem !== null) {
      sink.answerError(id, problem);
      return;
    }
    const value = bytes.subarray(valueStart, valueStart + valueLength);
    this.#service.put(bytes, keyStart, keyLength, value, PLAIN_PUT, this.#putCall(sink, id).done);
  }

  put(sink: AnswerSink, id: number, put: NonNullable<Request['put']>): void {
    const problem = putProblem(put, this.#limits.maxValueBytes, this.#checkJson);
    if (problem !== null) {
      sink.answerError(id, problem);
      return;
    }
    const key = put.key!;
    this.#service.put(key, 0, key.length, put.value ?? NO_KEY, putOptionsOf(put), this.#putCall(sink, id).done);
  }

  #putCall(sink: AnswerSink, id: number): PutCall {
    const call = this.#idlePuts.pop() ?? new PutCall(this.#idlePuts);
    call.sink = sink;
    call.id = id;
    sink.began('write');
    return call;
  }

  delete(sink: AnswerSink, id: number, fields: NonNullable<Request['delete']>): void {
    const key = fields.key ?? NO_KEY;
    const problem = keyProblem(key.length);
    if (problem !== null) {
      sink.answerError(id, problem);
      return;
    }
    sink.began('write');
    this.#service.delete(key, conditionOf(fields.condition), (error, revision, deleted) => {
      sink.ended('write');
      if (error !== null) sink.answerError(id, error);
      else sink.answer({ id, delete: { revision, deleted } });
    });
  }

  batch(sink: AnswerSink, id: number, fields: NonNullable<Request['batch']>): void {
    let checked: CheckedBatch;
    try {
      checked = checkBatch(fields, this.#limits, this.#checkJson);
    } catch (error) {
      if (!(error instanceof CairnError)) throw error;
      sink.answerError(id, error);
      return;
    }
    if (checked.operations.length === 0) {
      sink.answer({ id, batch: batchAnswer(checked, []) });
      return;
    }
    sink.began('write');
    this.#service.batch(checked.operations, (results) => {
      sink.ended('write');
      sink.answer({ id, batch: batchAnswer(checked, results) });
    });
  }

  /** A get that may wait. */
  get(sink: AnswerSink, id: number, key: Uint8Array, options: ReadOptions): void {
    const problem = keyProblem(key.length);
    if (problem !== null) {
      sink.answerError(id, problem);
      return;
    }
    if (options.consistency === 'stale') {
      let stalenessMs = 0;
      const onStaleness = (ms: number): void => void (stalenessMs = ms);
      this.#waitFor(sink, id, this.#service.get(key, { ...options, caller: sink, onStaleness }), (version) =>
        sink.answer({ id, get: { ...versionFields(version), stalenessMs } }),
      );
      return;
    }
    this.#waitFor(sink, id, this.#service.get(key, { ...options, caller: sink }), (version) =>
      sink.answer({ id, get: versionFields(version) }),
    );
  }

  multiGet(sink: AnswerSink, id: number, fields: NonNullable<Request['multiGet']>): void {
    const keys = fields.keys ?? [];
    const bad = keys.find((key) => keyProblem(key.length) !== null);
    const { maxBatchKeys } = this.#limits;
    const options = readOptionsOf(fields);
    if (options instanceof CairnError || keys.length > maxBatchKeys || bad !== undefined) {
      const badKey = bad === undefined ? null : keyProblem(bad.length);
      sink.answerError(
        id,
        options instanceof CairnError ? options : (badKey ?? tooManyKeys(keys.length, maxBatchKeys)),
      );
      return;
    }
    this.#waitFor(sink, id, this.#readMany(keys, options), ({ revision, versions, stalenessMs }) =>
      sink.answer({
        id,
        multiGet: { revision, versions: versions.map(versionFields), stalenessMs: stalenessMs ?? 0 },
      }),
    );
  }

  async #readMany(keys: readonly Uint8Array[], options: ReadOptions): Promise<MultiGetResult> {
    const { maxFrameBytes } = this.#limits;
    let revision = options.at;
    let stalenessMs = 0;
    let valueBytes = 0;
    const versions: (StoredVersion | null)[] = [];
    do {
      const part = keys.slice(versions.length, versions.length + MULTI_GET_PART_KEYS);
      const result = await this.#service.multiGet(part, { ...options, at: revision });
      // The first part fixes the instant, so it alone knows how old that is.
      if (versions.length === 0) stalenessMs = result.stalenessMs ?? 0;
      revision = result.revision;
      for (const version of result.versions) valueBytes += version?.value.length ?? 0;
      if (valueBytes > maxFrameBytes) throw answerTooLarge(maxFrameBytes);
      versions.push(...result.versions);
    } while (versions.length < keys.length);
    return { revision, versions, stalenessMs };
  }

  /** Answers when the read settles. */
  #waitFor<T>(sink: AnswerSink, id: number, read: Promise<T>, answer: (result: T) => void): void {
    sink.began('read');
    void read.then(
      (result) => {
        sink.ended('read');
        answer(result);
      },
      (error: unknown) => {
        sink.ended('read');
        sink.answerError(id, error instanceof CairnError ? error : sink.unexpected(error));
      },
    );
  }
}

/** One put under way. They are used again, so that a put makes no closure. */
class PutCall {
  id = 0;
  sink: AnswerSink | null = null;
  readonly done: WriteDone;

  constructor(idle: PutCall[]) {
    this.done = (error, revision) => {
      const { id } = this;
      const sink = this.sink!;
      this.sink = null;
      idle.push(this);
      sink.ended('write');
      if (error !== null) sink.answerError(id, error);
      else sink.answerPut(id, revision);
    };
  }
}

export function answerTooLarge(maxFrameBytes: number): CairnError {
  const problem = `expected an answer of at most ${maxFrameBytes} bytes, found a larger one: ask for fewer keys at a time`;
  return new CairnError('too_large', problem, { extra: { maxFrameBytes } });
}
