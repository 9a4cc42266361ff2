import { copyBytes } from '../../base/bytes.js';
import { CorruptionError } from '../../base/errors.js';
import { varintBytes, VarintReader, writeVarint } from '../../codec/varint.js';
import { MAX_INTERNAL_KEY_BYTES, REVISION_TRAILER_BYTES, type Revision } from '../row-key.js';

/** What a table says about itself. */
export interface TableProperties {
  /** Versions in the table. */
  readonly entryCount: number;
  /** Distinct row keys. */
  readonly rowCount: number;
  readonly tombstoneCount: number;
  /** Entries that carry an expiry. */
  readonly expiringCount: number;
  readonly blockCount: number;
  /** Row keys and records, before prefixes and LZ4. */
  readonly rawBytes: number;
  /** Data blocks as stored. */
  readonly dataBytes: number;
  readonly minRevision: Revision;
  readonly maxRevision: Revision;
  /**
   * The lowest history floor at which something in here could be dropped: the smallest of the revisions that supersede
   * another entry of the table, of tombstones, and of expiries. LATEST when nothing ever can.
   */
  readonly earliestGarbageRevision: Revision;
  /** The node's revision clock when the table was written, or 0 when its writer had none. */
  readonly createdAtRevision: Revision;
  /** First and last internal key (row-key.ts). */
  readonly smallest: Uint8Array;
  readonly largest: Uint8Array;
}

/** Stored as (id, length, bytes). A reader skips ids that it does not know, so later versions can add some. */
const NUMBER_FIELDS = [
  ['entryCount', 1],
  ['rowCount', 2],
  ['tombstoneCount', 3],
  ['expiringCount', 4],
  ['blockCount', 5],
  ['rawBytes', 6],
  ['dataBytes', 7],
  ['minRevision', 8],
  ['maxRevision', 9],
  ['earliestGarbageRevision', 10],
  ['createdAtRevision', 11],
] as const;
const KEY_FIELDS = [
  ['smallest', 20],
  ['largest', 21],
] as const;

export function encodeProperties(properties: TableProperties): Uint8Array {
  const most = NUMBER_FIELDS.length * 10 + KEY_FIELDS.length * (4 + MAX_INTERNAL_KEY_BYTES);
  const bytes = new Uint8Array(most);
  let at = 0;
  for (const [name, id] of NUMBER_FIELDS) {
    at = writeVarint(bytes, at, id);
    at = writeVarint(bytes, at, varintBytes(properties[name]));
    at = writeVarint(bytes, at, properties[name]);
  }
  for (const [name, id] of KEY_FIELDS) {
    const key = properties[name];
    at = writeVarint(bytes, at, id);
    at = writeVarint(bytes, at, key.length);
    bytes.set(key, at);
    at += key.length;
  }
  return bytes.slice(0, at);
}

export function decodeProperties(bytes: Uint8Array, where: string): TableProperties {
  const reader = new VarintReader(bytes, 0, bytes.length, where);
  const fields = new Map<number, Uint8Array>();
  while (reader.at < bytes.length) {
    const id = reader.varint();
    const length = reader.varint();
    const start = reader.skip(length);
    fields.set(id, copyBytes(bytes, start, length));
  }
  const need = (name: string, id: number): Uint8Array => {
    const field = fields.get(id);
    if (field === undefined) throw new CorruptionError(where, `property ${name}`, 'none');
    return field;
  };
  const number = (name: string, id: number): number => {
    const field = need(name, id);
    return new VarintReader(field, 0, field.length, `${where}, ${name}`).varint();
  };
  const key = (name: string, id: number): Uint8Array => {
    const field = need(name, id);
    if (field.length <= REVISION_TRAILER_BYTES || field.length > MAX_INTERNAL_KEY_BYTES) {
      throw new CorruptionError(where, `${name} to be an internal key`, `${field.length} bytes`);
    }
    return field;
  };
  const numbers = Object.fromEntries(NUMBER_FIELDS.map(([name, id]) => [name, number(name, id)]));
  const keys = Object.fromEntries(KEY_FIELDS.map(([name, id]) => [name, key(name, id)]));
  return { ...numbers, ...keys } as unknown as TableProperties;
}
