import { compareBytes } from '../../base/bytes.js';
import { CairnError } from '../../base/errors.js';
import { MAX_USER_KEY_BYTES } from '../../lsm/row-key.js';
import type { ScanOptions } from '../service.js';
import { decodeCursor } from './cursor-token.js';
import { keyBytes } from './key.js';
import { booleanParameter, instantParameter, isStaleRead, type Query } from './query.js';

export const RANGE_PARAMETERS: ReadonlySet<string> = new Set([
  'startKey',
  'endKey',
  'prefix',
  'limit',
  'cursor',
  'reverse',
  'keysOnly',
  'at',
  'consistency',
]);
const DEFAULT_LIMIT = 100;
const MAX_LIMIT = 10_000;
const EMPTY = new Uint8Array(0);

export interface RangeRequest {
  readonly scan: ScanOptions;
  readonly isStale: boolean;
  readonly limit: number;
  /** For a stream: no limit unless the client named one. */
  readonly hasLimit: boolean;
  /** What a cursor is bound to. */
  readonly parameters: string;
}

/** Reads and checks the parameters of a range. Throws `invalid_request`, `invalid_cursor`. */
export function readRangeQuery(query: Query): RangeRequest {
  const reverse = booleanParameter(query, 'reverse');
  const keysOnly = booleanParameter(query, 'keysOnly');
  const limit = readLimit(query.get('limit'));
  const prefix = boundary(query, 'prefix');
  let startKey = boundary(query, 'startKey');
  // Empty is the same as not given: to the end.
  let endKey = nonEmpty(boundary(query, 'endKey'));
  if (prefix.length > 0) {
    if (compareBytes(startKey, prefix) < 0) startKey = prefix;
    const prefixEnd = successorOfPrefix(prefix);
    if (prefixEnd !== null && (endKey === null || compareBytes(prefixEnd, endKey) < 0)) endKey = prefixEnd;
  }
  const parameters = [...query]
    .filter(([name]) => name !== 'cursor')
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map((pair) => JSON.stringify(pair))
    .join();
  const isStale = isStaleRead(query);
  let at = instantParameter(query);
  const cursor = query.get('cursor');
  if (cursor !== undefined) {
    const position = decodeCursor(cursor, parameters);
    at = position.revision;
    if (reverse) endKey = position.lastKey;
    else startKey = keyAfter(position.lastKey);
  }
  if (endKey !== null && compareBytes(startKey, endKey) > 0) endKey = startKey;
  return {
    scan: { startKey, endKey, reverse, keysOnly, at, ...(isStale ? { consistency: 'stale' } : {}) },
    isStale,
    limit,
    hasLimit: query.has('limit'),
    parameters,
  };
}

function readLimit(text: string | undefined): number {
  if (text === undefined) return DEFAULT_LIMIT;
  const limit = /^\d{1,9}$/.test(text) ? Number(text) : 0;
  if (limit < 1 || limit > MAX_LIMIT) {
    throw new CairnError('invalid_request', `limit: expected an integer from 1 to ${MAX_LIMIT}, found "${text}"`);
  }
  return limit;
}

function boundary(query: Query, name: string): Uint8Array {
  const text = query.get(name);
  if (text === undefined) return EMPTY;
  const bytes = keyBytes(text);
  if (bytes.length > MAX_USER_KEY_BYTES) {
    throw new CairnError(
      'invalid_request',
      `${name}: expected at most ${MAX_USER_KEY_BYTES} bytes, found ${bytes.length}`,
    );
  }
  return bytes;
}

function nonEmpty(bytes: Uint8Array): Uint8Array | null {
  return bytes.length === 0 ? null : bytes;
}

/** The least key above all keys with the prefix, or null when there is none. */
function successorOfPrefix(prefix: Uint8Array): Uint8Array | null {
  let length = prefix.length;
  while (length > 0 && prefix[length - 1] === 0xff) length--;
  if (length === 0) return null;
  const successor = prefix.slice(0, length);
  successor[length - 1]!++;
  return successor;
}

/** The least possible key above `key`. */
function keyAfter(key: Uint8Array): Uint8Array {
  if (key.length < MAX_USER_KEY_BYTES) {
    const after = new Uint8Array(key.length + 1);
    after.set(key);
    return after;
  }
  return successorOfPrefix(key) ?? key;
}
