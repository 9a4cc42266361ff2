import { CairnError } from '../../base/errors.js';
import type { Revision } from '../../lsm/row-key.js';
import { revisionAtMs } from '../../replica/revision-clock.js';
import { decodePercent } from './key.js';

export type Query = ReadonlyMap<string, string>;
const EMPTY_QUERY: Query = new Map();

/** Parses a query; + is a space, as in forms. Throws `invalid_request` on a name that is not known or comes twice. */
export function parseQuery(text: string | undefined, known: ReadonlySet<string>): Query {
  if (text === undefined || text === '') return EMPTY_QUERY;
  const query = new Map<string, string>();
  for (const part of text.split('&')) {
    if (part === '') continue;
    const equals = part.indexOf('=');
    const name = decode(equals === -1 ? part : part.slice(0, equals), 'a parameter name');
    if (!known.has(name)) {
      throw new CairnError('invalid_request', `expected parameters ${[...known].join(', ')}; found "${name}"`);
    }
    if (query.has(name)) throw new CairnError('invalid_request', `expected parameter "${name}" once, found it twice`);
    query.set(name, equals === -1 ? '' : decode(part.slice(equals + 1), `parameter "${name}"`));
  }
  return query;
}

function decode(text: string, what: string): string {
  return decodePercent(text.includes('+') ? text.replaceAll('+', ' ') : text, what, 'invalid_request');
}

/** True or absent, false, 1 and 0 and an empty value as true (`?reverse`). */
export function booleanParameter(query: Query, name: string): boolean {
  const value = query.get(name);
  if (value === undefined || value === 'false' || value === '0') return false;
  if (value === 'true' || value === '1' || value === '') return true;
  throw new CairnError('invalid_request', `${name}: expected true or false, found "${value}"`);
}

/** `?consistency=`: true when the reader accepts an answer that lags. */
export function isStaleRead(query: Query): boolean {
  const value = query.get('consistency');
  if (value === undefined || value === 'linearizable') return false;
  if (value === 'stale') return true;
  throw new CairnError('invalid_request', `consistency: expected linearizable or stale, found "${value}"`);
}

/** The header of a stale read's answer, with its line break; '' when the read was a linearizable one. */
export function stalenessHeader(isStale: boolean, stalenessMs: number | undefined): string {
  // A node that can't lag says nothing about it.
  return isStale ? `\r\nX-Cairn-Staleness-Ms: ${stalenessMs ?? 0}` : '';
}

const RFC_3339 = /^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)$/;

/** `?at=`: a revision in digits or an RFC 3339 time; 0 when it is not there. */
export function instantParameter(query: Query): Revision {
  const value = query.get('at');
  if (value === undefined) return 0;
  if (/^\d+$/.test(value)) {
    const revision = Number(value);
    if (!Number.isSafeInteger(revision)) {
      throw new CairnError('invalid_request', `at: revision ${value} is in the future`);
    }
    // Nothing was ever written at revision 0, which means "now" further down.
    return Math.max(1, revision);
  }
  // A plus sign that the client did not encode has become a space.
  const time = value.replace(' ', '+');
  const milliseconds = RFC_3339.test(time) ? Date.parse(time) : Number.NaN;
  if (Number.isNaN(milliseconds)) {
    throw new CairnError('invalid_request', `at: expected a revision or an RFC 3339 time, found "${value}"`);
  }
  return Math.max(1, revisionAtMs(milliseconds));
}
