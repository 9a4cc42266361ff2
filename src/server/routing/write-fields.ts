import { type RequestFields, wire } from '../../codec/client-protocol.js';
import type { BatchOperation, Condition, ReadOptions } from '../service.js';

type PutFields = NonNullable<RequestFields['put']>;
type ConditionFields = NonNullable<PutFields['condition']>;
type BatchFields = NonNullable<RequestFields['batch']>;

/** The service's terms in those of proto/client.proto. */
export function putFields(
  key: Uint8Array,
  value: Uint8Array,
  options: { readonly contentType: string; readonly ttlSeconds: number },
  condition: Condition | null,
): PutFields {
  const { contentType, ttlSeconds } = options;
  return { key, value, contentType, fractionalTtlSeconds: ttlSeconds, ...conditionField(condition) };
}

export function conditionField(condition: Condition | null): { condition?: ConditionFields } {
  if (condition === null) return {};
  const { revisions = [], exists = false, absent = false } = condition;
  return { condition: { revisions: [...revisions], exists, absent } };
}

export function batchFields(operations: readonly BatchOperation[]): BatchFields {
  return {
    operations: operations.map((operation) =>
      operation.kind === 'put'
        ? { put: putFields(operation.key, operation.value, operation, null) }
        : { delete: { key: operation.key } },
    ),
  };
}

export function getFields(key: Uint8Array, { at, consistency }: ReadOptions): NonNullable<RequestFields['get']> {
  return { key, at, consistency: consistency === 'stale' ? wire.Consistency.STALE : wire.Consistency.LINEARIZABLE };
}
