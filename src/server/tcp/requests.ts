import { CairnError } from '../../base/errors.js';
import { type Request, type ResponseFields, errorToWire, wire } from '../../codec/client-protocol.js';
import { MAX_CONTENT_TYPE_BYTES } from '../../lsm/record.js';
import { MAX_USER_KEY_BYTES } from '../../lsm/row-key.js';
import { MAX_TTL_SECONDS, MIN_TTL_SECONDS, PLAIN_PUT } from '../service.js';
import type { BatchOperation, BatchResult, Condition, PutOptions, ReadOptions, StoredVersion } from '../service.js';
import type { TcpLimits } from './limits.js';

/** Checks a value of JSON; null when it is well-formed. */
export type JsonCheck = (bytes: Uint8Array, start: number, length: number) => CairnError | null;

export type PutFields = NonNullable<Request['put']>;
type ConditionFields = NonNullable<PutFields['condition']>;
type BatchFields = NonNullable<Request['batch']>;
type BatchLimits = Pick<TcpLimits, 'maxValueBytes' | 'maxBatchKeys'>;

const NO_BYTES = new Uint8Array(0);
export const LATEST_READ: ReadOptions = { at: 0 };
const PRINTABLE_ASCII = /^[\x20-\x7e]*$/;

/** What is wrong with a request is a value here, not an exception: batches report it key by key. */
export function keyProblem(length: number): CairnError | null {
  if (length >= 1 && length <= MAX_USER_KEY_BYTES) return null;
  return new CairnError('invalid_key', `expected a key of 1 to ${MAX_USER_KEY_BYTES} bytes, found ${length}`);
}

export function valueProblem(length: number, maxValueBytes: number): CairnError | null {
  if (length <= maxValueBytes) return null;
  return new CairnError('too_large', `expected a value of at most ${maxValueBytes} bytes, found ${length}`, {
    extra: { maxValueBytes },
  });
}

export function putProblem(put: PutFields, maxValueBytes: number, checkJson: JsonCheck): CairnError | null {
  const value = put.value ?? NO_BYTES;
  const contentType = put.contentType ?? '';
  if (contentType.length > MAX_CONTENT_TYPE_BYTES || !PRINTABLE_ASCII.test(contentType)) {
    return new CairnError(
      'invalid_request',
      `expected a content type of at most ${MAX_CONTENT_TYPE_BYTES} printable ASCII characters, found ${contentType.length}`,
    );
  }
  return (
    keyProblem(put.key?.length ?? 0) ??
    ttlProblem(put.fractionalTtlSeconds ?? 0) ??
    valueProblem(value.length, maxValueBytes) ??
    (contentType === '' ? checkJson(value, 0, value.length) : null)
  );
}

function ttlProblem(seconds: number): CairnError | null {
  if (seconds === 0 || (seconds >= MIN_TTL_SECONDS && seconds <= MAX_TTL_SECONDS)) return null;
  const expected = `expected fractional_ttl_seconds to be 0 or from ${MIN_TTL_SECONDS} to ${MAX_TTL_SECONDS}`;
  return new CairnError('invalid_request', `${expected}, found ${seconds}`);
}

function ttlOf(put: PutFields): number {
  return put.fractionalTtlSeconds || put.ttlSeconds || 0;
}

/** The error when the consistency is none of this version. */
export function readOptionsOf(fields: {
  readonly at?: number | null;
  readonly consistency?: number | null;
}): ReadOptions | CairnError {
  const at = fields.at ?? 0;
  switch (fields.consistency ?? wire.Consistency.LINEARIZABLE) {
    case wire.Consistency.LINEARIZABLE:
      return at === 0 ? LATEST_READ : { at };
    case wire.Consistency.STALE:
      return { at, consistency: 'stale' };
    default:
      return new CairnError('invalid_request', `expected consistency 0 or 1, found ${fields.consistency}`);
  }
}

export function conditionOf(fields: ConditionFields | null | undefined): Condition | null {
  if (!fields) return null;
  const revisions = fields.revisions ?? [];
  if (revisions.length === 0 && !fields.exists && !fields.absent) return null;
  return {
    ...(revisions.length > 0 ? { revisions } : {}),
    ...(fields.exists ? { exists: true as const } : {}),
    ...(fields.absent ? { absent: true as const } : {}),
  };
}

export function putOptionsOf(put: PutFields): PutOptions {
  const ttlSeconds = ttlOf(put);
  if (!put.contentType && ttlSeconds === 0 && !put.condition) return PLAIN_PUT;
  return { contentType: put.contentType ?? '', ttlSeconds, condition: conditionOf(put.condition) };
}

/** The operations that may be executed, and an answer for each that may not, by position. */
export interface CheckedBatch {
  readonly operations: readonly BatchOperation[];
  readonly refused: ReadonlyMap<number, CairnError>;
}

export function checkBatch(batch: BatchFields, limits: BatchLimits, checkJson: JsonCheck): CheckedBatch {
  const fields = batch.operations ?? [];
  if (fields.length > limits.maxBatchKeys) throw tooManyKeys(fields.length, limits.maxBatchKeys);
  const operations: BatchOperation[] = [];
  const refused = new Map<number, CairnError>();
  for (const [i, operation] of fields.entries()) {
    const problem = batchOperationProblem(operation, limits, checkJson);
    if (problem !== null) refused.set(i, problem);
    else if (operation.put) {
      const { key, value, contentType } = operation.put;
      operations.push({
        kind: 'put',
        key: key!,
        value: value ?? NO_BYTES,
        contentType: contentType ?? '',
        ttlSeconds: ttlOf(operation.put),
      });
    } else operations.push({ kind: 'delete', key: operation.delete!.key! });
  }
  return { operations, refused };
}

function batchOperationProblem(
  operation: NonNullable<BatchFields['operations']>[number],
  limits: BatchLimits,
  checkJson: JsonCheck,
): CairnError | null {
  if (operation.put?.condition || operation.delete?.condition) {
    return new CairnError('invalid_request', 'expected no condition in a batch, found one: use single requests');
  }
  if (operation.put) return putProblem(operation.put, limits.maxValueBytes, checkJson);
  if (operation.delete) return keyProblem(operation.delete.key?.length ?? 0);
  return new CairnError('invalid_request', 'expected put or delete in a batch operation, found neither');
}

export function tooManyKeys(found: number, most: number): CairnError {
  return new CairnError('too_large', `expected at most ${most} keys in one request, found ${found}`, {
    extra: { maxKeys: most },
  });
}

export function batchAnswer(
  checked: CheckedBatch,
  results: readonly BatchResult[],
): NonNullable<ResponseFields['batch']> {
  const total = results.length + checked.refused.size;
  let next = 0;
  const fields = [];
  for (let i = 0; i < total; i++) {
    const refused = checked.refused.get(i);
    const result = refused === undefined ? results[next++]! : { error: refused, revision: 0, deleted: false };
    fields.push({
      ...(result.error === null ? {} : { error: errorToWire(result.error) }),
      revision: result.revision,
      deleted: result.deleted,
    });
  }
  return { results: fields };
}

export function versionFields(version: StoredVersion | null): NonNullable<ResponseFields['get']> {
  // An absent version is an empty message.
  return version === null ? {} : { ...version };
}
